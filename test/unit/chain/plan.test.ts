import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FOLLOWING_LIMITS, newFollowing, whyNotSynced } from '../../../src/chain/following.ts'
import type { ChainView } from '../../../src/chain/node-reader.ts'
import { nextStep, unseenHeights, windowStart } from '../../../src/chain/plan.ts'
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
  assert.deepEqual(nextStep(undefined, view()), { kind: 'start', from: 100_000 - 25_920 })
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
  assert.deepEqual(unseenHeights(90_000, { height: 100_000, hash: hash(1) }), { from: 74_080, to: 89_999 })
  assert.equal(unseenHeights(74_080, { height: 100_000, hash: hash(1) }), undefined)
  assert.equal(unseenHeights(0, { height: 10, hash: hash(1) }), undefined)
  assert.equal(unseenHeights(90_000, { height: 115_920, hash: hash(1) }), undefined, 'the window has moved on')
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
