/** What the paths of the JSON API send: the rows of views/schemas.ts, in their envelopes. */
import { z } from 'zod'
import {
  address,
  blockHash,
  bond,
  checks,
  count,
  digest,
  height,
  historyPoint,
  maker,
  named,
  probePoint,
  spend,
  tracker,
} from '../views/schemas.ts'

export { status as statusReply, why as whyReply } from '../views/schemas.ts'

const next = z.string().nullable().describe('give it as `after` for the next page; null on the last one')
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

export const readyReply = named('Ready', z.strictObject({ status: z.enum(['ok', 'not_ready']), checks }))

export const bondsReply = named(
  'Bonds',
  z.strictObject({ ...atTip, digest, total: count.describe('rows of all pages'), bonds: z.array(bond), next }),
)
export const bondReply = named('BondAtTip', z.strictObject({ ...atTip, bond }))

export const makersReply = named(
  'Makers',
  z.strictObject({ ...atTip, digest, total: count, makers: z.array(maker), next }),
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

export const trackersReply = named('Trackers', z.strictObject({ trackers: z.array(tracker) }))

export const spendsReply = named('SpendAtTip', z.strictObject({ ...atTip, indexed_from: height, spend }))

export const historyReply = named(
  'History',
  z.strictObject({
    ...atTip,
    complete_from: height.describe('before it, bonds older than the scan are missing from the counts'),
    points: z.array(historyPoint).describe('oldest first, evenly apart'),
    probes: z.array(probePoint).describe('empty where nobody was probed'),
  }),
)
