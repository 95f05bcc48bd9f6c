/** What relays say, in the very words that relays were measured to use. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acceptanceOf, RELAY_MESSAGE_LIMITS, readRelayMessage } from '../../../src/nostr/relay-messages.ts'

test('each message of NIP-01 and NIP-42 is read; anything else is passed over', () => {
  const read = (...message: unknown[]) => readRelayMessage(JSON.stringify(message))
  assert.deepEqual(read('EVENT', 's', { kind: 1 }), { type: 'EVENT', subscription: 's', event: { kind: 1 } })
  assert.deepEqual(read('EOSE', 's'), { type: 'EOSE', subscription: 's' })
  assert.deepEqual(read('OK', 'ab', true, ''), { type: 'OK', id: 'ab', isAccepted: true, text: '' })
  assert.deepEqual(read('OK', 'ab', false), { type: 'OK', id: 'ab', isAccepted: false, text: '' })
  assert.deepEqual(read('NOTICE', 'hi'), { type: 'NOTICE', text: 'hi' })
  assert.deepEqual(read('NOTICE', { a: 1 }), { type: 'NOTICE', text: '' })
  assert.deepEqual(read('CLOSED', 's', 'auth-required: x'), {
    type: 'CLOSED',
    subscription: 's',
    text: 'auth-required: x',
  })
  assert.deepEqual(read('AUTH', 'challenge'), { type: 'AUTH' })
  const others = [
    '',
    'hello',
    '{}',
    '[]',
    'null',
    '[1]',
    '["EVENT",1]',
    '["EOSE"]',
    '["OK","a","true"]',
    '["COUNT","s"]',
    '[[',
  ]
  for (const text of others) assert.equal(readRelayMessage(text), undefined, text)
})

test('words are printable and short; deep and long frames cost nothing', () => {
  const notice = readRelayMessage(JSON.stringify(['NOTICE', `\u001b[31m${'x'.repeat(1_000)}`]))
  assert.ok(notice?.type === 'NOTICE')
  assert.equal(notice.text.length, RELAY_MESSAGE_LIMITS.textChars)
  assert.match(notice.text, /^\?\[31mx+\.\.\.$/)
  const half = RELAY_MESSAGE_LIMITS.frameChars / 2 - 10
  const deep = `["EVENT","s",${'['.repeat(half)}${']'.repeat(half)}]`
  assert.equal(readRelayMessage(deep)?.type, 'EVENT')
  assert.equal(readRelayMessage('['.repeat(RELAY_MESSAGE_LIMITS.frameChars)), undefined)
  assert.deepEqual(readRelayMessage(`["NOTICE","${'x'.repeat(RELAY_MESSAGE_LIMITS.frameChars)}"]`), {
    type: 'too-long',
  })
})

test('what an OK means, with the texts of four relay programs', () => {
  const kindOf = (isAccepted: boolean, text: string) => acceptanceOf({ isAccepted, text })
  assert.equal(kindOf(true, '').kind, 'accepted')
  const duplicates: [boolean, string][] = [
    [false, 'duplicate: exists'],
    [true, 'duplicate: '],
    [true, 'duplicate: already have this event'],
    [true, 'duplicate: a newer one is there'],
  ]
  for (const [isAccepted, text] of duplicates) assert.equal(kindOf(isAccepted, text).kind, 'duplicate', text)
  const refusals: [text: string, isLasting: boolean][] = [
    ['blocked: event kind is blocked by relay', true],
    ['blocked: pubkey is not allowed to publish to this relay', true],
    ['auth-required: who are you', true],
    ['restricted: members only', true],
    ['pow: required a difficulty >= 20', true],
    ['invalid: Event invalid id', true],
    ['invalid: The event has already expired', true],
    ['rate-limited: slow down', false],
    ['error: unknown', false],
    ['reject: event is expired', false],
  ]
  for (const [text, isLasting] of refusals) assert.deepEqual(kindOf(false, text), { kind: 'refused', text, isLasting })
  assert.deepEqual(kindOf(false, ''), { kind: 'refused', text: 'refused without a reason', isLasting: false })
})
