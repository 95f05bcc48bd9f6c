/**
 * The JSON API as one table: path, what may be asked, what comes back, and how. The server registers it, the OpenAPI
 * document is written from it, and a path that stands here has both.
 */
import { z } from 'zod'
import { bondHistory, sampleHeights } from '../bonds/history.ts'
import { whyNotSynced } from '../chain/following.ts'
import { WINDOW_BLOCKS } from '../chain/plan.ts'
import { formatOutpoint, type Height, type Network, type Outpoint, parseOutpoint, type Txid } from '../chain/types.ts'
import { describeError, PeerFault } from '../errors.ts'
import type { CurrentMarket, Indexed, Market } from '../market.ts'
import type { Why } from '../peers/why.ts'
import { type Status, unseenHeights, whyNotReady } from '../status.ts'
import type { Db } from '../store/open.ts'
import { readBlockTimes, readTip } from '../store/tip.ts'
import { parseHostPort } from '../tor/address.ts'
import type { Answer, Watcher } from '../watch/watcher.ts'
import type { Clock } from '../world.ts'
import { bondRow, makerRow } from './answers.ts'
import { HttpFault, HTTP_LIMITS as LIMITS } from './guard.ts'
import { readiness } from './health.ts'
import type { Probing } from './probing.ts'
import * as replies from './replies.ts'
import { spendRow } from './spend.ts'

/** What we need of the indexer. */
export interface ChainFacts extends Indexed {
  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined
}

export interface AnswerDeps {
  db: Db
  chain: ChainFacts
  status: Status
  market: CurrentMarket
  probing: Probing
  /** Why the maker of this address is listed or not. */
  why: (address: string) => Why
  watcher: Pick<Watcher, 'watchMany'>
  network: Network
  version: string
  clock: Clock
  /** `host:port` under which takers reach us. */
  ownAddress: () => string
  /** Of takers, open just now. */
  connections: () => number
}

interface Route<P extends z.ZodType = z.ZodType, Q extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  /** As in OpenAPI: parameters in braces. */
  path: string
  name: string
  about: string
  params: P
  query: Q
  reply: R
  /** Statuses besides 200 and 400. */
  otherwise: readonly (404 | 503)[]
  /** `status` when it is not 200 although `reply` is what was asked for. */
  answer: (
    deps: AnswerDeps,
    params: z.infer<P>,
    query: z.infer<Q>,
  ) => Replied<z.infer<R>> | Promise<Replied<z.infer<R>>>
}

interface Replied<B> {
  status?: number
  body: B
}

export type AnyRoute = Route<z.ZodType, z.ZodType, z.ZodType>

function route<P extends z.ZodType, Q extends z.ZodType, R extends z.ZodType>(definition: Route<P, Q, R>): AnyRoute {
  return definition as unknown as AnyRoute
}

const nothing = z.strictObject({})
const wholeText = (min: number, max: number) =>
  z
    .string()
    .regex(/^(0|[1-9]\d{0,15})$/, 'expected a whole number')
    .transform(Number)
    .refine((n) => n >= min && n <= max, `expected ${min} to ${max}`)
    .meta({ minimum: min, maximum: max })
const txidText = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'expected 64 hex digits')
  .transform((text) => text.toLowerCase() as Txid)
const outpointParams = z.strictObject({ txid: txidText, vout: wholeText(0, 0xffffffff) })
const addressParams = z.strictObject({
  address: z
    .string()
    .max(LIMITS.pathParamChars)
    .transform((text) => text.toLowerCase())
    .refine((text) => parseHostPort(text) !== undefined, 'expected host.onion:port'),
})
const limit = wholeText(1, LIMITS.pageRowsMax).default(LIMITS.pageRows)
const flag = z
  .enum(['true', 'false', '1', '0'])
  .default('false')
  .transform((word) => word === 'true' || word === '1')
const afterOutpoint = z
  .string()
  .refine((text) => parseOutpoint(text) !== undefined, 'expected txid:vout')
  .optional()

export const ROUTES: readonly AnyRoute[] = [
  route({
    path: '/health/live',
    name: 'live',
    about: 'Whether the process answers',
    params: nothing,
    query: nothing,
    reply: replies.liveReply,
    otherwise: [],
    answer: () => ({ body: { status: 'ok' as const } }),
  }),
  route({
    path: '/health/ready',
    name: 'ready',
    about: 'Whether takers get answers, and what is in the way',
    params: nothing,
    query: nothing,
    reply: replies.readyReply,
    otherwise: [],
    answer: ({ db, status, clock }) => {
      const body = readiness(status, databaseFault(db), clock.monotonicMs())
      return { status: body.status === 'ok' ? 200 : 503, body }
    },
  }),
  route({
    path: '/api/v1/status',
    name: 'status',
    about: 'How this tracker is doing, also while it is behind',
    params: nothing,
    query: nothing,
    reply: replies.statusReply,
    otherwise: [],
    answer: (deps) => ({ body: statusBody(deps) }),
  }),
  route({
    path: '/api/v1/bonds',
    name: 'bonds',
    about: 'Live bonds, or all that were ever announced, ascending by outpoint as in the digest',
    params: nothing,
    query: z.strictObject({
      limit,
      after: afterOutpoint,
      min_value: wholeText(0, Number.MAX_SAFE_INTEGER).default(0),
      all: flag,
    }),
    reply: replies.bondsReply,
    otherwise: [503],
    answer: (deps, _, query) => {
      const market = synced(deps)
      const wanted = market.known.filter(
        ({ state, value }) => (query.all || state === 'live') && value >= query.min_value,
      )
      // The place after a bond that has gone since is still the same place.
      const { rows, next } = page(wanted, query.limit, query.after, ({ key }) => key, isAfter)
      const bonds = rows.map((known) => bondRow(known, market, deps.probing))
      return { body: { ...tipOf(market), digest: hexDigest(market), total: wanted.length, bonds, next } }
    },
  }),
  route({
    path: '/api/v1/bonds/{txid}/{vout}',
    name: 'bond',
    about: 'One bond, whatever its state',
    params: outpointParams,
    query: nothing,
    reply: replies.bondReply,
    otherwise: [404, 503],
    answer: (deps, outpoint) => {
      const market = synced(deps)
      const key = formatOutpoint(outpoint)
      const known = market.known.find((bond) => bond.key === key)
      if (!known) throw new HttpFault('not_found', `no bond is known at ${key}`)
      return { body: { ...tipOf(market), bond: bondRow(known, market, deps.probing) } }
    },
  }),
  route({
    path: '/api/v1/makers',
    name: 'makers',
    about: 'Makers with a live bond, each once, highest bond value first',
    params: nothing,
    query: z.strictObject({ limit, after: z.string().max(LIMITS.pathParamChars).optional() }),
    reply: replies.makersReply,
    otherwise: [503],
    answer: (deps, _, query) => {
      const market = synced(deps)
      const { rows, next } = page([...market.makers.values()], query.limit, query.after, ({ address }) => address)
      const makers = rows.map((maker) => makerRow(maker, market, deps.probing))
      return { body: { ...tipOf(market), digest: hexDigest(market), total: market.makers.size, makers, next } }
    },
  }),
  route({
    path: '/api/v1/makers/{address}',
    name: 'maker',
    about: 'One maker and every bond it announced',
    params: addressParams,
    query: nothing,
    reply: replies.makerReply,
    otherwise: [404, 503],
    answer: (deps, { address }) => {
      const market = synced(deps)
      const bonds = market.known.filter(({ bond }) => bond.address === address)
      if (bonds.length === 0) throw new HttpFault('not_found', `no bond announces ${address}`)
      const listed = market.makers.get(address)
      return {
        body: {
          ...tipOf(market),
          address,
          listed: listed !== undefined,
          maker: listed ? makerRow(listed, market, deps.probing) : null,
          bonds: bonds.map((known) => bondRow(known, market, deps.probing)),
        },
      }
    },
  }),
  route({
    path: '/api/v1/why/{address}',
    name: 'why',
    about: 'Why a maker is listed, or is not',
    params: addressParams,
    query: nothing,
    reply: replies.whyReply,
    otherwise: [503],
    answer: (deps, { address }) => {
      synced(deps)
      const { listed, reasons } = deps.why(address)
      return {
        body: {
          address,
          listed,
          reasons: reasons.map(({ code, text, outpoint, height }) => ({
            code,
            text,
            outpoint: outpoint ? formatOutpoint(outpoint) : null,
            height: height ?? null,
          })),
        },
      }
    },
  }),
  route({
    path: '/api/v1/trackers',
    name: 'trackers',
    about: 'Other trackers, and whether their digests agree with ours',
    params: nothing,
    query: nothing,
    reply: replies.trackersReply,
    otherwise: [503],
    answer: (deps) => {
      synced(deps)
      const trackers = deps.probing.trackers().flatMap(({ address, seenS, height, digest, compared }) => {
        if (seenS === undefined) return []
        const hex = digest === undefined ? null : Buffer.from(digest).toString('hex')
        const agrees = compared?.agrees ?? null
        return [{ address, last_seen: seenS, height: height ?? null, digest: hex, agrees }]
      })
      return { body: { trackers } }
    },
  }),
  route({
    path: '/api/v1/spends/{txid}/{vout}',
    name: 'spend',
    about: 'Who spends an outpoint: one of five states, as WatchMany tells it; asking registers nothing',
    params: outpointParams,
    query: nothing,
    reply: replies.spendsReply,
    otherwise: [503],
    answer: async (deps, outpoint) => {
      synced(deps)
      const { height, blockHash, indexedFrom, spends } = await watched(deps, outpoint)
      const body = { height, block_hash: blockHash, indexed_from: indexedFrom, spend: spendRow(spends[0]!) }
      return { body }
    },
  }),
  route({
    path: '/api/v1/history',
    name: 'history',
    about: 'Live bonds, makers and sats over time, and what probes found',
    params: nothing,
    query: z.strictObject({
      points: wholeText(2, LIMITS.historyPointsMax).default(LIMITS.historyPoints),
      from: wholeText(0, 0xffffffff).optional(),
    }),
    reply: replies.historyReply,
    otherwise: [503],
    answer: (deps, _, query) => ({ body: historyBody(deps, synced(deps), query) }),
  }),
]

/** The market at our tip. Throws HttpFault `not_synced` while we are behind: never an empty or partial list. */
function synced({ status, clock, market }: AnswerDeps): Market {
  const behind = whyNotSynced(status.following, clock.monotonicMs())
  const now = market.read()
  if (behind === undefined && now) return now
  throw new HttpFault('not_synced', `not synced: ${behind ?? 'nothing scanned yet'}`)
}

function tipOf({ tip }: Market) {
  return { height: tip.height, block_hash: tip.hash }
}

function hexDigest({ list }: Market): string {
  return list.digest.toString('hex')
}

/** The bond list's order on outpoints as text, which is not that of the text itself: txids count in internal order. */
function isAfter(key: string, after: string): boolean {
  const internal = (text: string) => text.slice(0, 64).match(/../g)!.reverse().join('')
  const [a, b] = [internal(key), internal(after)]
  return a === b ? Number(key.slice(65)) > Number(after.slice(65)) : a > b
}

/** Without `isAfter`, `after` must be a row: its place can't be told else. */
function page<T>(
  rows: readonly T[],
  limit: number,
  after: string | undefined,
  keyOf: (row: T) => string,
  isAfter?: (key: string, after: string) => boolean,
): { rows: T[]; next: string | null } {
  let start = 0
  if (after !== undefined) {
    const at = rows.findIndex((row) => keyOf(row) === after)
    if (at >= 0) start = at + 1
    else if (!isAfter) throw new HttpFault('bad_request', `after: ${after} is not in the list any more: begin anew`)
    else {
      start = rows.findIndex((row) => isAfter(keyOf(row), after))
      if (start < 0) start = rows.length
    }
  }
  const taken = rows.slice(start, start + limit)
  return { rows: taken, next: start + limit < rows.length ? keyOf(taken.at(-1)!) : null }
}

function databaseFault(db: Db): string | undefined {
  try {
    readTip(db)
    return undefined
  } catch (error) {
    return describeError(error)
  }
}

function statusBody(deps: AnswerDeps): z.infer<typeof replies.statusReply> {
  const { status, clock, chain, network, version, probing } = deps
  const { following, onion } = status
  const { node, best, progress, mempool } = following
  const nowMs = clock.monotonicMs()
  const notReady = whyNotReady(status, nowMs)
  const market = deps.market.read()
  return {
    version,
    network,
    height: market?.tip.height ?? null,
    block_hash: market?.tip.hash ?? null,
    block_time: market?.tip.timeS ?? null,
    scanned_from: chain.scannedFrom() ?? null,
    unseen: unseenHeights(chain.scannedFrom(), market?.tip) ?? null,
    synced: whyNotSynced(following, nowMs) === undefined,
    bonds: market?.counts.live ?? 0,
    makers: market?.makers.size ?? 0,
    makers_up: [...(market?.makers.keys() ?? [])].filter((address) => probing.livenessOf(address).reach === 'up')
      .length,
    digest: market ? hexDigest(market) : null,
    uptime_s: Math.floor(process.uptime()),
    time: Math.floor(clock.nowMs() / 1000),
    ready: notReady.length === 0,
    not_ready: notReady,
    address: deps.ownAddress(),
    bitcoind: {
      state: node.kind,
      detail: node.detail,
      best_height: best?.height ?? null,
      best_hash: best?.hash ?? null,
    },
    progress: progress
      ? {
          from: progress.from,
          at: progress.at,
          to: progress.to,
          blocks_per_s: progress.blocksPerS,
          eta_s: progress.etaS ?? null,
        }
      : null,
    onion: {
      state: onion.kind,
      detail: onion.detail,
      address: 'onionHost' in onion ? deps.ownAddress() : null,
      tor_version: ('torVersion' in onion && onion.torVersion) || null,
      canary: status.canary ? { state: status.canary.kind, detail: status.canary.detail } : null,
    },
    mempool: { transactions: mempool.size, complete: mempool.isComplete },
    reorgs: following.reorgs,
    reorg_depth_max: following.reorgDepthMax,
    connections: deps.connections(),
  }
}

function historyBody(
  { db, chain, probing }: AnswerDeps,
  market: Market,
  query: { points: number; from?: number | undefined },
): z.infer<typeof replies.historyReply> {
  const scannedFrom = chain.scannedFrom() ?? market.tip.height
  const from = Math.max(query.from ?? market.tip.height - WINDOW_BLOCKS, scannedFrom)
  const heights = sampleHeights(from, market.tip.height, query.points)
  const times = readBlockTimes(db, heights)
  return {
    ...tipOf(market),
    complete_from: scannedFrom === 0 ? 0 : scannedFrom + WINDOW_BLOCKS,
    points: bondHistory(market.confirmed, heights).map(({ height, bonds, makers, amountSats }) => ({
      height,
      time: times.get(height)!,
      bonds,
      makers,
      amount: amountSats,
    })),
    probes: probing.probeHistory().map(({ timeS, answered, failed, medianMs, p95Ms }) => ({
      time: timeS,
      answered,
      failed,
      median_ms: medianMs ?? null,
      p95_ms: p95Ms ?? null,
    })),
  }
}

async function watched({ watcher }: AnswerDeps, outpoint: Outpoint): Promise<Answer> {
  try {
    return await watcher.watchMany([outpoint])
  } catch (error) {
    if (!(error instanceof PeerFault)) throw error
    throw new HttpFault(error.code === 'not_synced' ? 'not_synced' : 'busy', error.message)
  }
}
