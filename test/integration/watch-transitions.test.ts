/**
 * Watch: every state of an outpoint and every way from one to the next, on a real chain. Each is seen by a subscriber
 * over its socket and, equal, by a newcomer who asks afterwards.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import { asTxid, toInternal } from '../../src/chain/types.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { type Coin, makeCoins, send, sign, spend } from '../support/coins.ts'
import { brief, present, Wallet } from '../support/subscriber.ts'

/** Unsigned, 95 kB of outputs that nobody can spend. */
function fatTransaction(coin: Coin, feeSats: number): string {
  const outputs = 2_200
  const tx = new Transaction()
  tx.addInput(toInternal(coin.txid), coin.vout)
  const each = BigInt(Math.floor((coin.sats - feeSats) / outputs))
  for (let i = 0; i < outputs; i++) tx.addOutput(Buffer.concat([Buffer.of(0, 32), randomBytes(32)]), each)
  return tx.toHex()
}

const NOWHERE = { txid: asTxid('ab'.repeat(32)), vout: 0 }

test('from an output that does not exist yet to its spend, replaced by fee, mined, reorged out and double-spent', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [coin] = await makeCoins(node, 1)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)

  const funding = await sign(node, [coin!])
  const outpoint = { txid: funding.txid, vout: 0 }
  const [first] = await wallet.subscribe([outpoint])
  assert.deepEqual(first, { outpoint, state: 'unknown', registered: false })
  await send(node, funding)
  await wallet.told(tracker, outpoint, { state: 'unspent' })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.equal((await present(tracker, outpoint)).state, 'unspent')
  assert.deepEqual(
    wallet.history.map(({ state }) => state),
    ['unknown', 'unspent'],
    'its confirmation changes nothing',
  )

  const low = await spend(node, funding.outputs, { feeSats: 1_000 })
  const seen = await wallet.told(tracker, outpoint, { state: 'mempool', txid: low.txid })
  assert.equal(Buffer.from(seen.tx!).toString('hex'), low.hex, 'the whole transaction, witnesses included')
  assert.equal(seen.vin, 0)
  assert.ok(Math.abs(seen.firstSeenS! - Date.now() / 1000) < 60)
  const middle = await spend(node, funding.outputs, { feeSats: 3_000 })
  await wallet.told(tracker, outpoint, { state: 'mempool', txid: middle.txid, conflicts: [low.txid] })
  const high = await spend(node, funding.outputs, { feeSats: 9_000 })
  await wallet.told(tracker, outpoint, { state: 'mempool', txid: high.txid, conflicts: [low.txid, middle.txid] })

  const [mined] = await node.mine(1)
  const height = await node.height()
  const rivals = { conflicts: [low.txid, middle.txid] }
  await wallet.told(tracker, outpoint, { state: 'confirmed', txid: high.txid, height, blockHash: mined!, ...rivals })

  // Reorged out: back in the mempool; then mined in another block.
  await node.replaceTip({ drop: 1, mine: 2 })
  await wallet.told(tracker, outpoint, { state: 'mempool', txid: high.txid, ...rivals })
  const [again] = await node.mine(1)
  await wallet.told(tracker, outpoint, { state: 'confirmed', txid: high.txid, blockHash: again!, ...rivals })

  // Reorged out and double-spent by a rival that was never seen confirmed: the block's word counts.
  await node.rpc('invalidateblock', again)
  const twin = await node.mineWith([low.hex])
  await node.mineEmpty(1)
  const told = await wallet.told(tracker, outpoint, { state: 'confirmed', txid: low.txid, blockHash: twin })
  assert.deepEqual(new Set(told.conflicts), new Set([high.txid, middle.txid]))
  assert.equal(Buffer.from(told.tx!).toString('hex'), low.hex)
})

test('mined without being seen in the mempool; and a spend that never was is not invented', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [a, b] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const states = await wallet.subscribe([a!, NOWHERE, b!, { ...a!, vout: 7 }])
  assert.deepEqual(
    states.map(({ state }) => state),
    ['unspent', 'unknown', 'unspent', 'unknown'],
  )
  const hidden = await sign(node, [a!])
  const block = await node.mineWith([hidden.hex])
  await wallet.told(tracker, a!, {
    state: 'confirmed',
    txid: hidden.txid,
    blockHash: block,
    height: await node.height(),
  })
  assert.deepEqual(brief(await present(tracker, b!)), { state: 'unspent' })
  assert.deepEqual(brief(await present(tracker, NOWHERE)), { state: 'unknown' })
})

test('a child that pays for its parent: both outpoints are told, in one block too', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [coin] = await makeCoins(node, 1)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const parent = await spend(node, [coin!], { feeSats: 200 })
  const [between] = parent.outputs
  await wallet.subscribe([coin!, between!])
  await wallet.told(tracker, between!, { state: 'unspent' })
  const child = await spend(node, [between!], { feeSats: 8_000 })
  await wallet.told(tracker, between!, { state: 'mempool', txid: child.txid })
  const [blockHash] = await node.mine(1)
  await wallet.told(tracker, coin!, { state: 'confirmed', txid: parent.txid, blockHash: blockHash! })
  await wallet.told(tracker, between!, { state: 'confirmed', txid: child.txid, blockHash: blockHash! })
  await node.replaceTip({ drop: 1, mine: 2 })
  await wallet.told(tracker, coin!, { state: 'mempool', txid: parent.txid })
  await wallet.told(tracker, between!, { state: 'mempool', txid: child.txid })
})

test('a spend that the mempool drops is kept as evicted, and comes back', async () => {
  await using node = await Regtest.start({ args: ['-mempoolexpiry=1'] })
  await using tracker = await Tracker.start(node)
  const [coin, other, third] = await makeCoins(node, 3)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const chain = await sign(node, [third!])
  const unborn = { txid: chain.txid, vout: 0 }
  await wallet.subscribe([coin!, unborn])
  const spent = await spend(node, [coin!])
  await send(node, chain)
  await wallet.told(tracker, coin!, { state: 'mempool', txid: spent.txid })
  await wallet.told(tracker, unborn, { state: 'unspent' })

  // Two hours later the next transaction makes the node expire what is older than one.
  await node.rpc('setmocktime', Math.floor(Date.now() / 1000) + 7_200)
  await spend(node, [other!])
  const evicted = await wallet.told(tracker, coin!, { state: 'evicted', txid: spent.txid })
  assert.equal(Buffer.from(evicted.tx!).toString('hex'), spent.hex, 'it may be the only copy of a preimage')
  await wallet.told(tracker, unborn, { state: 'unknown' })

  await node.rpc('sendrawtransaction', spent.hex)
  await wallet.told(tracker, coin!, { state: 'mempool', txid: spent.txid })
  const rival = await spend(node, [coin!], { feeSats: 5_000 })
  await wallet.told(tracker, coin!, { state: 'mempool', txid: rival.txid, conflicts: [spent.txid] })
})

test('evicted for want of room (-maxmempool): told, and the newcomers that pushed it out stay', async () => {
  await using node = await Regtest.start({
    args: ['-maxmempool=5'],
  })
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 60, 3_000_000)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const [cheap, ...fat] = coins
  await wallet.subscribe([cheap!])
  const spent = await spend(node, [cheap!], { feeSats: 150 })
  await wallet.told(tracker, cheap!, { state: 'mempool', txid: spent.txid })
  for (const [i, coin] of fat.entries()) {
    const { hex } = await node.rpc<{ hex: string }>(
      'signrawtransactionwithwallet',
      fatTransaction(coin, 400_000 + 1_000 * i),
    )
    await node.rpc('sendrawtransaction', hex)
    // One more would be refused: what was pushed out has raised the node's minimum.
    if (!(await node.rpc<string[]>('getrawmempool')).includes(spent.txid)) break
  }
  await wallet.told(tracker, cheap!, { state: 'evicted', txid: spent.txid })
})

test('a funding that a reorg undoes takes the output with it; the spend of a stale block is told as such', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [a, b] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const funding = await sign(node, [a!])
  const rival = await sign(node, [a!], { feeSats: 2_000 })
  const outpoint = { txid: funding.txid, vout: 0 }
  await wallet.subscribe([outpoint, b!])
  await node.mineWith([funding.hex])
  await wallet.told(tracker, outpoint, { state: 'unspent' })
  const gone = await sign(node, [b!])
  const winner = await sign(node, [b!], { feeSats: 2_000 })
  const stale = await node.mineWith([gone.hex])
  await wallet.told(tracker, b!, { state: 'confirmed', txid: gone.txid, blockHash: stale })
  // Another branch, where both lose their inputs to others.
  await node.rpc('invalidateblock', await node.rpc('getblockhash', (await node.height()) - 1))
  const twins = await node.mineWith([rival.hex, winner.hex])
  await node.mineEmpty(2)
  await wallet.told(tracker, outpoint, { state: 'unknown' })
  await wallet.told(tracker, b!, { state: 'confirmed', txid: winner.txid, blockHash: twins, conflicts: [gone.txid] })
})

test('outputs that no transaction can have are unknown, and cost their neighbours nothing', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { http: true })
  const coins = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  const { txid } = coins[0]!
  const vouts = [111_110, 111_111, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1]
  const outpoints = [...vouts.map((vout) => ({ txid, vout })), ...coins.map(({ vout }) => ({ txid, vout }))]
  const expected = [...vouts.map(() => 'unknown'), 'unspent', 'unspent']
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints }, 'Spends')
  assert.deepEqual(
    spends.map(({ state }) => state),
    expected,
  )
  using wallet = await Wallet.open(tracker)
  const subscribed = await wallet.subscribe(outpoints)
  assert.deepEqual(
    subscribed.map(({ state }) => state),
    expected,
  )
  const spent = await spend(node, [coins[1]!])
  await wallet.told(tracker, coins[1]!, { state: 'mempool', txid: spent.txid })
  const outpoint = { txid, vout: 2 ** 31 }
  const watched = await tracker.ask({ type: 'Watch', outpoint }, 'WatchResponse')
  assert.deepEqual(watched.transactions, [])
  assert.equal(
    (await tracker.ask({ type: 'Register', outpoints, ttlBlocks: 10 }, 'Registered')).count,
    outpoints.length,
  )
  for (const vout of vouts) {
    const response = await fetch(`http://127.0.0.1:${tracker.httpPort}/api/v1/spends/${txid}/${vout}`)
    const body = (await response.json()) as { spend: { state: string } }
    assert.deepEqual([response.status, body.spend.state], [200, 'unknown'])
  }
  const refused = tracker.ask({ type: 'BondProof', outpoint }, 'BondProof')
  await assert.rejects(refused, /not_found/)
  assert.deepEqual(
    tracker.log.filter(({ level }) => level >= 40),
    [],
  )
})
