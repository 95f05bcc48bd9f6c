/**
 * All that is known of bonds at our tip, read anew only when something was written, and shared by everyone who asks:
 * the list that takers get, the pages, the probes, HTTP.
 */
import { compareOutpoints } from './bonds/digest.ts'
import { listMakers, type MakerList, type ValuedBond } from './bonds/list.ts'
import type { AnnouncedOutput, AnnouncementFormat, BondState, ConfirmedBond, Tip } from './bonds/types.ts'
import { stateOf } from './bonds/verify.ts'
import { formatOutpoint } from './chain/types.ts'
import { readBonds, readPendingBonds } from './store/bonds.ts'
import type { Db } from './store/open.ts'

/** What we need of the indexer. */
export interface Indexed {
  tip(): Tip | undefined
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

export interface MarketMaker {
  /** `host.onion:port`. */
  address: string
  /** Of its youngest bond: it tells the maker's age best. */
  format: AnnouncementFormat
  /** Its live bonds, highest value first; it is listed by the first. */
  bonds: readonly ValuedBond[]
}

export interface Market {
  tip: Tip
  list: MakerList
  /** Confirmed announcements, in no particular order. */
  confirmed: readonly ConfirmedBond[]
  pending: readonly AnnouncedOutput[]
  /** Everything by outpoint as in the digest, pending ones included. */
  known: readonly KnownBond[]
  /** Makers with a live bond by address, in the order of the list. */
  makers: ReadonlyMap<string, MarketMaker>
  counts: Record<BondState, number>
}

const NOBODY: ReadonlyMap<string, MarketMaker> = new Map()

export class CurrentMarket {
  readonly #db: Db
  readonly #index: Indexed
  #revision = -1
  #writes = -1
  #atTip: Market | undefined
  #market: Market | undefined

  constructor(db: Db, index: Indexed) {
    this.#db = db
    this.#index = index
  }

  /** As of the last block, without what is pending: the same object until blocks change. Undefined before the first. */
  atTip(): Market | undefined {
    const { revision } = this.#index
    if (this.#revision !== revision) {
      const tip = this.#index.tip()
      this.#atTip = tip && buildMarket(readBonds(this.#db), tip)
      this.#revision = revision
      this.#writes = -1
    }
    return this.#atTip
  }

  /** With what is pending. */
  read(): Market | undefined {
    const atTip = this.atTip()
    const writes = this.#db.writes
    if (this.#writes !== writes) {
      this.#market = atTip && withPending(atTip, readPendingBonds(this.#db))
      this.#writes = writes
    }
    return this.#market
  }

  makers(): ReadonlyMap<string, MarketMaker> {
    return this.atTip()?.makers ?? NOBODY
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

/** Makers with a live bond, in the order of the list. */
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
