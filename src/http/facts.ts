/**
 * What asking makers and other trackers has found out, as the HTTP room wants to read it. Nobody is asked yet: until
 * then NOT_PROBED says so of everyone, and nothing is made up.
 */
import type { Outpoint } from '../chain/types.ts'

export type Reach = 'up' | 'down' | 'unknown'

/** A maker's last offer: what it takes and what it asks for. Amounts in sats, waiting in blocks. */
export interface Offer {
  baseFeeSats: number
  /** Per cent of the swapped amount. */
  amountFeePct: number
  /** Per cent of the swapped amount for each block of waiting. */
  timeFeePct: number
  requiredConfirms: number
  minLockBlocks: number
  minSizeSats: number
  maxSizeSats: number
  /** When it was given, Unix seconds. */
  seenAtS: number
}

export interface MakerFacts {
  reach: Reach
  /** The last valid answer, Unix seconds; absent before the first one. */
  lastUpS?: number
  /** Probes that say something about the maker: those that failed while our own Tor did are not counted. */
  probes: number
  /** Answered ones per million of `probes`; absent without any. */
  uptimePpm?: number
  /** Absent until it has given one. */
  offer?: Offer
}

/** Probes of all makers within a while that ends at `timeS`. */
export interface ProbePoint {
  timeS: number
  answered: number
  failed: number
  /** Of the answered ones; absent without any. */
  medianMs?: number
  p95Ms?: number
}

/** Another tracker, as it was last heard. */
export interface PeerTracker {
  /** `host.onion:port`. */
  address: string
  lastSeenS: number
  height: number
  /** 64 hex digits. */
  digest: string
  /** Whether its digest is ours at its height; absent when that height is not ours to judge. */
  agrees?: boolean
}

/** All reads are quick and from what is stored: nobody is dialled for them. */
export interface Probing {
  /** Facts about the maker at `host.onion:port`. */
  makerFacts(address: string): MakerFacts
  /** Whether an offer has proven that its maker owns this bond. */
  isProven(outpoint: Outpoint): boolean
  /** Oldest first, at most a few hundred. */
  probeHistory(): ProbePoint[]
  trackers(): PeerTracker[]
  /** Changes whenever one of the answers above may have changed. */
  readonly revision: number
}

export const NOT_PROBED: Probing = {
  makerFacts: () => ({ reach: 'unknown', probes: 0 }),
  isProven: () => false,
  probeHistory: () => [],
  trackers: () => [],
  revision: 0,
}
