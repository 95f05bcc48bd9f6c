/**
 * An answer to one request: all its outpoints known together, with the transactions that spend them, and told at one
 * moment. What it takes is done piece by piece in the fair order; what is too much for one reply is refused before that.
 */
import type { Height, Outpoint, Txid } from '../chain/types.ts'
import { PeerFault } from '../errors.ts'
import { type Lane, PRICES, WORK_LIMITS } from '../wire/work.ts'
import type { Book, Entry } from './book.ts'
import type { LookUps } from './look-ups.ts'
import type { Settling } from './settling.ts'
import { ReplySize, spenderThatCounts, type Transactions } from './transactions.ts'

const LIMITS = {
  /** Chain or mempool may move during a look-up; each time it is made again. */
  tries: 5,
}

/** Everything is known of it. */
export interface Known {
  /** In the order asked; the same for an outpoint that is asked about twice. */
  entries: readonly Entry[]
  /** The spenders that count, by txid; empty where they aren't told. */
  transactions: ReadonlyMap<Txid, Buffer>
}

export class Answers {
  readonly #book: Book
  readonly #lookUps: LookUps
  readonly #transactions: Transactions
  readonly #settling: Settling

  constructor(book: Book, lookUps: LookUps, transactions: Transactions, settling: Settling) {
    this.#book = book
    this.#lookUps = lookUps
    this.#transactions = transactions
    this.#settling = settling
  }

  /**
   * Calls `build` once all of `outpoints` are known together, at a settled moment; nothing can happen between that and what
   * it reads. `height`: our tip's. Throws PeerFault.
   */
  async answer<T>(
    outpoints: readonly Outpoint[],
    height: () => Height,
    lane: Lane,
    { withTransactions }: { withTransactions: boolean },
    build: (known: Known) => T,
  ): Promise<T> {
    await this.#settling.settled() // before anything is held: a start or a reorg makes everybody wait at once
    const entries: Entry[] = new Array(outpoints.length)
    try {
      const missing = await this.#holdPresent(outpoints, entries, height(), lane, withTransactions)
      const charged = (entry: Entry) => {
        lane.charge(PRICES.question)
        return entry
      }
      const made = (i: number) => {
        entries[i] ??= this.#book.hold(outpoints[i]!, height())
        return charged(entries[i])
      }
      await this.#lookUps.find(missing, made, lane)
      for (let tries = 0; tries < LIMITS.tries; tries++) {
        await this.#settling.settled()
        const unknown = await this.#unknownAmong(entries, lane, withTransactions)
        if (unknown.length > 0) {
          await this.#lookUps.find(unknown, charged, lane)
          continue
        }
        const since = this.#book.moves
        const transactions = withTransactions ? await this.#transactions.gather(entries, since, lane) : new Map()
        const isReady = (entry: Entry) => {
          const txid = spenderThatCounts(entry)?.txid
          const isTold = !withTransactions || txid === undefined || transactions.has(txid)
          return entry.spends !== undefined && entry.movedAt <= since && isTold && this.#lookUps.isKnown(entry)
        }
        const told = await lane.piece(() =>
          this.#settling.isSettled && entries.every(isReady) ? { answer: build({ entries, transactions }) } : undefined,
        )
        if (told) return told.answer
      }
      throw new PeerFault('busy', 'chain and mempool move too fast just now: try again in a second')
    } finally {
      for (const entry of entries) if (entry) this.#book.release(entry)
    }
  }

  /** Holds what somebody has asked about before. Returns the places of the others. */
  async #holdPresent(
    outpoints: readonly Outpoint[],
    entries: Entry[],
    height: Height,
    lane: Lane,
    withTransactions: boolean,
  ): Promise<number[]> {
    const missing: number[] = []
    const size = new ReplySize()
    await inPieces(outpoints, lane, (outpoint, i) => {
      if (!this.#book.get(outpoint)) return missing.push(i)
      const entry = this.#book.hold(outpoint, height)
      entries[i] = entry
      if (withTransactions && this.#lookUps.isKnown(entry)) size.add(entry)
    })
    return missing
  }

  /** Those of which something must be found out yet. Throws PeerFault when the others are too much for one reply. */
  async #unknownAmong(entries: readonly Entry[], lane: Lane, withTransactions: boolean): Promise<Entry[]> {
    const unknown: Entry[] = []
    const size = new ReplySize()
    await inPieces(entries, lane, (entry) => {
      if (!this.#lookUps.isKnown(entry)) unknown.push(entry)
      else if (withTransactions) size.add(entry)
    })
    return unknown
  }
}

async function inPieces<T>(all: readonly T[], lane: Lane, work: (one: T, index: number) => unknown): Promise<void> {
  for (let from = 0; from < all.length; from += WORK_LIMITS.pieceOutpoints) {
    await lane.piece(() => {
      const to = Math.min(all.length, from + WORK_LIMITS.pieceOutpoints)
      for (let i = from; i < to; i++) work(all[i]!, i)
    })
  }
}
