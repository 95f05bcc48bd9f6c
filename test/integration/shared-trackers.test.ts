/** Three trackers of one market: real daemons with one bitcoind and one real PostgreSQL, without Tor. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { readRegistrations } from '../../src/store/shared/registrations.ts'
import { PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, spend } from '../support/coins.ts'

interface Fleet extends AsyncDisposable {
  node: Regtest
  postgres: PostgresServer
  trackers: Tracker[]
}

const env = (postgres: PostgresServer) => ({ FIDELITY_TRACKER_SHARED_STORE: postgres.url() })

async function startFleet(t: TestContext, count = 3): Promise<Fleet> {
  const stack = new AsyncDisposableStack()
  const postgres = await PostgresServer.start(t)
  const node = stack.use(await Regtest.start())
  const trackers: Tracker[] = []
  for (let i = 0; i < count; i++) {
    trackers.push(stack.use(await Tracker.start(node, { env: env(postgres), http: true })))
  }
  for (const tracker of trackers) {
    await tracker.caughtUp(node)
    await waitUntil('it knows what the others know', () => isReady(tracker))
  }
  return { node, postgres, trackers, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function readiness(tracker: Tracker): Promise<{ checks: { shared_store: { ok: boolean; detail: string } } }> {
  return (await (await fetch(`http://127.0.0.1:${tracker.httpPort}/health/ready`)).json()) as never
}

async function isReady(tracker: Tracker): Promise<boolean> {
  return (await readiness(tracker)).checks.shared_store.ok
}

function register(tracker: Tracker, outpoints: readonly Outpoint[], ttlBlocks = 100) {
  return tracker.ask({ type: 'Register', outpoints: [...outpoints], ttlBlocks }, 'Registered')
}

function registeredAt(tracker: Tracker): string[] {
  using db = openStoreReadonly(tracker.dataDir)
  return readRegistrations(db).map(formatOutpoint).sort()
}

function knows(tracker: Tracker, outpoints: readonly Outpoint[]) {
  const names = outpoints.map(formatOutpoint).sort()
  return waitUntil('it has learnt what was registered elsewhere', () =>
    names.every((name) => registeredAt(tracker).includes(name)),
  )
}

async function stateOf(tracker: Tracker, outpoint: Outpoint): Promise<string> {
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [outpoint] }, 'Spends')
  return spends[0]!.state
}

test('what one tracker has registered is watched by all, whoever is killed', async (t) => {
  await using fleet = await startFleet(t)
  const [a, b, c] = fleet.trackers as [Tracker, Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 3)
  for (const tracker of fleet.trackers) await tracker.caughtUp(fleet.node)
  await register(a, coins)
  await a.stop('SIGKILL')
  await spend(fleet.node, [coins[0]!])
  for (const tracker of [b, c]) {
    await knows(tracker, coins)
    await waitUntil('the spend is told', async () => (await stateOf(tracker, coins[0]!)) === 'mempool')
  }
  await fleet.node.mine(1)
  a.launch()
  await a.caughtUp(fleet.node)
  for (const tracker of fleet.trackers) {
    await waitUntil('confirmed', async () => (await stateOf(tracker, coins[0]!)) === 'confirmed')
  }
})

test('without PostgreSQL registrations are answered busy, and everything else goes on', async (t) => {
  await using fleet = await startFleet(t, 2)
  const [a, b] = fleet.trackers as [Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 2)
  for (const tracker of fleet.trackers) await tracker.caughtUp(fleet.node)
  await fleet.postgres.kill()
  await waitUntil('readiness says so', async () => !(await isReady(a)))
  await assert.rejects(register(a, [coins[0]!]), /busy/)
  assert.deepEqual(await a.addresses(), [])
  await spend(fleet.node, [coins[1]!])
  await waitUntil('a spend is told', async () => (await stateOf(a, coins[1]!)) === 'mempool')
  await fleet.postgres.launch()
  await waitUntil('it is there again', async () => (await isReady(a)) && (await isReady(b)))
  await register(a, [coins[0]!])
  await knows(b, [coins[0]!])
})
