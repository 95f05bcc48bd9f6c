/**
 * Pure: when a maker is probed next, and whether that probe asks for its offer or may be a v1 Ping. All times are
 * multiples of one interval, 10 minutes unless set otherwise. Source: docs/liveness.md, "When".
 */
import { REACH_RULES, type ReachRules } from './reach.ts'
import type { MakerRecord } from './types.ts'

export const LIMITS = {
  /** Part of the interval by which a probe comes earlier or later: makers are not to see our rhythm, nor all at once. */
  jitter: 0.15,
  /** A dead maker is asked less and less: each failure after it is down doubles the pause, up to 4 hours. */
  backoffIntervalsMax: 24,
  /** A failure that says nothing is soon tried again. */
  unjudgedIntervals: 0.5,
  /** A proof that is missing or has failed is asked for again after an hour, a proven one after a day. */
  missingProofIntervals: 6,
  provenIntervals: 144,
  /** A pinged maker of 0.1.x takes its onion service down and up again: at most every 6 hours. */
  pingIntervals: 36,
}

export const INTERVAL_MS = 600_000

export interface ProbeRules extends ReachRules {
  intervalMs: number
}

/**
 * The rules at an interval. On test networks (`scaled`) what makes a maker up or down shrinks with the interval; elsewhere
 * it is one hour and half an hour, whatever the interval.
 */
export function probeRules(intervalMs: number, scaled: boolean): ProbeRules {
  if (!scaled) return { ...REACH_RULES, intervalMs }
  const scale = intervalMs / INTERVAL_MS
  return {
    intervalMs,
    upMs: REACH_RULES.upMs * scale,
    downFailures: REACH_RULES.downFailures,
    downSpanMs: REACH_RULES.downSpanMs * scale,
  }
}

/**
 * When the maker is to be probed again, Unix milliseconds; 0 when it never was. `chance` is in [0, 1). `wasUnjudged`: the
 * last probe said nothing.
 */
export function nextProbeMs(
  record: MakerRecord | undefined,
  rules: ProbeRules,
  chance: number,
  wasUnjudged = false,
): number {
  if (!record) return 0
  const jitter = 1 + LIMITS.jitter * (2 * chance - 1)
  return record.lastProbeMs + rules.intervalMs * jitter * intervalsAfter(record, rules, wasUnjudged)
}

function intervalsAfter(record: MakerRecord, rules: ProbeRules, wasUnjudged: boolean): number {
  if (wasUnjudged) return LIMITS.unjudgedIntervals
  if (record.dialect === 'ping' || record.dialect === 'ping-unit') return LIMITS.pingIntervals // it answers nothing else
  const { failures, firstFailureMs = 0, lastFailureMs = 0 } = record
  const isSpread = lastFailureMs - firstFailureMs >= rules.downSpanMs
  const extra = isSpread ? failures - rules.downFailures : 0
  return Math.min(LIMITS.backoffIntervalsMax, 2 ** Math.min(Math.max(0, extra), 20))
}

/** `isProven`: of the bond that the maker is listed by. */
export function wantsOffer(
  record: MakerRecord | undefined,
  isProven: boolean,
  nowMs: number,
  { intervalMs }: ProbeRules,
): boolean {
  if (record?.offerAskedMs === undefined) return true
  const intervals = isProven ? LIMITS.provenIntervals : LIMITS.missingProofIntervals
  return hasPassed(record.offerAskedMs, intervals * intervalMs, nowMs)
}

export function mayPing(record: MakerRecord | undefined, nowMs: number, { intervalMs }: ProbeRules): boolean {
  return record?.pingedMs === undefined || hasPassed(record.pingedMs, LIMITS.pingIntervals * intervalMs, nowMs)
}

/** A clock that was set back must not make us wait for it. */
function hasPassed(sinceMs: number, spanMs: number, nowMs: number): boolean {
  return nowMs - sinceMs >= spanMs || sinceMs > nowMs
}
