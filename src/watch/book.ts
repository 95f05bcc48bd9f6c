/**
 * The outpoints somebody asks about just now or is subscribed to, and what is known of each beyond the recorded spends.
 * Registered ones need no entry: the indexer tracks them. An entry that nobody holds stays for two blocks, so that a
 * wallet that polls costs bitcoind nothing.
 */
import { formatOutpoint, type Height, type Outpoint, type Txid } from '../chain/types.ts'
import type { RecordedSpend } from '../store/spends.ts'
import type { Output } from './spend.ts'

const LIMITS = {
  /** Entries that nobody holds, about 0.5 kB each; the oldest make room. */
  idle: 20_000,
  /** Blocks an entry stays after it was last asked about, or a subscription to it ended. */
  idleBlocks: 2,
}

/** Who is told of changes. */
export interface Subscriber {
  /** The present state of `entry`, which is known, has this signature. */
  stands(entry: Entry, signature: string): void
}

export interface Entry {
  readonly outpoint: Outpoint
  /** `txid:vout` */
  readonly name: string
  /** Mostly one. */
  subscribers: readonly Subscriber[]
  /** Requests that are being answered with it. */
  holds: number
  /** Whether every spend is recorded that index and mempool hold. */
  isComplete: boolean
  /** What bitcoind said of the output; undefined: to be asked (again). Counts only while no spend is recorded. */
  output: Output | undefined
  /** A spend in a block below all that was scanned. */
  deep: RecordedSpend | undefined
  /** Counts what has happened to it: an answer that was on its way meanwhile is stale. */
  moves: number
  /** Our height when it was last asked about, or somebody's subscription ended. */
  askedAtHeight: Height
}

export interface BookHooks {
  /** Before an entry is made: whether the outpoint's spends have been recorded all along. */
  isTracked(outpoint: Outpoint): boolean
  onOpen(outpoint: Outpoint): void
  onClose(outpoint: Outpoint): void
}

export class Book {
  readonly #hooks: BookHooks
  readonly #entries = new Map<string, Entry>()
  /** By the transaction whose output it is. */
  readonly #byTxid = new Map<Txid, readonly Entry[]>()
  /** Without subscriber or hold, the longest first. */
  readonly #idle = new Set<Entry>()

  constructor(hooks: BookHooks) {
    this.#hooks = hooks
  }

  get size(): number {
    return this.#entries.size
  }

  all(): Iterable<Entry> {
    return this.#entries.values()
  }

  get(outpoint: Outpoint): Entry | undefined {
    return this.#entries.get(formatOutpoint(outpoint))
  }

  /** Entries of outputs of the transaction. */
  ofTransaction(txid: Txid): readonly Entry[] {
    return this.#byTxid.get(txid) ?? []
  }

  /** The entry of `outpoint`, made if need be and held until `release`. */
  hold(outpoint: Outpoint, height: Height): Entry {
    const name = formatOutpoint(outpoint)
    let entry = this.#entries.get(name)
    if (!entry) {
      entry = {
        outpoint,
        name,
        subscribers: [],
        holds: 0,
        isComplete: this.#hooks.isTracked(outpoint),
        output: undefined,
        deep: undefined,
        moves: 0,
        askedAtHeight: height,
      }
      this.#entries.set(name, entry)
      // Spread, not pushed: an array that grows by push reserves room for sixteen more.
      this.#byTxid.set(outpoint.txid, [...this.ofTransaction(outpoint.txid), entry])
      this.#hooks.onOpen(outpoint)
    }
    entry.holds++
    entry.askedAtHeight = height
    this.#idle.delete(entry)
    return entry
  }

  release(entry: Entry): void {
    entry.holds--
    this.#letGo(entry)
  }

  subscribe(entry: Entry, subscriber: Subscriber): void {
    if (!entry.subscribers.includes(subscriber)) entry.subscribers = [...entry.subscribers, subscriber]
    this.#idle.delete(entry)
  }

  /** From `height` on it counts as only asked about: a wallet that comes back soon finds what was seen. */
  unsubscribe(entry: Entry, subscriber: Subscriber, height: Height): void {
    entry.askedAtHeight = height
    entry.subscribers = entry.subscribers.filter((other) => other !== subscriber)
    this.#letGo(entry)
  }

  #letGo(entry: Entry): void {
    if (entry.holds > 0 || entry.subscribers.length > 0 || this.#entries.get(entry.name) !== entry) return
    this.#idle.delete(entry)
    this.#idle.add(entry)
    if (this.#idle.size <= LIMITS.idle) return
    const [oldest] = this.#idle
    if (oldest) this.#close(oldest)
  }

  /** Closes up to `count` entries that nobody has asked about for long; returns whether there may be more. */
  sweep(height: Height, count: number): boolean {
    for (const entry of this.#idle) {
      if (entry.askedAtHeight + LIMITS.idleBlocks > height) continue
      if (count-- === 0) return true
      this.#close(entry)
    }
    return false
  }

  #close(entry: Entry): void {
    this.#idle.delete(entry)
    this.#entries.delete(entry.name)
    const siblings = this.ofTransaction(entry.outpoint.txid).filter((other) => other !== entry)
    if (siblings.length > 0) this.#byTxid.set(entry.outpoint.txid, siblings)
    else this.#byTxid.delete(entry.outpoint.txid)
    this.#hooks.onClose(entry.outpoint)
  }
}
