/**
 * Who spends these outpoints? Answers from what is recorded and, for outputs without a spend, from what bitcoind said of
 * them; subscribes to them. Nothing is said before chain and mempool are known together
 * (`isSettled`). What an answer needs is found out piece by piece, in the fair order; the answer itself is made at one
 * moment.
 */

import type { NodeApi } from '../chain/node-reader.ts'
import type { BlockHash, Height, Outpoint, Txid } from '../chain/types.ts'
import { Bell, runAll } from '../concurrency.ts'
import { PeerFault } from '../errors.ts'
import type { Indexer, IndexListener } from '../indexer.ts'
import type { RecordedSpend } from '../store/local/spends.ts'
import { readIndexedFrom } from '../store/local/spent-keys.ts'
import type { Db } from '../store/open.ts'
import type { Lane } from '../wire/work.ts'
import type { World } from '../world.ts'
import { Answers, type Known } from './answers.ts'
import { Book, type Entry, Siblings } from './book.ts'
import { LookUps } from './look-ups.ts'
import { News } from './news.ts'
import type { SpendRecorder } from './recorder.ts'
import { Settling } from './settling.ts'
import { type Spend, signatureOf, spendOf } from './spend.ts'
import type { Subscription } from './subscription.ts'
import { spenderThatCounts, Transactions } from './transactions.ts'

export const WATCHER_LIMITS = {
  /**
   * Subscriptions that a connection may have though all places are taken: nobody who watches a few swaps is kept out by
   * those who watch thousands. 1,024 connections have 102,400 of them at the most, 100 MB.
   */
  subscriptionsAlways: 100,
  /** Entries closed in one piece. */
  sweepBatch: 100,
  /** Without a block the sweep looks whether it has anything to do this often. */
  sweepMs: 60_000,
}

export interface WatchLimits {
  /** Outpoints in one request. */
  outpointsMax: number
  /** Subscriptions of one connection. */
  subscriptionsPerConnection: number
  /** Subscriptions of all connections: about 1 kB of memory each. See also `subscriptionsAlways`. */
  subscriptionsMax: number
  /** Outpoints one connection may register: nobody takes all places at one go. */
  registrationsPerConnection: number
  /** Registered outpoints, everybody's: each costs disk, and its spend up to 400 kB. */
  watchesMax: number
}

export interface WatchAnswer {
  height: Height
  blockHash: BlockHash
  /** Lowest height whose spends are indexed: what was spent below is known only of registered outpoints and bonds. */
  indexedFrom: Height
  spends: Spend[]
}

/** Who asks. Strangers are told what they have registered themselves; the operator, what anybody has. */
export type Asker = Subscription | 'operator'

/** A spend that is in the chain or the mempool, with its transaction. */
export type LiveSpend = RecordedSpend & { rawTx: Buffer }

interface WatcherDeps extends World {
  db: Db
  indexer: Indexer
  recorder: SpendRecorder
  api: NodeApi
  limits: WatchLimits
  /** The watcher's own: news for subscribers, and what is swept up. */
  lane: Lane
}

export class Watcher implements IndexListener {
  readonly #deps: WatcherDeps
  readonly #book: Book
  readonly #transactions: Transactions
  readonly #lookUps: LookUps
  readonly #answers: Answers
  readonly #news: News
  readonly #settling: Settling
  readonly #sweepBell = new Bell()
  #subscriptions = 0

  constructor(deps: WatcherDeps) {
    this.#deps = deps
    const { db, clock, api, indexer, recorder, lane, log } = deps
    this.#book = new Book({
      onOpen: (outpoint) => recorder.track(outpoint, 'asked'),
      onClose: (outpoint, isSpent) => recorder.untrack(outpoint, 'asked', isSpent),
    })
    this.#transactions = new Transactions(db)
    this.#settling = new Settling(indexer, clock)
    const sources = { db, clock, api, indexer, recorder, settling: this.#settling }
    this.#lookUps = new LookUps(sources, this.#book, this.#transactions)
    this.#answers = new Answers(this.#book, this.#lookUps, this.#transactions, this.#settling)
    this.#news = new News({ log, lane, settling: this.#settling }, this.#book, this.#lookUps)
    indexer.listen(this)
  }

  /** Outpoints that somebody asks about or is subscribed to. */
  get entries(): number {
    return this.#book.size
  }

  get subscriptions(): number {
    return this.#subscriptions
  }

  // ---- requests ----

  /**
   * The present state of each outpoint, in the order asked. Only to be called while synced; throws PeerFault. With it
   * `asker` has been told of those that it is subscribed to.
   */
  watchMany(outpoints: readonly Outpoint[], lane: Lane, asker: Asker): Promise<WatchAnswer> {
    return this.#answer(outpoints, lane, { withTransactions: true }, (known) => this.#answerOf(known, asker))
  }

  /** As `watchMany`; from then on `subscription` is told of every change of them. */
  subscribe(outpoints: readonly Outpoint[], lane: Lane, subscription: Subscription): Promise<WatchAnswer> {
    return this.#answer(outpoints, lane, { withTransactions: true }, (known) => {
      const fresh = new Set(known.entries.filter((entry) => !subscription.entries.has(entry)))
      this.#assertRoom(subscription, fresh.size)
      const answer = this.#answerOf(known, subscription)
      if (subscription.isOver) return answer
      for (const [i, entry] of known.entries.entries()) {
        this.#book.subscribe(entry, subscription)
        subscription.entries.set(entry, signatureOf(answer.spends[i]!))
      }
      this.#subscriptions += fresh.size
      return answer
    })
  }

  #assertRoom({ entries }: Subscription, fresh: number): void {
    const { subscriptionsPerConnection, subscriptionsMax } = this.#deps.limits
    const { subscriptionsAlways } = WATCHER_LIMITS
    const own = entries.size + fresh
    if (own > subscriptionsPerConnection) {
      const message = `a connection may have ${subscriptionsPerConnection} subscriptions: Unsubscribe some, or open another`
      throw new PeerFault('limit', message)
    }
    if (own > subscriptionsAlways && this.#subscriptions + fresh > subscriptionsMax) {
      const message = `this tracker serves ${subscriptionsMax} subscriptions already, and a connection may have ${subscriptionsAlways} now: try another one for more`
      throw new PeerFault('limit', message)
    }
  }

  /** Ends the subscriptions to `outpoints`, or all of them. */
  unsubscribe(subscription: Subscription, outpoints?: readonly Outpoint[]): void {
    const entries = outpoints ? outpoints.map((outpoint) => this.#book.get(outpoint)) : [...subscription.entries.keys()]
    for (const entry of entries) {
      if (!entry || !subscription.entries.delete(entry)) continue
      this.#subscriptions--
      this.#book.unsubscribe(entry, subscription, this.#deps.indexer.tip()?.height ?? entry.askedAtHeight)
    }
  }

  /** Its connection has ended. */
  leave(subscription: Subscription): void {
    subscription.isOver = true
    this.unsubscribe(subscription)
    this.#deps.recorder.forgetClient(subscription)
  }

  /** v1 `Watch`: every spend of `outpoint` in chain and mempool, the one that counts first. */
  watch(outpoint: Outpoint, lane: Lane): Promise<LiveSpend[]> {
    return this.#answer([outpoint], lane, { withTransactions: false }, ({ entries }) => {
      return this.#lookUps.spendsOf(entries[0]!).flatMap((spend) => {
        // v1 can't tell evicted ones from live ones.
        const rawTx = spend.state.kind === 'evicted' ? undefined : this.#transactions.read(spend.txid, this.#book.moves)
        return rawTx ? [{ ...spend, rawTx }] : []
      })
    })
  }

  /**
   * Calls `build` once it is known where `outpoints` stand, with whether a transaction has made one. Nothing can happen
   * between that and what `build` does. Throws PeerFault.
   */
  whenKnown<T>(
    outpoints: readonly Outpoint[],
    lane: Lane,
    build: (isMade: (outpoint: Outpoint) => boolean) => T,
  ): Promise<T> {
    return this.#answer(outpoints, lane, { withTransactions: false }, () =>
      build((outpoint) => {
        const entry = this.#book.get(outpoint)!
        return this.#book.outputOf(entry) === 'unspent' || this.#lookUps.spendsOf(entry).length > 0
      }),
    )
  }

  /** Throws PeerFault for more than one request may name. */
  assertFew(outpoints: readonly Outpoint[]): void {
    const { outpointsMax } = this.#deps.limits
    if (outpoints.length <= outpointsMax) return
    throw new PeerFault('limit', `${outpoints.length} outpoints in one request, ${outpointsMax} are allowed`)
  }

  /** Where an answer without spends stands. */
  header(): Omit<WatchAnswer, 'spends'> {
    const tip = this.#tip()
    return { height: tip.height, blockHash: tip.hash, indexedFrom: readIndexedFrom(this.#deps.db) ?? tip.height + 1 }
  }

  #tip() {
    const tip = this.#deps.indexer.tip()
    if (!tip) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    return tip
  }

  #answerOf({ entries, transactions }: Known, asker: Asker): WatchAnswer {
    const spends = entries.map((entry) => {
      const first = spenderThatCounts(entry)
      return this.#spendOf(entry, first && transactions.get(first.txid), asker)
    })
    if (asker !== 'operator') {
      for (const [i, entry] of entries.entries()) {
        if (asker.entries.has(entry)) asker.entries.set(entry, signatureOf(spends[i]!))
      }
    }
    return { ...this.header(), spends }
  }

  #spendOf(entry: Entry, rawTx: Buffer | undefined, asker: Asker): Spend {
    const { outpoint } = entry
    const { recorder } = this.#deps
    const isTold = asker === 'operator' ? recorder.isRegistered(outpoint) : recorder.isRegisteredBy(outpoint, asker)
    return spendOf(outpoint, this.#lookUps.spendsOf(entry), this.#book.outputOf(entry), isTold, rawTx)
  }

  /** See `Answers.answer`. */
  #answer<T>(
    outpoints: readonly Outpoint[],
    lane: Lane,
    told: { withTransactions: boolean },
    build: (known: Known) => T,
  ): Promise<T> {
    this.assertFew(outpoints)
    return this.#answers.answer(outpoints, () => this.#tip().height, lane, told, build)
  }

  // ---- what the indexer says ----

  get wantsTransactions(): boolean {
    return this.#book.size > 0
  }

  onSpends(outpoints: Iterable<Outpoint>): void {
    for (const outpoint of outpoints) {
      const entry = this.#book.spent(outpoint)
      if (entry) this.#news.changed(entry)
    }
    this.#news.tellSoon()
  }

  onTransactions(txids: Iterable<Txid>): void {
    for (const txid of txids) {
      const moved = this.#book.moved(txid)
      if (moved instanceof Siblings) this.#news.changedAll(moved)
      else if (moved) this.#news.changed(moved)
    }
    this.#news.tellSoon()
  }

  onUnknownTransactions(): void {
    this.#book.allMoved()
    this.#news.changedAll(this.#book)
    this.#news.tellSoon()
  }

  onBlock(): void {
    this.#settling.moved()
    this.#sweepBell.ring()
  }

  onReorg(): void {
    this.#book.reorged()
    this.#settling.moved()
  }

  onSettled(): void {
    this.#settling.moved()
    this.#news.tellSoon()
  }

  // ---- what subscribers are told ----

  /**
   * What a subscriber is to be told of `entry` now, noted as told. Undefined when that is nothing new, and while it isn't
   * known: then it is told later.
   */
  news(entry: Entry, subscription: Subscription): Spend | undefined {
    if (!subscription.entries.has(entry)) return undefined
    const isKnown = this.#settling.isSettled && this.#lookUps.isKnown(entry)
    const first = isKnown ? spenderThatCounts(entry) : undefined
    const rawTx = first && this.#transactions.read(first.txid, this.#book.moves)
    if (!isKnown || (first && !rawTx)) {
      this.#news.later(entry)
      return undefined
    }
    const spend = this.#spendOf(entry, rawTx, subscription)
    const signature = signatureOf(spend)
    if (subscription.entries.get(entry) === signature) return undefined
    subscription.entries.set(entry, signature)
    return spend
  }

  /** Tells subscribers, and sweeps up what nobody asks about any more. Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    await runAll(signal, { news: (s) => this.#news.run(s), sweep: (s) => this.#sweep(s) })
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { indexer, lane } = this.#deps
    const { sweepBatch, sweepMs } = WATCHER_LIMITS
    signal.addEventListener('abort', () => this.#sweepBell.ring(), { once: true })
    for (;;) {
      await this.#sweepBell.wait(sweepMs)
      const height = indexer.tip()?.height ?? 0
      do signal.throwIfAborted()
      while (await lane.piece(() => this.#book.sweep(height, sweepBatch)))
    }
  }
}
