/** The row of a maker, with its offer and who picks it; what probes found of it, and whether relays announce it. */
import { z } from 'zod'
import { ANNOUNCEMENT_FORMATS } from '../../bonds/types.ts'
import { PICK_OBSTACLES } from '../../peers/pick.ts'
import { DIALECTS, PROBE_FAILURES, PROBE_OUTCOMES } from '../../peers/types.ts'
import {
  address,
  component,
  count,
  height,
  lockHeight,
  outpoint,
  ppm,
  probedShape,
  sats,
  takenShape,
  unixS,
  value,
} from './words.ts'

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
    ...takenShape,
    proven: z.boolean(),
    proof_failed: z.string().nullable().describe('the check that the proof in its last offer failed'),
    proof_note: z
      .string()
      .nullable()
      .describe('why takers older than September 2026 refuse the proof in its last offer, which holds'),
    bonds: count.describe('live ones'),
    bonds_today: count.describe('those of them that takers of today accept: with none they do not find it'),
    total_amount: sats.describe('locked in all its live bonds'),
    ...probedShape,
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
