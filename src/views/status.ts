/**
 * How this tracker is doing, told once: the cells that the daemon's loops write, the one rule of readiness, and the row
 * made of them. Health checks, verbs, page, service manager, metrics and webhooks say what this says.
 */
import { type Following, isUp, newFollowing, unseenOf, warningsOf, whyNotSynced } from '../chain/following.ts'
import { describeError } from '../errors.ts'
import { utc } from '../format.ts'
import type { CanaryState } from '../peers/canary.ts'
import { readTip } from '../store/local/tip.ts'
import type { Db } from '../store/open.ts'
import type { LeaseState } from '../tor/address-lease.ts'
import type { OnionState } from '../tor/onion.ts'
import { VERSION } from '../version.ts'
import { adviceOn } from './advice.ts'
import type { Facts } from './facts.ts'
import type { Checks, StatusRow } from './schemas/status.ts'

/** One cell per loop, written by that loop alone. */
export interface StatusCells {
  following: Following
  onion: OnionState | { kind: 'disabled'; detail: string }
  /** Of the address that several trackers share (--onion-lease); absent without one. */
  lease?: LeaseState
  /** The name of the service, from the key or a file of Tor's: it is ours while Tor is away, too. */
  onionHost?: string
  /** Absent without Tor. */
  canary?: CanaryState
  /** When the canary was green last, Unix seconds; absent before the first time. */
  canaryGreenS?: number
  /** When a directory last took a descriptor of ours, on the monotonic clock; absent before the first, and for torrc's. */
  descriptor?: { uploadedMs: number }
  /** How often a back end of Onionbalance was taken from its Tor as it was not ready. */
  withdrawn?: number
  /** How often the service was taken down and published again because nobody reached it. */
  republished?: number
  /** When last, Unix milliseconds; absent once it was reached again. */
  republishedAtMs?: number
  /** What other trackers of this market share with us; absent where none does. */
  shared?: { readonly check: { ok: boolean; detail: string } }
  /** Why the store could not be read at the last look. */
  databaseFault?: string | undefined
}

export function newStatusCells(hasTor: boolean, servesPartial = false): StatusCells {
  return {
    following: newFollowing(servesPartial),
    onion: hasTor ? { kind: 'starting', detail: 'starting' } : { kind: 'disabled', detail: '--no-tor' },
  }
}

// ---- readiness -------------------------------------------------------------------------------------------------------

export interface Readiness {
  /** Nothing keeps a taker from an answer through Tor: all checks are ok. */
  ready: boolean
  /** What is waited for, in words; empty when ready. */
  notReady: string[]
  checks: Checks
}

/** Pure. `nowMs` is monotonic. */
export function readiness(cells: StatusCells, nowMs: number): Readiness {
  const { following, onion, databaseFault } = cells
  const { node } = following
  const notSynced = whyNotSynced(following, nowMs)
  const isNodeUp = isUp(node) || node.kind === 'initial-download'
  const checks: Checks = {
    database: { ok: databaseFault === undefined, detail: databaseFault ?? 'ok' },
    bitcoind: { ok: isNodeUp, detail: isNodeUp ? nodeDetail(following) : node.detail },
    sync: { ok: notSynced === undefined, detail: notSynced ?? syncDetail(following) },
    tor: { ok: onion.kind !== 'starting' && onion.kind !== 'unreachable', detail: torDetail(onion) },
    onion: onionCheck(cells),
    ...(cells.shared && { shared_store: cells.shared.check }),
  }
  const failing = (Object.keys(checks) as (keyof Checks)[]).filter((name) => checks[name]?.ok === false)
  const words = failing.map((name) => `${wordFor(name, cells)}: ${checks[name]?.detail}`)
  return { ready: failing.length === 0, notReady: words, checks }
}

/**
 * Why nobody is to be led to this tracker, whatever Tor says; undefined when it answers. Not what is shared with other
 * trackers: while that is away they can't do more than this one.
 */
export function whyNotServing({ checks }: Readiness): string | undefined {
  const failing = (['database', 'bitcoind', 'sync'] as const).find((name) => !checks[name].ok)
  return failing && `${failing}: ${checks[failing].detail}`
}

/** One of several behind an address that Onionbalance spreads. */
function isBackEnd({ tor }: Facts['config']): boolean {
  return tor.kind === 'torrc' && tor.publicOnion !== undefined
}

/** What is doubtful of bitcoind is said, and keeps nobody from an answer. */
function nodeDetail(following: Following): string {
  const { best, node } = following
  const words = best ? [`block ${best.height}`] : []
  if (node.kind !== 'following') words.push(node.detail)
  return [...words, ...warningsOf(following)].join('; ')
}

function syncDetail(following: Following): string {
  const unseen = unseenOf(following)
  const at = `scanned ${following.tip?.height}`
  if (!unseen) return at
  return `${at}; lists are PARTIAL: blocks ${unseen.from} to ${unseen.to} of the window were never read (--serve-partial)`
}

/** Published, and reached through Tor by our own canary; or held by another tracker, which sees to that. */
function onionCheck(cells: StatusCells): Checks['onion'] {
  const { onion, canary } = cells
  if (onion.kind === 'standby') return { ok: onion.isHeld, detail: onion.detail }
  if (onion.kind === 'published' && canary) return { ok: canary.kind === 'green', detail: canaryDetail(cells, canary) }
  return { ok: onion.kind === 'published' || onion.kind === 'disabled', detail: onion.detail }
}

/** What was found, and what was tried against it. */
function canaryDetail({ republishedAtMs }: StatusCells, { detail }: CanaryState): string {
  if (republishedAtMs === undefined) return detail
  return `${detail}; taken down and published again at ${utc(republishedAtMs)}`
}

/** Whether somebody answers at our address: we, or the tracker that holds it. */
export function isAnswered(onion: StatusCells['onion']): boolean {
  return onion.kind === 'published' || (onion.kind === 'standby' && onion.isHeld)
}

function torDetail(onion: StatusCells['onion']): string {
  if ('torVersion' in onion && onion.torVersion !== undefined) return `Tor ${onion.torVersion}`
  if (onion.kind === 'standby') return 'answers'
  return onion.kind === 'published' ? 'not asked: the service stands in torrc' : onion.detail
}

function wordFor(check: keyof Checks, { onion }: StatusCells): string {
  if (check === 'sync') return 'not synced'
  if (check === 'tor') return 'Tor'
  if (check === 'shared_store') return 'shared store'
  if (check !== 'onion') return check
  return onion.kind === 'published' ? 'canary' : 'onion service'
}

/** One line, for the service manager and the health verb. */
export function summaryOf({
  ready,
  not_ready,
  address,
  height,
}: Pick<StatusRow, 'ready' | 'not_ready' | 'address' | 'height'>): string {
  return ready ? `ready at ${address}, block ${height ?? '-'}` : `not ready: ${not_ready.join('; ')}`
}

// ---- the row ---------------------------------------------------------------------------------------------------------

/** What a running daemon adds to what the views are made from. */
export interface RunningFacts extends Facts {
  readonly cells: StatusCells
  readonly startedAtMs: number
  /** `host:port` under which takers reach us. */
  ownAddress(): string
  /** Of takers, open just now. */
  connections(): number
  subscriptions(): number
  registrations(): number
  /** The Nostr relay; null without one. */
  nostr(): StatusRow['nostr']
}

/** What a database alone tells of it. */
export type ChainStatus = Pick<
  StatusRow,
  | 'version'
  | 'network'
  | 'height'
  | 'block_hash'
  | 'block_time'
  | 'scanned_from'
  | 'unseen'
  | 'synced'
  | 'bonds'
  | 'makers'
  | 'makers_up'
  | 'makers_down'
  | 'makers_unknown'
  | 'digest'
>

/** What the wire tells of it, too. */
export function chainStatus({ config, chain, market, liveness, notSynced, unseen }: Facts): ChainStatus {
  const now = market.read()
  const reach = liveness.counts()
  return {
    version: VERSION,
    network: config.network,
    height: now?.tip.height ?? null,
    block_hash: now?.tip.hash ?? null,
    block_time: now?.tip.timeS ?? null,
    scanned_from: chain.scannedFrom() ?? null,
    unseen: unseen() ?? null,
    synced: notSynced() === undefined,
    bonds: now?.counts.live ?? 0,
    makers: now?.makers.size ?? 0,
    makers_up: reach.up,
    makers_down: reach.down,
    makers_unknown: reach.unknown,
    digest: now?.list.digest.toString('hex') ?? null,
  }
}

/** Readiness as it is just now, the store looked at. */
export function currentReadiness({ cells, db, clock }: Pick<RunningFacts, 'cells' | 'db' | 'clock'>): Readiness {
  cells.databaseFault = faultOf(db)
  return readiness(cells, clock.monotonicMs())
}

function faultOf(db: Db): string | undefined {
  try {
    readTip(db)
    return undefined
  } catch (error) {
    return describeError(error)
  }
}

export function statusRow(facts: RunningFacts): StatusRow {
  const { cells, clock, startedAtMs } = facts
  const { following, onion, canary } = cells
  const { node, best, progress, mempool, source } = following
  const { ready, notReady, checks } = currentReadiness(facts)
  const nowMs = clock.nowMs()
  const row: Omit<StatusRow, 'advice'> = {
    running: true,
    pid: process.pid,
    started_at: Math.floor(startedAtMs / 1000),
    uptime_s: Math.max(0, Math.floor((nowMs - startedAtMs) / 1000)),
    time: Math.floor(nowMs / 1000),
    ready,
    not_ready: notReady,
    checks,
    ...chainStatus(facts),
    address: facts.ownAddress(),
    bitcoind: {
      state: node.kind,
      detail: node.detail,
      warnings: warningsOf(following),
      best_height: best?.height ?? null,
      best_hash: best?.hash ?? null,
      blocks_by: source ?? null,
    },
    progress: progress
      ? {
          from: progress.from,
          at: progress.at,
          to: progress.to,
          blocks_per_s: progress.blocksPerS,
          mb_per_s: progress.mbPerS,
          eta_s: progress.etaS ?? null,
        }
      : null,
    onion: {
      state: onion.kind,
      detail: onion.detail,
      address: cells.onionHost === undefined && !isBackEnd(facts.config) ? null : facts.ownAddress(),
      tor_version: ('torVersion' in onion && onion.torVersion) || null,
      canary: canary
        ? { state: canary.kind, detail: canaryDetail(cells, canary), last_green: cells.canaryGreenS ?? null }
        : null,
    },
    nostr: facts.nostr(),
    mempool: { transactions: mempool.size, complete: mempool.isComplete, detail: mempool.fault?.detail ?? null },
    reorgs: following.reorgs,
    reorg_depth_max: following.reorgDepthMax,
    connections: facts.connections(),
    subscriptions: facts.subscriptions(),
    registrations: facts.registrations(),
  }
  return { ...row, advice: adviceOn(row, facts.config) }
}
