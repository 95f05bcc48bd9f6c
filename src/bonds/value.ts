/**
 * What a bond is worth: the market's formula (docs/protocol.md, "Value"), unchanged since 2023. The unit is satoshi to
 * the power 1.3. Double precision reproduces the reference values; at an exact integer boundary it may differ by 1.
 */
import type { ConfirmedBond, Tip } from './types.ts'

const INTEREST_PER_YEAR = 0.015
const EXPONENT = 1.3
const YEAR_S = 60 * 60 * 24 * 365.2425
const BLOCK_S = 600

/** `confTimeS`, `lockUnixS`, `nowS` are Unix seconds. Throws RangeError when the lock ends before the confirmation. */
export function fidelityValue(bond: {
  amountSats: number
  confTimeS: number
  lockUnixS: number
  nowS: number
}): number {
  const { amountSats, confTimeS, lockUnixS, nowS } = bond
  if (lockUnixS < confTimeS) throw new RangeError(`lock time ${lockUnixS} is before confirmation time ${confTimeS}`)
  const gained = Math.expm1((INTEREST_PER_YEAR * (lockUnixS - confTimeS)) / YEAR_S)
  const late = Math.expm1(INTEREST_PER_YEAR * Math.max(0, nowS / YEAR_S - lockUnixS / YEAR_S))
  const timeValue = Math.max(0, Math.min(1, gained) - Math.min(1, late))
  return Math.floor((amountSats * timeValue) ** EXPONENT)
}

/** Sats that are worth `value` when they are locked for `lockBlocks` from their confirmation on; rounded up. */
export function amountForValue(value: number, lockBlocks: number): number {
  return Math.ceil(value ** (1 / EXPONENT) / Math.expm1((INTEREST_PER_YEAR * lockBlocks * BLOCK_S) / YEAR_S))
}

/** What sats could have earned meanwhile, by the interest that the value is reckoned with; rounded. */
export function interestOf(amountSats: number, lockBlocks: number): number {
  return Math.round(amountSats * Math.expm1((INTEREST_PER_YEAR * lockBlocks * BLOCK_S) / YEAR_S))
}

/** When `lockHeight` is expected, judged from the tip: ten minutes a block. Unix seconds. */
export function lockUnixSOf(lockHeight: number, tip: Tip): number {
  return tip.timeS + BLOCK_S * (lockHeight - tip.height)
}

/**
 * The value at block `tip`, with its header time as "now": a function of the chain alone. 0 where there is none: no
 * lock announced (format A says nothing from which it could be computed), lock passed, or header times so far apart
 * that the lock would end before the confirmation.
 */
export function bondValue(bond: ConfirmedBond, tip: Tip): number {
  if (bond.lockHeight === undefined || tip.height > bond.lockHeight) return 0
  const lockUnixS = lockUnixSOf(bond.lockHeight, tip)
  if (lockUnixS < bond.confTimeS) return 0
  return fidelityValue({ amountSats: bond.amountSats, confTimeS: bond.confTimeS, lockUnixS, nowS: tip.timeS })
}
