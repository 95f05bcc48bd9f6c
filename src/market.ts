/**
 * All that is known of bonds at our tip, kept up as blocks come and go, and shared by everyone who asks: the list that
 * takers get, the pages, the probes, HTTP. A block costs what it brings and what is live; what has ended, and what never
 * qualified, is carried along, and forgotten beyond `MARKET_LIMITS` (forgetting.ts).
 */
import { compareOutpoints } from './bonds/digest.ts'
import { listLive, type MakerList, type ValuedBond } from './bonds/list.ts'
import type {
  AnnouncedOutput,
  AnnouncementFormat,
  BondEnd,
  BondState,
  ConfirmedBond,
  Tip,
  TxRefusal,
} from './bonds/types.ts'
import { endHeight, stateOf } from './bonds/verify.ts'
import { type BlockRef, formatOutpoint, type Height, type Outpoint, parseOutpoint } from './chain/types.ts'
import { readBondEnds, readBonds, readPendingBonds } from './store/local/bonds.ts'
import { readBlockHash } from './store/local/tip.ts'
import type { Db } from './store/open.ts'

export const MARKET_LIMITS = {
  /** Announcements kept that never qualified, the youngest: anybody can make them for a transaction's fee. */
  refusedKept: 10_000,
  /** Bonds kept that have expired or were spent, the last to end; those that ended lately always, as a reorg may revive them. */
  endedKept: 10_000,
  endedBlocks: 2_016,
  /** Tips remembered, to go on from where a reorg branched off; below, everything is read anew. */
  tipsRemembered: 100,
}

/** What we need of the indexer. */
export interface Indexed {
  tip(): Tip | undefined
  /** Changes with every block that is connected or taken back. */
  readonly revision: number
  /** Changes whenever an announcement has entered or left the mempool. */
  readonly pendingRevision: number
}

export interface KnownBond {
  /** `txid:vout`. */
  key: string
  bond: AnnouncedOutput | ConfirmedBond
  state: BondState
  value: number
}

type ConfirmedKnown = KnownBond & { bond: ConfirmedBond; state: Exclude<BondState, 'pending'> }

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
  pending: readonly AnnouncedOutput[]
  /** Everything by outpoint as in the digest, pending ones included. */
  known: readonly KnownBond[]
  /** Those of them that are live. */
  live: readonly KnownBond[]
  /** Makers with a live bond by address, in the order of the list. */
  makers: ReadonlyMap<string, MarketMaker>
  counts: Record<BondState, number>
}

const NOBODY: ReadonlyMap<string, MarketMaker> = new Map()

export class CurrentMarket {
  readonly #db: Db
  readonly #index: Indexed
  #revision = -1
  #confirmed: readonly ConfirmedKnown[] = []
  /** Where in it the live ones are: most blocks change no others. */
  #liveAt: readonly number[] = []
  /** Of it, by state. */
  #counts = noCounts()
  /** The last tips that `#confirmed` was of, the present one last. */
  #tips: BlockRef[] = []
  /** Keys of bonds whose rows are gone. */
  #forgotten = new Set<string>()
  /** What today's takers hold against bonds that were stored without it, by key. */
  #reread = new Map<string, readonly TxRefusal[]>()
  #atTip: Market | undefined
  /** What `#market` was made of. */
  #pendingRevision = -1
  #ofAtTip: Market | undefined
  #market: Market | undefined
  /** Addresses by outpoint, made when one is asked for. */
  #addresses: ReadonlyMap<string, string> = new Map()
  #addressesOf: Market | undefined

  constructor(db: Db, index: Indexed) {
    this.#db = db
    this.#index = index
  }

  /** As of the last block, without what is pending: the same object until blocks change. Undefined before the first. */
  atTip(): Market | undefined {
    const { revision } = this.#index
    if (this.#revision !== revision || this.#forgotten.size > 0) {
      const tip = this.#index.tip()
      this.#atTip = tip && this.#marketAt(tip)
      this.#revision = revision
    }
    return this.#atTip
  }

  /** With what is pending. */
  read(): Market | undefined {
    const atTip = this.atTip()
    const { pendingRevision } = this.#index
    if (this.#ofAtTip !== atTip || this.#pendingRevision !== pendingRevision) {
      this.#market = atTip && withPending(atTip, readPendingBonds(this.#db))
      this.#ofAtTip = atTip
      this.#pendingRevision = pendingRevision
    }
    return this.#market
  }

  /** The maker of a bond that is live at our tip; undefined for any other outpoint. */
  liveAddressOf(outpoint: Outpoint): string | undefined {
    const market = this.atTip()
    if (!market) return undefined
    if (this.#addressesOf !== market) {
      this.#addresses = new Map(market.live.map(({ key, bond }) => [key, bond.address]))
      this.#addressesOf = market
    }
    return this.#addresses.get(formatOutpoint(outpoint))
  }

  makers(): ReadonlyMap<string, MarketMaker> {
    return this.atTip()?.makers ?? NOBODY
  }

  /** Bonds that have ended beyond those that are kept, the first to end first. */
  surplusEnded(): Outpoint[] {
    const market = this.atTip()
    if (!market) return []
    const { counts, tip } = market
    const { endedKept, endedBlocks } = MARKET_LIMITS
    const surplus = counts.expired + counts.spent - endedKept
    if (surplus <= 0) return []
    return this.#confirmed
      .filter(({ state }) => state === 'expired' || state === 'spent')
      .map(({ bond }) => [bond.spentBy?.height ?? endHeight(bond), bond] as const)
      .filter(([height]) => height <= tip.height - endedBlocks)
      .sort(([a], [b]) => a - b)
      .slice(0, surplus)
      .map(([, { outpoint }]) => outpoint)
  }

  /** The rows of these bonds are gone. */
  forgot(outpoints: readonly Outpoint[]): void {
    for (const outpoint of outpoints) this.#forgotten.add(formatOutpoint(outpoint))
  }

  /** The rows of these bonds, by key, say this now; the index has a new revision. */
  reread(readings: ReadonlyMap<string, readonly TxRefusal[]>): void {
    for (const [key, refusals] of readings) this.#reread.set(key, refusals)
  }

  #marketAt(tip: Tip): Market {
    const last = this.#tips.at(-1)
    const from = this.#branchHeight()
    const isReorg = this.#tips.at(-1) !== last
    this.#tips = [...this.#tips, tip].slice(-MARKET_LIMITS.tipsRemembered)
    const fresh = readBonds(this.#db, from, MARKET_LIMITS.refusedKept).map((bond) => knownAt(bond, tip))
    const ends = from === 0 ? new Map<string, BondEnd>() : readBondEnds(this.#db, from)
    const isOnlyMore = from > 0 && !isReorg && this.#forgotten.size === 0 && this.#reread.size === 0
    if (isOnlyMore) this.#goOn(tip, fresh, ends)
    else {
      const kept = from === 0 ? [] : this.#kept(tip, from, ends, isReorg)
      this.#confirmed = merge(kept, fresh.sort(byOutpoint))
      this.#liveAt = liveIn(this.#confirmed)
      this.#counts = noCounts()
      for (const { state } of this.#confirmed) this.#counts[state]++
    }
    this.#forgotten.clear()
    this.#reread.clear()
    return this.#marketOf(tip)
  }

  /** Blocks have come, and nothing else has happened: costs what they bring and what is live. */
  #goOn(tip: Tip, fresh: ConfirmedKnown[], ends: ReadonlyMap<string, BondEnd>): void {
    const confirmed = this.#confirmed.slice()
    const counts = { ...this.#counts }
    const put = (at: number, now: ConfirmedKnown) => {
      counts[confirmed[at]!.state]--
      counts[now.state]++
      confirmed[at] = now
    }
    for (const at of this.#liveAt) {
      const { key, bond } = confirmed[at]!
      put(at, { key, bond, state: stateOf(bond, tip), value: 0 })
    }
    for (const [key, spentBy] of ends) {
      const at = indexOf(confirmed, key)
      if (at !== undefined) put(at, knownAt({ ...confirmed[at]!.bond, spentBy }, tip))
    }
    for (const { state } of fresh) counts[state]++
    this.#counts = counts
    if (fresh.length > 0) {
      this.#confirmed = merge(confirmed, fresh.sort(byOutpoint))
      this.#liveAt = liveIn(this.#confirmed)
    } else {
      this.#confirmed = confirmed
      this.#liveAt = this.#liveAt.filter((at) => confirmed[at]!.state === 'live')
    }
  }

  /** Those confirmed below `from`, as the blocks from there on have left them. */
  #kept(tip: Tip, from: Height, ends: ReadonlyMap<string, BondEnd>, isReorg: boolean): ConfirmedKnown[] {
    const kept: ConfirmedKnown[] = []
    const areForgotten = this.#forgotten.size > 0
    const areReread = this.#reread.size > 0
    for (const known of this.#confirmed) {
      if (known.bond.conf.height >= from || (areForgotten && this.#forgotten.has(known.key))) continue
      const spentBy = ends.size > 0 ? ends.get(known.key) : undefined
      const txRefusals = areReread ? this.#reread.get(known.key) : undefined
      const bond = txRefusals ? { ...known.bond, txRefusals } : known.bond
      const mayChange = isReorg || known.state === 'live' || spentBy !== undefined || txRefusals !== undefined
      kept.push(mayChange ? knownAt(spentAs(bond, from, spentBy), tip) : known)
    }
    return kept
  }

  #marketOf(tip: Tip): Market {
    const known = this.#confirmed
    const live = this.#liveAt.map((at) => known[at]!)
    const list = listLive(
      live.map(({ bond }) => bond),
      tip,
      this.#atTip?.list,
    )
    for (const [i, one] of live.entries()) one.value = list.live[i]!.value
    return { tip, list, pending: [], known, live, makers: makersOf(list), counts: this.#counts }
  }

  /** The first height whose block is not the one we know; 0 where everything may be new. */
  #branchHeight(): Height {
    for (let last = this.#tips.at(-1); last; last = this.#tips.at(-1)) {
      if (readBlockHash(this.#db, last.height) === last.hash) return last.height + 1
      this.#tips.pop()
    }
    return 0
  }
}

function noCounts(): Record<BondState, number> {
  return { pending: 0, live: 0, expired: 0, spent: 0, refused: 0 }
}

/** Where in `bonds` the live ones are. */
function liveIn(bonds: readonly ConfirmedKnown[]): number[] {
  const places: number[] = []
  for (let at = 0; at < bonds.length; at++) if (bonds[at]!.state === 'live') places.push(at)
  return places
}

/** Where in `bonds`, which are in order, the one of `key` is. */
function indexOf(bonds: readonly KnownBond[], key: string): number | undefined {
  const outpoint = parseOutpoint(key)
  const at = outpoint && indexAfter(bonds, outpoint) - 1
  return at !== undefined && bonds[at]?.key === key ? at : undefined
}

/** The one of `key` among `bonds`, which are in order. */
export function findKnown(bonds: readonly KnownBond[], key: string): KnownBond | undefined {
  const at = indexOf(bonds, key)
  return at === undefined ? undefined : bonds[at]
}

function isSpentFrom({ spentBy }: ConfirmedBond, from: Height): boolean {
  return spentBy !== undefined && spentBy.height >= from
}

/** What was said of blocks at `from` or above holds no more; `spentBy` does. */
function spentAs(bond: ConfirmedBond, from: Height, spentBy: BondEnd | undefined): ConfirmedBond {
  if (spentBy) return { ...bond, spentBy }
  if (!isSpentFrom(bond, from)) return bond
  const { spentBy: _, ...unspent } = bond
  return unspent
}

/** Without its value, which is the list's to say. */
function knownAt(bond: ConfirmedBond, tip: Tip): ConfirmedKnown {
  return { key: formatOutpoint(bond.outpoint), bond, state: stateOf(bond, tip), value: 0 }
}

function withPending(market: Market, pending: AnnouncedOutput[]): Market {
  if (pending.length === 0) return market
  const waiting = pending.map(
    (bond): KnownBond => ({ key: formatOutpoint(bond.outpoint), bond, state: 'pending', value: 0 }),
  )
  return {
    ...market,
    pending,
    known: merge(market.known, waiting.sort(byOutpoint)),
    counts: { ...market.counts, pending: pending.length },
  }
}

function byOutpoint(a: KnownBond, b: KnownBond): number {
  return compareOutpoints(a.bond.outpoint, b.bond.outpoint)
}

/** Two lists in order → one. */
function merge<T extends KnownBond>(a: readonly T[], b: readonly T[]): T[] {
  const merged: T[] = []
  let i = 0
  for (const one of b) {
    while (i < a.length && byOutpoint(a[i]!, one) < 0) merged.push(a[i++]!)
    merged.push(one)
  }
  while (i < a.length) merged.push(a[i++]!)
  return merged
}

/** The live ones, or all, from a value on. Only what is live has one: few are looked through for it. */
export function bondsAsked({ known, live }: Market, asked: { all: boolean; minValue: number }): readonly KnownBond[] {
  if (asked.minValue > 0) return live.filter(({ value }) => value >= asked.minValue)
  return asked.all ? known : live
}

/** Where in `bonds`, which are in order, those begin that come after `after`. */
export function indexAfter(bonds: readonly KnownBond[], after: Outpoint): number {
  let low = 0
  let high = bonds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareOutpoints(bonds[middle]!.bond.outpoint, after) <= 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Makers with a live bond, in the order of the list. */
export function makersOf({ addresses, live }: MakerList): Map<string, MarketMaker> {
  const makers = new Map<string, { address: string; format: AnnouncementFormat; bonds: ValuedBond[] }>()
  for (const address of addresses) makers.set(address, { address, format: 'A', bonds: [] })
  for (const valued of live) makers.get(valued.bond.address)!.bonds.push(valued)
  for (const maker of makers.values()) {
    const { bonds } = maker
    maker.format = bonds.reduce((a, b) => (b.bond.conf.height > a.bond.conf.height ? b : a)).bond.format
    if (bonds.length > 1) bonds.sort((a, b) => b.value - a.value)
  }
  return makers
}
