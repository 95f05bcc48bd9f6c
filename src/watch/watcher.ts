/**
 * Who spends these outpoints? Answers from the recorded spends and, for outputs without one, from bitcoind's UTXO set;
 * tells subscribers of every change. Nothing is said before chain and mempool are known together (`isSettled`), and
 * strangers can't make bitcoind work without bound: see Turns, and the Book that remembers what was asked.
 */

import type { NodeApi } from '../chain/node-reader.ts'
import type { BlockHash, Height, Outpoint, Txid } from '../chain/types.ts'
import { Bell, Turns } from '../concurrency.ts'
import { isAbort, PeerFault, TransientError } from '../errors.ts'
import type { Indexer, IndexListener } from '../indexer.ts'
import type { Db } from '../store/open.ts'
import { countRegistrations, firstRegistrationEnd } from '../store/registrations.ts'
import { type RecordedSpend, readSpends } from '../store/spends.ts'
import { readIndexedFrom } from '../store/spent-keys.ts'
import { readBlockHash, readBlockHeight } from '../store/tip.ts'
import { breathe, sleep, type World } from '../world.ts'
import { Book, type Entry, type Subscriber } from './book.ts'
import type { SpendRecorder } from './recorder.ts'
import { type Spend, signatureOf, spendOf } from './spend.ts'

export const WATCHER_LIMITS = {
  /** Look-ups at bitcoind: each is a few batched calls, some passes over the index, and the blocks found there. */
  turns: { atOnce: 2, queued: 4_000 },
  /** Chain or mempool may move during a look-up; each time it is made again. */
  lookTries: 5,
  /** How long an answer waits for the block that bitcoind has and we are connecting, or for the mempool after a reorg. */
  settleMs: 5_000,
  /** Blocks a v1 `Watch` keeps watching: two weeks. */
  v1Blocks: 2_016,
  /** Blocks a registration may be asked for: a year. */
  registerBlocksMax: 52_560,
  /** Transactions in one reply: a client that asks about a thousand outpoints may have to ask in parts. */
  replyTxBytesMax: 8_388_608,
  /** Entries looked up anew together, and closed together, before others have their turn. */
  refreshBatch: 500,
  sweepBatch: 200,
  retryMs: 1_000,
}

export interface WatchLimits {
  /** Outpoints in one request. */
  outpointsMax: number
  /** Subscriptions of one connection. */
  subscriptionsPerConnection: number
  /** Subscriptions of all connections: about 1 kB of memory each. */
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

interface WatcherDeps extends World {
  db: Db
  indexer: Indexer
  recorder: SpendRecorder
  api: NodeApi
  limits: WatchLimits
}

export class Watcher implements IndexListener {
  readonly #deps: WatcherDeps
  readonly #book: Book
  readonly #turns = new Turns(WATCHER_LIMITS.turns)
  /** Entries whose subscribers may have to be told. */
  readonly #dirty = new Set<Entry>()
  readonly #bell = new Bell()
  /** Rings whenever blocks or settledness change. */
  readonly #moved = new Bell()
  #isSweepDue = false
  #subscriptions = 0

  constructor(deps: WatcherDeps) {
    this.#deps = deps
    const { indexer, recorder } = deps
    this.#book = new Book({
      isTracked: (outpoint) => recorder.isTracked(outpoint),
      onOpen: (outpoint) => recorder.track(outpoint, 'asked'),
      onClose: (outpoint) => recorder.untrack(outpoint, 'asked'),
    })
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
   * `subscription`, if given, has been told of those that it holds.
   */
  watchMany(outpoints: readonly Outpoint[], subscription?: Subscription): Promise<WatchAnswer> {
    return this.#answer(outpoints, (entries) => this.#answerOf(outpoints, entries, subscription))
  }

  /** As `watchMany`; from then on `subscriber` is told of every change of them. */
  subscribe(outpoints: readonly Outpoint[], subscription: Subscription): Promise<WatchAnswer> {
    const { subscriptionsPerConnection, subscriptionsMax } = this.#deps.limits
    return this.#answer(outpoints, (entries) => {
      const fresh = entries.filter((entry) => !subscription.entries.has(entry)).length
      if (subscription.entries.size + fresh > subscriptionsPerConnection) {
        const message = `a connection may have ${subscriptionsPerConnection} subscriptions: Unsubscribe some, or open another`
        throw new PeerFault('limit', message)
      }
      if (this.#subscriptions + fresh > subscriptionsMax) {
        throw new PeerFault('limit', `this tracker serves ${subscriptionsMax} subscriptions already: try another one`)
      }
      const answer = this.#answerOf(outpoints, entries, subscription)
      if (subscription.isOver) return answer
      for (const [i, { outpoint }] of answer.spends.entries()) {
        const entry = this.#book.get(outpoint)!
        this.#book.subscribe(entry, subscription)
        subscription.entries.set(entry, signatureOf(answer.spends[i]!))
      }
      this.#subscriptions += fresh
      return answer
    })
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

  /**
   * Watches `outpoints` for `ttlBlocks` from now on, restarts included. Resolves once the past is known too and the
   * watch is on the disk: the client may commit its money. `untilHeight`: until when all of them are watched.
   */
  register(
    outpoints: readonly Outpoint[],
    ttlBlocks: number,
    subscription: Subscription,
  ): Promise<{ count: number; untilHeight: Height }> {
    if (ttlBlocks < 1 || ttlBlocks > WATCHER_LIMITS.registerBlocksMax) {
      throw new PeerFault('bad_request', `Register.ttl_blocks: expected 1 to ${WATCHER_LIMITS.registerBlocksMax}`)
    }
    return this.#answer(outpoints, (entries) => ({
      count: entries.length,
      untilHeight: this.#register(entries, ttlBlocks, subscription),
    }))
  }

  /** v1 `Watch`: every known spend of `outpoint`, the one that counts first; registers it for two weeks. */
  watch(outpoint: Outpoint, subscription: Subscription): Promise<RecordedSpend[]> {
    return this.#answer([outpoint], (entries) => {
      this.#register(entries, WATCHER_LIMITS.v1Blocks, subscription)
      return this.#spendsOf(entries[0]!)
    })
  }

  #register(entries: readonly Entry[], ttlBlocks: number, subscription: Subscription): Height {
    const { recorder, db, limits } = this.#deps
    const fresh = entries.filter(({ outpoint }) => !recorder.isRegistered(outpoint)).length
    if (subscription.registered + fresh > limits.registrationsPerConnection) {
      const message = `a connection may register ${limits.registrationsPerConnection} outpoints: open another for more`
      throw new PeerFault('limit', message)
    }
    if (fresh > 0 && countRegistrations(db) + fresh > limits.watchesMax) {
      const message = `this tracker has room for ${limits.watchesMax} registered outpoints and they are taken; the next one ends after block ${firstRegistrationEnd(db)}`
      throw new PeerFault('limit', message)
    }
    const outpoints = entries.map(({ outpoint }) => outpoint)
    const untilHeight = recorder.register(outpoints, this.#tip().height + ttlBlocks)
    subscription.registered += fresh
    return untilHeight
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

  #answerOf(outpoints: readonly Outpoint[], entries: readonly Entry[], subscription?: Subscription): WatchAnswer {
    const present = new Map(entries.map((entry) => [entry.name, this.#spendOf(entry)]))
    const spends = outpoints.map((outpoint) => present.get(this.#book.get(outpoint)!.name)!)
    const bytes = spends.reduce((sum, { tx }) => sum + (tx?.length ?? 0), 0)
    if (bytes > WATCHER_LIMITS.replyTxBytesMax) {
      const message = `the transactions that spend these outpoints take ${bytes} bytes, one reply has at most ${WATCHER_LIMITS.replyTxBytesMax}: ask about fewer at once`
      throw new PeerFault('limit', message)
    }
    for (const entry of entries) {
      if (subscription?.entries.has(entry)) subscription.entries.set(entry, signatureOf(present.get(entry.name)!))
    }
    return { ...this.header(), spends }
  }

  /**
   * Calls `build` once all entries of `outpoints` are known together, at a settled moment; nothing can happen between
   * that and what it reads.
   */
  async #answer<T>(outpoints: readonly Outpoint[], build: (entries: Entry[]) => T): Promise<T> {
    const { outpointsMax } = this.#deps.limits
    if (outpoints.length > outpointsMax) {
      throw new PeerFault('limit', `${outpoints.length} outpoints in one request, ${outpointsMax} are allowed`)
    }
    await this.#settled() // before anything is held: a start or a reorg makes everybody wait at once
    const { height } = this.#tip()
    const entries = outpoints.map((outpoint) => this.#book.hold(outpoint, height))
    try {
      for (let tries = 0; tries < WATCHER_LIMITS.lookTries; tries++) {
        await this.#settled()
        const open = entries.filter((entry) => !this.#isKnown(entry))
        if (open.length === 0) return build([...new Set(entries)])
        await this.#lookUp([...new Set(open)])
      }
      throw new PeerFault('busy', 'chain and mempool move too fast just now: try again in a second')
    } finally {
      for (const entry of entries) this.#book.release(entry)
    }
  }

  async #settled(): Promise<void> {
    const isSettled = () => this.#deps.indexer.isSettled
    if (await this.#until(isSettled)) return
    throw new PeerFault('not_synced', 'not synced: the mempool is being read')
  }

  /** Waits at most `settleMs` for something that blocks or the mempool bring. */
  async #until(isTrue: () => boolean): Promise<boolean> {
    const { clock } = this.#deps
    const endMs = clock.monotonicMs() + WATCHER_LIMITS.settleMs
    while (!isTrue()) {
      const leftMs = endMs - clock.monotonicMs()
      if (leftMs <= 0) return false
      await this.#moved.wait(leftMs)
    }
    return true
  }

  // ---- what is known of an entry ----

  #isKnown(entry: Entry): boolean {
    if (!entry.isComplete) return false
    return entry.output !== undefined || entry.deep !== undefined || this.#spendsOf(entry).length > 0
  }

  #spendsOf({ outpoint, deep }: Entry): RecordedSpend[] {
    const recorded = readSpends(this.#deps.db, outpoint)
    return deep ? [deep, ...recorded] : recorded
  }

  #spendOf(entry: Entry): Spend {
    const { outpoint, output } = entry
    return spendOf(outpoint, this.#spendsOf(entry), output, this.#deps.recorder.isRegistered(outpoint))
  }

  async #lookUp(entries: readonly Entry[]): Promise<void> {
    let hadTurn: boolean
    try {
      hadTurn = await this.#turns.run(entries.length, () => this.#lookUpNow(entries))
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    }
    if (hadTurn) return
    throw new PeerFault(
      'busy',
      `${WATCHER_LIMITS.turns.queued} outpoints wait to be looked up already: try again in a second`,
    )
  }

  /** Finds out where the entries stand. One to which something happens meanwhile stays unknown. */
  async #lookUpNow(entries: readonly Entry[]): Promise<void> {
    const { api, indexer, recorder } = this.#deps
    const moves = entries.map((entry) => entry.moves)
    const isStill = (i: number) => entries[i]!.moves === moves[i]
    const tipHash = () => indexer.tip()?.hash
    const before = tipHash()
    const { at, found } = await api.look(entries.map(({ outpoint }) => outpoint))
    // At once: from here on the node thread tells when the spender leaves.
    for (const [i, one] of found.entries())
      if (one.kind === 'mempool') recorder.recordMempool(entries[i]!.outpoint, one.by)
    // bitcoind spoke at a block that we are still connecting, or at one that we have left behind meanwhile.
    await this.#until(() => tipHash() === at || tipHash() !== before)
    if (tipHash() !== at) return
    const gone: number[] = []
    for (const [i, one] of found.entries()) {
      const entry = entries[i]!
      if (!isStill(i)) continue
      if (one.kind === 'absent') gone.push(i)
      else if (one.kind === 'confirmed') await this.#recordFrom(one.in, entry)
      else {
        if (one.kind === 'unspent') entry.output = 'unspent'
        entry.isComplete = true
      }
    }
    const unsearched = gone.filter((i) => !entries[i]!.isComplete).map((i) => entries[i]!.outpoint)
    await recorder.lookBack(unsearched, api)
    for (const i of gone) {
      if (!isStill(i)) continue
      entries[i]!.isComplete = true
      entries[i]!.output = 'absent'
    }
  }

  /** The spend in a block that the node's own index of spends named. */
  async #recordFrom(blockHash: BlockHash, entry: Entry): Promise<void> {
    const { db, api, indexer, recorder } = this.#deps
    const { outpoint, moves } = entry
    const height = await api.blockHeight(blockHash)
    const [by] = await api.spendersInBlock(blockHash, [outpoint])
    if (!by || entry.moves !== moves) return
    if (readBlockHash(db, height) === blockHash) recorder.recordConfirmed(outpoint, by, height)
    else if (readBlockHeight(db, blockHash) === undefined && height < (indexer.scannedFrom() ?? 0)) {
      const firstSeenS = Math.floor(this.#deps.clock.nowMs() / 1000)
      entry.deep = { ...by, outpoint, state: { kind: 'confirmed', height, blockHash }, firstSeenS }
    } else return // of a branch that we don't follow: asked again
    entry.isComplete = true
  }

  // ---- what the indexer says ----

  get wantsTransactions(): boolean {
    return this.#book.size > 0
  }

  onSpends(outpoints: Iterable<Outpoint>): void {
    for (const outpoint of outpoints) {
      const entry = this.#book.get(outpoint)
      if (entry) this.#touch(entry)
    }
    this.#tell()
  }

  onTransactions(txids: Iterable<Txid>): void {
    for (const txid of txids) for (const entry of this.#book.ofTransaction(txid)) this.#touch(entry)
    this.#tell()
  }

  onUnknownTransactions(): void {
    for (const entry of this.#book.all()) this.#touch(entry)
  }

  onBlock(): void {
    this.#isSweepDue = true
    this.#moved.ring()
    this.#bell.ring()
  }

  onReorg(): void {
    for (const entry of this.#book.all()) this.#touch(entry)
    this.#moved.ring()
  }

  onSettled(): void {
    this.#moved.ring()
    this.#tell()
  }

  #touch(entry: Entry): void {
    entry.moves++
    entry.output = undefined
    if (entry.subscribers.length > 0) this.#dirty.add(entry)
  }

  /** Tells subscribers what is known; the rest is left to the loop. */
  #tell(): void {
    if (!this.#deps.indexer.isSettled) return
    for (const entry of this.#dirty) {
      const isWanted = entry.subscribers.length > 0
      if (isWanted && !this.#isKnown(entry)) continue
      this.#dirty.delete(entry)
      if (!isWanted) continue
      const signature = signatureOf(this.#spendOf(entry))
      for (const subscriber of entry.subscribers) subscriber.stands(entry, signature)
    }
    if (this.#dirty.size > 0) this.#bell.ring()
  }

  /**
   * What a subscriber is to be told of `entry` now, noted as told. Undefined when that is nothing new, and while it isn't
   * known: then it is told later.
   */
  news(entry: Entry, subscription: Subscription): Spend | undefined {
    if (!subscription.entries.has(entry)) return undefined
    if (!this.#deps.indexer.isSettled || !this.#isKnown(entry)) {
      this.#dirty.add(entry)
      this.#bell.ring()
      return undefined
    }
    const spend = this.#spendOf(entry)
    const signature = signatureOf(spend)
    if (subscription.entries.get(entry) === signature) return undefined
    subscription.entries.set(entry, signature)
    return spend
  }

  /** Looks up what subscribers wait for, and closes entries nobody asks about any more. Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { indexer, log } = this.#deps
    signal.addEventListener('abort', () => this.#bell.ring(), { once: true })
    for (;;) {
      signal.throwIfAborted()
      await this.#bell.wait(WATCHER_LIMITS.retryMs)
      signal.throwIfAborted()
      if (indexer.isSettled && this.#dirty.size > 0) {
        try {
          const open = [...this.#dirty].slice(0, WATCHER_LIMITS.refreshBatch).filter((entry) => !this.#isKnown(entry))
          if (open.length > 0) await this.#lookUp(open)
          this.#tell()
        } catch (error) {
          if (isAbort(error, signal) || !(error instanceof PeerFault)) throw error
          log.debug({ detail: error.message }, 'subscribed outpoints not looked up')
          await sleep(WATCHER_LIMITS.retryMs, signal)
        }
      }
      while (this.#isSweepDue) {
        this.#isSweepDue = this.#book.sweep(indexer.tip()?.height ?? 0, WATCHER_LIMITS.sweepBatch)
        await breathe()
      }
    }
  }
}

/** One connection: what it is subscribed to, and how much it has registered. */
export class Subscription implements Subscriber {
  /** What it is subscribed to, each with the signature of what it was told last: by an answer, or a push that went out. */
  readonly entries = new Map<Entry, string>()
  /** Outpoints that it was the first to register. */
  registered = 0
  /** Its connection has ended: nothing is to be added. */
  isOver = false
  readonly #tell: (entry: Entry) => void

  /** `tell`: there may be news of the entry; see `Watcher.news`. */
  constructor(tell: (entry: Entry) => void) {
    this.#tell = tell
  }

  stands(entry: Entry, signature: string): void {
    if (this.entries.get(entry) !== signature) this.#tell(entry)
  }
}
