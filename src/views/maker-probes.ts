/** What probes of one maker found, as rows: counted by the hour, and the last ones singly. */
import { HOUR_MS, hourOf, readHours, readProbes } from '../store/shared/probes.ts'
import type { Facts } from './facts.ts'
import type { ProbeHourRow, ProbeRowShown } from './schemas/makers.ts'

export const MAKER_PROBES_LIMITS = {
  /** A month by the hour, as long as an uptime is told for; at the most 400 days, as long as hours are kept. */
  hours: 720,
  /** See `hours`. */
  hoursMax: 9_600,
  /** Single probes told: about a day at one in ten minutes. */
  probes: 150,
}

export function makerProbes(
  { db, clock }: Pick<Facts, 'db' | 'clock'>,
  address: string,
  hours: number,
): { hours: ProbeHourRow[]; probes: ProbeRowShown[] } {
  const from = hourOf(clock.nowMs()) - hours + 1
  return {
    hours: readHours(db, address, from).map(({ hour, ...counts }) => ({ time: (hour * HOUR_MS) / 1_000, ...counts })),
    probes: readProbes(db, address, MAKER_PROBES_LIMITS.probes).map(
      ({ atMs, outcome, failure, text, dialect, latencyMs }) => ({
        time: Math.floor(atMs / 1_000),
        outcome,
        failure: failure ?? null,
        text: text ?? null,
        dialect: dialect ?? null,
        latency_ms: latencyMs,
      }),
    ),
  }
}
