/** The row of another tracker. */
import { z } from 'zod'
import { component, count, digest, height, outpoint, unixS } from './words.ts'

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
