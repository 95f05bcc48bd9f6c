/**
 * Trackers of one market: real daemons with a real bitcoind (one for all, or one each) and one real PostgreSQL, without Tor.
 * What they are asked here is what a client or an operator asks.
 */
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { type Registration, readRegistrationPage } from '../../src/store/shared/registrations.ts'
import type { Reply } from '../../src/wire/messages.ts'
import { type Ending, PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { type LogLine, Tracker, type TrackerOptions } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'

type SpendRow = Extract<Reply, { type: 'Spends' }>['spends'][number]

/** What all have in their environment. */
export function sharedEnv(url: string): NodeJS.ProcessEnv {
  return { FIDELITY_TRACKER_SHARED_STORE: url }
}

export interface FleetOptions {
  count?: number
  /** Where the trackers find PostgreSQL; default: at the server itself. */
  url?: (postgres: PostgresServer) => string
  /** What the trackers have besides; `args` behind those of the fleet. */
  tracker?: TrackerOptions
}

export class Fleet implements AsyncDisposable {
  readonly node: Regtest
  readonly postgres: PostgresServer
  readonly trackers: Tracker[] = []
  /** Whose bitcoind is another one than `node`. */
  readonly #nodes = new Map<Tracker, Regtest>()
  readonly #url: string
  readonly #options: TrackerOptions
  readonly #stack: AsyncDisposableStack

  private constructor(
    node: Regtest,
    postgres: PostgresServer,
    url: string,
    options: TrackerOptions,
    stack: AsyncDisposableStack,
  ) {
    this.node = node
    this.postgres = postgres
    this.#url = url
    this.#options = options
    this.#stack = stack
  }

  /** All of them at the node's tip, and knowing what the others know. PostgreSQL ends with the test. */
  static async start(t: Ending, options: FleetOptions = {}): Promise<Fleet> {
    const { count = 3, url = (postgres) => postgres.url(), tracker = {} } = options
    const stack = new AsyncDisposableStack()
    const [postgres, node] = await Promise.all([PostgresServer.start(t), Regtest.start()])
    stack.use(node)
    const fleet = new Fleet(node, postgres, url(postgres), tracker, stack)
    for (let i = 0; i < count; i++) await fleet.add()
    await fleet.together()
    return fleet
  }

  /** One more. `node`: its own bitcoind, where it has one. */
  async add(options: TrackerOptions = {}, node = this.node): Promise<Tracker> {
    const env = { ...sharedEnv(this.#url), ...options.env }
    const tracker = await Tracker.start(node, { http: true, ...this.#options, ...options, env })
    this.#stack.use(tracker)
    this.trackers.push(tracker)
    if (node !== this.node) this.#nodes.set(tracker, node)
    return tracker
  }

  /** Waits until all that run are at the tips of their nodes, and know what the others know. */
  async together(): Promise<void> {
    for (const tracker of this.trackers.filter(({ isRunning }) => isRunning)) {
      await tracker.caughtUp(this.#nodes.get(tracker) ?? this.node)
      await joined(tracker)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

// ---- one of them ----

/** What readiness says of the shared store. */
export async function sharedCheck(tracker: Tracker): Promise<{ ok: boolean; detail: string }> {
  const reply = await fetch(`http://127.0.0.1:${tracker.httpPort}/health/ready`)
  return ((await reply.json()) as { checks: { shared_store: { ok: boolean; detail: string } } }).checks.shared_store
}

/** Waits until it says that it knows what the others know. */
export async function joined(tracker: Tracker): Promise<void> {
  await waitUntil(
    'it knows what the others know',
    async () => {
      if (!tracker.isRunning) throw new Error(`the tracker has ended: ${tracker.stderr}`)
      return (await sharedCheck(tracker).catch(() => undefined))?.ok
    },
    { timeoutMs: 60_000 },
  )
}

/** Waits until it says that the shared store is away. */
export async function lonely(tracker: Tracker): Promise<void> {
  await waitUntil('it says that the shared store is away', async () => !(await sharedCheck(tracker)).ok)
}

export function register(tracker: Tracker, outpoints: readonly Outpoint[], ttlBlocks = 100) {
  const plain = outpoints.map(({ txid, vout }) => ({ txid, vout }))
  return tracker.ask({ type: 'Register', outpoints: plain, ttlBlocks }, 'Registered')
}

/** What its own file has, by outpoint. */
export function registrationsAt(tracker: Tracker): Map<string, Registration> {
  using db = openStoreReadonly(tracker.dataDir)
  return new Map(readRegistrationPage(db, undefined, 100_000).map((row) => [formatOutpoint(row.outpoint), row]))
}

/** Waits until these are registered in its own file. */
export async function knows(tracker: Tracker, outpoints: readonly Outpoint[], timeoutMs = 30_000): Promise<void> {
  const names = outpoints.map(formatOutpoint)
  await waitUntil(
    'it has learnt what was registered elsewhere',
    () => {
      const known = registrationsAt(tracker)
      return names.every((name) => known.has(name))
    },
    { timeoutMs },
  )
}

export async function spendOf(tracker: Tracker, { txid, vout }: Outpoint): Promise<SpendRow> {
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [{ txid, vout }] }, 'Spends')
  return spends[0]!
}

/** Waits until it tells this of the outpoint. */
export async function tells(tracker: Tracker, outpoint: Outpoint, state: SpendRow['state']): Promise<void> {
  await waitUntil(`it tells that ${formatOutpoint(outpoint)} is ${state}`, async () => {
    return (await spendOf(tracker, outpoint)).state === state
  })
}

/** Log lines with this message. */
export function saidOften(tracker: Tracker, msg: string): LogLine[] {
  return tracker.log.filter((line) => line.msg === msg)
}
