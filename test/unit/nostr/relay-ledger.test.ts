/** What is known of a relay, over readings and restarts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Txid } from '../../../src/chain/types.ts'
import { EventJudge } from '../../../src/nostr/relay-events.ts'
import { RelayLedger } from '../../../src/nostr/relay-ledger.ts'
import { noFaults } from '../../../src/nostr/relay-view.ts'
import { makerEvent } from '../../sandbox/nostr/sim-maker.ts'
import { txidOf } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const A = txidOf(1)
const B = txidOf(2)
const WANTED: ReadonlySet<Txid> = new Set([A, B])

function setUp() {
  const clock = new HandClock()
  clock.atMs = 1_800_000_000_000
  const deps = { clock, judge: new EventJudge('main', undefined), isKnown: () => true }
  const past = { id: 1, url: 'ws://a.example', delaysS: [], faults: noFaults() }
  const ledger = new RelayLedger(past, [], deps)
  const nowS = () => clock.atMs / 1_000
  const take = (txid: string, createdAtS = nowS()) =>
    ledger.take(makerEvent(txid, { network: 'main', createdAtS }), txid + createdAtS)
  const count = () => {
    ledger.count(WANTED, () => false, '')
    return ledger.counts!
  }
  return { clock, deps, ledger, nowS, take, count }
}

test('a whole reading takes the place of what was known only once it has ended', () => {
  const { clock, ledger, nowS, take, count } = setUp()
  take(A)
  assert.deepEqual(count().missing, [B])
  clock.atMs += 10_000
  ledger.beginWhole()
  take(B)
  assert.deepEqual(count().missing, [], 'what was known holds meanwhile')
  ledger.endWhole()
  assert.deepEqual(count().missing, [A], 'the relay has it no more')
  assert.equal(ledger.readS, nowS())
  ledger.beginWhole()
  ledger.dropWhole()
  assert.deepEqual(count().missing, [A], 'half a reading says nothing')
})

test('what the store has not yet is told once, bonds that are gone among it', () => {
  const { ledger, nowS, take } = setUp()
  take(A)
  take(B)
  take(A, nowS() - 60)
  const held = { untilS: nowS() + 86_400, isOwn: false }
  assert.deepEqual(ledger.takeChanges(1), [[A, held]])
  assert.deepEqual(ledger.takeChanges(10), [[B, held]])
  ledger.beginWhole()
  take(B)
  ledger.endWhole()
  assert.deepEqual(ledger.takeChanges(10), [[A]])
  assert.deepEqual(ledger.takeChanges(10), [])
})

test('reading goes on from the newest event that was valid, and never from the future', () => {
  const { ledger, nowS, take, deps } = setUp()
  assert.equal(ledger.cursorS, undefined)
  take(A, nowS() - 100)
  take(B, nowS() - 200)
  assert.equal(ledger.cursorS, nowS() - 100)
  take(B, nowS() + 250)
  take(A, nowS() + 5_000)
  assert.equal(ledger.cursorS, nowS())
  const again = new RelayLedger(ledger.past(), [[A, { untilS: nowS() + 5, isOwn: false }]], deps)
  assert.deepEqual([again.cursorS, again.at(A)?.untilS, again.at(B)], [nowS(), nowS() + 5, undefined])
  assert.deepEqual(again.past().faults, { ...noFaults(), future: 1 })
})

test('the delay of a new bond is from the block to the first event that is not ours', () => {
  const { clock, ledger, take } = setUp()
  take(A)
  ledger.expect([A, B])
  assert.deepEqual(ledger.delaysS, [0])
  clock.atMs += 31_000
  take(B)
  take(B, clock.atMs / 1_000 + 1)
  assert.deepEqual(ledger.delaysS, [0, 31])
  ledger.uncount()
  assert.ok(!ledger.lacks(B) && ledger.counts === undefined, 'nothing is claimed while nothing is known')
})
