/** Recorded spends through a rescan: confirmed until the chain says else, since their blocks may not be read again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  evictSpender,
  forgetRescannedAt,
  readRecentSpends,
  readSpenderTx,
  readSpends,
  unconfirmSpendersAt,
  upsertConfirmedSpends,
  upsertMempoolSpends,
} from '../../../src/store/local/spends.ts'
import { deleteBlock, insertBlock } from '../../../src/store/local/tip.ts'
import { openStore } from '../../../src/store/open.ts'
import { hashOf, txidOf } from '../../support/bonds.ts'
import { tempDir } from '../../support/temp-dir.ts'

const OUTPOINT = { txid: txidOf(1), vout: 0 }
const by = (number: number) => ({
  txid: txidOf(number),
  rawTx: Buffer.of(number),
  spends: [{ outpoint: OUTPOINT, vin: 0 }],
})
const block = (height: number, hash = hashOf(height)) => ({ height, hash, prevHash: hashOf(height - 1), timeS: 0 })

/** A spend confirmed at 100, which a rescan has taken back. */
function rescanned() {
  const dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  insertBlock(db, block(100))
  upsertConfirmedSpends(db, by(2), 100, 7)
  unconfirmSpendersAt(db, 100, hashOf(100))
  deleteBlock(db, 100)
  return {
    db,
    states: () => readSpends(db, OUTPOINT).map(({ txid, state }) => [Number.parseInt(txid, 16), state.kind]),
    [Symbol.dispose]() {
      db[Symbol.dispose]()
      dir[Symbol.dispose]()
    },
  }
}

test('a rescan leaves a spend confirmed where it was, with its transaction, and nobody is told of a change', () => {
  using store = rescanned()
  const [spend] = readSpends(store.db, OUTPOINT)
  assert.deepEqual(spend!.state, { kind: 'confirmed', height: 100, blockHash: hashOf(100) })
  assert.deepEqual([readSpenderTx(store.db, spend!.txid), spend!.bytes, spend!.firstSeenS], [Buffer.of(2), 1, 7])
  assert.deepEqual(readRecentSpends(store.db, 0, 10), [])
  upsertMempoolSpends(store.db, by(3), 8)
  assert.deepEqual(store.states(), [
    [2, 'confirmed'],
    [3, 'mempool'],
  ])
})

test('a block of that height says whether it is still so', () => {
  using same = rescanned()
  insertBlock(same.db, block(100))
  forgetRescannedAt(same.db, 100)
  upsertConfirmedSpends(same.db, by(2), 100, 9)
  assert.deepEqual(same.states(), [[2, 'confirmed']])
  assert.equal(readSpends(same.db, OUTPOINT)[0]!.firstSeenS, 7, 'first seen when it was')
  using other = rescanned()
  forgetRescannedAt(other.db, 99)
  assert.deepEqual(other.states(), [[2, 'confirmed']])
  insertBlock(other.db, block(100, hashOf(5)))
  forgetRescannedAt(other.db, 100)
  assert.deepEqual(other.states(), [[2, 'evicted']])
})

test('a reorg still evicts, and a transaction that is in the mempool is in no block', () => {
  using store = rescanned()
  upsertMempoolSpends(store.db, by(2), 8)
  assert.deepEqual(store.states(), [[2, 'mempool']])
  evictSpender(store.db, txidOf(2))
  assert.deepEqual(store.states(), [[2, 'evicted']])
  insertBlock(store.db, block(101))
  upsertConfirmedSpends(store.db, by(2), 101, 9)
  unconfirmSpendersAt(store.db, 101)
  assert.deepEqual(store.states(), [[2, 'evicted']])
})
