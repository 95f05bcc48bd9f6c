/** The verb `watches`: how many outpoints are registered and when they end; and, without the daemon, the end of some. */
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { readTip } from '../store/local/tip.ts'
import { awaitSoleUse, isLocked, lockDataDir } from '../store/lock.ts'
import { databasePath, openExisting, openStore } from '../store/open.ts'
import {
  deleteRegistration,
  readRegistration,
  readRegistrationEnds,
  readRegistrationsAfter,
} from '../store/shared/registrations.ts'
import { SpendRecorder } from '../watch/recorder.ts'
import { breathe, type Clock } from '../world.ts'

const LIMITS = {
  /** Heights told together: a week. */
  endsBlocks: 1_008,
  /** Registrations ended in one transaction. */
  rowsAtOnce: 500,
}

export interface Watches {
  /** Outpoints registered, and how many may be. */
  count: number
  places: number
  /** Of them, those that no transaction has made yet. */
  unfunded: number
  /** Our tip; null before the first block. */
  height: Height | null
  /** How many end at these heights, both included, ascending. Unfunded ones end where they do without a funding. */
  ends: { from: Height; to: Height; count: number }[]
}

/** Throws ConfigError where there is no database. */
export function readWatches({ dataDir, network, watch }: Config): Watches {
  using db = openExisting(dataDir, network)
  return db.snapshot(() => {
    const { count, unfunded, ends } = readRegistrationEnds(db, LIMITS.endsBlocks)
    return {
      count,
      places: watch.watchesMax,
      unfunded,
      height: readTip(db)?.height ?? null,
      ends: ends.map((group) => ({ from: group.from, to: group.from + LIMITS.endsBlocks - 1, count: group.count })),
    }
  })
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
}

/** Ends registrations, with what is recorded of their spends. Throws ConfigError while the daemon runs. */
export async function dropWatches(
  { dataDir, network }: Config,
  { outpoints, after }: WatchesToDrop,
  clock: Clock,
  signal: AbortSignal,
): Promise<Dropped> {
  openExisting(dataDir, network)[Symbol.dispose]()
  if (isLocked(dataDir)) {
    throw new ConfigError(
      `the daemon of --datadir ${dataDir} is running: stop it first, it knows of its registrations from its start on`,
    )
  }
  using _lock = lockDataDir(dataDir)
  await awaitSoleUse(databasePath(dataDir), clock, signal)
  const { db, identity } = openStore(dataDir, network)
  using _db = db
  const recorder = new SpendRecorder(db, identity.keySalt, clock)
  const missing = outpoints.filter((outpoint) => !readRegistration(db, outpoint)).map(formatOutpoint)
  const later = after === undefined ? [] : readRegistrationsAfter(db, after)
  const all = new Map([...outpoints, ...later].map((outpoint) => [formatOutpoint(outpoint), outpoint]))
  const ending = [...all.values()]
  let dropped = 0
  for (let at = 0; at < ending.length; at += LIMITS.rowsAtOnce) {
    await breathe()
    signal.throwIfAborted()
    db.transaction(() => {
      for (const outpoint of ending.slice(at, at + LIMITS.rowsAtOnce)) {
        if (!deleteRegistration(db, outpoint)) continue
        recorder.untrack(outpoint, 'registered')
        dropped++
      }
    })
  }
  return { dropped, missing }
}
