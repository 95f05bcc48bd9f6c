/**
 * Registered outpoints are known by their keys alone, and told apart all the same: by their rows, by who has registered
 * them, and by the transaction that spends one. The database and the recorder are the real ones.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { asBlockHash, asTxid, type Outpoint } from '../../../src/chain/types.ts'
import { type Db, openStore } from '../../../src/store/open.ts'
import { deleteRegistration, eachRegistration, upsertRegistration } from '../../../src/store/shared/registrations.ts'
import { SpendRecorder } from '../../../src/watch/recorder.ts'
import { RegisteredOutpoints } from '../../../src/watch/registered-outpoints.ts'
import { Subscription } from '../../../src/watch/subscription.ts'
import { systemClock } from '../../../src/world.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { setUp, spenderOf } from '../../support/watching.ts'

const outpoint = (n: number): Outpoint => ({ txid: asTxid(n.toString(16).padStart(64, '0')), vout: n % 3 })
const client = () => new Subscription(() => {})
const SALT = Buffer.alloc(16, 9)

/** All outpoints have one key. */
class OneKey extends OutpointKeys {
  override of() {
    return { hi: 0, lo: 0 }
  }
  override ofHex() {
    return { hi: 0, lo: 0 }
  }
}

function open() {
  const dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  return {
    db,
    [Symbol.dispose]() {
      db[Symbol.dispose]()
      dir[Symbol.dispose]()
    },
  }
}

function write(db: Db, registered: RegisteredOutpoints | undefined, ...outpoints: Outpoint[]): void {
  for (const one of outpoints) {
    upsertRegistration(db, { outpoint: one, untilHeight: 1_000 })
    registered?.written(one)
  }
}

test('every row is read at the start, however many slices that takes', () => {
  using store = open()
  const { db } = store
  const all = Array.from({ length: 10_001 }, (_, i) => ({ txid: outpoint(Math.floor(i / 3)).txid, vout: i % 3 }))
  db.transaction(() => write(db, undefined, ...all))
  const keys = new OutpointKeys(SALT)
  const registered = new RegisteredOutpoints(db, keys, systemClock)
  assert.equal(registered.size, all.length)
  assert.ok(all.every((one) => registered.has(one)))
  const words = Uint32Array.from(all.flatMap((one) => [keys.of(one).hi, keys.of(one).lo]))
  let hits = 0
  registered.hits(words, () => hits++)
  assert.equal(hits, all.length)
  let rows = 0
  eachRegistration(db, () => rows++)
  assert.equal(rows, all.length)
})

test('two that share a key are two: one ends, and the other one stays', () => {
  using store = open()
  const { db } = store
  const registered = new RegisteredOutpoints(db, new OneKey(SALT), systemClock)
  const [a, b, c] = [outpoint(1), outpoint(2), outpoint(3)]
  registered.add(a)
  registered.add(a)
  assert.deepEqual([registered.size, registered.has(a), registered.has(b)], [1, true, false])
  write(db, registered, a)
  registered.add(b)
  assert.deepEqual([registered.size, registered.has(a), registered.has(b), registered.has(c)], [2, true, true, false])
  deleteRegistration(db, a)
  registered.delete(a)
  assert.deepEqual([registered.size, registered.has(a), registered.has(b)], [1, false, true])
  write(db, registered, b)
  assert.equal(registered.has(b), true)
})

test('who has registered it is told so until it ends, also where somebody else registers it again', () => {
  using store = open()
  const { db } = store
  const registered = new RegisteredOutpoints(db, new OutpointKeys(SALT), systemClock)
  const [first, second, gone] = [client(), client(), client()]
  const one = outpoint(1)
  registered.add(one)
  registered.claim(one, first)
  registered.claim(one, first)
  assert.deepEqual([registered.isOf(one, first), registered.isOf(one, second), first.registered.size], [true, false, 1])
  write(db, registered, one)
  deleteRegistration(db, one)
  registered.delete(one)
  assert.deepEqual([registered.isOf(one, first), first.registered.size], [false, 0])
  registered.add(one)
  registered.claim(one, second)
  assert.deepEqual([registered.isOf(one, first), registered.isOf(one, second)], [false, true])
  gone.isOver = true
  registered.claim(one, gone)
  assert.equal(registered.isOf(one, gone), false, 'nothing is added to a connection that has ended')
})

test('the spend of a registered outpoint is found in a block and in the mempool; of another input with its key, not', async () => {
  using setup = setUp()
  const { recorder } = setup
  const [inBlock, inMempool, other] = [outpoint(1), outpoint(2), outpoint(3)]
  for (const one of [inBlock, inMempool]) recorder.track(one, 'registered')
  const inputs = [other, inBlock].map((one) => ({ outpoint: one, by: spenderOf([other, inBlock], 1) }))
  const asked: (readonly number[])[] = []
  const api = {
    ...setup.api,
    async inputsInBlock(_: unknown, positions: readonly number[]) {
      asked.push(positions)
      return positions.map((position) => inputs[position])
    },
  }
  const { hi, lo } = recorder.keys.of(inBlock)
  const spent = Uint32Array.of(hi, lo, hi, lo) // as if both had the same key
  const block = { hash: asBlockHash('aa'.repeat(32)), prevHash: asBlockHash('ab'.repeat(32)), timeS: 1, bytes: 0 }
  const found = await recorder.spendsIn([{ ...block, transactions: 1, candidates: [], spent }], [], api)
  assert.deepEqual(asked, [[0, 1]])
  assert.deepEqual([...found[0]!.keys()], [inBlock])

  const by = spenderOf([other, inMempool], 2)
  const words = Uint32Array.from([inMempool, inMempool].flatMap((one) => Object.values(recorder.keys.of(one))))
  const spends = await recorder.spendersAmong([{ txid: by.txid, spent: words, raw: by.rawTx }], api)
  assert.deepEqual(
    spends.map((one) => one.spends),
    [[{ outpoint: inMempool, vin: 1 }]],
  )
})

test('one that is registered while a block is looked at is not overlooked there', async () => {
  using setup = setUp()
  const { recorder } = setup
  const [early, late] = [outpoint(1), outpoint(2)]
  recorder.track(early, 'registered')
  const by = spenderOf([early, late], 1)
  const api = {
    ...setup.api,
    async inputsInBlock(_: unknown, positions: readonly number[]) {
      recorder.track(late, 'registered')
      return positions.map((vin) => ({ outpoint: [early, late][vin]!, by: { ...by, vin } }))
    },
  }
  const spent = Uint32Array.from([early, late].flatMap((one) => Object.values(recorder.keys.of(one))))
  const block = { hash: asBlockHash('aa'.repeat(32)), prevHash: asBlockHash('ab'.repeat(32)), timeS: 1, bytes: 0 }
  const found = await recorder.spendsIn([{ ...block, transactions: 1, candidates: [], spent }], [], api)
  assert.deepEqual([...found[0]!.keys()], [early, late])
})

test('a recorder that starts anew tracks what has rows', () => {
  using store = open()
  const { db } = store
  write(db, undefined, outpoint(1))
  const recorder = new SpendRecorder(db, SALT, systemClock)
  assert.deepEqual([recorder.registrations, recorder.isRegistered(outpoint(1))], [1, true])
  assert.equal(recorder.track(outpoint(1), 'asked'), true)
  deleteRegistration(db, outpoint(1))
  recorder.untrack(outpoint(1), 'registered')
  assert.deepEqual([recorder.registrations, recorder.isRegistered(outpoint(1))], [0, false])
})
