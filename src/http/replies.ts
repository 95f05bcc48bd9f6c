/**
 * Every reply and event of the JSON API as a zod schema: what is sent is checked against it, and the OpenAPI document is
 * made of it. Conventions: snake_case; hashes and txids in display order; heights, sats and Unix seconds as numbers;
 * what is not known is null, never left out.
 */
import { z } from 'zod'
import { NETWORKS } from '../chain/types.ts'
import { REASON_CODES } from '../peers/why.ts'

/** The named parts of the OpenAPI document. */
export const components = z.registry<{ id: string }>()

const height = z.int().min(0).describe('block height')
const unixS = z.int().min(0).describe('Unix seconds')
const sats = z.int().min(0).describe('satoshis')
const count = z.int().min(0)
const hash = z.string().regex(/^[0-9a-f]{64}$/)
const txid = hash.describe('transaction id, display order')
const blockHash = hash.describe('block hash, display order')
const digest = hash.describe('SHA-256 over the live bonds')
const outpoint = z
  .string()
  .regex(/^[0-9a-f]{64}:(0|[1-9]\d{0,9})$/)
  .describe('txid:vout')
const address = z.string().min(3).max(80).describe('host.onion:port')
const value = z.number().min(0).describe('worth of the bond, sats to the power 1.3')
const reach = z.enum(['up', 'down', 'unknown']).describe('unknown: not probed, or not lately')
const ppm = z.int().min(0).max(1_000_000)
const next = z.string().nullable().describe('give it as `after` for the next page; null on the last one')

function named<T extends z.ZodType>(id: string, schema: T): T {
  components.add(schema, { id })
  return schema
}

const atTip = { height, block_hash: blockHash }

export const errorReply = named(
  'Error',
  z.strictObject({
    error: z.strictObject({
      code: z.enum([
        'bad_request',
        'forbidden',
        'not_found',
        'method_not_allowed',
        'misdirected',
        'not_synced',
        'busy',
        'internal',
      ]),
      message: z.string(),
    }),
  }),
)
export type ErrorCode = z.infer<typeof errorReply>['error']['code']

export const liveReply = named('Live', z.strictObject({ status: z.literal('ok') }))

const check = z.strictObject({ ok: z.boolean(), detail: z.string() })
export const readyReply = named(
  'Ready',
  z.strictObject({
    status: z.enum(['ok', 'not_ready']),
    checks: z.strictObject({ database: check, bitcoind: check, sync: check, tor: check, onion: check }),
  }),
)
export type Ready = z.infer<typeof readyReply>

export const statusReply = named(
  'Status',
  z.strictObject({
    version: z.string(),
    network: z.enum(NETWORKS),
    height: height.nullable().describe('our tip; null before anything is scanned'),
    block_hash: blockHash.nullable(),
    block_time: unixS.nullable(),
    scanned_from: height.nullable().describe('the lowest height scanned'),
    unseen: z
      .strictObject({ from: height, to: height })
      .nullable()
      .describe('blocks that bitcoind had pruned before they were scanned: bonds confirmed there are not known'),
    synced: z.boolean(),
    bonds: count.describe('live bonds'),
    makers: count.describe('makers with a live bond'),
    makers_up: count,
    digest: digest.nullable(),
    uptime_s: count.describe('since this daemon was started'),
    time: unixS.describe('now'),
    ready: z.boolean(),
    not_ready: z.array(z.string()).describe('what is waited for, in words; empty when ready'),
    address: z.string().describe('where takers reach this tracker'),
    bitcoind: z.strictObject({
      state: z.enum(['connecting', 'unreachable', 'initial-download', 'following']),
      detail: z.string(),
      best_height: height.nullable(),
      best_hash: blockHash.nullable(),
    }),
    progress: z
      .strictObject({ from: height, at: height, to: height, blocks_per_s: z.number().min(0), eta_s: count.nullable() })
      .nullable()
      .describe('while catching up'),
    onion: z.strictObject({
      state: z.enum(['disabled', 'starting', 'unreachable', 'publishing', 'published']),
      detail: z.string(),
      address: address.nullable(),
      tor_version: z.string().nullable(),
      canary: z
        .strictObject({ state: z.enum(['untried', 'green', 'red']), detail: z.string() })
        .nullable()
        .describe('whether our own onion service is reached through Tor; null without Tor'),
    }),
    mempool: z.strictObject({ transactions: count, complete: z.boolean() }),
    reorgs: count,
    reorg_depth_max: count,
    connections: count.describe('of takers'),
  }),
)

const probed = { reach, last_up: unixS.nullable(), probes: count, uptime_ppm: ppm.nullable() }

const bond = named(
  'Bond',
  z.strictObject({
    outpoint,
    address,
    amount: sats,
    conf_height: height.nullable(),
    block_hash: blockHash.nullable(),
    block_time: unixS.nullable(),
    lock_height: height.nullable().describe('null in format A, which announces none'),
    value,
    format: z.enum(['A', 'B', 'C', 'D']),
    state: z.enum(['pending', 'live', 'expired', 'spent', 'refused']),
    refusal: z.enum(['not-p2wsh', 'too-small', 'lock-too-short', 'lock-too-long', 'lock-passed']).nullable(),
    blocks_left: count.nullable().describe('blocks that may still follow with the bond alive; null unless live'),
    spent_by: z.strictObject({ txid, vin: count, height }).nullable(),
    proven: z.boolean().describe("whether the maker's own offer has proven the bond to be its"),
    ...probed,
  }),
)
export type BondReply = z.infer<typeof bond>

export const bondsReply = named(
  'Bonds',
  z.strictObject({ ...atTip, digest, total: count.describe('rows of all pages'), bonds: z.array(bond), next }),
)
export const bondReply = named('BondAtTip', z.strictObject({ ...atTip, bond }))

const offer = named(
  'Offer',
  z.strictObject({
    base_fee: sats,
    amount_relative_fee_pct: z.number().min(0).describe('per cent of the swapped amount'),
    time_relative_fee_pct: z.number().min(0).describe('per cent of the swapped amount per block of waiting'),
    required_confirms: count.nullable(),
    minimum_locktime: count.describe('blocks'),
    min_size: sats,
    max_size: sats,
    seen_at: unixS,
  }),
)

const maker = named(
  'Maker',
  z.strictObject({
    address,
    value: value.describe('the highest of its live bonds'),
    amount: sats.describe('locked in all its live bonds'),
    bonds: count.describe('live ones'),
    outpoint: outpoint.describe('the bond that counts'),
    conf_height: height,
    lock_height: height.nullable(),
    blocks_left: count,
    format: z.enum(['A', 'B', 'C', 'D']),
    proven: z.boolean(),
    ...probed,
    offer: offer.nullable().describe('its last one; null when it was never asked, or never gave one'),
  }),
)
export type MakerReply = z.infer<typeof maker>

export const makersReply = named(
  'Makers',
  z.strictObject({ ...atTip, digest, total: count, makers: z.array(maker), next }),
)

const reason = named(
  'Reason',
  z.strictObject({
    code: z.enum(REASON_CODES),
    text: z.string(),
    outpoint: outpoint.nullable(),
    height: height.nullable(),
  }),
)

export const makerReply = named(
  'MakerAtTip',
  z.strictObject({
    ...atTip,
    address,
    listed: z.boolean(),
    maker: maker.nullable().describe('null when it has no live bond'),
    bonds: z.array(bond).describe('all it ever announced, as far as scanned'),
  }),
)
export const whyReply = named('Why', z.strictObject({ address, listed: z.boolean(), reasons: z.array(reason) }))

const tracker = named(
  'Tracker',
  z.strictObject({
    address,
    last_seen: unixS,
    height: height.nullable(),
    digest: digest.nullable().describe('null for trackers that speak version 1 alone'),
    agrees: z.boolean().nullable().describe('null while it was never at our block'),
  }),
)
export const trackersReply = named('Trackers', z.strictObject({ trackers: z.array(tracker) }))

const spend = named(
  'Spend',
  z.strictObject({
    outpoint,
    state: z
      .enum(['unspent', 'mempool', 'confirmed', 'evicted', 'unknown'])
      .describe('unknown: no spend was recorded; evicted: seen in the mempool once, and gone'),
    registered: z.boolean().describe('whether somebody has asked to watch it'),
    txid: txid.nullable(),
    vin: count.nullable(),
    tx: z
      .string()
      .regex(/^[0-9a-f]*$/)
      .nullable()
      .describe('the spending transaction with witnesses, hex'),
    height: height.nullable(),
    block_hash: blockHash.nullable(),
    first_seen: unixS.nullable(),
    conflicts: z.array(txid).describe('other transactions known to spend it'),
  }),
)
export type SpendReply = z.infer<typeof spend>
export const spendsReply = named('SpendAtTip', z.strictObject({ ...atTip, indexed_from: height, spend }))

export const historyReply = named(
  'History',
  z.strictObject({
    ...atTip,
    complete_from: height.describe('before it, bonds older than the scan are missing from the counts'),
    points: z
      .array(z.strictObject({ height, time: unixS, bonds: count, makers: count, amount: sats }))
      .describe('oldest first, evenly apart'),
    probes: z
      .array(
        z.strictObject({
          time: unixS,
          answered: count,
          failed: count,
          median_ms: z.number().min(0).nullable(),
          p95_ms: z.number().min(0).nullable(),
        }),
      )
      .describe('empty where nobody was probed'),
  }),
)

const blockRef = { height, block_hash: blockHash }

/** The data of each server-sent event. */
export const EVENTS = {
  block: named(
    'BlockEvent',
    z.strictObject({ ...blockRef, block_time: unixS, bonds: count.describe('live ones at the newest block'), digest }),
  ),
  reorg: named(
    'ReorgEvent',
    z.strictObject({
      depth: count.describe('blocks taken back'),
      fork_height: height.describe('the last block that stayed'),
      from: z.strictObject(blockRef),
      to: z.strictObject(blockRef),
    }),
  ),
  bond: named(
    'BondEvent',
    z.strictObject({
      outpoint,
      address,
      state: z
        .enum(['pending', 'live', 'expired', 'spent', 'refused', 'gone'])
        .describe('gone: its block or its pending transaction was taken back'),
      previous: z.enum(['pending', 'live', 'expired', 'spent', 'refused']).nullable(),
      height,
    }),
  ),
  maker: named('MakerEvent', z.strictObject({ address, listed: z.boolean(), reach, height })),
  spend: named(
    'SpendEvent',
    z.strictObject({
      outpoint,
      txid,
      state: z.enum(['mempool', 'confirmed', 'evicted', 'gone']),
      spent_height: height.nullable(),
      height,
    }),
  ),
} as const satisfies Record<string, z.ZodType>

export type EventKind = keyof typeof EVENTS
/** An event as it is told. */
export type TrackerEvent = { [K in EventKind]: { kind: K; data: z.infer<(typeof EVENTS)[K]> } }[EventKind]
