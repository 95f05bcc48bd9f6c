/**
 * The outpoints of bonds and those asked about, whose spends we record, each with the reasons why, found by key among a
 * block's or a transaction's inputs without allocating. A hit is a candidate: look at the transaction before believing it.
 * Registered ones, of which there may be millions, are in watch/registered-outpoints.ts.
 */
import { highOf, mapKey, type OutpointKeys } from './outpoint-keys.ts'
import type { Outpoint } from './types.ts'

/** Why an outpoint is tracked; several may hold at once. */
const REASON = {
  /** The output of a bond that qualified. */
  bond: 1,
  /** Somebody asks about it just now, or is subscribed to it. */
  asked: 2,
} as const
export type TrackReason = keyof typeof REASON

interface Tracked {
  outpoint: Outpoint
  /** Sum of REASON values, never 0. */
  reasons: number
}

/** Bits of the filter before the map, by bits of the key: of a hundred thousand outpoints one input in ten passes it. */
const FILTER_BITS = 2 ** 20
/** It is made anew after so many outpoints have gone. */
const FILTER_STALE = 2 ** 17

export class TrackedOutpoints {
  readonly #keys: OutpointKeys
  readonly #byKey = new Map<number, Tracked | Tracked[]>()
  /** Bits of keys that may be in the map: to ask that for each of a block's inputs takes six times as long. */
  readonly #filter = new Uint8Array(FILTER_BITS / 8)
  #gone = 0
  #revision = 0

  constructor(keys: OutpointKeys) {
    this.#keys = keys
  }

  /** Changes whenever an outpoint is added: hits found before may lack one. */
  get revision(): number {
    return this.#revision
  }

  /** Returns whether it was tracked already. */
  add(outpoint: Outpoint, reason: TrackReason): boolean {
    const key = this.#keyOf(outpoint)
    const present = this.#find(key, outpoint)
    if (present) {
      present.reasons |= REASON[reason]
      return true
    }
    const tracked = { outpoint, reasons: REASON[reason] }
    const others = this.#byKey.get(key)
    this.#byKey.set(key, others === undefined ? tracked : [...asList(others), tracked])
    this.#mark(key)
    this.#revision++
    return false
  }

  /** Takes one reason back; the outpoint is tracked as long as another one is left. */
  remove(outpoint: Outpoint, reason: TrackReason): void {
    const key = this.#keyOf(outpoint)
    const present = this.#find(key, outpoint)
    if (!present) return
    present.reasons &= ~REASON[reason]
    if (present.reasons !== 0) return
    const rest = asList(this.#byKey.get(key)!).filter((other) => other !== present)
    if (rest.length > 0) this.#byKey.set(key, rest)
    else if (this.#byKey.delete(key) && ++this.#gone >= FILTER_STALE) {
      this.#gone = 0
      this.#filter.fill(0)
      for (const kept of this.#byKey.keys()) this.#mark(kept)
    }
  }

  has(outpoint: Outpoint): boolean {
    return this.#find(this.#keyOf(outpoint), outpoint) !== undefined
  }

  /** Whether it is tracked for `reason`. */
  isFor(outpoint: Outpoint, reason: TrackReason): boolean {
    const present = this.#find(this.#keyOf(outpoint), outpoint)
    return present !== undefined && (present.reasons & REASON[reason]) !== 0
  }

  /** Calls `onHit` with the number of each of the keys in `words` (2 words each: high, low) that a tracked outpoint has. */
  hits(words: Uint32Array, onHit: (index: number) => void): void {
    if (this.#byKey.size === 0) return
    const filter = this.#filter
    for (let i = 0; i < words.length; i += 2) {
      const bit = words[i]! & (FILTER_BITS - 1)
      if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) continue
      if (this.#byKey.has(mapKey(words[i]!, words[i + 1]!))) onHit(i / 2)
    }
  }

  #mark(key: number): void {
    const bit = highOf(key) & (FILTER_BITS - 1)
    this.#filter[bit >>> 3]! |= 1 << (bit & 7)
  }

  #find(key: number, outpoint: Outpoint): Tracked | undefined {
    const present = this.#byKey.get(key)
    if (present === undefined) return undefined
    return asList(present).find((other) => isSame(other.outpoint, outpoint))
  }

  #keyOf(outpoint: Outpoint): number {
    const { hi, lo } = this.#keys.of(outpoint)
    return mapKey(hi, lo)
  }
}

/** One key, nearly always one outpoint: no list is kept for that. */
function asList(tracked: Tracked | Tracked[]): Tracked[] {
  return Array.isArray(tracked) ? tracked : [tracked]
}

function isSame(a: Outpoint, b: Outpoint): boolean {
  return a.vout === b.vout && a.txid === b.txid
}
