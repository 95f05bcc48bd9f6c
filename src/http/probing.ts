/** What asking makers and other trackers has found out, as HTTP shows it: read from memory and store, nobody is dialled. */
import type { BondLiveness, BondPlace, Liveness } from '../peers/liveness.ts'
import type { Trackers } from '../peers/trackers.ts'
import type { OfferTerms } from '../peers/types.ts'
import type { Db } from '../store/open.ts'
import { HOUR_MS, hourOf, readLatencies } from '../store/probes.ts'
import type { TrackerRecord } from '../store/trackers.ts'
import type { Clock } from '../world.ts'

const LIMITS = {
  /** Counts by the hour, as the page draws them. */
  historyMs: 7 * 24 * HOUR_MS,
  /** Latencies come from single probes: a day of five hundred makers is 72,000 rows, some tens of milliseconds. */
  latencyMs: 24 * HOUR_MS,
}

/** Probes of all makers within the hour that ends at `timeS`. */
export interface ProbePoint {
  timeS: number
  answered: number
  failed: number
  /** Of the answered ones; absent without any, and for hours long gone. */
  medianMs?: number
  p95Ms?: number
}

export interface Probing {
  livenessOf(address: string): BondLiveness
  /** The maker's last offer. */
  offerOf(address: string): OfferTerms | undefined
  /** Whether an offer or a Post has proven that its maker owns this bond. */
  isProven(bond: BondPlace): boolean
  /** Oldest first, an hour each. */
  probeHistory(): ProbePoint[]
  trackers(): readonly TrackerRecord[]
  /** Changes whenever one of the answers above may have changed. */
  readonly revision: number
}

export function probingOf(db: Db, liveness: Liveness, trackers: Trackers, clock: Clock): Probing {
  return {
    livenessOf: (address) => liveness.livenessOf(address),
    offerOf: (address) => liveness.offerOf(address),
    isProven: (bond) => liveness.isProven(bond),
    probeHistory() {
      const nowMs = clock.nowMs()
      const latencies = readLatencies(db, HOUR_MS * hourOf(nowMs - LIMITS.latencyMs))
      return liveness.hours(nowMs - LIMITS.historyMs).map(({ hour, answered, failed }) => {
        const ofHour = latencies.get(hour)
        const point = { timeS: (HOUR_MS / 1000) * (hour + 1), answered, failed }
        return ofHour ? { ...point, medianMs: quantile(ofHour, 0.5), p95Ms: quantile(ofHour, 0.95) } : point
      })
    },
    trackers: () => trackers.list(),
    get revision() {
      return liveness.changes + trackers.revision
    },
  }
}

function quantile(ascending: readonly number[], q: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(q * ascending.length))]!
}
