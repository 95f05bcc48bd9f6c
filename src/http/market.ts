/** All that is known of bonds at our tip, read anew only when something was written, and shared by everyone who asks. */
import { compareOutpoints } from '../bonds/digest.ts'
import { listMakers, type MakerList, type ValuedBond } from '../bonds/list.ts'
import type { AnnouncedOutput, BondState, ConfirmedBond, Tip } from '../bonds/types.ts'
import { stateOf } from '../bonds/verify.ts'
import { formatOutpoint, type Height } from '../chain/types.ts'
import { readBonds, readPendingBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'
import { countWrites } from '../store/writes.ts'

/** What we need of the indexer. */
export interface ChainFacts {
  tip(): Tip | undefined
  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined
  /** Changes with every block that is connected or taken back. */
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
  #writes = -1
  /** Without pending bonds: as of the last block. */
  #atTip: Market | undefined
  #market: Market | undefined

  constructor(db: Db, chain: ChainFacts) {
    this.#db = db
    this.#chain = chain
  }

  /** Undefined before anything was scanned. */
  read(): Market | undefined {
    const writes = countWrites(this.#db)
    if (this.#writes === writes) return this.#market
    const { revision } = this.#chain
    if (this.#revision !== revision) {
      const tip = this.#chain.tip()
      this.#atTip = tip && buildMarket(readBonds(this.#db), tip)
    }
    this.#market = this.#atTip && withPending(this.#atTip, readPendingBonds(this.#db))
    this.#revision = revision
    this.#writes = writes
    return this.#market
  }
}

function buildMarket(confirmed: ConfirmedBond[], tip: Tip): Market {
  const list = listMakers(confirmed, tip)
  const values = new Map(list.live.map(({ bond, value }) => [bond, value]))
  const counts: Record<BondState, number> = { pending: 0, live: 0, expired: 0, spent: 0, refused: 0 }
  const known = confirmed.map((bond): KnownBond => {
    const state = stateOf(bond, tip)
    counts[state]++
    return { key: formatOutpoint(bond.outpoint), bond, state, value: values.get(bond) ?? 0 }
  })
  return { tip, list, confirmed, pending: [], known: inOrder(known), makers: makersOf(list), counts }
}

function withPending(market: Market, pending: AnnouncedOutput[]): Market {
  if (pending.length === 0) return market
  const waiting = pending.map(
    (bond): KnownBond => ({ key: formatOutpoint(bond.outpoint), bond, state: 'pending', value: 0 }),
  )
  return {
    ...market,
    pending,
    known: inOrder([...market.known, ...waiting]),
    counts: { ...market.counts, pending: pending.length },
  }
}

function inOrder(bonds: KnownBond[]): KnownBond[] {
  return bonds.sort((a, b) => compareOutpoints(a.bond.outpoint, b.bond.outpoint))
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
