/** Watch without the publisher's help: messages lost, publishers dead, none at all. Late perhaps, wrong never. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, sign, spend } from '../support/coins.ts'
import { LossyNode } from '../support/lossy-node.ts'
import { Wallet } from '../support/subscriber.ts'

test('messages that are lost are noticed by the gap they leave, and what they said is found', async () => {
  await using node = await Regtest.start()
  await using lossy = await LossyNode.before(node)
  await using tracker = await Tracker.start(node, { via: lossy })
  const [a, b, c, d] = await makeCoins(node, 4)
  await tracker.caughtUp(node)
  assert.deepEqual((await tracker.said('bitcoind connected')).zmq, { blocks: true, mempoolEvents: true })
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe([a!, b!, c!, d!])

  const first = await spend(node, [a!])
  await wallet.told(tracker, a!, { state: 'mempool', txid: first.txid })
  // Every second message of the mempool is lost, and all raw transactions.
  let count = 0
  lossy.loses = (topic) => topic === 'rawtx' || (topic === 'sequence' && count++ % 2 === 0)
  const lost = await spend(node, [b!])
  const told = await spend(node, [c!])
  await wallet.told(tracker, c!, { state: 'mempool', txid: told.txid })
  await wallet.told(tracker, b!, { state: 'mempool', txid: lost.txid })
  assert.ok(lossy.lost > 0)
  // A replacement of which only the arrival is heard, and a block that is not announced.
  lossy.loses = (topic, body) => topic !== 'sequence' || String.fromCharCode(body[32]!) !== 'A'
  const higher = await spend(node, [b!], { feeSats: 6_000 })
  await wallet.told(tracker, b!, { state: 'mempool', txid: higher.txid, conflicts: [lost.txid] })
  const hidden = await sign(node, [d!])
  const blockHash = await node.mineWith([hidden.hex, higher.hex])
  await wallet.told(tracker, d!, { state: 'confirmed', txid: hidden.txid, blockHash })
  await wallet.told(tracker, b!, { state: 'confirmed', txid: higher.txid, blockHash, conflicts: [lost.txid] })
})

test('publishers that die: polling finds every change', async () => {
  await using node = await Regtest.start()
  await using lossy = await LossyNode.before(node)
  await using tracker = await Tracker.start(node, { via: lossy })
  const [a, b] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe([a!, b!])
  const before = await spend(node, [a!])
  await wallet.told(tracker, a!, { state: 'mempool', txid: before.txid })
  lossy.killZmq()
  const low = await spend(node, [b!])
  await wallet.told(tracker, b!, { state: 'mempool', txid: low.txid })
  const high = await spend(node, [b!], { feeSats: 5_000 })
  await wallet.told(tracker, b!, { state: 'mempool', txid: high.txid, conflicts: [low.txid] })
  const [blockHash] = await node.mine(1)
  await wallet.told(tracker, a!, { state: 'confirmed', txid: before.txid, blockHash: blockHash! })
  await node.replaceTip({ drop: 1, mine: 2 })
  await wallet.told(tracker, a!, { state: 'mempool', txid: before.txid })
})

test('publishers that answer and never speak: nobody waits for them, and blocks come as from a node without', async () => {
  await using node = await Regtest.start()
  await using lossy = await LossyNode.before(node)
  lossy.loses = () => true
  await using tracker = await Tracker.start(node, { via: lossy })
  const [a] = await makeCoins(node, 1)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe([a!])
  const first = await spend(node, [a!])
  await wallet.told(tracker, a!, { state: 'mempool', txid: first.txid })
  const [blockHash] = await node.mine(1)
  await wallet.told(tracker, a!, { state: 'confirmed', txid: first.txid, blockHash: blockHash! })
  assert.ok(lossy.lost > 0)
  assert.ok(lossy.exchangesOf('waitfornewblock') > 0, 'bitcoind is asked')

  // Heard again: the bell alone is enough. Silent once more: it isn't.
  lossy.loses = () => false
  await waitUntil('the bell alone is waited for', async () => {
    const before = lossy.exchangesOf('waitfornewblock')
    await node.mine(1)
    await tracker.caughtUp(node)
    return lossy.exchangesOf('waitfornewblock') === before
  })
  const heard = lossy.exchangesOf('waitfornewblock')
  lossy.loses = () => true
  await node.mine(1)
  await tracker.caughtUp(node)
  await waitUntil('bitcoind is asked again', () => lossy.exchangesOf('waitfornewblock') > heard + 1)
})

test('a node without ZMQ, and bitcoind restarted under a subscriber', async () => {
  await using node = await Regtest.start({ zmq: false })
  await using tracker = await Tracker.start(node)
  const [a, b] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  assert.deepEqual((await tracker.said('bitcoind connected')).zmq, { blocks: false, mempoolEvents: false })
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe([a!, b!])
  const first = await spend(node, [a!])
  await wallet.told(tracker, a!, { state: 'mempool', txid: first.txid })
  // It comes back without its mempool: the spend is evicted, and said to be.
  await node.stop()
  // Within a second or two, and then nobody is told "unspent" while bitcoind can't be asked.
  const refused = await waitUntil('it says that it does not know', () =>
    tracker.ask({ type: 'WatchMany', outpoints: [b!] }, 'Spends').then(() => '', String),
  )
  assert.match(refused, /not_synced|busy/)
  await node.launch(['-persistmempool=0', '-walletbroadcast=0'])
  await wallet.told(tracker, a!, { state: 'evicted', txid: first.txid })
  const blockHash = await node.mineWith([first.hex])
  await wallet.told(tracker, a!, { state: 'confirmed', txid: first.txid, blockHash })
  await waitUntil('the other is still what it was', () => wallet.last(b!)?.state === 'unspent')
})

test('without ZMQ: what funds an outpoint is replaced before a poll has seen it, and whoever was told unspent is told', async () => {
  await using node = await Regtest.start({ zmq: false })
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 6)
  await tracker.caughtUp(node)
  using first = await Wallet.open(tracker)
  using second = await Wallet.open(tracker)
  for (const coin of coins) {
    const low = await sign(node, [coin])
    const high = await sign(node, [coin], { feeSats: 5_000 })
    const [outpoint] = low.outputs
    await node.rpc('sendrawtransaction', low.hex)
    const told = await first.subscribe([outpoint!])
    assert.equal(told[0]!.state, 'unspent')
    await second.subscribe([outpoint!])
    await node.rpc('sendrawtransaction', high.hex)
    await first.told(tracker, outpoint!, { state: 'unknown' })
    await second.told(tracker, outpoint!, { state: 'unknown' })
  }
})
