/** What the paths of the JSON API send: the rows of views/schemas.ts, in their envelopes. */
import { z } from 'zod'
import { brokenRows } from '../views/broken.ts'
import { bondSchema } from '../views/schemas/bonds.ts'
import { clientSchema } from '../views/schemas/clients.ts'
import { announcedSchema, makerSchema, probeHourSchema, probeSchema } from '../views/schemas/makers.ts'
import { historyPointSchema, probePointSchema, sybilPlaceSchema, sybilPointSchema } from '../views/schemas/past.ts'
import { relayPointSchema, relaySchema } from '../views/schemas/relays.ts'
import { spendSchema } from '../views/schemas/spends.ts'
import { checksSchema } from '../views/schemas/status.ts'
import { trackerSchema } from '../views/schemas/trackers.ts'
import { address, blockHash, component, count, digest, height, unseen } from '../views/schemas/words.ts'

export { statusSchema as statusReply } from '../views/schemas/status.ts'
export { whySchema as whyReply } from '../views/schemas/why.ts'

const next = z.string().nullable().describe('give it as `after` for the next page; null on the last one')
const atTip = { height, block_hash: blockHash }

export const errorReply = component(
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

export const liveReply = component('Live', z.strictObject({ status: z.literal('ok') }))

export const readyReply = component(
  'Ready',
  z.strictObject({ status: z.enum(['ok', 'not_ready']), checks: checksSchema }),
)

export const bondsReply = component(
  'Bonds',
  z.strictObject({
    ...atTip,
    digest,
    total: count.describe('rows of all pages'),
    unseen,
    bonds: z.array(bondSchema),
    broken: brokenRows,
    next,
  }),
)
export const bondReply = component('BondAtTip', z.strictObject({ ...atTip, bond: bondSchema }))

export const makersReply = component(
  'Makers',
  z.strictObject({ ...atTip, digest, total: count, unseen, makers: z.array(makerSchema), broken: brokenRows, next }),
)

export const makerReply = component(
  'MakerAtTip',
  z.strictObject({
    ...atTip,
    address,
    listed: z.boolean(),
    maker: makerSchema.nullable().describe('null when it has no live bond'),
    bonds: z.array(bondSchema).describe('all it ever announced, as far as scanned'),
    relays: z.array(announcedSchema).describe('those that are watched; empty when it has no live bond'),
    broken: brokenRows,
  }),
)

export const probesReply = component(
  'MakerProbes',
  z.strictObject({
    address,
    hours: z.array(probeHourSchema).describe('hours in which it was probed, oldest first'),
    probes: z.array(probeSchema).describe('the last single ones, newest first; they are kept for 7 days'),
    broken: brokenRows,
  }),
)

export const sybilReply = component(
  'Sybil',
  z.strictObject({
    ...atTip,
    makers: count.describe('of the swap'),
    chance_ppm: count.describe('with which the places are to be held'),
    complete_from: height.describe('before it, bonds older than the scan are missing'),
    counted: z.strictObject({
      makers: count.describe(
        'with a bond that has a value and that takers of today accept, whether they answer or not',
      ),
      value: z.number().min(0).describe("of each of them the best bond's, together"),
    }),
    places: z.array(sybilPlaceSchema).describe('by how many are held, from one to all'),
    points: z.array(sybilPointSchema).describe('oldest first, evenly apart, the last at the tip'),
    broken: brokenRows,
  }),
)

export const trackersReply = component(
  'Trackers',
  z.strictObject({ trackers: z.array(trackerSchema), broken: brokenRows }),
)

export const relaysReply = component(
  'Relays',
  z.strictObject({
    relays: z.array(relaySchema),
    history: z.array(relayPointSchema).describe('of each hour that was counted, oldest first'),
    broken: brokenRows,
  }),
)

export const clientsReply = component(
  'Clients',
  z.strictObject({ total: count, clients: z.array(clientSchema), broken: brokenRows, next }),
)

export const spendsReply = component(
  'SpendAtTip',
  z.strictObject({ ...atTip, indexed_from: height, spend: spendSchema }),
)

export const historyReply = component(
  'History',
  z.strictObject({
    ...atTip,
    complete_from: height.describe('before it, bonds older than the scan are missing from the counts'),
    points: z.array(historyPointSchema).describe('oldest first, evenly apart'),
    probes: z.array(probePointSchema).describe('empty where nobody was probed'),
    broken: brokenRows,
  }),
)
