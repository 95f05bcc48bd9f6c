/**
 * Pure: how likely a taker of today picks a maker by itself, and why it doesn't. Takers ask every maker that they know for
 * its offer and keep those that gave one with a proof that holds; they put these in the order of their addresses, leave out
 * those whose limits don't admit the amount, and take the first ones. What a bond is worth counts for nothing. Nothing here
 * knows how a maker is found, or asked.
 * Source: OpenSwap, `active_makers` (src/taker/offers.rs) and `discover_makers` (src/taker/api.rs): since April 2026, and so
 * in the newest versions that could be read (November 2026).
 */

/** Makers of a swap, as a taker has it that is told nothing else; fewer it refuses. Source: OpenSwap, src/bin/taker.rs. */
export const ROUTE_MAKERS = 2

export const PICK_OBSTACLES = [
  /** Takers of today accept none of its bonds. */
  'not-today',
  'down',
  /** By a check that takers make, too. */
  'proof-failed',
  /** What it offers can't be meant. */
  'offer-refused',
  /** Its limits don't admit the amount. */
  'amount',
  /** Enough others come before it, and nearly always answer. */
  'others-first',
  /** It was never probed, or gave no offer: nobody knows. */
  'not-known',
] as const
export type PickObstacle = (typeof PICK_OBSTACLES)[number]

export interface PickCandidate {
  /** `host:port`. */
  address: string
  /** What keeps takers from it whatever the others do. */
  obstacle?: Exclude<PickObstacle, 'others-first'>
  /** How often it answers, 0 to 1. */
  availability: number
}

export interface Pick {
  /** 0 to 1; undefined where nobody knows. */
  chance: number | undefined
  /** Among those that can be picked, by address, from 1 on. */
  place?: number
  obstacle?: PickObstacle
}

/** Rarer than once in two thousand swaps is told as never. */
const HARDLY_EVER = 0.0005

/** The picks of a swap with so many makers, by address. Makers are taken to be away independently of one another. */
export function picksOf(candidates: readonly PickCandidate[], makers = ROUTE_MAKERS): Map<string, Pick> {
  const picks = new Map<string, Pick>()
  for (const { address, obstacle } of candidates) {
    if (obstacle) picks.set(address, { chance: obstacle === 'not-known' ? undefined : 0, obstacle })
  }
  const line = candidates.filter(({ obstacle }) => !obstacle).sort((a, b) => (a.address < b.address ? -1 : 1))
  /** How likely so many of those before answer: 0, 1, … `makers` - 1. */
  let before = Array.from({ length: makers }, (_, count): number => (count === 0 ? 1 : 0))
  for (const [i, { address, availability }] of line.entries()) {
    const chance = availability * before.reduce((sum, likely) => sum + likely, 0)
    const place = i + 1
    picks.set(address, chance < HARDLY_EVER ? { chance: 0, place, obstacle: 'others-first' } : { chance, place })
    before = before.map((likely, count) => likely * (1 - availability) + (before[count - 1] ?? 0) * availability)
  }
  return picks
}

/** Digits stand before letters where names are compared as text. */
const IN_ORDER = '234567abcdefghijklmnopqrstuvwxyz'

/** How many names one makes until so many of them come before `address` by mere luck; undefined of no onion name. */
export function namesBefore(address: string, wanted: number): number | undefined {
  const label = /^([a-z2-7]{56})\.onion/.exec(address)?.[1]
  if (label === undefined) return undefined
  const share = [...label].reduceRight((rest, char) => (IN_ORDER.indexOf(char) + rest) / IN_ORDER.length, 0)
  return Math.ceil(wanted / Math.max(share, Number.EPSILON))
}
