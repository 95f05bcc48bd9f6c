/** What a relay shows, counted against the chain. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noFaults, RELAY_VIEW_LIMITS, RelayView, relayCounts } from '../../../src/nostr/relay-view.ts'
import { txidOf } from '../../support/bonds.ts'

const NOW_S = 1_800_000_000
const held = (leftS: number, isOwn = false) => ({ untilS: NOW_S + leftS, isOwn })

test('announced, missing, dead and invalid', () => {
  const [live, lost, spent, over, unheard] = [1, 2, 3, 4, 5].map(txidOf) as [never, never, never, never, never]
  const view = new RelayView()
  view.take(live, held(1), true)
  view.take(spent, held(86_400), true)
  view.take(over, held(-1), true)
  view.take(unheard, held(10), false)
  view.refuse('a', 'signature')
  view.refuse('b', 'expired')
  view.refuse('a', 'signature')
  const counts = relayCounts(view, [live, lost, over], (txid) => txid === spent || txid === unheard, NOW_S)
  assert.deepEqual(counts, {
    announced: 1,
    missing: [lost, over],
    dead: 2,
    invalid: { ...noFaults(), signature: 1, expired: 1 },
  })
  assert.equal(relayCounts(view, [live], () => false, NOW_S + 2).announced, 0, 'events end by themselves')
})

test('of several events of a bond the one that lasts longest counts, whoever signed it', () => {
  const view = new RelayView()
  const txid = txidOf(1)
  assert.equal(view.take(txid, held(100, true), true), true)
  assert.equal(view.take(txid, held(50), true), false)
  assert.equal(view.at(txid, NOW_S)?.isOwn, true)
  assert.equal(view.take(txid, held(200), true), true)
  assert.deepEqual(view.at(txid, NOW_S), held(200))
  const { revision } = view
  assert.deepEqual(view.prune(NOW_S + 200), [])
  assert.equal(view.revision, revision)
  assert.deepEqual(view.prune(NOW_S + 201), [txid])
  assert.equal(view.at(txid, NOW_S), undefined)
})

test('a flood of strange bonds or of rubbish takes a bounded place, and none of the bonds that the chain has', () => {
  const view = new RelayView()
  for (let i = 0; i < RELAY_VIEW_LIMITS.strangeBonds + 100; i++) view.take(txidOf(i), held(10), false)
  for (let i = 0; i < RELAY_VIEW_LIMITS.invalidEvents + 100; i++) view.refuse(String(i), 'shape')
  assert.equal([...view.held()].length, RELAY_VIEW_LIMITS.strangeBonds)
  assert.equal(view.faults().shape, RELAY_VIEW_LIMITS.invalidEvents)
  const known = txidOf(900_000)
  assert.equal(view.take(known, held(5), true), true)
  assert.equal(view.take(txidOf(0), held(20), false), true, 'what is there may grow older')
  view.prune(NOW_S + 11)
  assert.equal(view.take(txidOf(900_001), held(90), false), true, 'what is over makes room')
})

test('after a restart it goes on with what was stored', () => {
  const view = new RelayView([[txidOf(1), held(5)]], { ...noFaults(), old: 3 })
  view.refuse('x', 'old')
  assert.deepEqual(view.faults(), { ...noFaults(), old: 4 })
  assert.ok(view.at(txidOf(1), NOW_S))
})
