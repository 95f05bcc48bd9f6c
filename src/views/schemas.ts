/**
 * One row for every noun, as a zod schema: what HTTP sends, `--json` prints, export writes, the page and the verbs' text
 * are made of, and the wire maps. The OpenAPI document is written from these. Conventions: snake_case; hashes and txids in
 * display order; heights, sats and Unix seconds as numbers; what is not known is null, never left out.
 */
import { z } from 'zod'
import { ANNOUNCEMENT_FORMATS, BOND_STATES, REFUSALS, TODAY_REFUSALS } from '../bonds/types.ts'
import { NETWORKS } from '../chain/types.ts'
import { MENDED_OUTCOMES } from '../nostr/mender.ts'
import { EVENT_FAULTS } from '../nostr/relay-view.ts'
import { PICK_OBSTACLES } from '../peers/pick.ts'
import { DIALECTS, PROBE_FAILURES, PROBE_OUTCOMES, REACHES } from '../peers/types.ts'
import { SPEND_STATES } from '../watch/spend.ts'
import { SLOT_GROUPS } from '../wire/slots.ts'

/** The named parts of the OpenAPI document. */
export const components = z.registry<{ id: string }>()

export function component<T extends z.ZodType>(id: string, schema: T): T {
  components.add(schema, { id })
  return schema
}

// ---- words -----------------------------------------------------------------------------------------------------------

export const height = z.int().min(0).describe('block height')
export const unixS = z.int().min(0).describe('Unix seconds')
export const sats = z.int().min(0).describe('satoshis')
export const count = z.int().min(0)
const hash = z.string().regex(/^[0-9a-f]{64}$/)
export const txid = hash.describe('transaction id, display order')
export const blockHash = hash.describe('block hash, display order')
export const digest = hash.describe('SHA-256 over the live bonds')
export const outpoint = z
  .string()
  .regex(/^[0-9a-f]{64}:(0|[1-9]\d{0,9})$/)
  .describe('txid:vout')
export const address = z.string().min(3).max(80).describe('host.onion:port')
const value = z.number().min(0).describe('worth of the bond, sats to the power 1.3')
export const reach = z.enum(REACHES).describe('unknown: not probed, or not lately')
const ppm = z.int().min(0).max(1_000_000)
const lockHeight = height.nullable().describe('null in format A, which announces none')

export const unseen = z
  .strictObject({ from: height, to: height })
  .nullable()
  .describe('blocks of the window that were never read: bonds confirmed there are not known; null when there are none')

/** Whether takers of today's market, who read less than we do, accept a bond's announcement. */
const taken = {
  today: z
    .boolean()
    .nullable()
    .describe('whether takers of today accept its announcement; null where another tracker does not say'),
  today_refusals: z
    .array(z.enum(TODAY_REFUSALS))
    .nullable()
    .describe('why they skip it; empty when they do not, null where another tracker does not say'),
}

/** What probes have found out of a maker. */
const probed = {
  reach,
  last_up: unixS.nullable().describe('the last valid answer'),
  probes: count.describe('observed in the last 30 days'),
  uptime_ppm: ppm.nullable().describe('answered of a million observed; null without any'),
}

// ---- bonds and makers ------------------------------------------------------------------------------------------------

export const bondSchema = component(
  'Bond',
  z.strictObject({
    outpoint,
    address,
    amount: sats,
    conf_height: height.nullable(),
    block_hash: blockHash.nullable(),
    block_time: unixS.nullable(),
    lock_height: lockHeight,
    value,
    format: z.enum(ANNOUNCEMENT_FORMATS),
    state: z.enum(BOND_STATES),
    refusal: z.enum(REFUSALS).nullable(),
    blocks_left: count.nullable().describe('blocks that may still follow with the bond alive; null unless live'),
    spent_by: z.strictObject({ txid, vin: count, height, block_hash: blockHash }).nullable(),
    ...taken,
    proven: z.boolean().describe("whether an offer of the maker's, or a `Post`, has proven the bond to be its"),
    ...probed,
  }),
)
export type BondRow = z.infer<typeof bondSchema>

const lightningSchema = component(
  'LightningTerms',
  z.strictObject({
    swap_in: z.boolean().describe('from the chain to Lightning, as the taker sees it'),
    swap_out: z.boolean(),
    base_fee: sats,
    amount_relative_fee_pct: z.number().min(0).describe('per cent of the swapped amount'),
    min_size: sats,
    max_size: sats.nullable().describe('null where it names one for each direction'),
    max_swap_in: sats.nullable(),
    max_swap_out: sats.nullable(),
  }),
)

export const offerSchema = component(
  'Offer',
  z.strictObject({
    base_fee: sats,
    amount_relative_fee_pct: z.number().min(0).describe('per cent of the swapped amount'),
    time_relative_fee_pct: z.number().min(0).describe('per cent of the swapped amount per block of refund lock'),
    required_confirms: count.nullable(),
    minimum_locktime: count.describe('blocks'),
    min_size: sats,
    max_size: sats,
    swap_fee: sats.describe(
      'what a swap of 1,000,000 sats with a refund lock of 20 blocks costs: to compare offers by',
    ),
    seen_at: unixS,
    lightning: lightningSchema.nullable().describe('null when it offers no swaps with Lightning'),
    lightning_fault: z.string().nullable().describe('what is wrong with these terms, which are therefore not shown'),
  }),
)
export type OfferRow = z.infer<typeof offerSchema>

const pickSchema = component(
  'Pick',
  z.strictObject({
    chance_ppm: ppm
      .nullable()
      .describe(
        'of a million swaps of 1,000,000 sats with two makers, those for which takers pick it; null: not known',
      ),
    place: count
      .nullable()
      .describe('among the makers that they can pick, by address, from 1 on; null where it is none'),
    obstacle: z.enum(PICK_OBSTACLES).nullable().describe('why the chance is 0, or not known'),
    text: z.string().describe('the same for people'),
  }),
)
export type PickRow = z.infer<typeof pickSchema>

export const makerSchema = component(
  'Maker',
  z.strictObject({
    address,
    outpoint: outpoint.describe('its best bond, by which it is listed; what follows is of that one'),
    amount: sats,
    value,
    conf_height: height,
    lock_height: lockHeight,
    blocks_left: count,
    format: z.enum(ANNOUNCEMENT_FORMATS),
    ...taken,
    proven: z.boolean(),
    proof_failed: z.string().nullable().describe('the check that the proof in its last offer failed'),
    proof_note: z
      .string()
      .nullable()
      .describe('why takers older than September 2026 refuse the proof in its last offer, which holds'),
    bonds: count.describe('live ones'),
    bonds_today: count.describe('those of them that takers of today accept: with none they do not find it'),
    total_amount: sats.describe('locked in all its live bonds'),
    ...probed,
    probes_1d: count.describe('observed in the last day'),
    uptime_1d_ppm: ppm.nullable(),
    dialect: z.enum(DIALECTS).nullable().describe('of the maker protocol, as it answered last'),
    protocols: z.array(z.string()).nullable().describe('of swaps, as it lists them'),
    offer: offerSchema.nullable().describe('its last one; null when it never gave one, or one that can not be meant'),
    offer_fault: z.string().nullable().describe('what is wrong with its last offer, which is therefore not shown'),
    pick: pickSchema,
  }),
)
export type MakerRow = z.infer<typeof makerSchema>

/** One probe of a maker, and what was counted of them within an hour. */
export const probeSchema = z.strictObject({
  time: unixS,
  outcome: z.enum(PROBE_OUTCOMES).describe('unjudged: it failed while our own way through Tor was not known to work'),
  failure: z.enum(PROBE_FAILURES).nullable(),
  text: z.string().nullable().describe('what was met'),
  dialect: z.enum(DIALECTS).nullable(),
  latency_ms: z.number().min(0),
})
export type ProbeRowShown = z.infer<typeof probeSchema>
export const probeHourSchema = z.strictObject({
  time: unixS.describe('when the hour began'),
  answered: count,
  failed: count,
  unjudged: count,
})
export type ProbeHourRow = z.infer<typeof probeHourSchema>

/** Whether a relay announces a maker's bonds to takers that know no tracker. */
export const announcedSchema = z.strictObject({
  url: z.string().max(300),
  announces: z
    .boolean()
    .nullable()
    .describe('whether a valid event there announces its best bond; null where that is not known'),
})
export type AnnouncedRow = z.infer<typeof announcedSchema>

/** Why a maker is listed, or is not. */
export const REASON_CODES = [
  'not-synced',
  'malformed-address',
  'no-bond',
  'pending',
  'refused-not-p2wsh',
  'refused-too-small',
  'refused-lock-passed',
  'refused-lock-too-short',
  'refused-lock-too-long',
  'spent',
  'expired',
  'shadowed',
  'expiring',
  'not-today',
  'down',
  'failing',
  'never-probed',
  'offer-refused',
  'proof-failed',
  'conf-height',
  'not-proven',
  'not-on-relay',
] as const

const reasonSchema = component(
  'Reason',
  z.strictObject({
    code: z.enum(REASON_CODES),
    text: z.string().describe('what is so, and what to do'),
    outpoint: outpoint.nullable(),
    height: height.nullable(),
  }),
)
export type ReasonRow = z.infer<typeof reasonSchema>

export const whySchema = component(
  'Why',
  z.strictObject({
    address: z.string().max(80).describe('as it was asked, without what was only around it'),
    listed: z.boolean().describe('`Get` names it'),
    reasons: z.array(reasonSchema),
  }),
)
export type WhyRow = z.infer<typeof whySchema>

// ---- spends ----------------------------------------------------------------------------------------------------------

export const spendSchema = component(
  'Spend',
  z.strictObject({
    outpoint,
    state: z.enum(SPEND_STATES).describe('unknown: no spend was recorded; evicted: seen in the mempool once, and gone'),
    registered: z.boolean().describe('whether anybody has registered it, told to the operator alone'),
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
export type SpendRow = z.infer<typeof spendSchema>

// ---- other trackers --------------------------------------------------------------------------------------------------

export const trackerSchema = component(
  'Tracker',
  z.strictObject({
    address: z.string().min(3).max(262).describe('host:port, as it was configured or learnt'),
    source: z.enum(['configured', 'learnt']),
    version: z.string().max(40).nullable().describe('null for trackers that speak version 1 alone'),
    last_seen: unixS.nullable().describe('null while it never answered'),
    height: height.nullable(),
    digest: digest.nullable(),
    agrees: z
      .boolean()
      .nullable()
      .describe('whether the list it tells us is ours, read row by row; null while it was never at our block'),
    compared_height: height.nullable(),
    only_ours: z
      .array(outpoint)
      .max(100)
      .describe('live bonds that a configured one lacks or tells differently; the first hundred'),
    only_theirs: z
      .array(outpoint)
      .max(100)
      .describe('live bonds that only a configured one has, or tells differently; the first hundred'),
    failures: count.describe('times in a row that it was asked in vain'),
    failure: z.string().max(200).nullable().describe('what happened the last time'),
  }),
)
export type TrackerRow = z.infer<typeof trackerSchema>

// ---- relays ----------------------------------------------------------------------------------------------------------

const counted = count.nullable()
const ofEach = <W extends string>(words: readonly W[]) =>
  Object.fromEntries(words.map((word) => [word, count])) as { [word in W]: typeof count }

export const relaySchema = component(
  'Relay',
  z.strictObject({
    url: z.string().max(300).describe('as it was configured'),
    state: z
      .enum(['connecting', 'reading', 'live', 'waiting', 'stopped'])
      .describe('live: all was read, and what comes is heard; waiting: for another try; stopped: the daemon is'),
    state_since: unixS,
    slowed: z.boolean().describe('it sends faster than it is read'),
    last_read: unixS.nullable().describe('when everything it has was read last, as a taker does that was just started'),
    announced: counted.describe(
      'live bonds that takers accept, of makers not down, with a valid event there; null, as all counts, while our own list is not whole or the relay was not read for an hour',
    ),
    missing: counted.describe('such bonds without a valid event there'),
    dead: counted.describe(
      'bonds with a valid event there that were spent, have expired, never qualified or never were',
    ),
    invalid: counted.describe('events there that takers pass over; at most 5,000 are counted'),
    missing_bonds: z.array(outpoint).max(100).describe('the first hundred of those missing'),
    invalid_by: z.strictObject(ofEach(EVENT_FAULTS)).nullable().describe('why takers pass over them'),
    delay_s: count
      .nullable()
      .describe('median, from a block with a new bond to its first event there; null without any'),
    delays: count.describe('new bonds that it is the median of'),
    failures: count.describe('times in a row that it was not read'),
    failure: z.string().max(200).nullable().describe('what happened last'),
    notices: z
      .array(z.string().max(220))
      .max(5)
      .describe('what it said of itself, NOTICE, CLOSED or AUTH; newest first'),
    name: z.string().max(80).nullable().describe('what it calls itself (NIP-11), as are software and limitation'),
    software: z.string().max(170).nullable(),
    limitation: z.strictObject({
      auth_required: z.boolean().nullable(),
      payment_required: z.boolean().nullable(),
      restricted_writes: z.boolean().nullable(),
      min_pow_difficulty: count.nullable(),
      max_limit: count.nullable().describe('events in one answer'),
    }),
    publishing: z
      .strictObject({
        ...ofEach(MENDED_OUTCOMES),
        refusal: z.string().max(300).nullable().describe('why nothing is sent just now, in its words'),
        resumes_at: unixS.nullable(),
      })
      .nullable()
      .describe('events of missing bonds sent since the start, by what became of them; null without --nostr-publish'),
  }),
)
export type RelayRow = z.infer<typeof relaySchema>

export const relayPointSchema = z.strictObject({
  url: z.string().max(300),
  time: unixS.describe('the end of the hour, or now in the present one'),
  announced: count,
  missing: count,
  dead: count,
  invalid: count,
})
export type RelayPointRow = z.infer<typeof relayPointSchema>

// ---- this tracker ----------------------------------------------------------------------------------------------------

export const check = z.strictObject({ ok: z.boolean(), detail: z.string() })
export const checksSchema = component(
  'Checks',
  z.strictObject({
    database: check.describe('can be read'),
    bitcoind: check.describe('answers'),
    sync: check.describe("the scan has reached bitcoind's tip: lists are answered"),
    tor: check.describe('answers'),
    onion: check.describe('published, and reached through Tor by our own canary'),
    shared_store: check.describe('is there and read; only where one is set').optional(),
  }),
)
export type Checks = z.infer<typeof checksSchema>

const adviceSchema = component(
  'Advice',
  z.strictObject({
    check: checksSchema.keyof().describe('what it is about'),
    text: z.string().describe('what is the matter'),
    fix: z.string().describe('what to type or to change, as doctor says it'),
  }),
)
export type AdviceRow = z.infer<typeof adviceSchema>

export const statusSchema = component(
  'Status',
  z.strictObject({
    version: z.string(),
    network: z.enum(NETWORKS),
    running: z.boolean().describe('whether a daemon runs; over HTTP always true'),
    pid: count.nullable(),
    started_at: unixS.nullable(),
    uptime_s: count.describe('since this daemon was started'),
    time: unixS.describe('when all of this was so'),
    ready: z.boolean().describe('whether takers get answers: all checks are ok'),
    not_ready: z.array(z.string()).describe('what is waited for, in words; empty when ready'),
    checks: checksSchema,
    advice: z
      .array(adviceSchema)
      .describe('what to do about what is in the way, once for each cause; empty where there is nothing to do'),
    height: height.nullable().describe('our tip; null before anything is scanned'),
    block_hash: blockHash.nullable(),
    block_time: unixS.nullable(),
    scanned_from: height.nullable().describe('the lowest height scanned'),
    unseen,
    synced: z.boolean().describe('whether lists are answered'),
    bonds: count.describe('live bonds'),
    makers: count.describe('makers with a live bond'),
    makers_up: count,
    makers_down: count,
    makers_unknown: count,
    digest: digest.nullable(),
    address: z.string().describe('where takers reach this tracker'),
    bitcoind: z.strictObject({
      state: z
        .enum(['connecting', 'unreachable', 'initial-download', 'following', 'waiting-for-block'])
        .describe(
          "connecting: not reached yet since the start; waiting-for-block: it answers, and can't give the next block",
        ),
      detail: z.string(),
      warnings: z
        .array(z.string())
        .describe('what makes one doubt that it is up to date, while it answers: no peers, headers ahead, an old tip'),
      best_height: height.nullable(),
      best_hash: blockHash.nullable(),
      blocks_by: z.enum(['rest', 'rpc']).nullable().describe('how blocks are read just now'),
    }),
    progress: z
      .strictObject({
        from: height,
        at: height,
        to: height,
        blocks_per_s: z.number().min(0),
        mb_per_s: z.number().min(0),
        eta_s: count.nullable(),
      })
      .nullable()
      .describe('while catching up'),
    onion: z.strictObject({
      state: z
        .enum(['disabled', 'starting', 'unreachable', 'withdrawn', 'publishing', 'published', 'standby'])
        .describe(
          'standby: of several trackers with one address (--onion-lease) another is to publish it; withdrawn: a back end of Onionbalance (--public-onion) that is not ready',
        ),
      detail: z.string(),
      address: address.nullable(),
      tor_version: z.string().nullable(),
      canary: z
        .strictObject({
          state: z
            .enum(['untried', 'green', 'red', 'impostor'])
            .describe('impostor: another process answers under our address, or publishes it'),
          detail: z.string(),
          last_green: unixS.nullable().describe('when it was reached last; null: not since the start'),
        })
        .nullable()
        .describe(
          'whether our own onion service is reached through Tor, and answers as this process; null without Tor',
        ),
    }),
    nostr: z
      .strictObject({
        url: z.string().describe('under which it is found: through Tor once the onion service has a name'),
        pubkey: z.string().describe('whose events are served: x-only, hex'),
        events: count.describe('served just now'),
        connections: count,
        subscriptions: count,
      })
      .nullable()
      .describe('the Nostr relay of this tracker; null without one'),
    mempool: z.strictObject({
      transactions: count,
      complete: z.boolean(),
      detail: z.string().nullable().describe("why it can't be read, while bitcoind answers else; null when it can"),
    }),
    reorgs: count.describe('since the start'),
    reorg_depth_max: count,
    connections: count.describe('of takers'),
    subscriptions: count.describe('outpoints that connections are subscribed to'),
    registrations: count.describe('outpoints registered, across restarts'),
  }),
)
export type StatusRow = z.infer<typeof statusSchema>

// ---- the past --------------------------------------------------------------------------------------------------------

export const historyPointSchema = z.strictObject({ height, time: unixS, bonds: count, makers: count, amount: sats })
export const probePointSchema = z.strictObject({
  time: unixS.describe('the end of ten minutes'),
  answered: count,
  failed: count,
  median_ms: z.number().min(0).nullable(),
  p95_ms: z.number().min(0).nullable(),
})
export type HistoryRow = z.infer<typeof historyPointSchema>
export type ProbePointRow = z.infer<typeof probePointSchema>

// ---- what an attack costs --------------------------------------------------------------------------------------------

const cost = { sats: sats.describe('all that is locked'), bonds: count.describe('in so many bonds of equal size') }
export const sybilPlaceSchema = z.strictObject({
  held: count.describe('at least so many places of the swap'),
  by_value: z
    .strictObject({
      ...cost,
      lock_blocks: count,
      interest: sats.describe('what they could have earned meanwhile, at 1.5 % a year'),
    })
    .describe('for the chance asked for, were makers picked in proportion to the value of their best bond'),
  today: z
    .strictObject({
      ...cost,
      lock_blocks: count,
      before: address
        .nullable()
        .describe('the first maker that takers can pick: names before it are picked in its place'),
      names: z
        .number()
        .min(0)
        .nullable()
        .describe('onion names made until enough come before it; null where it has none'),
    })
    .describe('for nearly every swap, as takers of today pick: by address'),
})
export type SybilPlaceRow = z.infer<typeof sybilPlaceSchema>
export const sybilPointSchema = z.strictObject({
  height,
  time: unixS,
  makers: count.describe('with a bond then alive that has a value and that takers of today accept'),
  places: z.array(z.strictObject({ held: count, ...cost })).describe('as `by_value`, at that block'),
})
export type SybilPointRow = z.infer<typeof sybilPointSchema>

// ---- clients ---------------------------------------------------------------------------------------------------------

export const clientSchema = component(
  'Client',
  z.strictObject({
    id: count.describe('counts connections since the start'),
    door: z.enum(['requests', 'nostr']).describe('by which it came: to the request server, or to the Nostr relay'),
    since: unixS,
    circuit: z.string().nullable().describe('how Tor names its circuit; null where that is not known'),
    group: z.enum(SLOT_GROUPS).describe('by which places are shared: has said nothing, has asked, is subscribed'),
    requests: count,
    subscriptions: count.describe('outpoints, or subscriptions of the Nostr relay'),
    units: count.describe('work it has asked for since it came'),
    units_lately: count.describe('of late, its circuit included: half of it is forgotten in 30 s'),
    units_left: z.int().describe('of its allowance; below 1 it is not read'),
    unsent_bytes: count.describe('what it has not taken yet'),
  }),
)
export type ClientRow = z.infer<typeof clientSchema>
