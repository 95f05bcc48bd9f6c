/**
 * The order of things: what happens while bitcoind is being asked, who has to wait, who is told what. The node is a
 * stand-in whose answers the test holds back; indexer and database are the real ones.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Spender } from '../../../src/chain/types.ts'
import { TransientError } from '../../../src/errors.ts'
import { WORK_LIMITS } from '../../../src/wire/work.ts'
import { batch, fault, hash, listener, outpoint, setUp, spenderOf, turn } from '../../support/watching.ts'

test('a spend that arrives while bitcoind is being asked is not overlooked', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const spent = outpoint(1)
  const spender = spenderOf(spent, 1)
  setup.found.set(spent.txid, { kind: 'unspent' })
  setup.onLook = async () => {
    setup.onLook = () => {}
    await setup.mempool([spender]) // told before the answer "unspent", which is older, arrives
  }
  const { spends } = await setup.ask([spent])
  assert.deepEqual([spends[0]!.state, spends[0]!.txid], ['mempool', spender.txid])
})

test('an answer of bitcoind at a block that we are still connecting waits for that block', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const spent = outpoint(1)
  const spender = spenderOf(spent, 1)
  setup.onLook = async () => {
    setup.onLook = () => {}
    // bitcoind spoke at block 10; block 11, which spends the output, comes before its answer does.
    await setup.connect(11, [spender])
  }
  const { spends, height } = await setup.ask([spent])
  assert.deepEqual([spends[0]!.state, spends[0]!.txid, spends[0]!.height, height], ['confirmed', spender.txid, 11, 11])
})

test('what bitcoind is asked about once is not asked again until something happens to it or two blocks pass', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const [a, b] = [outpoint(1), outpoint(2)]
  setup.found.set(a.txid, { kind: 'unspent' })
  await setup.ask([a, b, a])
  await setup.ask([b, a])
  assert.equal(setup.looks, 1)
  await setup.connect(11)
  await setup.ask([a])
  assert.equal(setup.looks, 1, 'tracked since, it is still known')
  const stopping = new AbortController()
  const running = setup.watcher.run(stopping.signal).catch(() => {})
  await setup.connect(12)
  await setup.connect(13)
  await setup.connect(14)
  while (setup.watcher.entries > 0) await turn()
  stopping.abort(new Error('stop'))
  await setup.ask([a])
  assert.equal(setup.looks, 2)
  await running
})

test('who has to wait has made nothing, and is told to come again after a while', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const held = Promise.withResolvers<void>()
  setup.onLook = () => held.promise
  const busy = [0, 1].map((n) => setup.ask(batch(1_000 * n, 1)))
  const waiting = setup.ask(batch(9_000, 1_000))
  const refused = assert.rejects(waiting, fault('busy', /asked by many just now/))
  while (setup.work.waiting.questions === 0) await turn()
  assert.equal(setup.watcher.entries, 2, 'those that are being asked about')
  t.mock.timers.tick(WORK_LIMITS.waitMsMax)
  await refused
  assert.equal(setup.watcher.entries, 2)
  held.resolve()
  await Promise.all(busy)
  assert.equal((await setup.ask(batch(9_000, 1_000))).spends.length, 1_000)
})

test('while bitcoind can not be asked: busy', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  setup.onLook = () => {
    throw new TransientError('gone')
  }
  const isMade = () => setup.watcher.whenKnown([outpoint(1)], setup.lane, (made) => made(outpoint(1)))
  await assert.rejects(isMade(), fault('busy', /bitcoind can not be asked/))
  setup.onLook = () => {}
  assert.equal(await isMade(), false)
  setup.found.set(outpoint(1).txid, { kind: 'unspent', fundedBy: outpoint(1).txid })
  await setup.connect(11, [], { withTxids: false })
  assert.equal(await isMade(), true)
})

test('a node with an index of spends tells what lies below our own: in a scanned block, and deeper', async () => {
  using setup = setUp()
  const [near, deep, stale] = [outpoint(1), outpoint(2), outpoint(3)]
  const [spendNear, spendDeep, spendStale] = [spenderOf(near, 1), spenderOf(deep, 2), spenderOf(stale, 3)]
  await setup.connect(1_000, [spendNear])
  await setup.connect(1_001)
  await setup.settle()
  setup.blocks.set(hash(7), [spendDeep])
  setup.heights.set(hash(7), 7).set(hash(1_000), 1_000).set(hash(1_001, 5), 1_001)
  setup.blocks.set(hash(1_001, 5), [spendStale])
  setup.found.set(near.txid, { kind: 'confirmed', in: hash(1_000) })
  setup.found.set(deep.txid, { kind: 'confirmed', in: hash(7) })
  const { spends } = await setup.ask([deep, near])
  assert.deepEqual(
    spends.map(({ state, txid, height, blockHash }) => [state, txid, height, blockHash]),
    [
      ['confirmed', spendDeep.txid, 7, hash(7)],
      ['confirmed', spendNear.txid, 1_000, hash(1_000)],
    ],
  )
  // A block that is not of our chain is not believed, however often it is named.
  setup.found.set(stale.txid, { kind: 'confirmed', in: hash(1_001, 5) })
  await assert.rejects(setup.ask([stale]), fault('busy', /move too fast/))
})

test('one reply carries so many bytes of transactions and no more', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const spent = [1, 2, 3].map(outpoint)
  for (const [i, one] of spent.entries()) {
    setup.spentInMempool(one, spenderOf(one, i, 3_500_000))
  }
  assert.equal((await setup.ask(spent.slice(0, 2))).spends[1]!.state, 'mempool')
  await assert.rejects(setup.ask(spent), fault('limit', /ask about fewer at once/))
})

test('after a reorg nobody is told anything until the mempool is known again; then only what has changed', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const [a, b] = [outpoint(1), outpoint(2)]
  const spender = spenderOf(a, 1)
  setup.found.set(b.txid, { kind: 'unspent' }).set(a.txid, { kind: 'unspent' })
  const { subscription, told } = listener(setup)
  const stopping = new AbortController()
  const running = setup.watcher.run(stopping.signal).catch(() => {})
  await setup.watcher.subscribe([a, b], setup.lane, subscription)
  await setup.connect(11, [spender])
  assert.deepEqual(told, ['0001:1 confirmed'])
  setup.indexer.disconnect()
  await setup.connect(11, [], { branch: 1 })
  assert.deepEqual(told, ['0001:1 confirmed'], 'nothing yet')
  await setup.mempool([spender])
  assert.deepEqual(told, ['0001:1 confirmed', '0001:1 mempool'])
  await setup.connect(12, [spender])
  assert.deepEqual(told.slice(2), ['0001:1 confirmed'], 'the other has not changed')
  assert.equal(setup.looks, 1, 'no transaction of those blocks makes or spends it')
  setup.watcher.unsubscribe(subscription)
  assert.equal(setup.watcher.subscriptions, 0)
  stopping.abort(new Error('stop'))
  await running
})

test('what was told last belongs to the subscription: who came later and was told more is told of its end', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const funded = outpoint(1)
  const funding: Spender = { ...spenderOf(outpoint(99), 1), txid: funded.txid }
  const [early, late, asking] = [listener(setup), listener(setup), listener(setup)]
  const stopping = new AbortController()
  const running = setup.watcher.run(stopping.signal).catch(() => {})
  const isTold = async (told: string[], count: number) => {
    while (told.length < count) await turn()
  }
  await setup.watcher.subscribe([funded], setup.lane, early.subscription)
  await setup.watcher.subscribe([funded], setup.lane, asking.subscription)

  // It is funded; before the loop has an answer for those who are subscribed, somebody else gets one.
  const slow = Promise.withResolvers<void>()
  let looks = 0
  setup.onLook = () => (looks++ === 0 ? slow.promise : undefined)
  setup.found.set(funded.txid, { kind: 'unspent', fundedBy: funded.txid })
  await setup.mempool([funding])
  while (looks === 0) await turn()
  assert.equal((await setup.watcher.subscribe([funded], setup.lane, late.subscription)).spends[0]!.state, 'unspent')
  assert.equal((await setup.watcher.watchMany([funded], setup.lane, asking.subscription)).spends[0]!.state, 'unspent')

  setup.found.delete(funded.txid)
  await setup.mempool([], [funding.txid])
  slow.resolve()
  await isTold(late.told, 1)
  await isTold(asking.told, 1)
  assert.deepEqual(late.told, ['0001:1 unknown'])
  assert.deepEqual(asking.told, ['0001:1 unknown'], 'told by an answer to its question')
  assert.deepEqual(early.told.at(-1) ?? '0001:1 unknown', '0001:1 unknown', 'told both or neither')
  stopping.abort(new Error('stop'))
  await running
})

test('a spender that leaves and comes back while others are fetched is not called evicted', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const [spent, other] = [outpoint(1), outpoint(2)]
  const [spender, second] = [spenderOf(spent, 1), spenderOf(other, 2)]
  const { subscription, told } = listener(setup)
  await setup.watcher.subscribe([spent, other], setup.lane, subscription)
  await setup.mempool([spender])
  const { mempoolTransaction } = setup.api
  setup.api.mempoolTransaction = async (txid) => {
    // bitcoind has it again, and says so to somebody who asks, before the round that tells of its leaving is through.
    setup.recorder.recordMempool(spender.txid, spender.rawTx, [spent])
    return mempoolTransaction(txid)
  }
  await setup.mempool([second], [spender.txid])
  const { spends } = await setup.ask([spent, other])
  assert.deepEqual(
    spends.map(({ state }) => state),
    ['mempool', 'mempool'],
  )
  assert.deepEqual(told, ['0001:1 mempool', '0002:2 mempool'])
})

test('a block that was fetched before anybody asked makes everything be asked anew', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const funded = outpoint(1)
  assert.equal((await setup.ask([funded])).spends[0]!.state, 'unknown')
  setup.found.set(funded.txid, { kind: 'unspent' })
  await setup.connect(11, [], { withTxids: false })
  assert.equal((await setup.ask([funded])).spends[0]!.state, 'unspent')
})

test('what a subscriber has seen is remembered for two blocks after its subscription has ended', async () => {
  using setup = setUp()
  await setup.connect(10)
  await setup.settle()
  const spent = outpoint(1)
  const spender = spenderOf(spent, 1)
  const stopping = new AbortController()
  const running = setup.watcher.run(stopping.signal).catch(() => {})
  const { subscription } = listener(setup)
  await setup.watcher.subscribe([spent], setup.lane, subscription)
  for (let height = 11; height < 20; height++) await setup.connect(height)
  await setup.mempool([spender])
  await setup.mempool([], [spender.txid])
  setup.watcher.unsubscribe(subscription)
  await setup.connect(20)
  for (let i = 0; i < 50; i++) await turn() // time for a sweep
  assert.equal((await setup.ask([spent])).spends[0]!.state, 'evicted', 'one block later')
  for (const height of [21, 22, 23]) await setup.connect(height)
  while (setup.watcher.entries > 0) await turn()
  assert.equal((await setup.ask([spent])).spends[0]!.state, 'unknown')
  stopping.abort(new Error('stop'))
  await running
})
