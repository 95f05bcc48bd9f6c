/** All that is known of bonds at our tip, read anew only when rows have changed, and shared by everyone who asks. */
import { compareOutpoints } from '../bonds/digest.ts'
import { listMakers, type MakerList, type ValuedBond } from '../bonds/list.ts'
import type { AnnouncedOutput, BondState, ConfirmedBond, Tip } from '../bonds/types.ts'
import { stateOf } from '../bonds/verify.ts'
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import { readBonds, readPendingBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'

/** What we need of the indexer. */
export interface ChainFacts {
  tip(): Tip | undefined
  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined
  /** Whether somebody has asked to watch it across restarts. */
  isRegistered(outpoint: Outpoint): boolean
  /** Changes whenever rows may have changed. */
  readonly revision: number
}

export interface KnownBond {
  /** `txid:vout`. */
  key: string
  bond: AnnouncedOutput | ConfirmedBond
  state: BondState
  value: number
}

export interface ListedMaker {
  address: string
  /** The live bond that counts. */
  best: ValuedBond
  bonds: number
  /** Of all its live bonds. */
  amountSats: number
}

export interface Market {
  tip: Tip
  list: MakerList
  /** Confirmed announcements, in no particular order. */
  confirmed: ConfirmedBond[]
  pending: AnnouncedOutput[]
  /** Everything by outpoint as in the digest, pending ones included. */
  known: KnownBond[]
  /** Makers with a live bond, best first. */
  makers: ListedMaker[]
  counts: Record<BondState, number>
}

export class CurrentMarket {
  readonly #db: Db
  readonly #chain: ChainFacts
  #revision = -1
  #market: Market | undefined

  constructor(db: Db, chain: ChainFacts) {
    this.#db = db
    this.#chain = chain
  }

  /** Undefined before anything was scanned. */
  read(): Market | undefined {
    const { revision } = this.#chain
    if (this.#revision === revision) return this.#market
    const tip = this.#chain.tip()
    this.#market = tip && buildMarket(readBonds(this.#db), readPendingBonds(this.#db), tip)
    this.#revision = revision
    return this.#market
  }
}

export function buildMarket(confirmed: ConfirmedBond[], pending: AnnouncedOutput[], tip: Tip): Market {
  const list = listMakers(confirmed, tip)
  const values = new Map(list.live.map(({ bond, value }) => [bond, value]))
  const counts: Record<BondState, number> = { pending: pending.length, live: 0, expired: 0, spent: 0, refused: 0 }
  const known: KnownBond[] = pending.map((bond) => ({
    key: formatOutpoint(bond.outpoint),
    bond,
    state: 'pending',
    value: 0,
  }))
  for (const bond of confirmed) {
    const state = stateOf(bond, tip)
    counts[state]++
    known.push({ key: formatOutpoint(bond.outpoint), bond, state, value: values.get(bond) ?? 0 })
  }
  known.sort((a, b) => compareOutpoints(a.bond.outpoint, b.bond.outpoint))
  return { tip, list, confirmed, pending, known, makers: makersOf(list), counts }
}

/** In the order of `list.addresses`. */
function makersOf(list: MakerList): ListedMaker[] {
  const byAddress = new Map<string, ListedMaker>()
  for (const valued of list.live) {
    const { address, amountSats } = valued.bond
    const maker = byAddress.get(address)
    if (!maker) byAddress.set(address, { address, best: valued, bonds: 1, amountSats })
    else {
      maker.bonds++
      maker.amountSats += amountSats
      if (valued.value > maker.best.value) maker.best = valued
    }
  }
  return list.addresses.map((address) => byAddress.get(address)!)
}
