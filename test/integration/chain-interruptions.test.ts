/** The daemon is killed, bitcoind goes away, comes back with another cookie, changes how it serves blocks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { freshRows } from '../support/fresh-index.ts'
import { onionHost } from '../support/onions.ts'

/** A chain with a bond about every tenth block, some spent. */
async function chainWithBonds(node: Regtest, bonds: number): Promise<void> {
  for (let i = 0; i < bonds; i++) {
    const bond = await node.fundBond({
      key: bondKey('m', i),
      format: 'D',
      address: `${onionHost(`m${i}`)}:21`,
      lockBlocks: i % 3 ? 9_000 : 2,
    })
    await node.mine(5)
    if (i % 3 === 0) await node.spendBond(bond)
    await node.mine(5)
  }
}

test('kill -9 in mid-scan, again and again: the scan resumes where it stopped and ends with the rows of a fresh index', async () => {
  await using node = await Regtest.start({ blocks: 1_500 })
  await chainWithBonds(node, 12)
  await using tracker = await Tracker.start(node)
  const best = await node.height()
  let heights: number[] = []
  for (let kills = 0; kills < 6; kills++) {
    await waitUntil(
      'the scan has moved',
      async () => {
        const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
        if (status === undefined || status.height <= (heights.at(-1) ?? 0)) return false
        heights = [...heights, status.height]
        return true
      },
      { everyMs: 5 },
    )
    await tracker.stop('SIGKILL')
    tracker.launch()
    if (heights.at(-1) === best) break
  }
  await tracker.caughtUp(node)
  const scans = tracker.log.filter((line) => line.msg === 'scan begins')
  assert.equal(scans.length, 1, 'only the first start began from nothing')
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
})

test('SIGTERM in mid-scan ends with exit code 0 and loses nothing', async () => {
  await using node = await Regtest.start({ blocks: 1_500 })
  await using tracker = await Tracker.start(node)
  await tracker.said('scan begins')
  assert.equal(await tracker.stop('SIGTERM'), 0)
  tracker.launch()
  await tracker.caughtUp(node)
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
})

test('bitcoind restarts with a new cookie, and stays away for a while: the tracker goes on by itself', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const before = tracker.log.length
  await node.stop()
  const lost = await tracker.said('bitcoind unreachable', before)
  assert.match(String(lost.detail), /--rpc|--cookie-file/)
  assert.deepEqual(await tracker.addresses(), [], 'a short absence does not stop the answers')
  await node.launch()
  const bond = await node.fundBond({ key: bondKey('x'), format: 'D', address: `${onionHost('x')}:21` })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.ok((await tracker.said('bitcoind connected', before)).downMs)
  assert.deepEqual(await tracker.addresses(), [bond.address])

  await node.kill()
  await node.launch()
  await node.mine(1)
  await tracker.caughtUp(node)
})

test('without REST and without ZMQ blocks come by RPC, and new tips are still learnt', async () => {
  await using node = await Regtest.start({ rest: false, zmq: false })
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const connected = await tracker.said('bitcoind connected')
  assert.equal(connected.blocksBy, 'rpc')
  assert.deepEqual(connected.zmq, { blocks: false, mempoolEvents: false })
  const bond = await node.fundBond({ key: bondKey('x'), format: 'D', address: `${onionHost('x')}:21` })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
})
