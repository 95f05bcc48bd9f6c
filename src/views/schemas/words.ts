/**
 * The words that rows are made of, as zod schemas, and the named parts of the OpenAPI document. Beside this, one file a noun:
 * what HTTP sends, `--json` prints, export writes, the page and the verbs' text are made of, and the wire maps. Conventions:
 * snake_case; hashes and txids in display order; heights, sats and Unix seconds as numbers; what is not known is null, never
 * left out.
 */

import { z } from 'zod'
import { TODAY_REFUSALS } from '../../bonds/types.ts'
import { REACHES } from '../../peers/types.ts'

/** The named parts of the OpenAPI document. */
export const components = z.registry<{ id: string }>()

export function component<T extends z.ZodType>(id: string, schema: T): T {
  components.add(schema, { id })
  return schema
}

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
export const value = z.number().min(0).describe('worth of the bond, sats to the power 1.3')
export const reach = z.enum(REACHES).describe('unknown: not probed, or not lately')
export const ppm = z.int().min(0).max(1_000_000)
export const lockHeight = height.nullable().describe('null in format A, which announces none')

export const unseen = z
  .strictObject({ from: height, to: height })
  .nullable()
  .describe('blocks of the window that were never read: bonds confirmed there are not known; null when there are none')

/** Whether takers of today's market, who read less than we do, accept a bond's announcement. */
export const takenShape = {
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
export const probedShape = {
  reach,
  last_up: unixS.nullable().describe('the last valid answer'),
  probes: count.describe('observed in the last 30 days'),
  uptime_ppm: ppm.nullable().describe('answered of a million observed; null without any'),
}
