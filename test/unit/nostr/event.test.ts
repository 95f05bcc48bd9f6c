/** Events, ids and signatures: the example of today's makers, a second opinion, and what a library would take. */
import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { finalizeEvent, verifyEvent } from 'nostr-tools/pure'
import { asTxid } from '../../../src/chain/types.ts'
import { ConfigError } from '../../../src/errors.ts'
import { judgeArrived } from '../../../src/nostr/arrived-event.ts'
import {
  bondEventDraft,
  bondNamed,
  type EventDraft,
  expirationS,
  type NostrEvent,
  readEvent,
  whySkipped,
} from '../../../src/nostr/event.ts'
import { openTrackerKey } from '../../../src/nostr/key.ts'
import { eventId, eventSigner, isSigned } from '../../../src/nostr/signatures.ts'
import { Secret } from '../../../src/secret.ts'
import { isRightlySigned } from '../../sandbox/nostr/signed-event.ts'
import { tempDir } from '../../support/temp-dir.ts'

const TXID = asTxid('00112233445566778899aabbccddeeff0123456789abcdef0011223344556677')

/** As docs/nostr.md has it: of the secret key 01…01, on regtest, signed without auxiliary randomness. */
const EXAMPLE: NostrEvent = {
  id: '6c2881896415f72d40b245b4259dd636abd005e17176440eae360c442c4c51c8',
  pubkey: '1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f',
  created_at: 1_774_000_000,
  kind: 37_780,
  tags: [
    ['d', `fidelity:${TXID}:0`],
    ['expiration', '1774086400'],
  ],
  content: `${TXID}:0`,
  sig: 'f4a48d8f916146866df528865b47f514d7681cebc0a1b145506a9eae73e7ea8ec6e161cd0e0f6cb8925962cd1b316e42f9438c2ea4759ebaf42c2e534d091d06',
}
const signer = eventSigner(new Secret('01'.repeat(32)))

test('the example of a maker’s event: its draft, its id, its author, and its signature are right', () => {
  const { id, pubkey, sig, ...draft } = EXAMPLE
  assert.deepEqual(bondEventDraft({ txid: TXID, vout: 0 }, 'regtest', 1_774_000_000), draft)
  assert.equal(eventId(EXAMPLE), id)
  assert.equal(signer.pubkey, pubkey)
  assert.equal(signer.sign(draft).id, id)
  assert.ok(isSigned(EXAMPLE))
  assert.ok(sig)
})

/** Whatever NIP-01 and JSON may write down differently. */
const ODD: EventDraft[] = [
  { kind: 1, created_at: 0, tags: [], content: '' },
  { kind: 65_535, created_at: 4_294_967_295, tags: [[], ['']], content: '"\\/\b\f\n\r\t' },
  { kind: 37_780, created_at: 1, tags: [['d', 'é漢🜲']], content: '\u2028\u2029\u007f\u0000\u001f' },
]

test('what we sign others take, and the other way round', () => {
  for (const draft of ODD) {
    const ours = signer.sign(draft)
    assert.ok(isSigned(ours))
    assert.ok(verifyEvent(JSON.parse(JSON.stringify(ours))), JSON.stringify(draft))
    assert.ok(isRightlySigned(ours))
    assert.equal(eventId(ours), ours.id)
    const theirs = JSON.parse(JSON.stringify(finalizeEvent({ ...draft }, Buffer.from('02'.repeat(32), 'hex'))))
    assert.ok(isSigned(theirs), JSON.stringify(draft))
    assert.equal(eventId(theirs), theirs.id)
  }
})

test('a change of any field is noticed, also right after the right event', () => {
  const right = signer.sign(ODD[2]!)
  assert.ok(isSigned(right))
  const changes: Partial<NostrEvent>[] = [
    { content: 'x' },
    { kind: 1 },
    { created_at: 2 },
    { tags: [] },
    { pubkey: EXAMPLE.pubkey.replace('1b', '1c') },
    { sig: EXAMPLE.sig },
    { sig: '0'.repeat(128) },
    { sig: 'f'.repeat(128) },
    { id: EXAMPLE.id },
    { pubkey: 'f'.repeat(64) },
  ]
  for (const change of changes) assert.equal(isSigned({ ...right, ...change }), false, JSON.stringify(change))
  // A mark that the library leaves on what it has checked is believed in nothing.
  const marked = finalizeEvent({ ...ODD[0]! }, Buffer.from('02'.repeat(32), 'hex'))
  assert.equal(isSigned({ ...(marked as NostrEvent), content: 'changed' }), false)
  assert.ok(isSigned(right))
})

test('shapes are looked at before: what the library would take is none', () => {
  assert.ok(readEvent(EXAMPLE).ok)
  assert.ok(readEvent({ ...EXAMPLE, more: 1 }).ok, 'unknown keys are ignored')
  const wrong: [unknown, RegExp][] = [
    [null, /no event/],
    [[], /no event/],
    [{ ...EXAMPLE, sig: 5 }, /^sig: /],
    [{ ...EXAMPLE, sig: `${EXAMPLE.sig}00` }, /^sig: 128/],
    [{ ...EXAMPLE, sig: EXAMPLE.sig.toUpperCase() }, /^sig: 128 lower-case/],
    [{ ...EXAMPLE, id: EXAMPLE.id.toUpperCase() }, /^id: 64 lower-case/],
    [{ ...EXAMPLE, pubkey: 'x' }, /^pubkey: /],
    [{ ...EXAMPLE, created_at: 1.5 }, /^created_at: /],
    [{ ...EXAMPLE, created_at: -1 }, /^created_at: /],
    [{ ...EXAMPLE, kind: 65_536 }, /^kind: /],
    [{ ...EXAMPLE, tags: [[1]] }, /^tags\.0\.0: /],
    [{ ...EXAMPLE, tags: {} }, /^tags: /],
    [{ ...EXAMPLE, tags: Array(33).fill([]) }, /^tags: /],
    [{ ...EXAMPLE, content: 'x'.repeat(1_025) }, /^content: /],
  ]
  for (const [value, fault] of wrong) {
    const read = readEvent(value)
    assert.ok(!read.ok)
    assert.match(read.fault, fault)
  }
})

test('takers skip by time and content as they were seen to', () => {
  const nowS = EXAMPLE.created_at
  const skipped = (change: Partial<NostrEvent>, atS = nowS) => whySkipped({ ...EXAMPLE, ...change }, atS)
  assert.equal(skipped({}), undefined)
  assert.equal(skipped({}, nowS - 300), undefined)
  assert.equal(skipped({}, nowS - 301), 'future')
  assert.equal(skipped({}, nowS + 86_400), undefined)
  assert.equal(skipped({}, nowS + 86_401), 'expired')
  const long = [['expiration', String(nowS + 10 ** 9)]]
  assert.equal(skipped({ tags: long }, nowS + 86_400), undefined)
  assert.equal(skipped({ tags: long }, nowS + 86_401), 'old')
  for (const tags of [[], [['expiration']], [['expiration', 'x']], [['expiration', '-1']]]) {
    assert.equal(skipped({ tags }), 'no_expiration')
  }
  assert.equal(expirationS(EXAMPLE), 1_774_086_400)
  for (const content of [`${TXID}:0`, ` ${TXID.toUpperCase()}:0 `]) {
    assert.deepEqual(bondNamed({ content }), { txid: TXID, vout: 0 })
  }
  for (const content of [TXID, `${TXID}:1`, `${TXID}:00`, `${TXID}0:0`, '']) {
    assert.equal(bondNamed({ content }), undefined, content)
    assert.equal(skipped({ content }), 'no_bond')
  }
})

test('what a stranger brings is refused by the first thing that is wrong with it', () => {
  const judge = (value: unknown, network: 'regtest' | 'main' = 'regtest', nowS = EXAMPLE.created_at) =>
    judgeArrived(value, network, nowS)
  assert.deepEqual(judge(EXAMPLE), { id: EXAMPLE.id, ok: true, outpoint: { txid: TXID, vout: 0 } })
  assert.deepEqual(judge(EXAMPLE, 'main'), {
    id: EXAMPLE.id,
    ok: false,
    refusal: 'invalid: kind 37780: this relay knows 37778 alone',
  })
  assert.deepEqual(judge({ id: 'x'.repeat(257) }).id, '', 'not told again')
})

test('the key is made once, kept to ourselves, and refused when damaged', () => {
  using dir = tempDir()
  const file = join(dir.path, 'tracker.key')
  const key = openTrackerKey(file)
  assert.match(key.reveal(), /^[0-9a-f]{64}$/)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal(openTrackerKey(file).reveal(), key.reveal())
  assert.equal(readFileSync(file, 'utf8').trim(), key.reveal())
  const order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
  for (const damaged of ['', 'x', '0'.repeat(64), order, 'f'.repeat(64), key.reveal().slice(1)]) {
    writeFileSync(file, damaged, { mode: 0o600 })
    assert.throws(
      () => openTrackerKey(file),
      (error) => error instanceof ConfigError && /tracker key .* is damaged/.test(error.message),
      damaged,
    )
  }
})
