/**
 * Pure: whether the terms of an offer can be meant. They are a stranger's numbers, and stand beside those of honest makers
 * in lists, sums and orders. Source: docs/makers.md, "Price".
 */
import { LOCK_BLOCKS_MAX } from '../bonds/verify.ts'
import type { LightningTerms, Offer } from './types.ts'

export const OFFER_LIMITS = {
  /** All the bitcoin there will ever be. */
  satsMax: 2_100_000_000_000_000,
  /** Per cent. A fee above the amount swapped is none. */
  feePctMax: 100,
  /** Half a year, as long as a bond may be locked: no swap takes so long. */
  blocksMax: LOCK_BLOCKS_MAX,
}

type Terms = Omit<Offer, 'tweakablePoint' | 'tweakChainCode' | 'proof' | 'lightning'>

/** The first of the terms that can't be meant, by OpenSwap's name for it, what was expected and what came. */
export function termsFault(terms: Terms): string | undefined {
  const { satsMax, blocksMax } = OFFER_LIMITS
  const { requiredConfirms = 0, amountSatsMin, amountSatsMax } = terms
  const wholes: readonly [string, number, number][] = [
    ['base_fee', terms.baseFeeSats, satsMax],
    ['required_confirms', requiredConfirms, blocksMax],
    ['minimum_locktime', terms.lockBlocksMin, blocksMax],
    ['min_size', amountSatsMin, satsMax],
    ['max_size', amountSatsMax, satsMax],
  ]
  const rates: readonly [string, number][] = [
    ['amount_relative_fee_pct', terms.amountFeePct],
    ['time_relative_fee_pct', terms.timeFeePct],
  ]
  const fault = numberFault(wholes, rates)
  if (fault !== undefined) return fault
  if (amountSatsMin > amountSatsMax)
    return `min_size: expected at most max_size (${amountSatsMax}), got ${amountSatsMin}`
  return undefined
}

/** The same of the terms for Lightning. A largest size below the smallest is meant: it has no liquidity that way just now. */
export function lightningFault(terms: LightningTerms): string | undefined {
  const { satsMax } = OFFER_LIMITS
  const wholes: readonly [string, number, number][] = [
    ['lightning.base_fee', terms.baseFeeSats, satsMax],
    ['lightning.min_size', terms.amountSatsMin, satsMax],
    ['lightning.max_size', terms.amountSatsMax ?? 0, satsMax],
    ['lightning.max_swap_in', terms.swapInSatsMax ?? 0, satsMax],
    ['lightning.max_swap_out', terms.swapOutSatsMax ?? 0, satsMax],
  ]
  return numberFault(wholes, [['lightning.amount_relative_fee_pct', terms.amountFeePct]])
}

function numberFault(
  wholes: readonly [name: string, value: number, max: number][],
  rates: readonly [name: string, value: number][],
): string | undefined {
  const { feePctMax } = OFFER_LIMITS
  for (const [name, value, max] of wholes) {
    const isMeant = Number.isInteger(value) && value >= 0 && value <= max
    if (!isMeant) return `${name}: expected a whole number from 0 to ${max}, got ${value}`
  }
  for (const [name, value] of rates) {
    const isMeant = value >= 0 && value <= feePctMax
    if (!isMeant) return `${name}: expected 0 to ${feePctMax}, got ${value}`
  }
  return undefined
}
