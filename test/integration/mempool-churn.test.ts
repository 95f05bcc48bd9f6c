/** The mempool: pending bonds and spends come and go with their transactions (replacement, eviction, restart). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

async function pendingTxids(tracker: Tracker): Promise<string[]> {
  const { stdout } = await runVerb(['bonds', '--all', '--json', '--network', 'regtest', '--datadir', tracker.dataDir])
  const rows = JSON.parse(stdout) as { outpoint: string; state: string }[]
  return rows.filter((row) => row.state === 'pending').map((row) => row.outpoint.slice(0, 64))
}

test('a pending bond is replaced by fee (RBF), and vanishes when the node drops its mempool', async () => {
  // High enough that `bumpfee`, which dates back by up to 99 blocks, can't draw the lock time 21 (see `Regtest.pay`).
  await using node = await Regtest.start({ blocks: 130 })
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const first = await node.fundBond({ key: bondKey('x'), format: 'D', address: `${onionHost('x')}:21` })
  await waitUntil('it is pending', async () => (await pendingTxids(tracker)).includes(first.txid))
  const bumped = await node.rpc<{ txid: string }>('bumpfee', first.txid)
  await waitUntil('only its replacement is pending', async () => {
    const pending = await pendingTxids(tracker)
    return pending.length === 1 && pending[0] === bumped.txid
  })
  await node.stop()
  await node.launch(['-persistmempool=0', '-walletbroadcast=0'])
  await waitUntil('nothing is pending', async () => (await pendingTxids(tracker)).length === 0)
})

test('a spend in the mempool is told by Watch, its replacement after it, and neither once both are gone', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const bond = await node.fundBond({ key: bondKey('x'), format: 'D', address: `${onionHost('x')}:21`, lockBlocks: 1 })
  await node.mine(2)
  await tracker.caughtUp(node)
  const watch = async () =>
    (await tracker.ask({ type: 'Watch', outpoint: bond.outpoint }, 'WatchResponse')).transactions
  assert.deepEqual(await watch(), [])
  const low = await node.spendBond(bond, { feeSats: 1_000 })
  const seen = await waitUntil('the spend is told', async () => {
    const told = await watch()
    return told.length > 0 && told
  })
  assert.deepEqual(
    seen.map(({ txid }) => txid),
    [low.txid],
  )
  assert.equal(Buffer.from(seen[0]!.rawTx).toString('hex'), low.hex)
  assert.ok(Math.abs(seen[0]!.seenAtMs - Date.now()) < 60_000)
  const high = await node.spendBond(bond, { feeSats: 9_000 })
  await waitUntil('the replacement is told alone', async () => {
    const told = (await watch()).map(({ txid }) => txid)
    return told.length === 1 && told[0] === high.txid
  })
  await node.stop()
  await node.launch(['-persistmempool=0', '-walletbroadcast=0'])
  // Until bitcoind is asked again, the tracker refuses.
  await waitUntil('no spend is told', async () => (await watch().catch(() => undefined))?.length === 0)
  await node.mineWith([low.hex])
  await tracker.caughtUp(node)
  assert.deepEqual(
    (await watch()).map(({ txid }) => txid),
    [low.txid],
    'the confirmed one counts',
  )
})

test('an outpoint nobody had asked about is looked up backwards: in the blocks of the retention and in the mempool', async () => {
  await using node = await Regtest.start()
  const utxos = await node.rpc<{ txid: string; vout: number; amount: number }[]>('listunspent')
  const [inBlock, inMempool] = utxos
  const send = async (utxo: { txid: string; vout: number; amount: number }) => {
    const raw = await node.rpc<string>('createrawtransaction', [utxo], {
      [await node.newAddress()]: (utxo.amount - 0.001).toFixed(8),
    })
    const signed = await node.rpc<{ hex: string }>('signrawtransactionwithwallet', raw)
    return node.rpc<string>('sendrawtransaction', signed.hex)
  }
  const mined = await send(inBlock!)
  await node.mine(30)
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const waiting = await send(inMempool!)
  const watch = async (utxo: { txid: string; vout: number }) => {
    const outpoint = { txid: utxo.txid as never, vout: utxo.vout }
    return (await tracker.ask({ type: 'Watch', outpoint }, 'WatchResponse')).transactions.map(({ txid }) => txid)
  }
  assert.deepEqual(await watch(inBlock!), [mined])
  assert.deepEqual(await watch(inMempool!), [waiting])
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await watch(inMempool!), [waiting])
  await tracker.stop('SIGKILL')
  tracker.launch()
  await tracker.caughtUp(node)
  assert.deepEqual(await watch(inBlock!), [mined], 'still known after a restart')
})
