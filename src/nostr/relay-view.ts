/**
 * What one relay shows of the market: which bonds its valid events announce, and until when; which of its events are not
 * valid, and why. Compared with the bonds that takers should find, it is the four counts. Pure: time is an argument.
 */
import type { Txid } from '../chain/types.ts'
import { EVENT_LIMITS, expirationS, type NostrEvent } from './event.ts'

export const RELAY_VIEW_LIMITS = {
  /** Bonds that the chain has not, of one relay: anybody can sign such events. Those of the chain always have a place. */
  strangeBonds: 5_000,
  /** Events that are not valid, of one relay, counted one by one; about 200 bytes each. */
  invalidEvents: 5_000,
}

/** Why takers pass over an event, in the order in which it is looked at. */
export const EVENT_FAULTS = [
  'shape',
  'kind',
  'no_expiration',
  'expired',
  'future',
  'old',
  'no_bond',
  'id',
  'signature',
] as const
export type EventFault = (typeof EVENT_FAULTS)[number]
export type FaultCounts = Record<EventFault, number>

export interface HeldBond {
  /** When takers begin to pass over the last event that announces it, Unix seconds. */
  untilS: number
  /** That event is signed by our own key. */
  isOwn: boolean
}

/** The last second at which takers of today's market look up the bond of a valid event. */
export function validUntilS(event: NostrEvent): number {
  return Math.min(expirationS(event) ?? 0, event.created_at + EVENT_LIMITS.lifeS)
}

export function noFaults(): FaultCounts {
  return Object.fromEntries(EVENT_FAULTS.map((fault) => [fault, 0])) as FaultCounts
}

export class RelayView {
  readonly #held = new Map<Txid, HeldBond>()
  readonly #invalid = new Map<string, EventFault>()
  /** Counted before a restart, when single events were not kept. */
  readonly #counted: FaultCounts
  /** Of `#held`, those that the chain did not have. */
  readonly #strange = new Set<Txid>()
  #revision = 0

  constructor(held: Iterable<readonly [Txid, HeldBond]> = [], counted: FaultCounts = noFaults()) {
    for (const [txid, bond] of held) this.#held.set(txid, bond)
    this.#counted = counted
  }

  /** Changes with everything that is taken or forgotten. */
  get revision(): number {
    return this.#revision
  }

  held(): IterableIterator<[Txid, HeldBond]> {
    return this.#held.entries()
  }

  /** Its last event that was valid when it came. */
  get(txid: Txid): HeldBond | undefined {
    return this.#held.get(txid)
  }

  /** Undefined where no valid event announces it. */
  at(txid: Txid, nowS: number): HeldBond | undefined {
    const bond = this.#held.get(txid)
    return bond && bond.untilS >= nowS ? bond : undefined
  }

  /** A valid event announces the bond. `isKnown`: the chain has it. False when nothing has changed by it. */
  take(txid: Txid, bond: HeldBond, isKnown: boolean): boolean {
    const before = this.#held.get(txid)
    if (before && before.untilS >= bond.untilS) return false
    if (!before && !isKnown) {
      if (this.#strange.size >= RELAY_VIEW_LIMITS.strangeBonds) return false
      this.#strange.add(txid)
    }
    this.#held.set(txid, bond)
    this.#revision++
    return true
  }

  /** `key` is the same whenever the same event comes again. */
  refuse(key: string, fault: EventFault): void {
    if (this.#invalid.has(key) || this.#invalid.size >= RELAY_VIEW_LIMITS.invalidEvents) return
    this.#invalid.set(key, fault)
    this.#revision++
  }

  /** Forgets bonds whose events are over; returns them. */
  prune(nowS: number): Txid[] {
    const over = [...this.#held].flatMap(([txid, { untilS }]) => (untilS < nowS ? [txid] : []))
    for (const txid of over) {
      this.#held.delete(txid)
      this.#strange.delete(txid)
    }
    if (over.length > 0) this.#revision++
    return over
  }

  faults(): FaultCounts {
    const counts = { ...this.#counted }
    for (const fault of this.#invalid.values()) counts[fault]++
    return counts
  }
}

export interface RelayCounts {
  /** Bonds that takers should find, with a valid event there. */
  announced: number
  /** Without one. */
  missing: readonly Txid[]
  /** Bonds with a valid event that were spent, have expired, never qualified or never were. */
  dead: number
  /** Events that are not valid. */
  invalid: FaultCounts
}

/** `wanted`: the bonds that takers should find. `isDead`: that the chain says so of a bond which an event announces. */
export function relayCounts(
  view: RelayView,
  wanted: Iterable<Txid>,
  isDead: (txid: Txid) => boolean,
  nowS: number,
): RelayCounts {
  const missing: Txid[] = []
  let announced = 0
  for (const txid of wanted) {
    if (view.at(txid, nowS)) announced++
    else missing.push(txid)
  }
  let dead = 0
  for (const [txid, { untilS }] of view.held()) if (untilS >= nowS && isDead(txid)) dead++
  return { announced, missing, dead, invalid: view.faults() }
}

export function sumOfFaults(counts: FaultCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}
