/**
 * Tells subscribers what has changed. What may have is noted in no time; it is looked at and told piece by piece, in the
 * fair order: a few changes at once when nobody else waits, thousands (a reorg, a transaction with many outputs) as turns
 * come. Knows what to tell from the book and the look-ups, and nothing of sockets.
 */
import type { Logger } from 'pino'
import { Bell } from '../concurrency.ts'
import { isAbort, PeerFault } from '../errors.ts'
import { type Lane, WORK_LIMITS } from '../wire/work.ts'
import { sleep } from '../world.ts'
import type { Book, Entry, Subscriber } from './book.ts'
import type { LookUps } from './look-ups.ts'
import type { Settling } from './settling.ts'
import { type Spend, signatureOf, spendOf } from './spend.ts'

const LIMITS = {
  /** Entries looked at in one piece, most of them wanted by nobody. */
  visits: 1_000,
  /** Bytes of a transaction that take as long as telling one subscriber of a small one. */
  bytesPerTelling: 16_384,
  retryMs: 1_000,
}

interface NewsDeps {
  log: Logger
  lane: Lane
  settling: Settling
}

export class News {
  readonly #deps: NewsDeps
  readonly #lookUps: LookUps
  readonly #book: Book
  /** Whose subscribers may have to be told. */
  readonly #changed = new Set<Entry>()
  /** All of whose entries may have changed, each with those that are still to be looked at. */
  readonly #walks = new Map<object, Iterator<Entry>>()
  /** Some of its subscribers have been told. */
  #telling: { entry: Entry; subscribers: Iterator<Subscriber> } | undefined
  readonly #bell = new Bell()

  constructor(deps: NewsDeps, book: Book, lookUps: LookUps) {
    this.#deps = deps
    this.#book = book
    this.#lookUps = lookUps
  }

  /** Entries, or crowds of them, that are to be looked at. */
  get waiting(): number {
    return this.#changed.size + this.#walks.size
  }

  changed(entry: Entry): void {
    if (entry.isWanted) this.#changed.add(entry)
  }

  /** Any of `entries` may have; whoever they are when their turn comes. */
  changedAll(entries: { all(): Iterator<Entry> }): void {
    this.#walks.set(entries, entries.all())
  }

  /** It could not be told yet. */
  later(entry: Entry): void {
    this.#changed.add(entry)
    this.#bell.ring()
  }

  /** At once, if that is a matter of a millisecond; the rest is left to the loop. */
  tellSoon(): void {
    if (this.#deps.settling.isSettled && this.#changed.size <= WORK_LIMITS.pieceOutpoints)
      this.#tell(this.#changed.size)
    if (this.waiting > 0 || this.#telling) this.#bell.ring()
  }

  /** Where the entry, which is known, stands; without its transaction. */
  stateOf(entry: Entry): Spend {
    return spendOf(entry.outpoint, this.#lookUps.spendsOf(entry), this.#book.outputOf(entry), false)
  }

  /** One piece of telling. Returns those that must be looked up first; they wait until they are known. */
  #tell(visits: number): Entry[] {
    const unknown: Entry[] = []
    for (let left = WORK_LIMITS.pieceOutpoints; left > 0 && visits > 0; visits--) {
      const next = this.#next()
      if (!next) break
      const { entry, subscribers } = next
      if (!entry.isWanted) continue
      if (!this.#lookUps.isKnown(entry)) {
        unknown.push(entry)
        left--
        continue
      }
      const price = 1 + (this.#lookUps.spendsOf(entry)[0]?.bytes ?? 0) / LIMITS.bytesPerTelling
      const signature = signatureOf(this.stateOf(entry))
      for (let one = subscribers.next(); !one.done; one = subscribers.next()) {
        one.value.stands(entry, signature)
        left -= price
        if (left > 0) continue
        this.#telling = next
        break
      }
    }
    for (const entry of unknown) this.#changed.add(entry)
    return unknown
  }

  #next(): { entry: Entry; subscribers: Iterator<Subscriber> } | undefined {
    const begun = this.#telling
    this.#telling = undefined
    if (begun) return begun
    for (const entry of this.#changed) {
      this.#changed.delete(entry)
      return { entry, subscribers: entry.subscribers[Symbol.iterator]() }
    }
    for (const [entries, walk] of this.#walks) {
      const { value: entry, done } = walk.next()
      if (!done) return { entry, subscribers: entry.subscribers[Symbol.iterator]() }
      this.#walks.delete(entries)
    }
    return undefined
  }

  /** Looks up what subscribers wait for, and tells them. Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, lane, settling } = this.#deps
    signal.addEventListener('abort', () => this.#bell.ring(), { once: true })
    for (;;) {
      signal.throwIfAborted()
      await this.#bell.wait(LIMITS.retryMs)
      while (settling.isSettled && (this.waiting > 0 || this.#telling)) {
        signal.throwIfAborted()
        try {
          const unknown = await lane.piece(() => this.#tell(LIMITS.visits))
          if (unknown.length > 0) await this.#lookUps.find(unknown, (entry) => entry, lane)
        } catch (error) {
          if (isAbort(error, signal) || !(error instanceof PeerFault)) throw error
          log.debug({ detail: error.message }, 'subscribed outpoints not looked up')
          await sleep(LIMITS.retryMs, signal)
        }
      }
    }
  }
}
