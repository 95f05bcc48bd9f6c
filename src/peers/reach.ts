/**
 * Pure: whether a maker is up, down or unknown, what a probe changes in its record, and when it is probed next. Knows not
 * how a probe is made. Source: docs/makers.md, "Three states" and "Probes".
 */
import type { DialectName, MakerRecord, ProbeFailure, Reach, Uptime } from './types.ts'

export interface ReachRules {
  /** An answer proves life for this long. */
  upMs: number
  /** Failures in a row, and the time from the first to the last of them, that prove absence. */
  downFailures: number
  downSpanMs: number
}

export const REACH_RULES: ReachRules = { upMs: 3_600_000, downFailures: 3, downSpanMs: 1_800_000 }

export function reachOf(record: MakerRecord | undefined, nowMs: number, rules: ReachRules): Reach {
  if (!record) return 'unknown'
  if (isDown(record, rules)) return 'down'
  const { failures, lastUpMs } = record
  return failures === 0 && lastUpMs !== undefined && nowMs - lastUpMs <= rules.upMs ? 'up' : 'unknown'
}

/** Of its own, without regard to the time: only a probe ends it. */
export function isDown({ failures, firstFailureMs, lastFailureMs }: MakerRecord, rules: ReachRules): boolean {
  if (failures < rules.downFailures || firstFailureMs === undefined || lastFailureMs === undefined) return false
  return lastFailureMs - firstFailureMs >= rules.downSpanMs
}

/**
 * What a probe at `atMs` says. `unjudged`: it failed, and our own Tor was not known to work; or (`closed`, with what was met)
 * the maker took the connection and closed it without a word, as makers do that have no room for more: it lives, and
 * nobody knows whether it is the maker.
 */
export type ProbeFinding =
  | { outcome: 'answered'; dialect: DialectName; protocols?: readonly string[] | undefined }
  | { outcome: 'failed'; failure: ProbeFailure; text: string }
  | { outcome: 'unjudged'; closed?: string }

/** The record after a probe. `wasDown`: before it; only an answer ends that. */
export function afterProbe(
  before: MakerRecord | undefined,
  address: string,
  atMs: number,
  finding: ProbeFinding,
  wasDown = false,
): MakerRecord {
  const record: MakerRecord = { ...(before ?? { address, failures: 0 }), lastProbeMs: atMs }
  switch (finding.outcome) {
    case 'unjudged':
      if (finding.closed === undefined) return record
      record.failure = 'closed'
      record.failureText = finding.closed
      if (wasDown) return record
      record.failures = 0 // what failed before is no row any more
      delete record.firstFailureMs
      record.lastFailureMs = atMs
      return record
    case 'failed':
      record.firstFailureMs = record.failures === 0 ? atMs : (record.firstFailureMs ?? atMs)
      record.failures++
      record.lastFailureMs = atMs
      record.failure = finding.failure
      record.failureText = finding.text
      return record
    case 'answered':
      record.lastUpMs = atMs
      record.failures = 0
      delete record.firstFailureMs
      record.dialect = finding.dialect
      if (finding.protocols) record.protocols = finding.protocols
      return record
  }
}

/** Answered of a million observed; undefined without observations. */
export function uptimePpm({ answered, observed }: Uptime): number | undefined {
  return observed === 0 ? undefined : Math.floor((1_000_000 * answered) / observed)
}

// ---- when ----

export const SCHEDULE_LIMITS = {
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

/** What the limits above are multiples of, unless set otherwise. */
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
  const jitter = 1 + SCHEDULE_LIMITS.jitter * (2 * chance - 1)
  const dueMs = record.lastProbeMs + rules.intervalMs * jitter * intervalsAfter(record, rules, wasUnjudged)
  const { dialect, pingedMs } = record
  if ((dialect !== 'ping' && dialect !== 'ping-unit') || pingedMs === undefined) return dueMs
  // It answers nothing else: asked before it may be pinged again, it would seem to have failed.
  const late = 1 + SCHEDULE_LIMITS.jitter * chance
  return Math.max(dueMs, pingedMs + rules.intervalMs * SCHEDULE_LIMITS.pingIntervals * late)
}

/**
 * When any address of a host may be probed again, Unix milliseconds, after a probe of one of them at `lastProbeMs`: all
 * bonds of a host cost what one costs. Never later than that address itself is due by the same `chance`.
 */
export function hostFreeMs(
  lastProbeMs: number,
  { intervalMs }: ProbeRules,
  chance: number,
  wasUnjudged = false,
): number {
  const jitter = 1 + SCHEDULE_LIMITS.jitter * (2 * chance - 1)
  return lastProbeMs + intervalMs * jitter * (wasUnjudged ? SCHEDULE_LIMITS.unjudgedIntervals : 1)
}

function intervalsAfter(record: MakerRecord, rules: ProbeRules, wasUnjudged: boolean): number {
  if (wasUnjudged) return SCHEDULE_LIMITS.unjudgedIntervals
  const { failures, firstFailureMs = 0, lastFailureMs = 0 } = record
  const isSpread = lastFailureMs - firstFailureMs >= rules.downSpanMs
  const extra = isSpread ? failures - rules.downFailures : 0
  return Math.min(SCHEDULE_LIMITS.backoffIntervalsMax, 2 ** Math.min(Math.max(0, extra), 20))
}

/** `isProven`: of the bond that the maker is listed by. */
export function wantsOffer(
  record: MakerRecord | undefined,
  isProven: boolean,
  nowMs: number,
  { intervalMs }: ProbeRules,
): boolean {
  if (record?.offerAskedMs === undefined) return true
  const intervals = isProven ? SCHEDULE_LIMITS.provenIntervals : SCHEDULE_LIMITS.missingProofIntervals
  return hasPassed(record.offerAskedMs, intervals * intervalMs, nowMs)
}

export function mayPing(record: MakerRecord | undefined, nowMs: number, { intervalMs }: ProbeRules): boolean {
  return record?.pingedMs === undefined || hasPassed(record.pingedMs, SCHEDULE_LIMITS.pingIntervals * intervalMs, nowMs)
}

/** A clock that was set back must not make us wait for it. */
function hasPassed(sinceMs: number, spanMs: number, nowMs: number): boolean {
  return nowMs - sinceMs >= spanMs || sinceMs > nowMs
}
