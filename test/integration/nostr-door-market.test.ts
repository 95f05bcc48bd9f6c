/**
 * What the Nostr door serves follows the market: held while we are behind, and with a reorg; and what a maker says of
 * itself there has it asked earlier than its turn.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { startMakers } from '../sandbox/maker-process.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { DoorVisitor, doorUrl, mineBonds } from '../support/nostr-door.ts'

test('while there is no bitcoind a REQ is held, and answered whole once there is; an EVENT is answered meanwhile', async () => {
  await using node = await Regtest.start()
  const bonds = await mineBonds(node, ['one', 'two'])
  await node.stop()
  await using tracker = await Tracker.start(node, { nostr: true })
  await tracker.said('listening')
  using visitor = await DoorVisitor.open(doorUrl(tracker))
  visitor.say('REQ', 'held', {})
  assert.ok(await visitor.isQuiet(3_000), 'neither an event nor EOSE')
  const event = makerEvent(bonds[0]!.txid)
  assert.equal(await visitor.say('EVENT', event).text(), `["OK","${event.id}",true,""]`)
  visitor.say('REQ', 'also', { limit: 1 })
  visitor.say('REQ', 'gone', {}).say('CLOSE', 'gone')
  await node.launch()
  assert.equal((await visitor.stored('held')).length, 2)
  assert.equal((await visitor.stored('also')).length, 1)
  assert.ok(await visitor.isQuiet())
})

test('a reorg: a bond that it takes is gone at once, and told anew when it comes back', async () => {
  await using node = await Regtest.start()
  await mineBonds(node, ['stays'])
  await node.mine(6)
  const [taken] = await mineBonds(node, ['taken'])
  await using tracker = await Tracker.start(node, { nostr: true })
  await tracker.caughtUp(node)
  using visitor = await DoorVisitor.open(doorUrl(tracker))
  const content = `${taken!.txid}:0`
  const before = await visitor.ask('all', {})
  assert.ok(before.some((event) => event.content === content))
  const height = await node.height()
  await node.rpc('invalidateblock', await node.tipHash())
  await node.mineEmpty(2)
  assert.equal(await node.height(), height + 1)
  await tracker.caughtUp(node)
  const without = await visitor.ask('again', {})
  assert.deepEqual(
    without.map(({ id }) => id),
    before.filter((event) => event.content !== content).map(({ id }) => id),
    'the other one is as it was',
  )
  await node.mine(1) // with what the reorg gave back to the mempool
  const told = [await visitor.message(), await visitor.message()]
  assert.deepEqual(told.map(([type, id, event]) => [type, id, event.content]).sort(), [
    ['EVENT', 'again', content],
    ['EVENT', 'all', content],
  ])
})

/** A maker on 127.0.0.1 that is not there yet, and how it is started. */
async function absentMaker(node: Regtest) {
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const bond = await node.fundBond({ key: bondKey('back'), format: 'B', address, lockBlocks: 2_000 })
  await node.mine(1)
  const { amountSats, lockHeight } = bond
  const confHeight = await node.height()
  const told = { outpoint: `${bond.txid}:0`, amountSats, lockHeight, confHeight, certAddress: address }
  return { bond, address, start: () => startMakers([{ name: 'back', reach: { listenPort: port! }, bond: told }]) }
}

async function makerRow({ httpPort }: Tracker, address: string): Promise<{ reach: string; probes_1d: number }> {
  const reply = await fetch(`http://127.0.0.1:${httpPort}/api/v1/makers/${address}`)
  return ((await reply.json()) as { maker: { reach: string; probes_1d: number } }).maker
}

test('a maker that announces itself is asked at once, and not again for it within the hour', async () => {
  await using node = await Regtest.start()
  const { bond, address, start } = await absentMaker(node)
  // Nothing but what it says itself has it asked again in time.
  const args = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1800', '--probe-timeout', '2']
  await using tracker = await Tracker.start(node, { nostr: true, http: true, args })
  await tracker.caughtUp(node)
  const url = doorUrl(tracker)
  await waitUntil('it was probed once', async () => (await makerRow(tracker, address)).probes_1d === 1)
  await using maker = await start()
  assert.ok((await announce(url, makerEvent(bond.txid))).isAccepted)
  await waitUntil('it is up', async () => (await makerRow(tracker, address)).reach === 'up')
  assert.equal((await makerRow(tracker, address)).probes_1d, 2)
  await maker.kill()
  for (let i = 0; i < 5; i++) await announce(url, makerEvent(bond.txid))
  using visitor = await DoorVisitor.open(url)
  assert.ok(await visitor.isQuiet(2_000))
  assert.equal((await makerRow(tracker, address)).probes_1d, 2)
})
