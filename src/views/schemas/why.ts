/** Why a maker is listed, or is not. */
import { z } from 'zod'
import { component, height, outpoint } from './words.ts'

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
