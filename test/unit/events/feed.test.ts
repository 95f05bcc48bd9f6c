/**
 * What a listener is told over many looks: all of it, or `reset` in place of what was too much, and afterwards all of it
 * again. Store, market and differ are the real ones; the test turns the hands of the clock.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { newFollowing } from '../../../src/chain/following.ts'
import { asSats } from '../../../src/chain/types.ts'
import type { Core } from '../../../src/core.ts'
import type { Change } from '../../../src/events/changes.ts'
import { ChangeFeed, FEED_LIMITS } from '../../../src/events/feed.ts'
import { format } from '../../../src/events/stream.ts'
import { webhookEvents } from '../../../src/events/webhook.ts'
import { CurrentMarket } from '../../../src/market.ts'
import type { CanaryState } from '../../../src/peers/canary.ts'
import { Liveness } from '../../../src/peers/liveness.ts'
import { REACH_RULES } from '../../../src/peers/reach.ts'
import { insertBond, insertPendingBond } from '../../../src/store/local/bonds.ts'
import { deleteSpends, evictSpender, upsertMempoolSpends } from '../../../src/store/local/spends.ts'
import { insertBlock, readTip } from '../../../src/store/local/tip.ts'
import type { TrackerRecord } from '../../../src/store/local/trackers.ts'
import { openStore } from '../../../src/store/open.ts'
import type { StatusCells } from '../../../src/views/status.ts'
import { alone } from '../../support/alone.ts'
import { hashOf, tipAt, txidOf } from '../../support/bonds.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MANY = 600
const spent = (n: number) => ({ txid: txidOf(0x5000_0000 + n), vout: 0 })
const spenderTxid = (n: number) => txidOf(0x6000_0000 + n)
const announced = (n: number, lockHeight: number) => ({
  format: 'B' as const,
  address: `${n}.onion:21`,
  lockHeight,
  outpoint: { txid: txidOf(0x7000_0000 + n), vout: 0 },
  amountSats: asSats(50_000),
  isP2wsh: true,
})

function setUp(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  const cells: StatusCells = { following: newFollowing(), onion: { kind: 'disabled', detail: '' } }
  Object.assign(cells.following, { node: { kind: 'following', detail: '' }, hasReachedTip: true, answeredAtMs: 0 })
  const clock = { nowMs: () => 1_000, monotonicMs: () => nowMs }
  const chain = { tip: () => readTip(db), scannedFrom: () => 0, revision: 0, pendingRevision: 0 }
  const market = new CurrentMarket(db, chain)
  const liveness = new Liveness(db, market, REACH_RULES, clock, alone(db))
  let nowMs = 0
  let notSynced: string | undefined
  const trackers = { known: [] as TrackerRecord[], list: () => trackers.known, revision: 0 }
  const core = {
    ...{ db, cells, clock, chain, market, liveness, config: {}, trackers },
    notSynced: () => notSynced,
    ownAddress: () => 'us.onion:8080',
  }
  const faults: unknown[] = []
  const feed = new ChangeFeed(core as unknown as Core, (error) => faults.push(error))
  t.after(() => {
    feed[Symbol.dispose]()
    db[Symbol.dispose]()
    dir[Symbol.dispose]()
    assert.deepEqual(faults, [])
  })
  const connect = (height: number) => {
    const { hash, timeS } = tipAt(height)
    insertBlock(db, { height, hash, prevHash: hashOf(height - 1), timeS })
    chain.revision++
    cells.following.best = tipAt(height)
    cells.following.tip = tipAt(height)
  }
  connect(1_000)
  return {
    feed,
    connect,
    /** All that happens in `work` falls between two looks. */
    look(work: () => void = () => {}) {
      db.transaction(work)
      nowMs += FEED_LIMITS.lookMs
      t.mock.timers.tick(FEED_LIMITS.lookMs)
    },
    wait(ms: number) {
      nowMs += ms
    },
    lose(detail: string | undefined) {
      notSynced = detail
    },
    /** What trackers of these sources say, all of the same. */
    compare(agrees: boolean, ...sources: TrackerRecord['source'][]) {
      const compared = { agrees, height: 1_000, onlyOurs: [], onlyTheirs: [] }
      trackers.known = sources.map((source) => ({ address: `${source}:1`, source, addedS: 1, failures: 0, compared }))
      trackers.revision++
    },
    canary(kind: CanaryState['kind'], detail: string) {
      cells.onion = { kind: 'published', onionHost: 'us.onion', detail: '' }
      cells.canary = { kind, detail, latencyMs: 1 }
    },
    announce(n: number) {
      insertPendingBond(db, announced(n, 20_000))
      chain.pendingRevision++
    },
    confirm: (n: number, lockHeight: number) => insertBond(db, announced(n, lockHeight), 1_000),
    spend: (n: number) =>
      upsertMempoolSpends(
        db,
        { txid: spenderTxid(n), rawTx: Buffer.of(1), spends: [{ outpoint: spent(n), vin: 0 }] },
        1_000,
      ),
    evict: (n: number) => evictSpender(db, spenderTxid(n)),
    forget: (n: number) => deleteSpends(db, spent(n), 'all'),
  }
}

/** Everything a listener was told since it was last asked, each in short: as a stream tells it, or a webhook. */
function listenTo(feed: ChangeFeed, wantsSpends = true) {
  const told: string[] = []
  const hooks: string[] = []
  const mute = feed.listen((changes: readonly Change[]) => {
    for (const [, kind, data] of format(changes).matchAll(/^event: (\w+)\ndata: (.*)$/gm)) {
      const { state, changes: count } = JSON.parse(data!)
      told.push(kind === 'reset' ? `reset ${count}` : state === undefined ? kind! : `${kind} ${state}`)
    }
    for (const { event, data } of webhookEvents(changes, 3)) hooks.push(`${event} ${JSON.stringify(data)}`)
  }, wantsSpends)
  return { told: () => told.splice(0), hooks: () => hooks.splice(0), mute }
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

test('600 bonds and a spend in one look: a stream is told that there was more; then it is told everything again', (t) => {
  const { feed, look, announce, spend, evict } = setUp(t)
  const { told } = listenTo(feed)
  look(() => {
    for (const n of range(MANY)) announce(n)
    spend(1)
  })
  assert.deepEqual(told(), [`reset ${MANY + 1}`])
  look()
  assert.deepEqual(told(), [])
  look(() => evict(1))
  assert.deepEqual(told(), ['spend evicted'])
  look(() => {
    spend(2)
    announce(MANY)
  })
  assert.deepEqual(told(), ['bond pending', 'spend mempool'])
})

test('600 bonds that cross the line and a spend in one look: each listener is told what is for it, or reset', (t) => {
  const { feed, look, connect, confirm, spend } = setUp(t)
  const { expiringBlocks } = FEED_LIMITS
  // At block 1,000 one block more is left to each than is told of.
  for (const n of range(MANY)) confirm(n, 1_000 + expiringBlocks + 2)
  confirm(MANY, 1_001 + expiringBlocks + 2)
  const { told, hooks } = listenTo(feed)
  look(() => {
    connect(1_001)
    spend(1)
  })
  assert.deepEqual(told(), ['block', 'spend mempool'])
  assert.deepEqual(hooks(), [`reset {"changes":${MANY},"height":1001}`])
  look(() => connect(1_002))
  const last = { outpoint: `${txidOf(0x7000_0000 + MANY)}:0`, address: `${MANY}.onion:21` }
  assert.deepEqual(hooks(), [
    `bond_expiring ${JSON.stringify({ ...last, blocks_left: expiringBlocks, height: 1_002 })}`,
  ])
})

test('more spends than are compared: reset, not too often, and all is told again when there are fewer', (t) => {
  const { feed, look, wait, spend, evict, forget, announce } = setUp(t)
  const { told } = listenTo(feed)
  const all = range(FEED_LIMITS.spendsRemembered + 1)
  look(() => all.map(spend))
  assert.deepEqual(told(), ['reset null'])
  look(() => {
    evict(1)
    announce(1)
  })
  assert.deepEqual(told(), ['bond pending'], 'what can be told is; the spend is owed')
  look()
  assert.deepEqual(told(), [])
  wait(FEED_LIMITS.resetMs)
  look()
  assert.deepEqual(told(), ['reset null'], 'and told, though nothing has happened since')
  wait(FEED_LIMITS.resetMs)
  look()
  assert.deepEqual(told(), [])
  look(() => forget(1))
  assert.deepEqual(told(), ['reset null'], 'fewer: what it was before is not known')
  look(() => evict(2))
  assert.deepEqual(told(), ['spend evicted'])
})

test('while it is not synced nothing is told, and afterwards what had happened', (t) => {
  const { feed, look, lose, connect, spend } = setUp(t)
  const { told } = listenTo(feed)
  lose('bitcoind is away')
  look(() => {
    connect(1_001)
    spend(1)
  })
  look(() => connect(1_002))
  assert.deepEqual(told(), [])
  lose(undefined)
  look()
  assert.deepEqual(told(), ['block', 'block', 'spend mempool'])
})

test('who listens before the first list is told to read it; what happened before somebody came is no news to it', (t) => {
  const { feed, look, lose, spend } = setUp(t)
  lose('scanning')
  const first = listenTo(feed)
  lose(undefined)
  look()
  assert.deepEqual(first.told(), ['reset null'])
  look(() => spend(1))
  const second = listenTo(feed)
  assert.deepEqual(first.told(), ['spend mempool'])
  look(() => spend(2))
  assert.deepEqual([first.told(), second.told()], [['spend mempool'], ['spend mempool']])
  first.mute()
  second.mute()
  look(() => spend(3))
  const third = listenTo(feed)
  look(() => spend(4))
  assert.deepEqual([first.told(), second.told(), third.told()], [[], [], ['spend mempool']])
  third.mute()
  lose('bitcoind is away')
  look(() => spend(5))
  const fourth = listenTo(feed)
  lose(undefined)
  look()
  assert.deepEqual(fourth.told(), ['reset null'])
})

test('spends are told from the moment that somebody wants them, and what was there before is no news', (t) => {
  const { feed, look, spend, evict, announce } = setUp(t)
  const log = listenTo(feed, false)
  look(() => {
    spend(1)
    announce(1)
  })
  assert.deepEqual(log.told(), ['bond pending'])
  const stream = listenTo(feed)
  look()
  assert.deepEqual(stream.told(), [])
  look(() => {
    spend(2)
    evict(1)
  })
  assert.deepEqual(stream.told().sort(), ['spend evicted', 'spend mempool'])
  stream.mute()
  look(() => spend(3))
  const other = listenTo(feed)
  look(() => spend(4))
  assert.deepEqual(other.told(), ['spend mempool'])
})

test('what learnt trackers say of us is no news; what configured ones say is', (t) => {
  const { feed, look, compare } = setUp(t)
  const { hooks } = listenTo(feed)
  look(() => compare(false, 'learnt'))
  assert.deepEqual(hooks(), [])
  look(() => compare(false, 'learnt', 'configured'))
  assert.match(hooks().join(), /^tracker_disagrees \{"address":"configured:1"[^}]*\}$/)
  look(() => compare(true, 'learnt', 'configured'))
  assert.match(hooks().join(), /^tracker_agrees \{"address":"configured:1"[^}]*\}$/)
})

test('our key elsewhere: told when the canary sees it, and that it is over when it is green, not when it sees nothing', (t) => {
  const { feed, look, canary } = setUp(t)
  const { told, hooks } = listenTo(feed)
  const seen = (kind: CanaryState['kind']) => {
    look(() => canary(kind, `${kind}, in words`))
    return hooks().filter((hook) => hook.startsWith('onion_key'))
  }
  const data = (detail: string, elsewhere: boolean) =>
    JSON.stringify({ address: 'us.onion:8080', elsewhere, detail, height: 1_000 })
  assert.deepEqual([...seen('untried'), ...seen('green'), ...seen('red')], [])
  assert.deepEqual(seen('impostor'), [`onion_key_elsewhere ${data('impostor, in words', true)}`])
  assert.deepEqual([...seen('red'), ...seen('impostor'), ...seen('untried')], [])
  assert.deepEqual(seen('green'), [`onion_key_ours ${data('green, in words', false)}`])
  assert.deepEqual(told(), [], 'and a stream, which is read by others, is not told')
})

test('a canary that is red is told as not ready, with its words', (t) => {
  const { feed, look, canary } = setUp(t)
  look(() => canary('green', 'it answers'))
  const { hooks } = listenTo(feed)
  look(() => canary('red', 'nobody answers'))
  look(() => canary('red', 'in other words'))
  look(() => canary('green', 'it answers'))
  assert.deepEqual(hooks(), [
    'not_ready {"ready":false,"not_ready":["canary: nobody answers"],"height":1000}',
    'ready {"ready":true,"not_ready":[],"height":1000}',
  ])
})
