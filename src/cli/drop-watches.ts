/**
 * `watches --drop`: the end of some registrations. With a shared store they end there first, and so for every tracker;
 * then here, unless the daemon runs: it learns it like the others.
 */
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { databasePath } from '../data-places.ts'
import { ConfigError } from '../errors.ts'
import { readBondOutpoints } from '../store/local/bonds.ts'
import { awaitSoleUse, isLocked, lockDataDir } from '../store/lock.ts'
import { type Db, openExisting, openStore } from '../store/open.ts'
import type { PostgresShared } from '../store/shared/postgres/postgres-shared.ts'
import { deleteRegistration, readRegistration, readRegistrationsAfter } from '../store/shared/registrations.ts'
import { lastStatus } from '../views/closed.ts'
import { SpendRecorder } from '../watch/recorder.ts'
import { breathe, type Clock } from '../world.ts'

const LIMITS = {
  /** Registrations ended in one transaction. */
  rowsAtOnce: 500,
}

/** Which registrations are to end: these, and those that were asked for until after a height. */
export interface WatchesToDrop {
  outpoints: readonly Outpoint[]
  after: Height | undefined
}

export interface Dropped {
  dropped: number
  /** `txid:vout` of those that were not registered. */
  missing: string[]
  /** Ended in the shared store, which a running daemon learns by itself. */
  isShared: boolean
}

/**
 * Ends registrations, with what is recorded of their spends. Throws ConfigError while the daemon runs and shares nothing;
 * UnreachableError when the shared store is away: then nothing has changed, or, when it went away in the middle, what has
 * ended has ended everywhere. It may be run again.
 */
export async function dropWatches(
  config: Config,
  which: WatchesToDrop,
  clock: Clock,
  signal: AbortSignal,
): Promise<Dropped> {
  const { dataDir, network, sharedStore } = config
  using before = openExisting(dataDir, network)
  const isRunning = isLocked(dataDir)
  const isSharing = sharedStore !== undefined && (!isRunning || lastStatus(before)?.checks.shared_store !== undefined)
  if (isRunning && !isSharing) {
    const why = sharedStore ? 'and shares nothing' : 'it knows of its registrations from its start on'
    throw new ConfigError(`the daemon of --datadir ${dataDir} is running: stop it first, ${why}`)
  }
  if (!sharedStore) return await dropHere(config, which, undefined, clock, signal)
  const { visitShared } = await import('../store/shared/postgres/visit.ts')
  return await visitShared(sharedStore, network, 'toChange', signal, async ({ store }) =>
    isRunning
      ? await drop(before, which, store, signal, () => {})
      : await dropHere(config, which, store, clock, signal),
  )
}

async function dropHere(
  { dataDir, network }: Config,
  which: WatchesToDrop,
  store: PostgresShared | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Dropped> {
  using _lock = lockDataDir(dataDir)
  await awaitSoleUse(databasePath(dataDir), clock, signal)
  const { db, identity } = openStore(dataDir, network)
  using _db = db
  const recorder = new SpendRecorder(db, identity.keySalt, clock)
  for (const outpoint of readBondOutpoints(db)) recorder.track(outpoint, 'bond') // whose spends are the chain's
  return await drop(db, which, store, signal, (some) =>
    db.transaction(() => {
      for (const outpoint of some) if (deleteRegistration(db, outpoint)) recorder.untrack(outpoint, 'registered')
    }),
  )
}

/** `end`: ends them in our file. */
async function drop(
  db: Db,
  { outpoints, after }: WatchesToDrop,
  store: PostgresShared | undefined,
  signal: AbortSignal,
  end: (outpoints: readonly Outpoint[]) => void,
): Promise<Dropped> {
  const later =
    after === undefined
      ? []
      : [...readRegistrationsAfter(db, after), ...((await store?.registrationsAfter(after)) ?? [])]
  const ending = [...new Map([...outpoints, ...later].map((one) => [formatOutpoint(one), one])).values()]
  const registered = new Set<string>()
  for (let at = 0; at < ending.length; at += LIMITS.rowsAtOnce) {
    await breathe()
    signal.throwIfAborted()
    const some = ending.slice(at, at + LIMITS.rowsAtOnce)
    const there = (await store?.registeredAmong(some)) ?? []
    const here = some.filter((outpoint) => readRegistration(db, outpoint))
    // Also those that are only here: no tracker is to tell of them later.
    await store?.dropRegistrations(some)
    end(some)
    for (const outpoint of [...there, ...here]) registered.add(formatOutpoint(outpoint))
  }
  return {
    dropped: registered.size,
    missing: outpoints.map(formatOutpoint).filter((name) => !registered.has(name)),
    isShared: store !== undefined,
  }
}
