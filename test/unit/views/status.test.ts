/** Readiness: each thing that can be missing fails its own check, and is told in words. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newFollowing } from '../../../src/chain/following.ts'
import { checks } from '../../../src/views/schemas.ts'
import { newStatusCells, readiness, type StatusCells, summaryOf } from '../../../src/views/status.ts'
import { tipAt } from '../../support/bonds.ts'

const NOW_MS = 1_000_000
const well = (): StatusCells => ({
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
const failing = (cells: StatusCells) => {
  const { ready, notReady, checks: found } = readiness(cells, NOW_MS)
  const names = Object.entries(checks.parse(found)).flatMap(([name, { ok }]) => (ok ? [] : [name]))
  assert.equal(ready, names.length === 0)
  assert.equal(notReady.length, names.length)
  return names
}

test('each thing that can be missing fails its own check', () => {
  assert.deepEqual(failing(well()), [])
  assert.deepEqual(failing({ ...well(), databaseFault: 'disk full' }), ['database'])
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
  assert.deepEqual(failing(newStatusCells(true)), ['bitcoind', 'sync', 'tor', 'onion'])
  assert.deepEqual(failing(newStatusCells(false)), ['bitcoind', 'sync'])
})

test('what is waited for, in words; in one line for the service manager', () => {
  const words = (change: Partial<StatusCells>) => readiness({ ...well(), ...change }, NOW_MS).notReady
  assert.deepEqual(words({ databaseFault: 'disk full' }), ['database: disk full'])
  assert.deepEqual(words({ canary: { kind: 'red', detail: 'no answer' } }), ['canary: no answer'])
  assert.deepEqual(words({ onion: { kind: 'unreachable', detail: 'refused' } }), [
    'Tor: refused',
    'onion service: refused',
  ])
  const gone = well().following
  gone.node = { kind: 'unreachable', detail: 'connection refused' }
  gone.best = tipAt(110)
  assert.deepEqual(words({ following: gone }), [
    'bitcoind: connection refused',
    'not synced: 10 blocks behind: scanned 100 of 110',
  ])
  const row = { address: 'x.onion:8080', height: 100 }
  assert.equal(summaryOf({ ...row, ready: true, not_ready: [] }), 'ready at x.onion:8080, block 100')
  assert.equal(summaryOf({ ...row, ready: false, not_ready: ['a', 'b'] }), 'not ready: a; b')
})
