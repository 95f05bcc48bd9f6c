/** Who is on the market: the makers with a live bond at our tip, kept until rows change. No I/O but the store's. */
import { listMakers, type MakerList, type ValuedBond } from '../bonds/list.ts'
import type { AnnouncementFormat, Tip } from '../bonds/types.ts'
import { windowStart } from '../chain/plan.ts'
import { readBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'

export interface MarketMaker {
  /** `host.onion:port`. */
  address: string
  /** Of its youngest bond: it tells the maker's age best. */
  format: AnnouncementFormat
  /** Its live bonds, highest value first; it is listed by the first. */
  bonds: readonly ValuedBond[]
}

/** Of the index: its tip, and what changes whenever its rows do. */
export interface Indexed {
  readonly revision: number
  tip(): Tip | undefined
}

export class Market {
  readonly #db: Db
  readonly #index: Indexed
  #revision = -1
  #makers: ReadonlyMap<string, MarketMaker> = new Map()

  constructor(db: Db, index: Indexed) {
    this.#db = db
    this.#index = index
  }

  /** By address, in the order of the list. */
  makers(): ReadonlyMap<string, MarketMaker> {
    if (this.#revision !== this.#index.revision) {
      const tip = this.#index.tip()
      this.#makers = tip ? makersOf(listMakers(readBonds(this.#db, windowStart(tip.height)), tip)) : new Map()
      this.#revision = this.#index.revision
    }
    return this.#makers
  }
}

export function makersOf({ addresses, live }: MakerList): Map<string, MarketMaker> {
  const bonds = new Map<string, ValuedBond[]>(addresses.map((address) => [address, []]))
  for (const valued of live) bonds.get(valued.bond.address)!.push(valued)
  return new Map(
    [...bonds].map(([address, own]) => {
      const youngest = own.reduce((a, b) => (b.bond.conf.height > a.bond.conf.height ? b : a))
      return [address, { address, format: youngest.bond.format, bonds: own.sort((a, b) => b.value - a.value) }]
    }),
  )
}
