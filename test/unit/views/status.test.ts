/** Readiness: each thing that can be missing fails its own check, and is told in words. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { type Following, newFollowing } from '../../../src/chain/following.ts'
import { runSync } from '../../../src/chain/sync.ts'
import { TransientError } from '../../../src/errors.ts'
import { checksSchema } from '../../../src/views/schemas/status.ts'
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
  const names = Object.entries(checksSchema.parse(found)).flatMap(([name, check]) =>
    check?.ok === false ? [name] : [],
  )
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
  const standby = { kind: 'standby', detail: 'held by another tracker', torVersion: '0.4.9.1' } as const
  assert.deepEqual(failing({ ...well(), canary: red, onion: { ...standby, isHeld: true } }), [], 'that is the holder’s')
  assert.deepEqual(failing({ ...well(), onion: { ...standby, isHeld: false } }), ['onion'])
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

test('a scan that is behind: two blocks for an hour are near enough, more or longer is not', () => {
  const HOUR_MS = 3_600_000
  const late = 2 * HOUR_MS
  const detail = (change: Partial<Following>) => {
    const following = { ...well().following, answeredAtMs: late, ...change }
    const { checks } = readiness({ ...well(), following }, late)
    assert.ok(checks.bitcoind.ok)
    return checks.sync.ok ? 'ok' : checks.sync.detail
  }
  assert.equal(detail({}), 'ok')
  assert.equal(detail({ best: tipAt(102), behindSinceMs: late - HOUR_MS }), 'ok')
  assert.equal(detail({ best: tipAt(103) }), '3 blocks behind: scanned 100 of 103')
  assert.equal(
    detail({ best: tipAt(101), behindSinceMs: late - HOUR_MS - 1 }),
    'behind for more than an hour: scanned 100 of 101',
  )
  assert.equal(detail({ hasReachedTip: false, best: tipAt(101) }), 'scanned 100 of 101')
  const progress = { from: 1, at: 100, to: 900, blocksPerS: 1, mbPerS: 1, etaS: 79.2 }
  assert.equal(detail({ hasReachedTip: false, best: tipAt(900), progress }), 'scanned 100 of 900, about 79 s left')
  assert.equal(detail({ tip: undefined }), 'nothing scanned yet, bitcoind is at 100')
  const node = { kind: 'initial-download', detail: 'bitcoind is in initial download: block 100 of 900' } as const
  assert.equal(detail({ node }), node.detail)
})

test('a bitcoind that is lost fails at once; lists are answered for five minutes more, then it fails the scan', () => {
  const node = { kind: 'unreachable', detail: 'connection refused' } as const
  const following = { ...well().following, node, answeredAtMs: 0 }
  const at = (nowMs: number) => readiness({ ...well(), following }, nowMs).notReady
  assert.deepEqual(at(300_000), ['bitcoind: connection refused'])
  assert.deepEqual(at(300_001), ['bitcoind: connection refused', 'not synced: bitcoind has not answered for 5 minutes'])
  assert.deepEqual(readiness({ ...well(), following: newFollowing() }, 0).notReady, [
    'bitcoind: not asked yet',
    'not synced: no answer from bitcoind yet',
  ])
})

test('a lost bitcoind stays lost through every attempt to reach it, until one has found it', async () => {
  const cells = well()
  cells.following = newFollowing()
  const tip = tipAt(100)
  const view = { best: tip, isInitialDownload: false, headers: 100, pruneHeight: 0, atHeight: tip.hash, following: [] }
  const end = new AbortController()
  /** What readiness says of bitcoind whenever it is being asked something. */
  const seen: string[] = []
  const ask = (what: string) => {
    const { ok, detail } = readiness(cells, 0).checks.bitcoind
    seen.push(`${what}: ${ok ? 'ok' : detail}`)
  }
  const answers = {
    connect: [undefined, 'refused', 'loading', undefined, undefined],
    view: [undefined, 'broken pipe', undefined],
    waitForTip: ['gone', undefined],
  }
  const answer = (what: keyof typeof answers) => {
    ask(what)
    const trouble = answers[what].shift()
    if (trouble !== undefined) throw new TransientError(trouble)
  }
  const api = {
    connect: async () => {
      answer('connect')
      return { version: 1, subversion: '', source: 'rpc', zmq: { blocks: false, mempoolEvents: false } }
    },
    view: async () => {
      answer('view')
      return view
    },
    waitForTip: async () => {
      answer('waitForTip')
      end.abort()
      end.signal.throwIfAborted()
    },
  }
  const deps = {
    node: { with: () => api },
    index: { tip: () => tip, scannedFrom: () => 0, met: () => {} },
    following: cells.following,
    clock: { nowMs: () => 0, monotonicMs: () => 0 },
    random: () => -1, // no pause between attempts
    log: pino({ level: 'silent' }),
  }
  await assert.rejects(runSync(deps as unknown as Parameters<typeof runSync>[0], end.signal), { name: 'AbortError' })
  assert.deepEqual(seen, [
    'connect: not asked yet',
    'view: not asked yet',
    'waitForTip: ok',
    'connect: gone',
    'connect: refused',
    'connect: loading',
    'view: loading',
    'connect: broken pipe',
    'view: broken pipe',
    'waitForTip: ok',
  ])
})

test('what is doubtful of bitcoind is said by its check, which stays well; so is a list that is partial', () => {
  const checks = (change: Partial<Following>) =>
    readiness({ ...well(), following: { ...well().following, ...change } }, NOW_MS).checks
  assert.deepEqual(checks({ peers: 0, headersAhead: 9 }).bitcoind, {
    ok: true,
    detail:
      'block 100; bitcoind has no peers; bitcoind knows of 9 blocks that it does not have: its best header is 109',
  })
  const node = { kind: 'waiting-for-block', height: 101, detail: 'waits for block 101: no such file' } as const
  assert.deepEqual(checks({ node, best: tipAt(101) }).bitcoind, { ok: true, detail: `block 101; ${node.detail}` })
  assert.equal(checks({ scannedFrom: 50 }).sync.ok, false)
  assert.deepEqual(checks({ scannedFrom: 50, servesPartial: true }).sync, {
    ok: true,
    detail: 'scanned 100; lists are PARTIAL: blocks 0 to 49 of the window were never read (--serve-partial)',
  })
})

test('in one line, as long as it is not ready all that is waited for', () => {
  const row = { address: '127.0.0.1:8080', height: null }
  assert.equal(summaryOf({ ...row, ready: true, not_ready: [] }), 'ready at 127.0.0.1:8080, block -')
  assert.equal(summaryOf({ ...row, height: 0, ready: true, not_ready: [] }), 'ready at 127.0.0.1:8080, block 0')
  const { notReady } = readiness(newStatusCells(true), NOW_MS)
  assert.equal(
    summaryOf({ ...row, ready: false, not_ready: notReady }),
    'not ready: bitcoind: not asked yet; not synced: no answer from bitcoind yet; Tor: starting; onion service: starting',
  )
})

const DETAIL = 'why it is so'
const TOR: [what: string, cells: Partial<StatusCells>, tor: string, onion: string][] = [
  ['off', { onion: { kind: 'disabled', detail: DETAIL } }, `ok, ${DETAIL}`, `ok, ${DETAIL}`],
  ['starting', { onion: { kind: 'starting', detail: DETAIL } }, `no, ${DETAIL}`, `no, ${DETAIL}`],
  ['lost', { onion: { kind: 'unreachable', detail: DETAIL } }, `no, ${DETAIL}`, `no, ${DETAIL}`],
  [
    'lost, and the canary still green',
    { onion: { kind: 'unreachable', detail: DETAIL }, canary: { kind: 'green', detail: 'it answers', latencyMs: 1 } },
    `no, ${DETAIL}`,
    `no, ${DETAIL}`,
  ],
  [
    'publishing',
    { onion: { kind: 'publishing', onionHost: 'x', torVersion: '0.4.8.1', detail: DETAIL } },
    'ok, Tor 0.4.8.1',
    `no, ${DETAIL}`,
  ],
  ['published', {}, 'ok, Tor 0.4.8.1', 'ok, descriptor uploaded'],
  [
    'published, and not asked through Tor yet',
    { canary: { kind: 'untried', detail: DETAIL } },
    'ok, Tor 0.4.8.1',
    `no, ${DETAIL}`,
  ],
  [
    'in torrc',
    { onion: { kind: 'published', onionHost: 'x', detail: DETAIL } },
    'ok, not asked: the service stands in torrc',
    `ok, ${DETAIL}`,
  ],
]
for (const [what, change, tor, onion] of TOR) {
  test(`Tor ${what}`, () => {
    const { checks } = readiness({ ...well(), ...change }, NOW_MS)
    const said = ({ ok, detail }: { ok: boolean; detail: string }) => `${ok ? 'ok' : 'no'}, ${detail}`
    assert.deepEqual([said(checks.tor), said(checks.onion)], [tor, onion])
  })
}
