/** The past as rows: what was alive at blocks of the past, and what probes found. */
import { bondHistory, sampleHeights } from '../bonds/history.ts'
import { WINDOW_BLOCKS } from '../chain/plan.ts'
import type { Height } from '../chain/types.ts'
import type { Market } from '../market.ts'
import { readBlockTimes } from '../store/local/tip.ts'
import { readProbeSteps } from '../store/shared/probes.ts'
import type { Facts } from './facts.ts'
import type { HistoryRow, ProbePointRow } from './schemas/past.ts'

const LIMITS = {
  /** A day by ten minutes: about as often as a maker is probed. */
  probesMs: 86_400_000,
  stepMs: 600_000,
  /** Probes read for it: a day of 350 makers, some tens of milliseconds; of a larger market the last hours. */
  probesMax: 50_000,
}

export interface History {
  /** Before it, bonds older than the scan are missing from the counts. */
  completeFrom: Height
  /** Oldest first, evenly apart. */
  points: HistoryRow[]
  /** Oldest first; empty where nobody was probed. */
  probes: ProbePointRow[]
}

/** At most `points` blocks, from height `from` on (else of the window). */
export function historyOf(
  { db, chain, clock }: Facts,
  market: Market,
  { points, from }: { points: number; from?: Height | undefined },
): History {
  const tipHeight = market.tip.height
  const scannedFrom = chain.scannedFrom() ?? tipHeight
  const heights = sampleHeights(Math.max(from ?? tipHeight - WINDOW_BLOCKS, scannedFrom), tipHeight, points)
  const times = readBlockTimes(db, heights)
  const steps = readProbeSteps(db, clock.nowMs() - LIMITS.probesMs, LIMITS.stepMs, LIMITS.probesMax)
  const confirmed = market.known.flatMap(({ bond }) => ('conf' in bond ? [bond] : []))
  return {
    completeFrom: scannedFrom === 0 ? 0 : scannedFrom + WINDOW_BLOCKS,
    points: bondHistory(confirmed, heights).map(({ height, bonds, makers, amountSats }) => ({
      height,
      time: times.get(height)!,
      bonds,
      makers,
      amount: amountSats,
    })),
    probes: steps.map(({ fromMs, failed, latenciesMs }) => ({
      time: (fromMs + LIMITS.stepMs) / 1000,
      answered: latenciesMs.length,
      failed,
      median_ms: quantile(latenciesMs, 0.5) ?? null,
      p95_ms: quantile(latenciesMs, 0.95) ?? null,
    })),
  }
}

/** Undefined of nothing. */
function quantile(ascending: readonly number[], q: number): number | undefined {
  return ascending[Math.min(ascending.length - 1, Math.floor(q * ascending.length))]
}
