/** What the views are made from: a running daemon's memory and store, or a database that nobody is writing. */
import type { Tip } from '../bonds/types.ts'
import type { Height, HeightRange, Txid } from '../chain/types.ts'
import type { Config } from '../config.ts'
import type { CurrentMarket, Indexed } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import type { TrackerRecord } from '../store/local/trackers.ts'
import type { Db } from '../store/open.ts'
import type { Clock } from '../world.ts'
import type { RelayRow } from './schemas/relays.ts'

export interface ChainFacts extends Indexed {
  tip(): Tip | undefined
  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined
}

export interface Facts {
  readonly config: Config
  readonly clock: Clock
  readonly db: Db
  readonly chain: ChainFacts
  readonly market: CurrentMarket
  readonly liveness: Liveness
  readonly trackers: {
    /** By address. */
    list(): readonly TrackerRecord[]
    /** Changes whenever a record has. */
    readonly revision: number
  }
  readonly relays: {
    /** By URL. */
    rows(): readonly RelayRow[]
    /** URLs of those of which it is known that no valid event announces the bond there. */
    without(txid: Txid): readonly string[]
  }
  /** Why no list is given just now; undefined when one is. */
  notSynced(): string | undefined
  /** Blocks of the window that were never read: lists lack the bonds confirmed there. */
  unseen(): HeightRange | undefined
}
