/** Three trackers of one market: what one of them is told to watch, and what one of them has seen of it, all know. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asTxid, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { bringBlocks } from '../support/bring-blocks.ts'
import { type Coin, makeCoins, send, sign, spend } from '../support/coins.ts'
import { Fleet, knows, lonely, register, registrationsAt, tells } from '../support/fleet.ts'

const madeUp = (n: number): Outpoint => ({ txid: asTxid(n.toString(16).padStart(64, '0')), vout: 0 })

test('what one tracker has registered is watched by all, whoever is killed', async (t) => {
  await using fleet = await Fleet.start(t)
  const [a, b, c] = fleet.trackers as [Tracker, Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 3)
  await fleet.together()
  await register(a, coins)
  await a.stop('SIGKILL')
  await spend(fleet.node, [coins[0]!])
  for (const tracker of [b, c]) {
    await knows(tracker, coins)
    await tells(tracker, coins[0]!, 'mempool')
  }
  await fleet.node.mine(1)
  a.launch()
  await a.caughtUp(fleet.node)
  for (const tracker of fleet.trackers) await tells(tracker, coins[0]!, 'confirmed')

  await t.test('its end is the same height for all', async () => {
    const [coin] = await makeCoins(fleet.node, 1)
    await fleet.together()
    const { untilHeight } = await register(b, [coin!], 4)
    for (const tracker of fleet.trackers) {
      await knows(tracker, [coin!])
      assert.equal(registrationsAt(tracker).get(formatOutpoint(coin!))!.untilHeight, untilHeight)
    }
    await fleet.node.mine(untilHeight - (await fleet.node.height()))
    await fleet.together()
    // The one that was down meanwhile has the same end: it is asked again by its own file.
    await c.stop('SIGKILL')
    c.launch()
    await fleet.together()
    for (const tracker of fleet.trackers) assert(registrationsAt(tracker).has(formatOutpoint(coin!)), 'its last block')
    await fleet.node.mine(1)
    for (const tracker of fleet.trackers) {
      await waitUntil('it has ended', () => !registrationsAt(tracker).has(formatOutpoint(coin!)))
    }
    assert.equal(registrationsAt(a).size, 3, 'the others have not')
  })
})

test('a funding that one of them has seen is known to all', async (t) => {
  await using apart = await Regtest.start({ blocks: 0 })
  await using fleet = await Fleet.start(t, { count: 2 })
  const [a, b] = fleet.trackers as [Tracker, Tracker]
  await bringBlocks(fleet.node, apart)
  const c = await fleet.add({}, apart)
  const [coin] = await makeCoins(fleet.node, 1)
  await bringBlocks(fleet.node, apart)
  await fleet.together()

  // As a wallet does: the contract is registered before it is sent, and its spend is told by whomever one asks.
  const contract = await sign(fleet.node, [coin!])
  const { txid, vout } = contract.outputs[0]!
  const name = formatOutpoint({ txid, vout })
  const said = await register(c, [{ txid, vout }], 1_000)
  assert.equal(said.unfunded, 1)
  for (const tracker of [a, b]) {
    await knows(tracker, [{ txid, vout }])
    assert.equal(registrationsAt(tracker).get(name)!.unfundedUntil, said.unfundedUntil)
  }
  await send(fleet.node, contract)
  for (const tracker of fleet.trackers) {
    await waitUntil('it is known to be funded', () => {
      const row = registrationsAt(tracker).get(name)
      return row && row.unfundedUntil === undefined
    })
  }
  assert.equal((await apart.rpc<string[]>('getrawmempool')).length, 0, 'its own bitcoind knows nothing of it')

  await t.test('one that is behind looks back for what it learns when it has come to the tip', async () => {
    const [spent] = await makeCoins(fleet.node, 1)
    await a.caughtUp(fleet.node)
    await spend(fleet.node, [spent!])
    await fleet.node.mine(3)
    await a.caughtUp(fleet.node)
    await register(a, [spent!])
    await knows(b, [spent!])
    await knows(c, [spent!]) // watched from its own tip on, where the coin isn't made yet
    await bringBlocks(fleet.node, apart)
    await c.caughtUp(apart)
    await tells(c, spent!, 'confirmed')
  })

  await t.test('one on another fork tells of its own chain, and misses nothing of the other', async () => {
    const coins = await makeCoins(fleet.node, 2)
    await bringBlocks(fleet.node, apart)
    const part = async (coin: Coin) => {
      await apart.rpc('generatetoaddress', 2, await fleet.node.newAddress())
      await spend(fleet.node, [coin])
      await fleet.node.mine(1)
      await fleet.together()
      await register(b, [coin])
      await knows(c, [coin])
      await tells(b, coin, 'confirmed')
      await tells(c, coin, 'unspent')
    }
    await part(coins[0]!)
    await fleet.node.mine(3)
    await bringBlocks(fleet.node, apart)
    await fleet.together()
    await tells(c, coins[0]!, 'confirmed')

    // This time the others come over, and the spend with them.
    await part(coins[1]!)
    await bringBlocks(apart, fleet.node)
    await fleet.together()
    for (const tracker of [a, b]) await tells(tracker, coins[1]!, 'mempool')
    await tells(c, coins[1]!, 'unspent')
    await fleet.node.mine(1)
    await bringBlocks(fleet.node, apart)
    await fleet.together()
    for (const tracker of fleet.trackers) await tells(tracker, coins[1]!, 'confirmed')
  })
})

test('places and the effort that they ask for are counted over all', async (t) => {
  await using fleet = await Fleet.start(t, { tracker: { args: ['--no-tor', '--watches-max', '4'] } })
  const [a, b, c] = fleet.trackers as [Tracker, Tracker, Tracker]
  await register(a, [madeUp(1)])
  await register(b, [madeUp(2)])
  for (const tracker of fleet.trackers) await knows(tracker, [madeUp(1), madeUp(2)])
  for (const tracker of fleet.trackers) {
    await assert.rejects(register(tracker, [madeUp(3)]), /"limit".*effort of \d+ bits.*2 of 4 places are taken/)
    await assert.rejects(register(tracker, [3, 4, 5].map(madeUp)), /"limit".*room for 4 registered outpoints/)
  }
  await register(c, [madeUp(1)]) // it has its place already
  assert.equal(registrationsAt(c).size, 2)
})

test('without PostgreSQL registrations are answered busy, and everything else goes on', async (t) => {
  await using fleet = await Fleet.start(t, { count: 2 })
  const [a, b] = fleet.trackers as [Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 2)
  await fleet.together()
  await fleet.postgres.kill()
  await lonely(a)
  await assert.rejects(register(a, [coins[0]!]), /busy/)
  assert.deepEqual(await a.addresses(), [])
  await spend(fleet.node, [coins[1]!])
  await tells(a, coins[1]!, 'mempool')
  await fleet.postgres.launch()
  await fleet.together()
  await register(a, [coins[0]!])
  await knows(b, [coins[0]!])
})
