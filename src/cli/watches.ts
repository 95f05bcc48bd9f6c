/** The verb `watches`: how many outpoints are registered, and when they end. */
import type { Height } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { readTip } from '../store/local/tip.ts'
import { openExisting } from '../store/open.ts'
import { readRegistrationEnds } from '../store/shared/registrations.ts'

const LIMITS = {
  /** Heights told together: a week. */
  endsBlocks: 1_008,
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
