/** Short forms of `npm run soak`: kill -9 under load, and a few rounds of what happens to a daemon in months. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soakKills } from '../../scripts/soak/kills.ts'
import { liveThrough } from '../../scripts/soak/life.ts'

const KILLS = 5

test('killed at any moment under load: no registration, no spend and no bond is lost', async () => {
  const { registered, spent, losses } = await soakKills(KILLS)
  assert.deepEqual(losses, [])
  assert(registered > 0 && spent > 0, 'there was something to lose')
})

test('reorgs, strangers who never read and a bitcoind that restarts cost honest clients nothing, and leave nothing behind', async () => {
  const kinds = ['calm', 'reorg', 'attack 12', 'bitcoind', 'calm']
  const { rounds, losses } = await liveThrough({
    next: (done) => kinds[done],
    roundMs: 1_000,
    withTor: false,
    patienceMs: 60_000,
  })
  assert.deepEqual(losses, [])
  const [first, last] = [rounds[0]!.held, rounds.at(-1)!.held]
  for (const what of ['handles', 'resources'] as const) {
    assert(last[what] <= first[what] + 4, `${what}: ${first[what]} at first, ${last[what]} in the end`)
  }
})
