/**
 * Reorgs take back bonds and their spends, and bring them again. Method: index, replace the last blocks, follow, then
 * index the new chain from nothing and compare every row.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { freshRows } from '../support/fresh-index.ts'
import { onionHost } from '../support/onions.ts'

for (const depth of [1, 2, 10, 100]) {
  test(`a reorg of depth ${depth} across a bond and across its spend leaves the rows of a fresh index`, async () => {
    await using node = await Regtest.start({ blocks: 210 })
    await using tracker = await Tracker.start(node)
    const kept = await node.fundBond({ key: bondKey('kept'), format: 'D', address: `${onionHost('kept')}:21` })
    const ending = await node.fundBond({
      key: bondKey('end'),
      format: 'D',
      address: `${onionHost('end')}:21`,
      lockBlocks: 1,
    })
    await node.mine(2)

    // The last `depth` blocks hold a new bond and the spend of an old one.
    const fresh = await node.fundBond({ key: bondKey('new'), format: 'B', address: `${onionHost('new')}:6102` })
    const spend = await node.spendBond(ending)
    await node.mine(depth)
    await tracker.caughtUp(node)
    assert.deepEqual(new Set(await tracker.addresses()), new Set([kept.address, fresh.address]))

    await node.replaceTip({ drop: depth, mine: depth + 1 })
    await tracker.caughtUp(node)
    assert.deepEqual(await tracker.addresses(), [kept.address], 'bond and spend are unconfirmed again')
    assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
    const reorg = await tracker.said('reorg: blocks taken back')
    assert.equal(reorg.depth, depth)

    // Both go back to the mempool (bitcoind itself does that for the last ten blocks) and confirm in another block.
    if (depth > 10) for (const { hex } of [fresh, spend]) await node.rpc('sendrawtransaction', hex)
    await waitUntil('the bond is pending again', async () => {
      const { stdout } = await runVerb([
        'bonds',
        '--all',
        '--json',
        '--network',
        'regtest',
        '--datadir',
        tracker.dataDir,
      ])
      return JSON.parse(stdout).some(
        (row: { outpoint: string; state: string }) => row.outpoint === `${fresh.txid}:0` && row.state === 'pending',
      )
    })
    await node.mine(1)
    await tracker.caughtUp(node)
    assert.deepEqual(new Set(await tracker.addresses()), new Set([kept.address, fresh.address]))
    const watched = await tracker.ask({ type: 'Watch', outpoint: ending.outpoint }, 'WatchResponse')
    assert.deepEqual(
      watched.transactions.map(({ txid }) => txid),
      [spend.txid],
    )
    assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
  })
}

test('a chain that was replaced while the tracker was down is followed to the new tip', async () => {
  await using node = await Regtest.start({ blocks: 130 })
  await using tracker = await Tracker.start(node)
  const gone = await node.fundBond({
    key: bondKey('gone'),
    format: 'D',
    address: `${onionHost('gone')}:21`,
    broadcast: false,
  })
  await node.mineWith([gone.hex])
  await node.mine(4)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [gone.address])
  await tracker.stop('SIGKILL')
  await node.replaceTip({ drop: 5, mine: 8 })
  tracker.launch()
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [])
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
})

test('a node whose chain shares nothing with the index stops the daemon with exit code 2', async () => {
  await using one = await Regtest.start({ blocks: 20 })
  await using tracker = await Tracker.start(one)
  await tracker.caughtUp(one)
  await tracker.stop()
  await using other = await Regtest.start({ blocks: 0 })
  // Regtest chains share their genesis block only; an index that begins above it shares nothing.
  await other.mine(30)
  await using moved = await Tracker.start(other, { dataDir: tracker.dataDir })
  await moved.caughtUp(other)
  assert.equal((await moved.said('reorg: blocks taken back')).depth, 20)
})
