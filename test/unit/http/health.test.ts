import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newFollowing } from '../../../src/chain/following.ts'
import { readiness } from '../../../src/http/health.ts'
import { readyReply } from '../../../src/http/replies.ts'
import { type Status, whyNotReady } from '../../../src/status.ts'
import { tipAt } from '../../support/bonds.ts'

const NOW_MS = 1_000_000
const well = (): Status => ({
  following: {
    ...newFollowing(),
    node: { kind: 'following', detail: 'ok' },
    best: tipAt(100),
    tip: tipAt(100),
    hasReachedTip: true,
    answeredAtMs: NOW_MS,
  },
  onion: { kind: 'published', onionHost: 'x.onion', torVersion: '0.4.8.1', detail: 'descriptor uploaded' },
})
/** The names of the checks that fail. */
const failing = (status: Status, databaseFault?: string) => {
  const { checks, status: word } = readyReply.parse(readiness(status, databaseFault, NOW_MS))
  const names = Object.entries(checks).flatMap(([name, { ok }]) => (ok ? [] : [name]))
  assert.equal(word, names.length === 0 ? 'ok' : 'not_ready')
  if (databaseFault === undefined) assert.equal(names.length === 0, whyNotReady(status, NOW_MS).length === 0)
  return names
}

test('each thing that can be missing fails its own check', () => {
  assert.deepEqual(failing(well()), [])
  assert.deepEqual(failing(well(), 'disk full'), ['database'])
  assert.deepEqual(failing({ ...well(), onion: { kind: 'disabled', detail: '--no-tor' } }), [])
  assert.deepEqual(failing({ ...well(), onion: { kind: 'unreachable', detail: 'refused' } }), ['tor', 'onion'])
  assert.deepEqual(failing({ ...well(), onion: { kind: 'publishing', onionHost: 'x', detail: 'uploading' } }), [
    'onion',
  ])
  const red = { kind: 'red', detail: 'our own onion service does not answer through Tor' } as const
  assert.deepEqual(failing({ ...well(), canary: red }), ['onion'])
  assert.deepEqual(failing({ ...well(), canary: { kind: 'green', detail: 'it answers', latencyMs: 1 } }), [])
  const behind = well()
  behind.following.best = tipAt(110)
  assert.deepEqual(failing(behind), ['sync'])
  const gone = well()
  gone.following.node = { kind: 'unreachable', detail: 'connection refused' }
  assert.deepEqual(failing(gone), ['bitcoind'])
  gone.following.answeredAtMs = NOW_MS - 600_000
  assert.deepEqual(failing(gone), ['bitcoind', 'sync'])
  const begun: Status = { following: newFollowing(), onion: { kind: 'starting', detail: 'starting' } }
  assert.deepEqual(failing(begun), ['bitcoind', 'sync', 'tor', 'onion'])
})
