/**
 * What the running daemon says of itself: the report that the status verb reads, whether it is ready, and what it tells
 * when asked by a signal.
 */
import type { Config } from './config.ts'
import type { Indexer } from './indexer.ts'
import { nextLogLevel, setLogLevel, writeAnyway } from './log.ts'
import type { Liveness } from './peers/liveness.ts'
import { type Report, type Status, unseenHeights, whyNotReady } from './status.ts'
import type { Db } from './store/open.ts'
import { countRegistrations } from './store/registrations.ts'
import { writeReport } from './store/tip.ts'
import { formatHostPort } from './tor/address.ts'
import { VERSION } from './version.ts'
import type { Watcher } from './watch/watcher.ts'
import type { WireServer } from './wire/server.ts'
import { sleep, type World } from './world.ts'

export const LIMITS = {
  /** How often the report for the status verb is written, when it has changed. */
  reportMs: 1_000,
  /** How often it is written at the least, so that its age tells a daemon that hangs. */
  heartbeatMs: 10_000,
}

/** What the operator may ask of the running daemon by a signal: filled in here, called by main.ts. */
export interface Wishes {
  dumpState(): void
  changeLogLevel(): void
}

export interface ReportDeps {
  config: Config
  status: Status
  db: Db
  indexer: Indexer
  watcher: Watcher
  liveness: Liveness
  wire: WireServer
  world: World
  ownAddress: () => string
  startedAtMs: number
}

/** SIGUSR1 and SIGUSR2, as main.ts hears them. */
export function grantWishes(wishes: Wishes, deps: ReportDeps): void {
  const { config, world } = deps
  const { log } = world
  let level = config.logLevel
  wishes.dumpState = () => {
    const { following } = deps.status
    const report = currentReport(deps)
    writeAnyway(log, { report, following, memory: process.memoryUsage(), logLevel: level }, 'state')
  }
  wishes.changeLogLevel = () => {
    level = nextLogLevel(level, config.logLevel)
    setLogLevel(log, level)
    writeAnyway(log, { logLevel: level }, 'log level changed')
  }
}

/** Keeps the stored report true, and says in the log when readiness changes. */
export async function runReport(deps: ReportDeps, signal: AbortSignal): Promise<void> {
  const { status, db, world } = deps
  const { clock, log } = world
  let saidReady: boolean | undefined
  let written = ''
  let writtenMs = 0
  for (;;) {
    const report = currentReport(deps)
    const { ready, notReady } = report
    if (ready !== saidReady) {
      const unseen = unseenHeights(deps.indexer.scannedFrom(), status.following.tip)
      if (ready) log.info({ address: deps.ownAddress(), ...(unseen && { unseen }) }, 'ready')
      else log.info({ notReady }, 'not ready')
    }
    saidReady = ready
    const text = JSON.stringify(report)
    const nowMs = clock.monotonicMs()
    if (text !== written || nowMs - writtenMs >= LIMITS.heartbeatMs) {
      writeReport(db, { ...report, writtenAtMs: clock.nowMs() })
      writtenMs = nowMs
    }
    written = text
    await sleep(LIMITS.reportMs, signal)
  }
}

export function currentReport(deps: ReportDeps): Omit<Report, 'writtenAtMs'> {
  const { config, status, db, watcher, liveness, wire, world, ownAddress, startedAtMs } = deps
  const { following, onion } = status
  const notReady = whyNotReady(status, world.clock.monotonicMs())
  return {
    pid: process.pid,
    version: VERSION,
    network: config.network,
    startedAtMs,
    address: formatHostPort(wire),
    onion: {
      state: onion.kind,
      detail: onion.detail,
      ...('onionHost' in onion && { address: ownAddress() }),
      ...('torVersion' in onion && onion.torVersion !== undefined && { torVersion: onion.torVersion }),
    },
    ready: notReady.length === 0,
    notReady,
    node: following.node,
    ...(following.source !== undefined && { source: following.source }),
    ...(following.best && { best: following.best }),
    ...(following.tip && { tip: { hash: following.tip.hash, height: following.tip.height } }),
    ...(following.progress && { progress: following.progress }),
    reorgs: following.reorgs,
    reorgDepthMax: following.reorgDepthMax,
    mempool: following.mempool,
    connections: wire.connections(),
    ...(status.canary && { canary: { state: status.canary.kind, detail: status.canary.detail } }),
    makers: liveness.counts(),
    subscriptions: watcher.subscriptions,
    registered: countRegistrations(db),
  }
}
