/** Moments of the past: the market, probes, and what an attack would have cost. */
import { z } from 'zod'
import { address, count, height, sats, unixS } from './words.ts'

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
