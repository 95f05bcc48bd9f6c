import type { Offer } from '../../src/peers/types.ts'

/** As today's makers offer by default. */
export const TERMS: Omit<Offer, 'tweakablePoint' | 'tweakChainCode' | 'proof'> = {
  baseFeeSats: 500,
  amountFeePct: 0.0025,
  timeFeePct: 0.0001,
  requiredConfirms: 1,
  lockBlocksMin: 10,
  amountSatsMin: 10_000,
  amountSatsMax: 1_000_000,
}
