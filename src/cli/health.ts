/** The health verb: is the daemon of this data directory alive, and can it answer takers? From its report and its lock. */
import { existsSync } from 'node:fs'
import { describeError } from '../errors.ts'
import { type Report, summaryOf } from '../status.ts'
import { isLocked } from '../store/lock.ts'
import { databasePath, openStoreReadonly } from '../store/open.ts'
import { readReport } from '../store/tip.ts'

export const LIMITS = {
  /** A daemon that runs writes its report every ten seconds at the least; this one hangs. */
  reportAgeMsMax: 60_000,
}

export interface Health {
  /** The process runs and does its rounds. */
  alive: boolean
  /** It answers takers, through its onion service if it has one. */
  ready: boolean
  detail: string
}

export function readHealth(dataDir: string, nowMs: number): Health {
  const dead = (detail: string): Health => ({ alive: false, ready: false, detail })
  if (!existsSync(databasePath(dataDir)) || !isLocked(dataDir)) {
    return dead(`no daemon runs with --datadir ${dataDir}`)
  }
  let report: Report | undefined
  try {
    using db = openStoreReadonly(dataDir)
    report = readReport(db) as Report | undefined
  } catch (error) {
    return dead(describeError(error))
  }
  if (!report) return { alive: true, ready: false, detail: 'the daemon is starting' }
  const ageMs = nowMs - report.writtenAtMs
  if (ageMs > LIMITS.reportAgeMsMax) {
    return dead(
      `the daemon (pid ${report.pid}) has not reported for ${Math.round(ageMs / 1000)} s: it starts, or hangs`,
    )
  }
  return { alive: true, ready: report.ready, detail: summaryOf(report) }
}
