/**
 * What watching costs, counted: questions to bitcoind, statements, entries visited. Whatever strangers ask for, the work
 * follows what has changed, and each thing is asked, read and stored once.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatOutpoint, type Outpoint } from '../../../src/chain/types.ts'
import { BOOK_LIMITS, Book, Siblings } from '../../../src/watch/book.ts'
import { TRANSACTION_LIMITS } from '../../../src/watch/transactions.ts'
import { WORK_LIMITS } from '../../../src/wire/work.ts'
import { batch, fault, listener, outpoint, run, setUp, spenderOf, turn } from '../../support/watching.ts'

const SPENDS_READ = /select.*from "spends" as "s"/s
const RAW_READ = /select "raw_tx" from "spenders"/
/** Outputs of one transaction. */
const outputs = (count: number): Outpoint[] => Array.from({ length: count }, (_, vout) => ({ ...outpoint(77), vout }))

test('a thousand outpoints that bitcoind does not know: questions about fifty each, no statement for any of them', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  await setup.ask(batch(1, 1_000))
  assert.equal(setup.asked.outpoints, 1_000)
  assert.equal(setup.asked.atOnce, WORK_LIMITS.pieceOutpoints)
  await setup.ask(batch(1, 1_000))
  assert.equal(setup.asked.outpoints, 1_000, 'known by now')
  assert.equal(setup.statements(SPENDS_READ), 0)
})

test('a thousand outputs of one transaction: a visit to none when it comes, and each is asked about once', async () => {
  using setup = setUp()
  await using _loops = run(setup)
  await setup.connect(10)
  await setup.settle()
  const { subscription, told } = listener(setup)
  await setup.watcher.subscribe(outputs(1_000), setup.lane, subscription)
  setup.found.set(outpoint(77).txid, { kind: 'unspent', fundedBy: outpoint(77).txid })
  const asked = setup.asked.outpoints
  await setup.mempool([{ ...spenderOf(outpoint(1), 1), txid: outpoint(77).txid }])
  while (told.length < 1_000) await turn()
  assert.equal(setup.asked.outpoints, asked + 1_000)
  assert.equal(setup.asked.atOnce, WORK_LIMITS.pieceOutpoints)
})

test('the book makes all outputs of a transaction, and all there are, doubtful by one number', () => {
  const opened: Outpoint[] = []
  const book = new Book({ onOpen: (one) => opened.push(one) < 0, onClose: () => {} })
  const entries = [...outputs(3), outpoint(1)].map((one) => book.hold(one, 10))
  for (const entry of entries) Object.assign(entry, { output: 'unspent', askedAt: book.moves })
  const doubtful = () => entries.map((entry) => book.outputOf(entry) === undefined)
  assert.deepEqual(doubtful(), [false, false, false, false])
  assert.ok(book.moved(outpoint(77).txid) instanceof Siblings)
  assert.deepEqual(doubtful(), [true, true, true, false])
  for (const entry of entries) entry.askedAt = book.moves
  const since = book.moves
  book.reorged()
  assert.deepEqual(doubtful(), [false, false, false, false], 'what was known before a reorg may well be so')
  assert.equal(book.isStill(entries[0]!, since), false, 'an answer that comes during one says nothing')
  book.allMoved()
  assert.deepEqual(doubtful(), [true, true, true, true])
  for (const entry of entries) book.release(entry)
  assert.equal(book.sweep(12, 3), true)
  assert.equal(book.sweep(12, 3), false)
  assert.deepEqual([book.size, [...book.all()].length, opened.length], [0, 0, 4])
})

test('a transaction of the mempool that spends a thousand: fetched once, stored once, and too much for one reply', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const spent = batch(1, 1_000)
  const sweep = spenderOf(spent, 1)
  for (const one of spent) setup.spentInMempool(one, sweep)
  assert.ok(1_000 * sweep.rawTx.length > TRANSACTION_LIMITS.replyBytesMax)
  await assert.rejects(setup.ask(spent), fault('limit', /ask about fewer at once/))
  const { transactions } = setup.asked
  assert.ok(transactions <= 1_000 / WORK_LIMITS.pieceOutpoints, `${transactions} fetched: one for each question`)
  const looks = setup.looks
  const read = setup.statements(SPENDS_READ)
  await assert.rejects(setup.ask(spent), fault('limit', /ask about fewer at once/))
  assert.deepEqual([setup.looks, setup.statements(SPENDS_READ), setup.statements(RAW_READ)], [looks, read, 0])
  const some = spent.slice(0, 100)
  const { spends } = await setup.ask(some)
  assert.ok(spends.every(({ tx, vin }, i) => vin === i && sweep.rawTx.equals(tx!)))
  assert.equal(setup.statements(RAW_READ), 1)
})

test('a block in which a thousand were spent before anybody asked is read once, and its transaction stored once', async () => {
  using setup = setUp()
  const spent = batch(1, 1_000)
  await setup.connect(10, [spenderOf(spent, 1)])
  await setup.settle()
  await assert.rejects(setup.ask(spent), fault('limit', /ask about fewer at once/))
  assert.equal(setup.asked.blocks, 1)
  assert.equal((await setup.ask(spent.slice(0, 10))).spends[9]!.state, 'confirmed')
  assert.equal(setup.asked.blocks, 1)
})

test('what is told of a block is what it changed, whoever else waits', async () => {
  using setup = setUp()
  await using _loops = run(setup)
  await setup.connect(10)
  await setup.settle()
  const { subscription, told } = listener(setup)
  await setup.watcher.subscribe(batch(1, 5_000), setup.lane, subscription)
  const { outpoints } = setup.asked
  const read = setup.statements(SPENDS_READ)
  const spent = outpoint(4_000)
  await setup.connect(11, [spenderOf(spent, 1)])
  assert.deepEqual(told, [`${formatOutpoint(spent).slice(60)} confirmed`], 'at once')
  setup.indexer.disconnect()
  await setup.connect(11, [], { branch: 1 })
  await setup.settle()
  assert.equal(told.length, 2)
  assert.equal(setup.asked.outpoints, outpoints, 'nobody else is asked about')
  assert.ok(setup.statements(SPENDS_READ) - read <= 4)
})

test('a block of unknown transactions makes all be asked anew, in turns, and who has changed is told', async () => {
  using setup = setUp()
  await using _loops = run(setup)
  await setup.connect(10)
  await setup.settle()
  const { subscription, told } = listener(setup)
  await setup.watcher.subscribe(batch(1, 2_000), setup.lane, subscription)
  const { outpoints } = setup.asked
  setup.found.set(outpoint(1_500).txid, { kind: 'unspent' })
  await setup.connect(11, [], { withTxids: false })
  while (setup.asked.outpoints < outpoints + 2_000) await turn()
  assert.equal(setup.asked.atOnce, WORK_LIMITS.pieceOutpoints)
  while (told.length === 0) await turn()
  assert.deepEqual(told, [`${formatOutpoint(outpoint(1_500)).slice(60)} unspent`])
})

test('one outpoint that two hundred wait for is asked about once', async () => {
  using setup = setUp()
  await using _loops = run(setup)
  await setup.connect(10)
  await setup.settle()
  const all = Array.from({ length: 200 }, () => listener(setup))
  for (const { subscription } of all) await setup.watcher.subscribe([outpoint(77)], setup.lane, subscription)
  assert.equal(setup.looks, 1)
  setup.found.set(outpoint(77).txid, { kind: 'unspent', fundedBy: outpoint(77).txid })
  await setup.mempool([{ ...spenderOf(outpoint(1), 1), txid: outpoint(77).txid }])
  while (all.some(({ told }) => told.length === 0)) await turn()
  assert.equal(setup.looks, 2)
  await setup.mempool([spenderOf(outpoint(77), 2)])
  while (all.some(({ told }) => told.length === 1)) await turn()
  assert.deepEqual([setup.looks, setup.statements(RAW_READ)], [2, 1], 'and its spender is read once')
})

test('twenty who ask the same at once: whoever has waited finds that it is known', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  setup.found.set(outpoint(77).txid, { kind: 'unspent' })
  const held = Promise.withResolvers<void>()
  setup.onLook = () => held.promise
  const asking = Array.from({ length: 20 }, () => setup.ask([outpoint(77)]))
  while (setup.work.waiting.questions < 20 - WORK_LIMITS.questionsAtOnce) await turn()
  held.resolve()
  await Promise.all(asking)
  assert.equal(setup.looks, WORK_LIMITS.questionsAtOnce)
})

test('what nobody asks about any more is bounded, whoever has asked', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  for (let i = 0; i < BOOK_LIMITS.idle + 5_000; i += 1_000) await setup.ask(batch(i, 1_000))
  const underWay = 1_000
  assert.ok(setup.watcher.entries <= BOOK_LIMITS.idle + underWay, `${setup.watcher.entries} entries`)
})

test('a flood of new outpoints pushes out none that somebody comes back to', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const polled = batch(900_000, 5)
  await setup.ask(polled)
  await setup.ask(polled)
  const asked = setup.asked.outpoints
  const flood = BOOK_LIMITS.idle + 3_000
  for (let i = 0; i < flood; i += 1_000) await setup.ask(batch(i, 1_000))
  assert.equal(setup.asked.outpoints, asked + flood)
  await setup.ask(polled)
  assert.equal(setup.asked.outpoints, asked + flood, 'known all along')
  for (let i = 0; i < BOOK_LIMITS.idleAgain + 5_000; i += 1_000) {
    await setup.ask(batch(i, 1_000))
    await setup.ask(batch(i, 1_000))
  }
  assert.ok(setup.watcher.entries <= BOOK_LIMITS.idle + BOOK_LIMITS.idleAgain + 1_000)
})
