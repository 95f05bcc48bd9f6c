/**
 * The views for another process than the daemon: over a database that it only reads, running daemon or not, the same rows
 * by the same code; and how the daemon of a data directory is doing.
 */
import { existsSync } from 'node:fs'
import { unseenHeights } from '../chain/plan.ts'
import type { Config } from '../config.ts'
import { databasePath } from '../data-places.ts'
import { describeError } from '../errors.ts'
import { refusalFor } from '../file-access.ts'
import { span } from '../format.ts'
import { CurrentMarket } from '../market.ts'
import { Liveness } from '../peers/liveness.ts'
import { probeRules } from '../peers/reach.ts'
import { readRelayReports, readRelaysWithout } from '../store/local/relays.ts'
import { readScannedFrom, readStoredStatus, readTip } from '../store/local/tip.ts'
import { readTrackers } from '../store/local/trackers.ts'
import { isLocked } from '../store/lock.ts'
import { type Db, openExisting, openStoreReadonly } from '../store/open.ts'
import { countRegistrations } from '../store/shared/registrations.ts'
import { formatHostPort } from '../tor/address.ts'
import type { Clock } from '../world.ts'
import type { ChainFacts, Facts } from './facts.ts'
import { type RelayRow, relaySchema } from './schemas/relays.ts'
import { type Checks, type StatusRow, statusSchema } from './schemas/status.ts'
import { chainStatus, newStatusCells, statusRow, summaryOf } from './status.ts'

const LIMITS = {
  /** A daemon that runs stores its status every ten seconds at the least; this one hangs. */
  statusAgeSMax: 60,
}

/** Calls `look` with the facts of one moment. Throws ConfigError where there is no database, or another network's. */
export function readFacts<T>(config: Config, clock: Clock, look: (facts: Facts) => T): T {
  const { dataDir, network, probes } = config
  using db = openExisting(dataDir, network)
  return db.snapshot(() => {
    const tip = readTip(db)
    const scannedFrom = readScannedFrom(db)
    const chain: ChainFacts = { tip: () => tip, scannedFrom: () => scannedFrom, revision: 0, pendingRevision: 0 }
    const market = new CurrentMarket(db, chain)
    const liveness = new Liveness(db, market, probeRules(probes.intervalMs, network === 'regtest'), clock)
    const trackers = readTrackers(db)
    const relays = readRelayRows(db, isLocked(dataDir))
    const best = lastStatus(db)?.bitcoind.best_height ?? 0
    return look({
      config,
      clock,
      db,
      chain,
      market,
      liveness,
      trackers: { list: () => trackers, revision: 0 },
      relays: {
        rows: () => relays,
        without(txid) {
          const without = readRelaysWithout(db, txid, Math.floor(clock.nowMs() / 1000))
          return relays.flatMap(({ url, announced }) => (announced !== null && without.has(url) ? [url] : []))
        },
      },
      notSynced() {
        if (!isLocked(dataDir)) return 'the daemon is not running'
        const sync = lastStatus(db)?.checks.sync
        if (!sync) return 'the daemon is starting'
        return sync.ok ? undefined : sync.detail
      },
      // Of the present window, also where the scan has not come that far.
      unseen: () => unseenHeights(scannedFrom, tip && { height: Math.max(tip.height, best) }),
    })
  })
}

/** What the daemon last told of each relay; without one nobody listens there. */
export function readRelayRows(db: Db, isRunning: boolean): RelayRow[] {
  return readRelayReports(db).flatMap(({ report }) => {
    const { data: row } = relaySchema.safeParse(report) // one of another version says nothing
    return row ? [isRunning ? row : { ...row, state: 'stopped' as const }] : []
  })
}

/** What the daemon last said of itself; undefined where none did, or one of another version. */
export function lastStatus(db: Db): StatusRow | undefined {
  return statusSchema.safeParse(readStoredStatus(db)).data
}

/**
 * The running daemon's own row, a second old at the most; without one the last it left, with what is no longer so taken
 * out and what the store says put in. `ownHost`: the onion service's name, where files have it.
 */
export function readStatus(facts: Facts, ownHost: string | undefined): StatusRow {
  const { db, config, clock } = facts
  const isRunning = isLocked(config.dataDir)
  const last = lastStatus(db)
  if (isRunning && last) return last
  const detail = isRunning ? 'the daemon is starting' : 'the daemon is not running'
  const before =
    last ??
    statusRow({
      ...facts,
      cells: newStatusCells(config.tor.kind !== 'none'),
      startedAtMs: clock.nowMs(),
      ownAddress: () => formatHostPort(config.listen),
      connections: () => 0,
      subscriptions: () => 0,
      registrations: () => 0,
      nostr: () => null,
    })
  const check = { ok: false, detail }
  const { onion } = before
  const ownAddress = ownHost === undefined ? onion.address : formatHostPort({ host: ownHost, port: config.listen.port })
  return {
    ...before,
    running: isRunning,
    pid: null,
    started_at: null,
    uptime_s: 0,
    ready: false,
    not_ready: [detail],
    advice: [],
    checks: { database: { ok: true, detail: 'ok' }, bitcoind: check, sync: check, tor: check, onion: check },
    ...chainStatus(facts),
    address: ownAddress ?? before.address,
    onion: {
      ...onion,
      ...(onion.state !== 'disabled' && { state: 'unreachable', detail }),
      address: ownAddress,
      canary: onion.canary && { ...onion.canary, state: 'untried', detail },
    },
    synced: false,
    progress: null,
    nostr: null,
    connections: 0,
    subscriptions: 0,
    registrations: countRegistrations(db),
  }
}

export interface Health {
  /** The process runs and does its rounds. */
  alive: boolean
  /** It answers takers, through its onion service if it has one. */
  ready: boolean
  detail: string
  /** Null where no daemon tells. */
  checks: Checks | null
}

/** Is the daemon of this data directory alive, and can it answer takers? */
export function readHealth(dataDir: string, nowMs: number): Health {
  const dead = (detail: string): Health => ({ alive: false, ready: false, detail, checks: null })
  const refusal = refusalFor(databasePath(dataDir), 'read')
  if (refusal !== undefined) return dead(`--datadir ${dataDir} can't be looked into: ${refusal}`)
  if (!existsSync(databasePath(dataDir)) || !isLocked(dataDir)) {
    return dead(`no daemon runs with --datadir ${dataDir}`)
  }
  let last: StatusRow | undefined
  try {
    using db = openStoreReadonly(dataDir)
    last = lastStatus(db)
  } catch (error) {
    return dead(describeError(error))
  }
  if (!last) return { alive: true, ready: false, detail: 'the daemon is starting', checks: null }
  const ageS = Math.floor(nowMs / 1000) - last.time
  if (ageS > LIMITS.statusAgeSMax) {
    return dead(`the daemon (pid ${last.pid}) has not reported for ${span(ageS)}: it starts, or hangs`)
  }
  return { alive: true, ready: last.ready, detail: summaryOf(last), checks: last.checks }
}
