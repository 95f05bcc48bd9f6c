/**
 * The JSON API as one table: path, what may be asked, what comes back, and how. The server registers it, the OpenAPI
 * document is written from it, and a path that stands here has both.
 */
import { z } from 'zod'
import { formatOutpoint, type Outpoint, parseOutpoint, type Txid } from '../chain/types.ts'
import type { Core } from '../core.ts'
import { PeerFault } from '../errors.ts'
import { bondsAsked, indexAfter, type Market } from '../market.ts'
import { ROUTE_MAKERS } from '../peers/pick.ts'
import { RELAY_HISTORY_LIMITS } from '../store/local/relays.ts'
import { isOnionHost, isOnionLabel, parseHostPort } from '../tor/address.ts'
import { tidyAddress } from '../tor/pasted-address.ts'
import { bondRow } from '../views/bonds.ts'
import { clientRows } from '../views/clients.ts'
import { historyOf } from '../views/history.ts'
import { MAKER_PROBES_LIMITS, makerProbes } from '../views/maker-probes.ts'
import { makerPicks, makerRow } from '../views/makers.ts'
import { announcedAt, relayHistory } from '../views/relays.ts'
import { spendRow } from '../views/spends.ts'
import { currentReadiness, statusRow } from '../views/status.ts'
import { SYBIL_LIMITS, sybilReport } from '../views/sybil.ts'
import { trackerRows } from '../views/trackers.ts'
import { why } from '../views/why.ts'
import type { WatchAnswer } from '../watch/watcher.ts'
import type { Lane } from '../wire/work.ts'
import { HttpFault, HTTP_LIMITS as LIMITS } from './guard.ts'
import * as replies from './replies.ts'

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
    core: Core,
    params: z.infer<P>,
    query: z.infer<Q>,
    lane: Lane,
  ) => Replied<z.input<R>> | Promise<Replied<z.input<R>>>
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
/** A maker as somebody pastes it, with its port or without. */
const askedParams = z.strictObject({
  address: z
    .string()
    .max(LIMITS.pathParamChars)
    .transform(tidyAddress)
    .refine(
      (text) => parseHostPort(text) !== undefined || isOnionHost(text) || isOnionLabel(text),
      'expected host.onion:port, or host.onion for all its ports',
    ),
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
    answer: (core) => {
      const { ready, checks } = currentReadiness(core)
      return { status: ready ? 200 : 503, body: { status: ready ? ('ok' as const) : ('not_ready' as const), checks } }
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
    answer: (core) => ({ body: statusRow(core) }),
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
    answer: (core, _, query) => {
      const market = synced(core)
      const wanted = bondsAsked(market, { all: query.all, minValue: query.min_value })
      // The place after a bond that has gone since is still the same place.
      const from = query.after === undefined ? 0 : indexAfter(wanted, parseOutpoint(query.after)!)
      const rows = wanted.slice(from, from + query.limit)
      const next = from + query.limit < wanted.length ? rows.at(-1)!.key : null
      const bonds = rows.map((known) => bondRow(known, market, core))
      return { body: { ...listOf(core, market), total: wanted.length, bonds, next } }
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
    answer: (core, outpoint) => {
      const market = synced(core)
      const key = formatOutpoint(outpoint)
      const known = market.known[indexAfter(market.known, outpoint) - 1]
      if (known?.key !== key) throw new HttpFault('not_found', `no bond is known at ${key}`)
      return { body: { ...tipOf(market), bond: bondRow(known, market, core) } }
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
    answer: (core, _, query) => {
      const market = synced(core)
      const { rows, next } = page([...market.makers.values()], query.limit, query.after, ({ address }) => address)
      const picks = makerPicks(market, core)
      const makers = rows.map((maker) => makerRow(maker, market, core, picks))
      return { body: { ...listOf(core, market), total: market.makers.size, makers, next } }
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
    answer: (core, { address }) => {
      const market = synced(core)
      const bonds = market.known.filter(({ bond }) => bond.address === address)
      if (bonds.length === 0) throw new HttpFault('not_found', `no bond announces ${address}`)
      const listed = market.makers.get(address)
      return {
        body: {
          ...tipOf(market),
          address,
          listed: listed !== undefined,
          maker: listed ? makerRow(listed, market, core, makerPicks(market, core)) : null,
          bonds: bonds.map((known) => bondRow(known, market, core)),
          relays: listed ? announcedAt(core, listed.bonds[0]!.bond.outpoint.txid) : [],
        },
      }
    },
  }),
  route({
    path: '/api/v1/makers/{address}/probes',
    name: 'makerProbes',
    about: 'What probes of one maker found: hour by hour, and the last ones singly',
    params: addressParams,
    query: z.strictObject({ hours: wholeText(1, MAKER_PROBES_LIMITS.hoursMax).default(MAKER_PROBES_LIMITS.hours) }),
    reply: replies.probesReply,
    otherwise: [],
    answer: (core, { address }, { hours }) => ({ body: { address, ...makerProbes(core, address, hours) } }),
  }),
  route({
    path: '/api/v1/sybil',
    name: 'sybil',
    about: 'What it would cost somebody to hold places of a swap, now and in the past',
    params: nothing,
    query: z.strictObject({
      makers: wholeText(2, SYBIL_LIMITS.makersMax).default(ROUTE_MAKERS),
      chance: wholeText(1, 99).default(50),
      points: wholeText(2, SYBIL_LIMITS.pointsMax).default(SYBIL_LIMITS.pointsMax),
    }),
    reply: replies.sybilReply,
    otherwise: [503],
    answer: (core, _, query) => {
      const market = synced(core)
      const { completeFrom, ...report } = sybilReport(core, market, query)
      const { makers, chance } = query
      return {
        body: { ...tipOf(market), makers, chance_ppm: chance * 10_000, complete_from: completeFrom, ...report },
      }
    },
  }),
  route({
    path: '/api/v1/why/{address}',
    name: 'why',
    about: 'Why a maker is listed, or is not',
    params: askedParams,
    query: nothing,
    reply: replies.whyReply,
    otherwise: [503],
    answer: (core, { address }) => {
      synced(core)
      return { body: why(core, address) }
    },
  }),
  route({
    path: '/api/v1/trackers',
    name: 'trackers',
    about: 'Other trackers that are known, and whether their digests agree with ours',
    params: nothing,
    query: nothing,
    reply: replies.trackersReply,
    otherwise: [503],
    answer: (core) => {
      synced(core)
      return { body: { trackers: trackerRows(core) } }
    },
  }),
  route({
    path: '/api/v1/relays',
    name: 'relays',
    about: 'Relays that are watched, each against the chain: what a taker who knows only that relay finds',
    params: nothing,
    query: z.strictObject({ hours: wholeText(1, RELAY_HISTORY_LIMITS.hours).default(LIMITS.relayHours) }),
    reply: replies.relaysReply,
    otherwise: [],
    answer: (core, _, { hours }) => ({
      body: { relays: [...core.relays.rows()], history: relayHistory(core, hours, LIMITS.relayPointsMax) },
    }),
  }),
  route({
    path: '/api/v1/spends/{txid}/{vout}',
    name: 'spend',
    about: 'Who spends an outpoint: one of five states, as WatchMany tells it; asking registers nothing',
    params: outpointParams,
    query: nothing,
    reply: replies.spendsReply,
    otherwise: [503],
    answer: async (core, outpoint, _, lane) => {
      synced(core)
      const { height, blockHash, indexedFrom, spends } = await watched(core, outpoint, lane)
      const body = { height, block_hash: blockHash, indexed_from: indexedFrom, spend: spendRow(spends[0]!) }
      return { body }
    },
  }),
  route({
    path: '/api/v1/clients',
    name: 'clients',
    about: 'Who is connected to the request server just now, and what it costs; strangers have no names',
    params: nothing,
    query: z.strictObject({ limit, after: wholeText(0, Number.MAX_SAFE_INTEGER).optional() }),
    reply: replies.clientsReply,
    otherwise: [],
    answer: (core, _, query) => {
      const all = clientRows(core)
      const later = all.filter(({ id }) => id > (query.after ?? 0)) // who has gone since leaves its place
      const { rows, next } = page(later, query.limit, undefined, ({ id }) => String(id))
      return { body: { total: all.length, clients: rows, next } }
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
    answer: (core, _, query) => {
      const market = synced(core)
      const { completeFrom, points, probes } = historyOf(core, market, query)
      return { body: { ...tipOf(market), complete_from: completeFrom, points, probes } }
    },
  }),
]

/** The market at our tip. Throws HttpFault `not_synced` while we are behind: never an empty or partial list. */
function synced({ notSynced, market }: Core): Market {
  const behind = notSynced()
  const now = market.read()
  if (behind === undefined && now) return now
  throw new HttpFault('not_synced', `not synced: ${behind ?? 'nothing scanned yet'}`)
}

function tipOf({ tip }: Market) {
  return { height: tip.height, block_hash: tip.hash }
}

function listOf({ unseen }: Core, market: Market) {
  return { ...tipOf(market), digest: market.list.digest.toString('hex'), unseen: unseen() ?? null }
}

/** `after` must be a row: its place can't be told else. */
function page<T>(
  rows: readonly T[],
  limit: number,
  after: string | undefined,
  keyOf: (row: T) => string,
): { rows: T[]; next: string | null } {
  let start = 0
  if (after !== undefined) {
    const at = rows.findIndex((row) => keyOf(row) === after)
    if (at < 0) throw new HttpFault('bad_request', `after: ${after} is not in the list any more: begin anew`)
    start = at + 1
  }
  const taken = rows.slice(start, start + limit)
  return { rows: taken, next: start + limit < rows.length ? keyOf(taken.at(-1)!) : null }
}

async function watched({ watcher }: Core, outpoint: Outpoint, lane: Lane): Promise<WatchAnswer> {
  try {
    return await watcher.watchMany([outpoint], lane, 'operator')
  } catch (error) {
    if (!(error instanceof PeerFault)) throw error
    throw new HttpFault(error.code === 'not_synced' ? 'not_synced' : 'busy', error.message)
  }
}
