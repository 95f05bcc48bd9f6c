/**
 * Pure: whether a maker is up, down or unknown, and what a probe changes in its record. Source: docs/liveness.md, "Three
 * states". Knows neither when a probe is due nor how one is made.
 */
import type { DialectName, MakerRecord, ProbeFailure, Reach } from './types.ts'

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

/** What a probe at `atMs` says. `unjudged`: it failed, and our own Tor was not known to work. */
export type Finding =
  | { outcome: 'answered'; dialect: DialectName; protocols?: readonly string[] | undefined }
  | { outcome: 'failed'; failure: ProbeFailure; text: string }
  | { outcome: 'unjudged' }

/** The record after a probe. */
export function afterProbe(
  before: MakerRecord | undefined,
  address: string,
  atMs: number,
  finding: Finding,
): MakerRecord {
  const record: MakerRecord = { ...(before ?? { address, failures: 0 }), lastProbeMs: atMs }
  switch (finding.outcome) {
    case 'unjudged':
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
