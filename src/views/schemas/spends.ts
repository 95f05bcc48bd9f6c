/** The row of an outpoint: who spends it. */
import { z } from 'zod'
import { SPEND_STATES } from '../../watch/spend.ts'
import { blockHash, component, count, height, outpoint, txid, unixS } from './words.ts'

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
