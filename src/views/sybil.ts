/**
 * What it costs somebody to hold places of a swap: as takers of today pick makers, and where they were picked by the value of
 * their bonds, now and in the past. Made of bonds that takers of today accept, whether their makers answer or not: the chain
 * alone decides it, so that every tracker tells the same. Source: docs/makers.md, "What a Sybil attack costs".
 */
import { sampleHeights } from '../bonds/history.ts'
import { costToHold, raceOf } from '../bonds/sybil.ts'
import { isTakenToday } from '../bonds/today.ts'
import type { ConfirmedBond, Tip } from '../bonds/types.ts'
import { bondValue, interestOf } from '../bonds/value.ts'
import { AMOUNT_SATS_MIN, endHeight, LOCK_BLOCKS_MAX, lockBlocksOf } from '../bonds/verify.ts'
import { WINDOW_BLOCKS } from '../chain/plan.ts'
import { NO_BLOCK } from '../chain/types.ts'
import type { Market } from '../market.ts'
import { namesBefore } from '../peers/pick.ts'
import { readBlockTimes } from '../store/local/tip.ts'
import type { Facts } from './facts.ts'
import { makerPicks } from './makers.ts'
import type { SybilPlaceRow, SybilPointRow } from './schemas/past.ts'

export const SYBIL_LIMITS = {
  /** Makers of a swap. */
  makersMax: 5,
  /** Blocks of the past that are reckoned, unless fewer are asked for: a point for every three days. */
  pointsMax: 60,
  /** Makers times blocks that are reckoned for one answer, about 0.1 s: of a large market fewer blocks. */
  makerBlocks: 10_000,
  /** Answers kept for the block they are of: everybody asks the same. */
  answersKept: 8,
}

export interface SybilAsked {
  /** Makers of the swap. */
  makers: number
  /** Per cent. */
  chance: number
  points: number
}

export interface SybilReport {
  completeFrom: number
  counted: { makers: number; value: number }
  places: SybilPlaceRow[]
  points: SybilPointRow[]
}

/** By what was asked, of the last block. */
const kept = new WeakMap<Market['list'], Map<string, Pick<SybilReport, 'counted' | 'points'>>>()

export function sybilReport(facts: Facts, market: Market, asked: SybilAsked): SybilReport {
  const scannedFrom = facts.chain.scannedFrom() ?? market.tip.height
  const answers = kept.get(market.list) ?? new Map<string, Pick<SybilReport, 'counted' | 'points'>>()
  kept.set(market.list, answers)
  const key = JSON.stringify(asked)
  const byValue = answers.get(key) ?? reckon(facts, market, asked, scannedFrom)
  if (answers.size >= SYBIL_LIMITS.answersKept) answers.clear()
  answers.set(key, byValue)
  return {
    completeFrom: scannedFrom === 0 ? 0 : scannedFrom + WINDOW_BLOCKS,
    ...byValue,
    places: byValue.points.at(-1)!.places.map(({ held, sats, bonds }) => ({
      held,
      by_value: { sats, bonds, lock_blocks: LOCK_BLOCKS_MAX, interest: interestOf(sats, LOCK_BLOCKS_MAX) },
      today: asTakersPick(facts, market, held),
    })),
  }
}

/** A bond of the least that counts for each place, and names that come before those of all the others. */
function asTakersPick(facts: Facts, market: Market, held: number): SybilPlaceRow['today'] {
  const first = [...makerPicks(market, facts)].find(([, { place }]) => place === 1)?.[0]
  return {
    sats: held * AMOUNT_SATS_MIN,
    bonds: held,
    lock_blocks: lockBlocksOf(facts.config.network).min,
    before: first ?? null,
    names: (first === undefined ? held : namesBefore(first, held)) ?? null,
  }
}

function reckon({ db, config }: Facts, market: Market, asked: SybilAsked, scannedFrom: number) {
  const { tip } = market
  const bonds = market.known.flatMap(({ bond }) =>
    'conf' in bond && bond.refusal === undefined && isTakenToday(bond, config.network) ? [bond] : [],
  )
  const points = Math.min(asked.points, Math.max(2, Math.floor(SYBIL_LIMITS.makerBlocks / Math.max(1, bonds.length))))
  const heights = sampleHeights(Math.max(tip.height - WINDOW_BLOCKS, scannedFrom), tip.height, points)
  const times = readBlockTimes(db, heights)
  const rows = heights.map((height): SybilPointRow & { value: number } => {
    const timeS = times.get(height)!
    const values = valuesAt(bonds, height === tip.height ? tip : { height, hash: NO_BLOCK, timeS })
    const race = raceOf(values, asked.makers)
    const places = Array.from({ length: asked.makers }, (_, i) => {
      const cost = costToHold(race, asked.makers, i + 1, asked.chance / 100, LOCK_BLOCKS_MAX)
      return { held: i + 1, ...cost }
    })
    return { height, time: timeS, makers: values.length, value: race.value, places }
  })
  const { makers, value } = rows.at(-1)!
  return { counted: { makers, value }, points: rows.map(({ value: _, ...point }) => point) }
}

/** What the best bond of each maker was worth at that block. */
function valuesAt(bonds: readonly ConfirmedBond[], tip: Tip): number[] {
  const values = new Map<string, number>()
  for (const bond of bonds) {
    const end = Math.min(endHeight(bond), bond.spentBy?.height ?? Number.POSITIVE_INFINITY)
    if (bond.conf.height > tip.height || end <= tip.height) continue
    const value = bondValue(bond, tip)
    if (value > (values.get(bond.address) ?? 0)) values.set(bond.address, value)
  }
  return [...values.values()]
}
