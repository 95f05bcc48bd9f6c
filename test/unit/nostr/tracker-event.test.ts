/** By what event trackers find each other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NostrEvent, readEvent } from '../../../src/nostr/event.ts'
import { eventSigner, isSigned } from '../../../src/nostr/signatures.ts'
import { TRACKER_EVENT_LIMITS, trackerEventDraft, trackerNamed } from '../../../src/nostr/tracker-event.ts'
import { Secret } from '../../../src/secret.ts'
import { onionHost } from '../../support/onions.ts'

const NOW_S = 1_800_000_000
const at = { host: onionHost('other'), port: 8080 }
const signer = eventSigner(new Secret('01'.repeat(32)))
const news = { ...at, network: 'regtest' as const, version: '1.0.0', height: 9 }
const event = signer.sign(trackerEventDraft({ ...news, blockHash: 'ab'.repeat(32), digest: 'cd'.repeat(32) }, NOW_S))

test('what one tracker says another reads', () => {
  const read = readEvent(JSON.parse(JSON.stringify(event)))
  assert.ok(read.ok && isSigned(read.event))
  assert.deepEqual(trackerNamed(read.event, 'regtest', NOW_S), at)
  assert.deepEqual(
    event.tags.map(([name]) => name),
    ['d', 'n', 'expiration', 'height', 'block', 'digest', 'version'],
  )
  assert.equal(event.content, `${at.host}:8080`)
})

test('of another network, out of date, or of no onion service: nobody is there', () => {
  const no = (change: Partial<NostrEvent>, network: 'regtest' | 'signet' = 'regtest', nowS = NOW_S) =>
    assert.equal(trackerNamed({ ...event, ...change }, network, nowS), undefined)
  no({}, 'signet')
  no({}, 'regtest', NOW_S + TRACKER_EVENT_LIMITS.lifeS + 1)
  no({}, 'regtest', NOW_S - 301)
  no({ kind: 37_780 })
  no({ tags: event.tags.filter(([name]) => name !== 'expiration') })
  no({ tags: [...event.tags.filter(([name]) => name !== 'n'), ['n']] })
  for (const content of ['', at.host, '127.0.0.1:8080', 'example.org:80', `${at.host}:0`, `${at.host}:65536`])
    no({ content })
  no({ content: `${onionHost('x').slice(0, 55)}a.onion:8080`.replace(/^./, (c) => (c === 'b' ? 'c' : 'b')) })
})
