/**
 * The outpoints somebody asks about just now or is subscribed to, and what is known of each beyond the recorded spends.
 * Registered ones need no entry: the indexer tracks them. An entry that nobody holds stays for two blocks, so that a
 * wallet that polls costs bitcoind nothing.
 *
 * What happens is counted (`moves`), and everything known bears the count at which it was asked for. So one number makes
 * all outputs of a transaction doubtful, or all there are, without a visit to each.
 */
import { formatOutpoint, type Height, type Outpoint, type Txid } from '../chain/types.ts'
import type { RecordedSpend } from '../store/local/spends.ts'
import type { Output } from './spend.ts'

export const BOOK_LIMITS = {
  /**
   * Entries that nobody holds, about 0.5 kB each; from here on each new one closes the two oldest. Those that were asked
   * about once, and those asked about again: a flood of new outpoints pushes none out that a wallet polls.
   */
  idle: 10_000,
  idleAgain: 10_000,
  /** Blocks an entry stays after it was last asked about, or a subscription to it ended. */
  idleBlocks: 2,
}

/** Who is told of changes. */
export interface Subscriber {
  /** The present state of `entry`, which is known, has this signature. */
  stands(entry: Entry, signature: string): void
}

const NONE: readonly RecordedSpend[] = []

/** The count of what had happened when bitcoind was asked. */
type Moves = number

export class Entry {
  readonly outpoint: Outpoint
  /** Those of other outputs of its transaction, itself included; undefined while it is alone. */
  siblings: Siblings | undefined
  /** Mostly one. */
  #subscribers: Subscriber | Set<Subscriber> | undefined
  /** Requests that are being answered with it. */
  holds = 0
  /** Somebody has come back to it. */
  isAgain = false
  /** Whether every spend is recorded that index and mempool hold. */
  isComplete: boolean
  /** The recorded spends, the one that counts first; undefined: to be read (again). */
  spends: readonly RecordedSpend[] | undefined
  /** What bitcoind said of the output when it was asked at `askedAt`. Counts only while no spend is recorded. */
  output: Output | undefined
  askedAt: Moves = 0
  /** The last thing that happened to it alone. */
  movedAt: Moves = 0
  /** A spend in a block below all that was scanned. */
  deep: RecordedSpend | undefined
  /** Our height when it was last asked about, or somebody's subscription ended. */
  askedAtHeight: Height

  constructor(outpoint: Outpoint, height: Height, isTracked: boolean) {
    this.outpoint = outpoint
    this.askedAtHeight = height
    this.isComplete = isTracked
    this.spends = isTracked ? undefined : NONE
  }

  /** `txid:vout` */
  get name(): string {
    return formatOutpoint(this.outpoint)
  }

  get isWanted(): boolean {
    return this.#subscribers !== undefined
  }

  get subscribers(): Iterable<Subscriber> {
    const some = this.#subscribers
    return some instanceof Set ? some : some ? [some] : []
  }

  /** Only the book's to call; see `Book.subscribe`. */
  add(subscriber: Subscriber): void {
    const others = this.#subscribers
    if (others instanceof Set) others.add(subscriber)
    else if (others && others !== subscriber) this.#subscribers = new Set([others, subscriber])
    else this.#subscribers = subscriber
  }

  remove(subscriber: Subscriber): void {
    const others = this.#subscribers
    if (others instanceof Set) {
      others.delete(subscriber)
      if (others.size === 0) this.#subscribers = undefined
    } else if (others === subscriber) this.#subscribers = undefined
  }
}

/** Entries of one transaction's outputs. */
export class Siblings {
  readonly byVout = new Map<number, Entry>()
  /** The last thing that happened to their transaction. */
  movedAt: Moves = 0

  all(): Iterator<Entry> {
    return this.byVout.values()
  }
}

export interface BookHooks {
  /** An entry is made. Returns whether the outpoint's spends have been recorded all along. */
  onOpen(outpoint: Outpoint): boolean
  /** `isSpent`: spends of it may be recorded. */
  onClose(outpoint: Outpoint, isSpent: boolean): void
}

export class Book {
  readonly #hooks: BookHooks
  /** By the transaction whose outputs they are; nearly always one. */
  readonly #byTxid = new Map<Txid, Entry | Siblings>()
  /** Without subscriber or hold, the longest first. */
  readonly #idle = new Set<Entry>()
  readonly #idleAgain = new Set<Entry>()
  #size = 0
  #moves: Moves = 0
  /** When all that is known became doubtful. */
  #allMovedAt: Moves = 0
  #reorgAt: Moves = 0

  constructor(hooks: BookHooks) {
    this.#hooks = hooks
  }

  get size(): number {
    return this.#size
  }

  *all(): Generator<Entry, void> {
    for (const one of this.#byTxid.values()) {
      if (one instanceof Entry) yield one
      else yield* one.byVout.values()
    }
  }

  get({ txid, vout }: Outpoint): Entry | undefined {
    const found = this.#byTxid.get(txid)
    if (found instanceof Siblings) return found.byVout.get(vout)
    return found?.outpoint.vout === vout ? found : undefined
  }

  // ---- what happens ----

  /** How often something has happened so far. */
  get moves(): Moves {
    return this.#moves
  }

  /** The recorded spends of `outpoint` may have changed. */
  spent(outpoint: Outpoint): Entry | undefined {
    const entry = this.get(outpoint)
    if (!entry) return undefined
    entry.movedAt = ++this.#moves
    entry.spends = undefined
    return entry
  }

  /** The transaction came or went: its outputs may exist now, or no more. Returns those there are entries of. */
  moved(txid: Txid): Entry | Siblings | undefined {
    const found = this.#byTxid.get(txid)
    if (found) found.movedAt = ++this.#moves
    return found
  }

  /** Any output may have come or gone. */
  allMoved(): void {
    this.#allMovedAt = ++this.#moves
  }

  /** A block was taken back: whatever bitcoind is being asked just now may be said of another chain. */
  reorged(): void {
    this.#reorgAt = ++this.#moves
  }

  /** Whether what bitcoind said of `entry`, asked at `since`, still holds. */
  #holds(entry: Entry, since: Moves): boolean {
    return Math.max(entry.movedAt, entry.siblings?.movedAt ?? 0, this.#allMovedAt) <= since
  }

  /** The same of an answer that has just come: nothing is known yet of what a reorg meanwhile has changed. */
  isStill(entry: Entry, since: Moves): boolean {
    return this.#reorgAt <= since && this.#holds(entry, since)
  }

  /** What bitcoind says of the output, unless something has happened since. */
  outputOf(entry: Entry): Output | undefined {
    return this.#holds(entry, entry.askedAt) ? entry.output : undefined
  }

  // ---- who needs it ----

  /** The entry of `outpoint`, made if need be and held until `release`. */
  hold(outpoint: Outpoint, height: Height): Entry {
    const entry = this.get(outpoint) ?? this.#open(outpoint, height)
    entry.holds++
    entry.askedAtHeight = height
    if (this.#notIdle(entry)) entry.isAgain = true
    return entry
  }

  #open(outpoint: Outpoint, height: Height): Entry {
    this.#makeRoom()
    const entry = new Entry(outpoint, height, this.#hooks.onOpen(outpoint))
    const others = this.#byTxid.get(outpoint.txid)
    if (others === undefined) this.#byTxid.set(outpoint.txid, entry)
    else {
      const siblings = others instanceof Siblings ? others : this.#pair(others)
      siblings.byVout.set(outpoint.vout, entry)
      entry.siblings = siblings
    }
    this.#size++
    return entry
  }

  #pair(first: Entry): Siblings {
    const siblings = new Siblings()
    siblings.byVout.set(first.outpoint.vout, first)
    first.siblings = siblings
    this.#byTxid.set(first.outpoint.txid, siblings)
    return siblings
  }

  /** Two for one: what requests under way have left behind above the limit goes, too. */
  #makeRoom(): void {
    for (const [idle, max] of [
      [this.#idle, BOOK_LIMITS.idle],
      [this.#idleAgain, BOOK_LIMITS.idleAgain],
    ] as const) {
      let places = 2
      for (const oldest of idle) {
        if (idle.size < max || places-- === 0) break
        this.#close(oldest)
      }
    }
  }

  /** Returns whether it was. */
  #notIdle(entry: Entry): boolean {
    return this.#idle.delete(entry) || this.#idleAgain.delete(entry)
  }

  release(entry: Entry): void {
    entry.holds--
    this.#letGo(entry)
  }

  subscribe(entry: Entry, subscriber: Subscriber): void {
    entry.add(subscriber)
    entry.isAgain = true
    this.#notIdle(entry)
  }

  /** From `height` on it counts as only asked about: a wallet that comes back soon finds what was seen. */
  unsubscribe(entry: Entry, subscriber: Subscriber, height: Height): void {
    entry.askedAtHeight = height
    entry.remove(subscriber)
    this.#letGo(entry)
  }

  #letGo(entry: Entry): void {
    if (entry.holds > 0 || entry.isWanted || this.get(entry.outpoint) !== entry) return
    this.#notIdle(entry)
    const idle = entry.isAgain ? this.#idleAgain : this.#idle
    idle.add(entry)
  }

  /** Closes up to `count` entries that nobody has asked about for long; returns whether there may be more. */
  sweep(height: Height, count: number): boolean {
    for (const idle of [this.#idle, this.#idleAgain]) {
      for (const entry of idle) {
        if (entry.askedAtHeight + BOOK_LIMITS.idleBlocks > height) break
        if (count-- === 0) return true
        this.#close(entry)
      }
    }
    return false
  }

  #close(entry: Entry): void {
    const { txid, vout } = entry.outpoint
    this.#notIdle(entry)
    this.#size--
    entry.siblings?.byVout.delete(vout)
    if (!entry.siblings || entry.siblings.byVout.size === 0) this.#byTxid.delete(txid)
    this.#hooks.onClose(entry.outpoint, entry.spends === undefined || entry.spends.length > 0)
  }
}
