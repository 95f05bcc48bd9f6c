/**
 * What the chain doesn't know, and what trackers that serve one market therefore share: registrations, what makers said
 * and proved, and the history of probes. Words and the one interface; behind it is this tracker's own SQLite file
 * (local.ts) or PostgreSQL (postgres/). Whatever is shared, each tracker has all of it in its own file as well, and reads
 * it there: nobody asks PostgreSQL a question to answer a client.
 *
 * Every row is merged, never replaced: of two that differ the same one comes out, in whatever order and however often
 * they meet. Source: docs/scaling.md, "What is shared".
 */
import type { BlockHash, Outpoint } from '../../chain/types.ts'
import type { MakerRecord, OfferTerms } from '../../peers/types.ts'
import type { Leases } from './leases.ts'
import type { ProvenBond } from './makers.ts'
import type { ProbeRow } from './probes.ts'
import type { Registration } from './registrations.ts'

/** A maker's record with its last offer, if that has no fault. Of two the one of the later probe, then of the later offer, counts. */
export interface MakerNews {
  record: MakerRecord
  offer?: OfferTerms
}

/** A bond was proven, or (without `proven`) its maker no longer shows the proof. The later one counts. */
export interface ProofNews {
  outpoint: Outpoint
  /** Unix milliseconds. */
  atMs: number
  proven?: Pick<ProvenBond, 'era' | 'source'> & { confHash: BlockHash }
}

/** One probe. `source`: the process that made it, a number below 2^48; of a maker there is one probe a source and millisecond. */
export interface ProbeNews extends ProbeRow {
  address: string
  source: number
}

/** What one process has counted of a maker within an hour (Unix time ÷ 3,600 s). Counts only grow: the highest counts. */
export interface HourNews {
  address: string
  hour: number
  source: number
  answered: number
  failed: number
  unjudged: number
}

/** News of everything that is shared; absent: none of that kind. */
export interface SharedNews {
  /** The furthest `untilHeight` counts; one without `unfundedUntil` was funded, which stays so, else the furthest. */
  registrations?: readonly Registration[]
  /** An operator has ended these, wherever they are. Before the registrations, if both are told. */
  dropped?: readonly Outpoint[]
  makers?: readonly MakerNews[]
  proofs?: readonly ProofNews[]
  probes?: readonly ProbeNews[]
  hours?: readonly HourNews[]
}

/** Whether a host may be probed: by us, for `leaseMs`, or by nobody for so many milliseconds. */
export interface Claim {
  host: string
  isOurs: boolean
  /** When to ask again, if it isn't ours. */
  waitMs: number
}

export interface SharedStore extends Leases {
  /**
   * Resolves once the registrations can't be lost: they are committed here, on the disk. Throws TransientError where that
   * is not known to have happened; StoreError where this tracker's own disk fails.
   */
  register(registrations: readonly Registration[]): Promise<void>
  /** Resolves once all that was to be registered before is, or has failed. */
  settled(): Promise<void>
  /** Merges all of it, or nothing. Throws TransientError or StoreError. */
  merge(news: SharedNews): Promise<void>
  /** Which of these hosts we may probe now, each for `leaseMs` at the most. Throws TransientError. */
  claim(hosts: readonly string[], leaseMs: number): Promise<Claim[]>
  /** The probe has ended, and its host may be claimed again after `freeInMs`. Throws TransientError. */
  release(host: string, freeInMs: number): Promise<void>
}

/** The one that a tracker asks: its own file, or what is behind it. */
export interface OwnShared extends SharedStore {
  /** Nothing can be registered just now. */
  readonly isAway: boolean
}

/** How far one has read what the others have told. `place` is another one wherever changes may be lost or counted anew. */
export interface SharedPosition {
  place: string
  change: number
}

/** How many rows a whole file had. */
export interface MovedIn {
  registrations: number
  makers: number
  probes: number
  hours: number
}

/** A shared store that other trackers write to as well. All of it throws TransientError while it is away. */
export interface CommonStore extends SharedStore {
  /** Where it is now, and its last change. */
  position(): Promise<SharedPosition>
  /**
   * What has changed after `change`, in pages, the oldest first; probes and hours of `exceptSource` are left out. `upTo`,
   * which the last page has: the change up to which everything has been told then.
   */
  newsAfter(change: number, exceptSource: number): AsyncIterable<{ news: SharedNews; upTo: number | undefined }>
  /** Merges a whole file, or nothing of it, and holds up nobody else meanwhile. */
  mergeAll(pages: Iterable<SharedNews>): Promise<MovedIn>
  /** Ends these for all trackers. Returns how many there were. */
  dropRegistrations(outpoints: readonly Outpoint[]): Promise<number>
  /** Deletes what is past its time, a bounded number of rows a call. */
  prune(tipHeight: number, nowMs: number): Promise<void>
}
