import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  FOLLOWING_LIMITS,
  type Following,
  newFollowing,
  unseenOf,
  warningsOf,
  whyNotSynced,
} from '../../../src/chain/following.ts'
import type { ChainView } from '../../../src/chain/node-reader.ts'
import { nextStep, PLAN_LIMITS, unseenHeights, windowStart } from '../../../src/chain/plan.ts'
import { asBlockHash } from '../../../src/chain/types.ts'

const hash = (n: number) => asBlockHash(n.toString(16).padStart(64, '0'))
const view = (change: Partial<ChainView> = {}): ChainView => ({
  best: { height: 100_000, hash: hash(100_000) },
  isInitialDownload: false,
  headers: 100_000,
  pruneHeight: 0,
  following: [],
  ...change,
})
const tip = { height: 99_000, hash: hash(99_000) }

test('an empty store begins where the oldest bond that can still live was confirmed', () => {
  assert.deepEqual(nextStep(undefined, view()), { kind: 'start', from: 100_000 - 25_920 - 100 })
  assert.deepEqual(nextStep(undefined, view({ best: { height: 500, hash: hash(500) } })), { kind: 'start', from: 0 })
  assert.deepEqual(nextStep(undefined, view({ pruneHeight: 90_000 })), { kind: 'start', from: 90_000 })
  assert.equal(windowStart(25_921), 1)
})

test('what follows our tip is connected; another block at our height means a step back', () => {
  const following = [hash(99_001), hash(99_002)]
  assert.deepEqual(nextStep(tip, view({ atHeight: tip.hash, following })), {
    kind: 'connect',
    from: 99_001,
    hashes: following,
  })
  assert.deepEqual(nextStep(tip, view({ atHeight: tip.hash })), { kind: 'idle' })
  assert.deepEqual(nextStep(tip, view({ atHeight: hash(1), following })), { kind: 'disconnect' })
  assert.deepEqual(nextStep(tip, view()), { kind: 'disconnect' }, 'the node’s chain is shorter than ours')
})

test('blocks pruned above our tip are a gap, not something to step over', () => {
  const pruned = view({ atHeight: tip.hash, following: [hash(99_001)], pruneHeight: 99_010 })
  assert.deepEqual(nextStep(tip, pruned), { kind: 'gap', from: 99_001, to: 99_009 })
  assert.equal(nextStep(tip, { ...pruned, pruneHeight: 99_001 }).kind, 'connect')
})

test('heights of the window that were never seen', () => {
  assert.deepEqual(unseenHeights(90_000, { height: 100_000 }), { from: 74_080, to: 89_999 })
  assert.equal(unseenHeights(74_080, { height: 100_000 }), undefined)
  assert.equal(unseenHeights(0, { height: 10 }), undefined)
  assert.equal(unseenHeights(90_000, { height: 115_920 }), undefined, 'the window has moved on')
})

test('synced: only at the tip, a little behind it, and not for long', () => {
  const following = newFollowing()
  const why = (nowMs: number) => whyNotSynced(following, nowMs)
  assert.match(why(0)!, /no answer from bitcoind yet/)
  following.answeredAtMs = 0
  following.best = { height: 10, hash: hash(10) }
  assert.match(why(0)!, /nothing scanned yet/)
  following.tip = { height: 10, hash: hash(10) }
  assert.match(why(0)!, /scanned 10 of 10/, 'it has to have been at the tip since the start')
  following.hasReachedTip = true
  assert.equal(why(0), undefined)
  following.best = { height: 12, hash: hash(12) }
  assert.equal(why(0), undefined)
  following.best = { height: 13, hash: hash(13) }
  assert.match(why(0)!, /3 blocks behind/)
  following.best = { height: 11, hash: hash(11) }
  following.behindSinceMs = 0
  following.answeredAtMs = FOLLOWING_LIMITS.behindMsMax
  assert.equal(why(FOLLOWING_LIMITS.behindMsMax), undefined)
  assert.match(why(FOLLOWING_LIMITS.behindMsMax + 1)!, /more than an hour/)
  following.behindSinceMs = undefined
  assert.equal(why(FOLLOWING_LIMITS.behindMsMax + FOLLOWING_LIMITS.silentMsMax), undefined)
  assert.match(why(FOLLOWING_LIMITS.behindMsMax + FOLLOWING_LIMITS.silentMsMax + 1)!, /has not answered for 5 minutes/)
  following.node = { kind: 'initial-download', detail: 'bitcoind is in initial download' }
  assert.match(why(FOLLOWING_LIMITS.behindMsMax)!, /initial download/)
})

const atTip = (change: Partial<Following> = {}): Following => ({
  ...newFollowing(),
  node: { kind: 'following', detail: 'ok' },
  best: { height: 100_000, hash: hash(1) },
  tip: { height: 100_000, hash: hash(1) },
  scannedFrom: 0,
  hasReachedTip: true,
  answeredAtMs: 0,
  ...change,
})

test('blocks of the window that were never read: no list, unless the operator wants a partial one', () => {
  const scannedFrom = 90_000
  assert.deepEqual(unseenOf(atTip({ scannedFrom })), { from: 74_080, to: 89_999 })
  assert.match(
    whyNotSynced(atTip({ scannedFrom }), 0)!,
    /^blocks 74080 to 89999 of the window were never read.*rescan.*--serve-partial.*until block 115920,/,
  )
  assert.equal(whyNotSynced(atTip({ scannedFrom, servesPartial: true }), 0), undefined)
  assert.equal(whyNotSynced(atTip({ scannedFrom: 74_080 }), 0), undefined)
  const covered = { height: 115_920, hash: hash(2) }
  assert.equal(whyNotSynced(atTip({ scannedFrom, best: covered, tip: covered }), 0), undefined, 'covered by itself')
  const before = { height: 115_919, hash: hash(2) }
  assert.match(whyNotSynced(atTip({ scannedFrom, best: before, tip: before }), 0)!, /^blocks 89999 to 89999/)
})

test('the window is that of the present tip: a first scan under way has missed nothing', () => {
  const scanning = atTip({ scannedFrom: 73_980, tip: { height: 80_000, hash: hash(2) }, hasReachedTip: false })
  assert.equal(unseenOf(scanning), undefined)
  assert.match(whyNotSynced(scanning, 0)!, /^scanned 80000 of 100000$/)
  const servesPartial = { ...scanning, servesPartial: true }
  assert.ok(whyNotSynced(servesPartial, 0), 'a partial list is one of the present tip all the same')
})

test('a reorg right after the first scan leaves no hole', () => {
  const { from } = nextStep(undefined, view()) as { from: number }
  const shorter = { height: 100_000 - PLAN_LIMITS.belowWindowBlocks, hash: hash(3) }
  assert.equal(unseenHeights(from, shorter), undefined)
  assert.ok(unseenHeights(from, { height: shorter.height - 1 }))
})

test('headers ahead of the best block for ten minutes: no list', () => {
  const MINUTES_10 = 600_000
  const ahead = atTip({ headersAhead: 20, headersAheadSinceMs: 0, answeredAtMs: MINUTES_10 })
  assert.equal(whyNotSynced(ahead, MINUTES_10), undefined)
  assert.equal(
    whyNotSynced(ahead, MINUTES_10 + 1),
    'bitcoind knows of 20 blocks that it has not had for 10 minutes: it is at 100000',
  )
  assert.equal(whyNotSynced({ ...ahead, headersAheadSinceMs: undefined }, MINUTES_10 + 1), undefined)
})

test('what is doubtful of bitcoind, in words', () => {
  const words = (change: Partial<Following>) => warningsOf(atTip(change))
  assert.deepEqual(words({ headersAhead: 2, peers: 1, bestAgeS: 7_200 }), [])
  assert.deepEqual(words({}), [], 'what it does not tell is no reason for doubt')
  const bad = { headersAhead: 3, peers: 0, bestAgeS: 7_201 }
  assert.deepEqual(words(bad), [
    'bitcoind has no peers',
    'bitcoind knows of 3 blocks that it does not have: its best header is 100003',
    "bitcoind's newest block is 2 hours old",
  ])
  assert.deepEqual(words({ ...bad, node: { kind: 'initial-download', detail: '' } }), ['bitcoind has no peers'])
  assert.deepEqual(words({ ...bad, node: { kind: 'unreachable', detail: '' } }), [], 'known no more')
  const mempool = { size: 0, isComplete: false, fault: { detail: 'too large', sinceMs: 0 } }
  assert.deepEqual(words({ mempool }), [
    'mempool not read since 1970-01-01 00:00:00 UTC, watch requests are refused: too large',
  ])
})

test('why there is no list is told to strangers, who learn nothing of the operator', () => {
  const detail = 'bitcoind at 10.0.0.7:8332 (--rpc) refuses /home/alice/.cookie'
  const states: Partial<Following>[] = [
    { node: { kind: 'connecting', detail }, answeredAtMs: undefined },
    { node: { kind: 'unreachable', detail }, answeredAtMs: -400_000 },
    { node: { kind: 'waiting-for-block', detail, height: 7 }, tip: undefined },
    { node: { kind: 'waiting-for-block', detail, height: 7 }, hasReachedTip: false },
    { node: { kind: 'waiting-for-block', detail, height: 7 }, tip: { height: 6, hash: hash(6) } },
  ]
  for (const state of states) assert.doesNotMatch(whyNotSynced(atTip(state), 0)!, /10\.0|alice|refuses/)
  assert.match(whyNotSynced(atTip(states[3]!), 0)!, /waiting for block 7, which bitcoind can't give$/)
})
