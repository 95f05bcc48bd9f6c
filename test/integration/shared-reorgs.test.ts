/** What the chain says needs no PostgreSQL: three trackers have the same digest through reorgs, with it and without. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { Fleet, knows, register, tells } from '../support/fleet.ts'
import { freshRows } from '../support/fresh-index.ts'
import { onionHost } from '../support/onions.ts'

async function digests({ trackers }: Fleet): Promise<Set<string>> {
  const all = await Promise.all(trackers.map((tracker) => tracker.ask({ type: 'Status' }, 'Status')))
  return new Set(
    all.map(({ digest, blockHash, bonds }) => `${blockHash} ${Buffer.from(digest).toString('hex')} ${bonds}`),
  )
}

test('all three are at one digest through reorgs, also without PostgreSQL, and tell of registered coins what the chain says', async (t) => {
  await using fleet = await Fleet.start(t, { tracker: { args: ['--no-tor'] } })
  const { node, trackers, postgres } = fleet
  const announce = (name: string) =>
    node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21`, lockBlocks: 900 })
  await announce('kept')
  const [coin] = await makeCoins(node, 1)
  await fleet.together()
  await register(trackers[1]!, [coin!], 1_000)
  for (const tracker of trackers) await knows(tracker, [coin!])
  const seen = new Set<string>()
  for (const depth of [1, 2, 6]) {
    await announce(`new-${depth}`)
    if (depth === 2) await spend(node, [coin!])
    await node.mine(depth)
    await Promise.all(trackers.map((tracker) => tracker.caughtUp(node)))
    const before = await digests(fleet)
    assert.equal(before.size, 1)
    if (depth === 2) for (const tracker of trackers) await tells(tracker, coin!, 'confirmed')
    if (depth === 2) await trackers[2]!.stop('SIGKILL')
    if (depth === 6) await postgres.kill()
    await node.replaceTip({ drop: depth, mine: depth + 1 })
    if (depth === 2) trackers[2]!.launch()
    await Promise.all(trackers.map((tracker) => tracker.caughtUp(node)))
    const after = await digests(fleet)
    assert.equal(after.size, 1, [...after].join('\n'))
    assert.notDeepEqual(after, before)
    if (depth === 2) for (const tracker of trackers) await tells(tracker, coin!, 'mempool')
    await node.mine(1)
    await Promise.all(trackers.map((tracker) => tracker.caughtUp(node)))
    const [digest, ...others] = await digests(fleet)
    assert.deepEqual(others, [])
    seen.add(digest!)
  }
  assert.equal(seen.size, 3)
  await postgres.launch()
  await fleet.together()
  for (const tracker of trackers) await tells(tracker, coin!, 'confirmed')
  // The registered coin's spend is no bond's: a fresh index knows nothing of it.
  const { spends: _, ...fresh } = await freshRows(node, trackers[2]!)
  const { spends: __, ...lived } = trackers[2]!.chainRows()
  assert.deepEqual(lived, fresh)
})
