/**
 * Pure: two lists of live bonds side by side, theirs as it comes, row by row. Nothing of theirs is kept but the names of
 * bonds in which we differ.
 */
import { compareOutpoints } from '../bonds/digest.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import type { Outpoint } from '../chain/types.ts'

export const COMPARISON_LIMITS = {
  /**
   * Of the bonds that only one list has: enough to see what is wrong. Then their list is read no further: one that never
   * ends is read as far as ours and this many rows more.
   */
  outpointsMax: 100,
}

/** What the digest is made of. */
export interface ListedBond {
  outpoint: Outpoint
  address: string
  amountSats: number
  confHeight: number
  /** Absent in format A. */
  lockHeight?: number | undefined
}

export class ListComparison {
  readonly onlyOurs: Outpoint[] = []
  readonly onlyTheirs: Outpoint[] = []
  readonly #ours: readonly { readonly bond: ConfirmedBond }[]
  #at = 0

  /** `ours`: ascending by outpoint. */
  constructor(ours: readonly { readonly bond: ConfirmedBond }[]) {
    this.#ours = ours
  }

  /** Their next bond, ascending by outpoint. False when there are differences enough. */
  take(theirs: ListedBond): boolean {
    for (;;) {
      const ours = this.#ours[this.#at]?.bond
      const order = ours ? compareOutpoints(ours.outpoint, theirs.outpoint) : 1
      if (!ours || order > 0) this.onlyTheirs.push(theirs.outpoint)
      else {
        this.#at++
        if (order === 0 && isSame(ours, theirs)) return true
        this.onlyOurs.push(ours.outpoint)
        if (order === 0) this.onlyTheirs.push(theirs.outpoint) // told differently: it stands on both sides
      }
      if (this.#isFull) return false
      if (order >= 0) return true
    }
  }

  /** Their list has ended: what is left of ours they lack. */
  end(): void {
    while (this.#at < this.#ours.length && !this.#isFull) this.onlyOurs.push(this.#ours[this.#at++]!.bond.outpoint)
  }

  get agrees(): boolean {
    return this.onlyOurs.length === 0 && this.onlyTheirs.length === 0
  }

  get #isFull(): boolean {
    const { outpointsMax } = COMPARISON_LIMITS
    return this.onlyOurs.length >= outpointsMax || this.onlyTheirs.length >= outpointsMax
  }
}

function isSame({ address, amountSats, lockHeight, conf }: ConfirmedBond, theirs: ListedBond): boolean {
  return (
    address === theirs.address &&
    amountSats === theirs.amountSats &&
    lockHeight === theirs.lockHeight &&
    conf.height === theirs.confHeight
  )
}
