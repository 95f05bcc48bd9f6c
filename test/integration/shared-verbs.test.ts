/** What an operator does with a shared store: real verbs and daemons, one bitcoind, one real PostgreSQL, without Tor. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { databasePath } from '../../src/data-places.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { readRegistrations } from '../../src/store/shared/registrations.ts'
import type { SharedNews } from '../../src/store/shared/store.ts'
import { wholeFile } from '../../src/store/shared/whole.ts'
import { DATABASE, PASSWORD, PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil as waitFor } from '../sandbox/wait.ts'
import { outpointOf } from '../support/bonds.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { ReachableMarket } from '../support/reachable-market.ts'
import { joinShared } from '../support/shared-store.ts'
import { tempDir } from '../support/temp-dir.ts'

const waitUntil: typeof waitFor = (what, predicate, options) =>
  waitFor(what, predicate, { timeoutMs: 90_000, ...options })

const env = (postgres: PostgresServer) => ({ FIDELITY_TRACKER_SHARED_STORE: postgres.url() })

async function startTracker(node: Regtest, postgres: PostgresServer, dataDir?: string): Promise<Tracker> {
  const tracker = await Tracker.start(node, { env: env(postgres), ...(dataDir && { dataDir }) })
  await joined(tracker, node)
  return tracker
}

/** It knows what the chain and the others know. */
async function joined(tracker: Tracker, node: Regtest): Promise<void> {
  await tracker.caughtUp(node)
  await waitUntil('it knows what the others know', () => tracker.status()?.checks.shared_store?.ok)
}

async function verb(postgres: PostgresServer, tracker: { dataDir: string }, ...args: string[]) {
  const said = await runVerb([...args, '--network', 'regtest', '--datadir', tracker.dataDir], env(postgres))
  for (const text of [said.stdout, said.stderr]) {
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) assert.ok(!text.includes(secret), text)
  }
  return said
}

function register(tracker: Tracker, outpoints: readonly Outpoint[], ttlBlocks = 100) {
  return tracker.ask({ type: 'Register', outpoints: [...outpoints], ttlBlocks }, 'Registered')
}

function registeredAt({ dataDir }: { dataDir: string }): string[] {
  using db = openStoreReadonly(dataDir)
  return readRegistrations(db).map(formatOutpoint).sort()
}

async function registeredAre(tracker: { dataDir: string }, outpoints: readonly Outpoint[]): Promise<void> {
  const names = JSON.stringify(outpoints.map(formatOutpoint).sort())
  await waitUntil(`exactly these are registered: ${names}`, () => JSON.stringify(registeredAt(tracker)) === names)
}

async function stateOf(tracker: Tracker, outpoint: Outpoint): Promise<string> {
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [outpoint] }, 'Spends')
  return spends[0]!.state
}

/** All that is shared of a file, in one order. */
function sharedRows(dataDir: string): string[] {
  using db = openStoreReadonly(dataDir)
  return [...wholeFile(db)].flatMap((page) =>
    Object.entries(page).flatMap(([kind, rows]) => (rows as unknown[]).map((row) => `${kind} ${JSON.stringify(row)}`)),
  )
}

const HISTORY: SharedNews = {
  makers: [
    {
      record: { address: 'a.onion:6102', lastProbeMs: 2_000, failures: 0, offerAskedMs: 1_500 },
      offer: {
        ...{ atMs: 1_500, baseFeeSats: 100, amountFeePct: 0.1, timeFeePct: 1e-7 },
        ...{ lockBlocksMin: 20, amountSatsMin: 10_000, amountSatsMax: 1_000_000 },
      },
    },
    { record: { address: 'b.onion:6102', lastProbeMs: 1_000, failures: 3 } },
  ],
  proofs: [{ outpoint: outpointOf(7), atMs: 1_000 }],
  probes: [{ address: 'a.onion:6102', source: 5, atMs: 2_000, outcome: 'answered', dialect: 'unified', latencyMs: 80 }],
  hours: [{ address: 'a.onion:6102', hour: 4, source: 5, answered: 3, failed: 1, unjudged: 0 }],
}

test('a tracker goes on alone with what was exported: nothing is missing, and a spend of before is found', async (t) => {
  const postgres = await PostgresServer.start(t)
  await using node = await Regtest.start()
  await using tracker = await startTracker(node, postgres)
  const coins = await makeCoins(node, 3)
  await tracker.caughtUp(node)
  await register(tracker, [...coins, outpointOf(9)])
  await spend(node, [coins[0]!])
  await node.mine(1)
  await tracker.caughtUp(node)
  const { store } = await joinShared(t, postgres)
  await store.merge(HISTORY)
  await waitUntil('the history is learnt', () => sharedRows(tracker.dataDir).length === 4 + 2 + 1 + 1 + 1)

  using dir = tempDir()
  const alone = join(dir.path, 'alone')
  mkdirSync(alone)
  const file = join(dir.path, 'exported')
  const elsewhere = { dataDir: join(dir.path, 'none') }
  assert.match((await verb(postgres, elsewhere, 'export', '--shared')).stderr, /name it by --output/)
  const made = await verb(postgres, elsewhere, 'export', '--shared', '-o', file)
  assert.deepEqual([made.code, made.stderr], [0, ''])
  assert.match(made.stdout, /checked; 4 registrations, 2 makers, 1 probes, 1 hours/)
  const again = await verb(postgres, elsewhere, 'export', '--shared', '-o', file)
  assert.equal(again.code, 2)
  assert.match(again.stderr, /is there already/)
  copyFileSync(file, databasePath(alone))
  assert.deepEqual(sharedRows(alone), sharedRows(tracker.dataDir))

  await tracker.stop('SIGTERM')
  await postgres.kill()
  const away = await verb(postgres, elsewhere, 'export', '--shared', '-o', join(dir.path, 'other'))
  assert.equal(away.code, 69)
  assert.match(away.stderr, /PostgreSQL at 127\.0\.0\.1:\d+ is not reached/)
  assert.equal(existsSync(join(dir.path, 'other')), false)

  await using own = await Tracker.start(node, { dataDir: alone })
  await own.caughtUp(node)
  assert.equal(own.status()?.checks.shared_store, undefined)
  await waitUntil('the spend is told', async () => (await stateOf(own, coins[0]!)) === 'confirmed')
  await spend(node, [coins[1]!])
  await waitUntil('the next one, too', async () => (await stateOf(own, coins[1]!)) === 'mempool')
  await register(own, [coins[2]!], 200)
})

test('a registration that is dropped ends at every tracker, and neither restarts nor a comparison bring it back', async (t) => {
  const postgres = await PostgresServer.start(t)
  await using node = await Regtest.start()
  await using a = await startTracker(node, postgres)
  await using b = await startTracker(node, postgres)
  const coins = await makeCoins(node, 5)
  for (const tracker of [a, b]) await tracker.caughtUp(node)
  await register(a, coins.slice(0, 4))
  await register(b, coins.slice(4), 1_000)
  for (const tracker of [a, b]) await registeredAre(tracker, coins)
  const names = coins.map(formatOutpoint)
  const compared = await verb(postgres, a, 'check-db')
  assert.match(compared.stdout, /is sound\nthe shared store has as many registrations as it: 5\n$/)

  // While both run.
  const running = await verb(postgres, a, 'watches', '--drop', names[0]!, formatOutpoint(outpointOf(9)), '--json')
  assert.deepEqual(
    [running.code, JSON.parse(running.stdout)],
    [1, { dropped: 1, missing: [formatOutpoint(outpointOf(9))] }],
  )
  for (const tracker of [a, b]) await registeredAre(tracker, coins.slice(1))

  // While one of them is stopped: there and at the other; by height also what only the other had registered.
  await a.stop('SIGTERM')
  const stopped = await verb(postgres, a, 'watches', '--drop', names[1]!)
  assert.deepEqual([stopped.code, stopped.stderr], [0, ''])
  assert.match(stopped.stdout, /^1 registrations ended\. In the shared store as well/)
  await registeredAre(a, coins.slice(2))
  await registeredAre(b, coins.slice(2))
  const height = await node.height()
  assert.equal((await verb(postgres, a, 'watches', '--drop-after', String(height + 500))).code, 0)
  await registeredAre(b, coins.slice(2, 4))

  // With PostgreSQL away nothing changes.
  await b.stop('SIGKILL')
  await postgres.kill()
  const away = await verb(postgres, a, 'watches', '--drop', names[2]!)
  assert.equal(away.code, 69)
  assert.match(away.stderr, /PostgreSQL at 127\.0\.0\.1:\d+ is not reached/)
  await registeredAre(a, coins.slice(2, 4))
  assert.match(
    (await verb(postgres, a, 'check-db')).stdout,
    /could not be compared with it: PostgreSQL at .* is not reached/,
  )

  // One that missed it all and comes back to a store that was started anew, which it compares as a whole.
  await postgres.launch()
  assert.equal((await verb(postgres, a, 'watches', '--drop', names[2]!)).code, 0)
  const differs = await verb(postgres, b, 'check-db')
  assert.match(differs.stdout, /the shared store has 1 registrations, it has 2\./)
  b.launch()
  await b.said('the shared store is not as it was left: compared as a whole, and what it lacked was put there')
  await registeredAre(b, coins.slice(3, 4))
  a.launch()
  await joined(a, node)
  await registeredAre(a, coins.slice(3, 4))
  const { store } = await joinShared(t, postgres)
  assert.deepEqual(await store.registeredAmong(coins), [{ txid: coins[3]!.txid, vout: coins[3]!.vout }])
  // Who asks for it again gets it.
  await register(a, [coins[0]!])
  await registeredAre(b, [coins[0]!, coins[3]!])
})

test('a dropped registration of a bond leaves what is known of the bond’s spend', async () => {
  await using node = await Regtest.start()
  await using market = await ReachableMarket.start(node)
  await market.announce(['spent'], { lockBlocks: 2 })
  const bond = { txid: market.txid('spent'), vout: 0 } as Outpoint
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  await register(tracker, [bond])
  await node.mine(2)
  await node.spendBond(market.bonds.get('spent')!)
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.equal(await stateOf(tracker, bond), 'confirmed')
  const before = tracker.chainRows().spends
  await tracker.stop('SIGTERM')
  const settings = ['--network', 'regtest', '--datadir', tracker.dataDir]
  assert.equal((await runVerb(['watches', '--drop', formatOutpoint(bond), ...settings])).code, 0)
  assert.deepEqual([registeredAt(tracker), tracker.chainRows().spends], [[], before])
  assert.equal(before!.length, 1)
})

test('a backup has what this tracker knew, and says how the shared store is backed up; status and settings name no password', async (t) => {
  const postgres = await PostgresServer.start(t)
  await using node = await Regtest.start()
  await using tracker = await startTracker(node, postgres)
  const coins = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  await register(tracker, coins)
  using dir = tempDir()
  const file = join(dir.path, 'tracker.sqlite')
  const made = await verb(postgres, tracker, 'backup', file)
  assert.equal(made.code, 0)
  assert.match(made.stdout, new RegExp(`pg_dump -Fc -f /var/lib/postgresql/${DATABASE}\\.dump ${DATABASE}\n`))
  await registeredAre({ dataDir: dir.path }, coins)
  assert.match((await verb(postgres, tracker, 'status')).stdout, /\nshared +the primary at 127\.0\.0\.1:\d+ answers/)
  assert.equal((await verb(postgres, tracker, 'print-config')).code, 0)
  assert.equal((await verb(postgres, tracker, 'doctor')).code < 3, true)
})
