/** Pure: how many bonds, makers and sats were alive at blocks of the past. A fold over the bonds' lives. */
import type { Height } from '../chain/types.ts'
import type { ConfirmedBond } from './types.ts'
import { endHeight } from './verify.ts'

export interface HistoryPoint {
  height: Height
  bonds: number
  makers: number
  amountSats: number
}

/** At most `count` heights from `from` to `to`, both included, evenly apart. */
export function sampleHeights(from: Height, to: Height, count: number): Height[] {
  if (to < from) return []
  const steps = Math.min(count - 1, to - from)
  if (steps <= 0) return [to]
  return Array.from({ length: steps + 1 }, (_, i) => from + Math.round(((to - from) * i) / steps))
}

/** What was alive at each of `heights`, which ascend. */
export function bondHistory(bonds: readonly ConfirmedBond[], heights: readonly Height[]): HistoryPoint[] {
  const moves = bonds
    .filter(({ refusal }) => refusal === undefined)
    .flatMap((bond) => [
      { height: bond.conf.height, bond, by: 1 },
      { height: Math.min(endHeight(bond), bond.spentBy?.height ?? Number.POSITIVE_INFINITY), bond, by: -1 },
    ])
    .sort((a, b) => a.height - b.height)
  const bondsOf = new Map<string, number>()
  let at = 0
  let alive = 0
  let amountSats = 0
  return heights.map((height) => {
    for (; at < moves.length && moves[at]!.height <= height; at++) {
      const { bond, by } = moves[at]!
      alive += by
      amountSats += by * bond.amountSats
      const left = (bondsOf.get(bond.address) ?? 0) + by
      if (left === 0) bondsOf.delete(bond.address)
      else bondsOf.set(bond.address, left)
    }
    return { height, bonds: alive, makers: bondsOf.size, amountSats }
  })
}
