/** The rescan verb: takes the chain's rows back to a height, as a reorg would, so that the next start scans again. */
import type { Height } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { databasePath } from '../data-places.ts'
import { ConfigError } from '../errors.ts'
import { Indexer } from '../indexer.ts'
import { readScannedFrom } from '../store/local/tip.ts'
import { awaitSoleUse, isLocked, lockDataDir } from '../store/lock.ts'
import { openExisting, openStore } from '../store/open.ts'
import { SpendRecorder } from '../watch/recorder.ts'
import { breathe, type Clock } from '../world.ts'

const LIMITS = {
  /** Blocks between two looks at the signal and two lines of progress. */
  blocksAtOnce: 1_000,
}

export interface RescanResult {
  from: Height
  /** Height of our tip afterwards; absent when nothing is left, so that the scan begins where a first one does. */
  tipHeight?: Height
  blocksTakenBack: number
}

/**
 * Takes back every block at `from` or above. What outpoints were asked to be watched, the spends of them that are known
 * (bitcoind may not have their blocks any more), and the onion key, stay. Throws
 * ConfigError when a daemon runs or nothing was scanned there. Stopped in the middle, the database is that of a lower tip.
 */
export async function rescanFrom(
  config: Config,
  from: Height,
  clock: Clock,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<RescanResult> {
  openExisting(config.dataDir, config.network)[Symbol.dispose]()
  if (isLocked(config.dataDir)) {
    throw new ConfigError(
      `the daemon of --datadir ${config.dataDir} is running: stop it first, it scans when it starts`,
    )
  }
  using _lock = lockDataDir(config.dataDir)
  await awaitSoleUse(databasePath(config.dataDir), clock, signal)
  const { db, identity } = openStore(config.dataDir, config.network)
  using _db = db
  const indexer = new Indexer(db, new SpendRecorder(db, identity.keySalt, clock), config)
  const tip = indexer.tip()
  const scannedFrom = readScannedFrom(db)
  if (!tip || scannedFrom === undefined) throw new ConfigError('nothing has been scanned yet: just start the daemon')
  if (from > tip.height) throw new ConfigError(`--from ${from} is above the last scanned block ${tip.height}`)
  // Below what was ever scanned: begin anew, at the window's start or the lowest block that bitcoind has.
  const downTo = from <= scannedFrom ? scannedFrom : from
  let blocksTakenBack = 0
  for (let height: Height | undefined = tip.height; height !== undefined && height >= downTo; ) {
    if (blocksTakenBack > 0 && blocksTakenBack % LIMITS.blocksAtOnce === 0) {
      say(`taken back to block ${height}`)
      await breathe()
      signal.throwIfAborted()
    }
    indexer.disconnect('rescan')
    blocksTakenBack++
    height = indexer.tip()?.height
  }
  const left = indexer.tip()
  return { from: downTo, blocksTakenBack, ...(left && { tipHeight: left.height }) }
}
