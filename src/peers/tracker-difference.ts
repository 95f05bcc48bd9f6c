/** Pure: two lists of live bonds at one block → what only one of them has. */
import type { ConfirmedBond } from '../bonds/types.ts'
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import type { Comparison } from '../store/trackers.ts'

export const LIMITS = {
  /** Enough to see what is wrong; a tracker that invents ten thousand is not worth more rows. */
  outpointsMax: 100,
}

/** What the digest is made of. */
export interface ListedBond {
  outpoint: Outpoint
  address: string
  amountSats: number
  confHeight: Height
  /** Absent in format A. */
  lockHeight?: Height | undefined
}

export function listedBond(bond: ConfirmedBond): ListedBond {
  const { outpoint, address, amountSats, lockHeight, conf } = bond
  return { outpoint, address, amountSats, lockHeight, confHeight: conf.height }
}

/** A bond that both list and tell differently stands on both sides. */
export function differenceOf(
  ours: readonly ListedBond[],
  theirs: readonly ListedBond[],
): Pick<Comparison, 'onlyOurs' | 'onlyTheirs'> {
  return { onlyOurs: missingFrom(theirs, ours), onlyTheirs: missingFrom(ours, theirs) }
}

function missingFrom(there: readonly ListedBond[], here: readonly ListedBond[]): Outpoint[] {
  const known = new Set(there.map(nameOf))
  return here
    .filter((bond) => !known.has(nameOf(bond)))
    .slice(0, LIMITS.outpointsMax)
    .map(({ outpoint }) => outpoint)
}

function nameOf({ outpoint, address, amountSats, lockHeight, confHeight }: ListedBond): string {
  return [formatOutpoint(outpoint), address, amountSats, lockHeight ?? '-', confHeight].join(' ')
}
