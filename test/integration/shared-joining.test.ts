/** A tracker with a history of its own joins the others, once; and which databases it refuses. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DATABASE, PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { Fleet, knows, register, registrationsAt, saidOften, sharedEnv, tells } from '../support/fleet.ts'
import { keptOf, livedIn, outpoint, REGISTERED } from '../support/lived-in.ts'

const MOVED = 'registrations and history of this tracker moved to the shared store'

/** How many rows of each kind the shared database has. */
async function rowsAt({ postgres }: Fleet): Promise<Record<string, number>> {
  const tables = ['watches', 'makers', 'probes', 'probe_hours', 'proofs']
  const counts = tables.map((table) => `(SELECT count(*) FROM ${table})`).join(', ')
  const [row] = (await postgres.psql(`SELECT ${counts}`, DATABASE)).split('\n')
  return Object.fromEntries(row!.split('|').map((count, i) => [tables[i]!, Number(count)]))
}

test('a tracker that has lived alone moves in with all it has, once, and moves nothing at its second start', async (t) => {
  await using fleet = await Fleet.start(t, { count: 2 })
  const [a, b] = fleet.trackers as [Tracker, Tracker]
  const [coin] = await makeCoins(fleet.node, 1)
  await fleet.together()
  await register(a, [coin!])
  await using lived = await livedIn(fleet.node)
  const before = keptOf(lived.dataDir)
  assert.equal(before.watches.length, REGISTERED)

  const joined = await fleet.add({ dataDir: lived.dataDir })
  await fleet.together()
  const { registrations, makers, probes, hours } = await joined.said(MOVED)
  assert.deepEqual(
    { registrations, makers, probes, hours },
    {
      registrations: before.watches.length,
      makers: before.makers.length,
      probes: before.probes.length,
      hours: before.probe_hours.length,
    },
  )
  const { watches, ...history } = await rowsAt(fleet)
  assert.equal(watches, REGISTERED + 1)
  assert.deepEqual(history, {
    makers: before.makers.length,
    probes: before.probes.length,
    probe_hours: before.probe_hours.length,
    proofs: before.proofs.length,
  })
  for (const tracker of [a, b]) {
    await waitUntil('it has learnt all of it', () => {
      const { watches: known, probes: learnt, probe_hours } = keptOf(tracker.dataDir)
      return (
        known.length === REGISTERED + 1 &&
        learnt.length === before.probes.length &&
        probe_hours.length === before.probe_hours.length
      )
    })
  }
  await knows(joined, [coin!])
  const withoutId = (rows: unknown[]) => new Set(rows.map((row) => JSON.stringify({ ...(row as object), id: 0 })))
  assert.deepEqual(withoutId(keptOf(b.dataDir).makers), withoutId(before.makers))
  assert.equal(keptOf(b.dataDir).offers.length, before.offers.length)
  // And what was registered there alone is watched by those who learnt it.
  await spend(fleet.node, [coin!])
  for (const tracker of fleet.trackers) await tells(tracker, coin!, 'mempool')

  await t.test('at its second start there is nothing to move', async () => {
    const change = await fleet.postgres.psql('SELECT change FROM clock', DATABASE)
    const seen = joined.log.length
    assert.equal(await joined.stop(), 0)
    joined.launch()
    await joined.said('shared database is there', seen)
    await fleet.together()
    assert.equal(saidOften(joined, MOVED).length, 1)
    assert.equal(await fleet.postgres.psql('SELECT change FROM clock', DATABASE), change)
  })

  await t.test('one that was alone in between is compared as a whole', async () => {
    assert.equal(await joined.stop(), 0)
    await using alone = await Tracker.start(fleet.node, { dataDir: lived.dataDir })
    await alone.caughtUp(fleet.node)
    await register(alone, [outpoint('registered alone')])
    assert.equal(await alone.stop(), 0)
    joined.launch()
    await knows(b, [outpoint('registered alone')])
    await fleet.together()
    assert.deepEqual([...registrationsAt(a).keys()].sort(), [...registrationsAt(joined).keys()].sort())
  })
})

test('a database that is newer than the program, or about another network, ends it with one sentence', async (t) => {
  const [postgres, node] = await Promise.all([PostgresServer.start(t), Regtest.start()])
  t.after(() => node[Symbol.asyncDispose]())
  const ended = async () => {
    await using tracker = await Tracker.start(node, { env: sharedEnv(postgres.url()), http: true })
    assert.equal(await tracker.exited(), 2)
    assert.equal(tracker.stderr.trim().split('\n').length, 1)
    return tracker.stderr
  }
  await using first = await Tracker.start(node, { env: sharedEnv(postgres.url()), http: true })
  await first.said('shared database migrated')
  await postgres.psql("INSERT INTO schema_version (version, name) VALUES (99, 'of tomorrow')", DATABASE)
  assert.match(await ended(), /has schema 99, this program knows \d+: upgrade fidelity-tracker here as well/)
  await postgres.psql('DELETE FROM schema_version WHERE version = 99', DATABASE)
  await postgres.psql("UPDATE identity SET network = 'signet'", DATABASE)
  assert.match(await ended(), /is about network signet, and --network is regtest/)
  assert(first.isRunning, 'who is connected goes on')
})
