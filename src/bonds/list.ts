/** Pure: all known bonds and a tip → the list that is served: live bonds with their value, makers best first, digest. */

import { compareOutpoints, digestOf } from './digest.ts'
import type { ConfirmedBond, Tip } from './types.ts'
import { bondValue } from './value.ts'
import { stateOf } from './verify.ts'

export interface ValuedBond {
  bond: ConfirmedBond
  /** Sats to the power 1.3 (docs/protocol.md, "Value"). */
  value: number
}

export interface MakerList {
  tip: Tip
  /** Live bonds, ascending by outpoint as in the digest. */
  live: ValuedBond[]
  /** Every maker with a live bond once, `host.onion:port`, highest bond value first, then by outpoint. */
  addresses: string[]
  /** SHA-256 over the live bonds. */
  digest: Buffer
}

export function listMakers(bonds: readonly ConfirmedBond[], tip: Tip): MakerList {
  const live = bonds.filter((bond) => stateOf(bond, tip) === 'live')
  return listLive(
    live.sort((a, b) => compareOutpoints(a.outpoint, b.outpoint)),
    tip,
  )
}

/**
 * As `listMakers`, of bonds that are live at `tip` and in the order of the digest. `before`: a list whose digest holds
 * where it is of the same bonds.
 */
export function listLive(bonds: readonly ConfirmedBond[], tip: Tip, before?: MakerList): MakerList {
  const live = bonds.map((bond) => ({ bond, value: bondValue(bond, tip) }))
  const byValue = live.toSorted((a, b) => b.value - a.value) // stable: equal values stay in outpoint order
  return {
    tip,
    live,
    addresses: [...new Set(byValue.map(({ bond }) => bond.address))],
    digest: before && isOfSame(before, bonds) ? before.digest : digestOf(bonds),
  }
}

function isOfSame({ live }: MakerList, bonds: readonly ConfirmedBond[]): boolean {
  return live.length === bonds.length && live.every(({ bond }, i) => bond === bonds[i])
}
