/**
 * Pure: what somebody has to lock to hold several of a swap's places, where makers are picked in proportion to what their
 * best bond is worth, each once. So the market's value formula was meant; JoinMarket's takers pick like that, and its
 * ob-watcher tells such a cost. Takers of today don't (peers/pick.ts).
 *
 * The picking is a race: each bond comes after a random time, exponential with its value as rate, and the first ones win.
 * The attacker has `own` bonds of equal value; his k-th comes before a fraction x of his is due, x by the Beta distribution
 * of order statistics, and he holds k of n places when by then at most n - k others have come.
 */

import { amountForValue } from './value.ts'
import { AMOUNT_SATS_MIN } from './verify.ts'

const LIMITS = {
  /** Moments at which the race of the others is reckoned, evenly apart in their logarithm; between them it is interpolated. */
  moments: 64,
  /** Strips of the integral over the attacker's own luck. */
  strips: 128,
  /** Halvings of the range in which the cost lies: to a millionth of it. */
  halvings: 48,
}

/** Of the sum of all values times the time: from nobody has come to everybody but the least has. */
const FIRST_MOMENT = 1e-4
/** See FIRST_MOMENT. */
const LAST_MOMENT = 1e3

/** How the makers that are there run: how likely at most so many have come, by moment. */
export interface Race {
  /** What their bonds are worth together. */
  value: number
  /** `[moment][count]`: how likely at most `count` have come; counts from 0 to one below the places. */
  come: readonly (readonly number[])[]
}

/** `values`: of each maker's best bond, above 0. */
export function raceOf(values: readonly number[], places: number): Race {
  const value = values.reduce((sum, one) => sum + one, 0)
  const come = Array.from({ length: LIMITS.moments }, (_, i) => {
    let likely = Array.from({ length: places }, (_, count): number => (count === 0 ? 1 : 0))
    const time = momentOf(i) / Math.max(value, Number.MIN_VALUE)
    for (const rate of values) {
      const isHere = -Math.expm1(-rate * time)
      likely = likely.map((one, count) => one * (1 - isHere) + (likely[count - 1] ?? 0) * isHere)
    }
    let sum = 0
    return likely.map((one) => (sum += one))
  })
  return { value, come }
}

function momentOf(i: number): number {
  return FIRST_MOMENT * (LAST_MOMENT / FIRST_MOMENT) ** (i / (LIMITS.moments - 1))
}

/** How likely at most `count` of them have come when the sum of their values times the time is `moment`. */
function comeBy({ come }: Race, moment: number, count: number): number {
  const last = LIMITS.moments - 1
  const at = (last * Math.log(moment / FIRST_MOMENT)) / Math.log(LAST_MOMENT / FIRST_MOMENT)
  if (!(at > 0)) return 1
  if (at >= last) return come[last]![count]!
  const i = Math.floor(at)
  return come[i]![count]! + (at - i) * (come[i + 1]![count]! - come[i]![count]!)
}

/** How likely `own` bonds, worth `value` each, hold at least `held` of `places`. */
export function chanceToHold(race: Race, places: number, held: number, own: number, value: number): number {
  if (race.value === 0) return own >= held ? 1 : 0
  const others = places - held
  if (others === 0) {
    // Every pick is his: reckoned exactly.
    let chance = 1
    for (let left = own; left > own - held; left--) chance *= (left * value) / (left * value + race.value)
    return chance
  }
  let chance = 0
  for (let i = 0; i < LIMITS.strips; i++) {
    const share = (i + 0.5) / LIMITS.strips
    const moment = (-Math.log1p(-share) / value) * race.value
    chance += (orderDensity(share, held, own) * comeBy(race, moment, others)) / LIMITS.strips
  }
  return Math.min(1, chance)
}

/** Of the k-th smallest of n even chances. */
function orderDensity(share: number, k: number, n: number): number {
  let ways = n
  for (let i = 1; i < k; i++) ways = (ways * (n - i)) / i
  return ways * share ** (k - 1) * (1 - share) ** (n - k)
}

export interface SybilCost {
  /** All that he locks, in bonds of equal size. */
  sats: number
  bonds: number
}

/** The cheapest way to hold `held` of `places` with `chance` (0 to 1), with bonds locked for `lockBlocks`. */
export function costToHold(race: Race, places: number, held: number, chance: number, lockBlocks: number): SybilCost {
  let best: SybilCost | undefined
  // Value grows faster than the amount, so that few large bonds are cheaper than many small ones; but one to spare helps.
  for (let bonds = held; bonds <= 2 * places; bonds++) {
    const each = Math.max(AMOUNT_SATS_MIN, amountForValue(valueToHold(race, places, held, chance, bonds), lockBlocks))
    if (!best || bonds * each < best.sats) best = { sats: bonds * each, bonds }
  }
  return best!
}

function valueToHold(race: Race, places: number, held: number, chance: number, bonds: number): number {
  if (race.value === 0) return 0
  let [low, high] = [Math.log(race.value * 1e-9), Math.log(race.value * 1e9)]
  for (let i = 0; i < LIMITS.halvings; i++) {
    const middle = (low + high) / 2
    if (chanceToHold(race, places, held, bonds, Math.exp(middle)) < chance) low = middle
    else high = middle
  }
  return Math.exp(high)
}
