/** What asking makers and other trackers has found out, as HTTP shows it: read from memory and store, nobody is dialled. */
import type { BondLiveness, BondPlace, Liveness } from '../peers/liveness.ts'
import type { Trackers } from '../peers/trackers.ts'
import type { OfferTerms } from '../peers/types.ts'
import type { Db } from '../store/open.ts'
import { readProbeSteps } from '../store/probes.ts'
import type { TrackerRecord } from '../store/trackers.ts'
import type { Clock } from '../world.ts'

const LIMITS = {
  /** A day by ten minutes: about as often as a maker is probed. */
  historyMs: 86_400_000,
  stepMs: 600_000,
  /** Probes read for it: a day of 350 makers, some tens of milliseconds; of a larger market the last hours. */
  probesMax: 50_000,
}

/** Probes of all makers within the ten minutes that end at `timeS`. */
export interface ProbePoint {
  timeS: number
  answered: number
  failed: number
  /** Of the answered ones; absent without any. */
  medianMs?: number
  p95Ms?: number
}

export interface Probing {
  livenessOf(address: string): BondLiveness
  /** The maker's last offer. */
  offerOf(address: string): OfferTerms | undefined
  /** Whether an offer or a Post has proven that its maker owns this bond. */
  isProven(bond: BondPlace): boolean
  /** Oldest first. */
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
      const steps = readProbeSteps(db, clock.nowMs() - LIMITS.historyMs, LIMITS.stepMs, LIMITS.probesMax)
      return steps.map(({ fromMs, failed, latenciesMs }) => {
        const point = { timeS: (fromMs + LIMITS.stepMs) / 1000, answered: latenciesMs.length, failed }
        if (latenciesMs.length === 0) return point
        return { ...point, medianMs: quantile(latenciesMs, 0.5), p95Ms: quantile(latenciesMs, 0.95) }
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
