/** The row of a bond. */
import { z } from 'zod'
import { ANNOUNCEMENT_FORMATS, BOND_STATES, REFUSALS } from '../../bonds/types.ts'
import {
  address,
  blockHash,
  component,
  count,
  height,
  lockHeight,
  outpoint,
  probedShape,
  sats,
  takenShape,
  txid,
  unixS,
  value,
} from './words.ts'

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
    ...takenShape,
    proven: z.boolean().describe("whether an offer of the maker's, or a `Post`, has proven the bond to be its"),
    ...probedShape,
  }),
)
export type BondRow = z.infer<typeof bondSchema>
