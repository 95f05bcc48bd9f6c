/** Trackers that a relay names. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { NAMED_TRACKER_LIMITS, NamedTrackers } from '../../../src/nostr/named-trackers.ts'
import { eventSigner } from '../../../src/nostr/signatures.ts'
import { TRACKER_EVENT_LIMITS, trackerEventDraft } from '../../../src/nostr/tracker-event.ts'
import { Secret } from '../../../src/secret.ts'
import { onionHost } from '../../support/onions.ts'

const NOW_S = 1_800_000_000
const news = {
  network: 'regtest' as const,
  version: '1',
  height: 1,
  blockHash: '00'.repeat(32),
  digest: '00'.repeat(32),
}

function anEvent(name: string, createdAtS = NOW_S, key = randomBytes(32).toString('hex')) {
  const draft = trackerEventDraft({ ...news, host: onionHost(name), port: 8080 }, createdAtS)
  return eventSigner(new Secret(key)).sign(draft)
}

test('each in its turn, the newest word of each author, while it stands', () => {
  const named = new NamedTrackers('regtest', () => 0)
  const key = '01'.repeat(32)
  assert.equal(named.next(NOW_S), undefined)
  assert.ok(named.take(anEvent('old', NOW_S - 50, key), NOW_S))
  named.take(anEvent('new', NOW_S - 20, key), NOW_S)
  named.take(anEvent('older still', NOW_S - 90, key), NOW_S)
  named.take(anEvent('other'), NOW_S)
  assert.equal(named.size, 2)
  const hosts = [1, 2, 3].map(() => named.next(NOW_S)?.host)
  assert.deepEqual(hosts, [onionHost('new'), onionHost('other'), onionHost('new')])
  assert.equal(named.next(NOW_S + TRACKER_EVENT_LIMITS.lifeS + 1), undefined)
  assert.equal(named.size, 0)
})

test('what is signed wrong, or of another kind, is no place to dial', () => {
  const named = new NamedTrackers('regtest', () => 0)
  const event = anEvent('a')
  for (const wrong of [
    { ...event, sig: event.sig.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) },
    { ...event, content: `${onionHost('b')}:8080` },
    { ...event, id: event.id.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) },
    { kind: event.kind },
  ])
    assert.ok(named.take(wrong, NOW_S), 'it is of this kind')
  for (const other of [{ ...event, kind: 37_780 }, null, 5, [], 'x', {}]) assert.ok(!named.take(other, NOW_S))
  assert.equal(named.next(NOW_S), undefined)
})

test('a flood of authors takes the places of others, and no more', () => {
  const named = new NamedTrackers('regtest', () => 0.5)
  for (let i = 0; i < NAMED_TRACKER_LIMITS.kept + 20; i++) named.take(anEvent(`h${i}`), NOW_S)
  assert.equal(named.size, NAMED_TRACKER_LIMITS.kept)
})
