/**
 * Records who spends the outpoints that somebody cares for (bonds', registered ones, those asked about): as blocks and
 * mempool bring it, and backwards from the index of what was spent. The only writer of spends. An outpoint is tracked
 * before anything is asked about it, so that nothing is missed in between.
 */
import { inputsOf, outpointsSpentBy, type ScannedBlock, type ScannedTx, type SpentInput } from '../chain/decode.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { OutpointKeys } from '../chain/outpoint-keys.ts'
import { TrackedOutpoints, type TrackReason } from '../chain/tracked.ts'
import type { BlockHash, Height, Outpoint, Spender, Txid } from '../chain/types.ts'
import {
  deleteSpends,
  evictAllSpenders,
  evictSpender,
  forgetRescannedAt,
  forgetUnwatchedSpends,
  returnToMempool,
  type SpendingTx,
  unconfirmSpendersAt,
  upsertConfirmedSpends,
  upsertMempoolSpends,
} from '../store/local/spends.ts'
import { readBlockTimeS } from '../store/local/tip.ts'
import type { Db } from '../store/open.ts'
import { breathe, type Clock } from '../world.ts'
import { RegisteredOutpoints } from './registered-outpoints.ts'
import type { Subscription } from './subscription.ts'

type Spends = SpendingTx['spends']

const LIMITS = {
  /** Blocks of a batch whose inputs are compared with what is tracked in one go: a millisecond. */
  blocksAtOnce: 8,
  /** Inputs of a block that spend tracked outpoints, looked at in one go: a few milliseconds. */
  inputsAtOnce: 500,
}

/** In the mempool, and nothing of what it spends is recorded yet. */
const NOTHING: Spends = []

export class SpendRecorder {
  readonly #db: Db
  readonly #clock: Clock
  readonly #tracked: TrackedOutpoints
  readonly #registered: RegisteredOutpoints
  readonly keys: OutpointKeys
  /** The mempool's transactions that spend tracked outpoints, and which; never more than the node has. */
  readonly #present = new Map<Txid, Spends>()

  /** `keySalt`: of the outpoint keys, 16 bytes. */
  constructor(db: Db, keySalt: Uint8Array, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.keys = new OutpointKeys(keySalt)
    this.#tracked = new TrackedOutpoints(this.keys)
    this.#registered = new RegisteredOutpoints(db, this.keys, clock)
  }

  // ---- who cares for what ----

  /**
   * Records the spends of `outpoint` from now on. What happened before is for a look back, and for whoever asks the node.
   * Returns whether it was tracked already: then every spend of it is recorded that the index holds.
   */
  track(outpoint: Outpoint, reason: TrackReason | 'registered'): boolean {
    if (reason !== 'registered') return this.#tracked.add(outpoint, reason) || this.#registered.has(outpoint)
    const wasTracked = this.#isTracked(outpoint)
    this.#registered.add(outpoint)
    return wasTracked
  }

  /** Takes one reason back; with the last one its recorded spends are forgotten. `isSpent`: it may have any. */
  untrack(outpoint: Outpoint, reason: TrackReason | 'registered', isSpent = true): void {
    if (reason === 'registered') this.#registered.delete(outpoint)
    else this.#tracked.remove(outpoint, reason)
    if (isSpent) this.#forget(outpoint)
  }

  #isTracked(outpoint: Outpoint): boolean {
    return this.#tracked.has(outpoint) || this.#registered.has(outpoint)
  }

  /** Outpoints registered. */
  get registrations(): number {
    return this.#registered.size
  }

  /** How long it took to read those that were registered at the start, ms. */
  get registrationsReadMs(): number {
    return this.#registered.readMs
  }

  isRegistered(outpoint: Outpoint): boolean {
    return this.#registered.has(outpoint)
  }

  /** Whether `outpoint` is registered, and `client` has done that. */
  isRegisteredBy(outpoint: Outpoint, client: Subscription): boolean {
    return this.#registered.isOf(outpoint, client)
  }

  /** `client` has registered `outpoint`, which is tracked for that: it is told so for as long as the registration lasts. */
  noteRegisteredBy(outpoint: Outpoint, client: Subscription): void {
    this.#registered.claim(outpoint, client)
  }

  /** The connection has ended. */
  forgetClient(client: Subscription): void {
    this.#registered.leave(client)
  }

  /** The registration, which is tracked, has its row: until then it is remembered here that there is one. */
  noteWritten(outpoint: Outpoint): void {
    this.#registered.written(outpoint)
  }

  /** Ascending numbers of those keys in `words` that tracked outpoints have. */
  #hits(words: Uint32Array): number[] {
    const found = new Set<number>()
    const onHit = (index: number) => found.add(index)
    this.#tracked.hits(words, onHit)
    this.#registered.hits(words, onHit)
    return [...found].sort((a, b) => a - b)
  }

  /**
   * Forgets what nobody is owed: all spends of an outpoint that isn't tracked, the evicted ones of one that is only a
   * bond's. While somebody watches it, a spend once seen is kept: it may be the only copy of a preimage.
   */
  #forget(outpoint: Outpoint): void {
    if (!this.#isTracked(outpoint)) deleteSpends(this.#db, outpoint, 'all')
    else if (!this.#tracked.isFor(outpoint, 'asked') && !this.#registered.has(outpoint))
      deleteSpends(this.#db, outpoint, 'evicted')
  }

  // ---- blocks; what is called `…At` belongs inside the transaction that moves the tip ----

  /**
   * Spends of tracked outpoints in each of some blocks that follow each other, `bonds` included, their own new ones: from
   * here on they are tracked.
   */
  async spendsIn(
    blocks: readonly ScannedBlock[],
    bonds: readonly Outpoint[],
    api: NodeApi,
  ): Promise<Map<Outpoint, Spender>[]> {
    for (const outpoint of bonds) this.#tracked.add(outpoint, 'bond')
    const found = blocks.map((block) => ({
      block,
      spends: new Map<Outpoint, Spender>(),
      inputs: new Map<number, SpentInput | undefined>(), // by their place; undefined once they are among the spends
    }))
    const revisionNow = () => this.#tracked.revision + this.#registered.revision
    try {
      // Again when an outpoint was added while we asked (a new watch): it may have been spent in one of these.
      for (let revision: number | undefined; revision !== revisionNow(); ) {
        revision = revisionNow()
        for (const [n, { block, spends, inputs }] of found.entries()) {
          if ((n + 1) % LIMITS.blocksAtOnce === 0) await breathe()
          const hits = this.#hits(block.spent)
          const fresh = hits.filter((place) => !inputs.has(place))
          if (fresh.length > 0) {
            const read = await api.inputsInBlock(block.hash, fresh)
            for (const [i, place] of fresh.entries()) inputs.set(place, read[i])
          }
          for (const [i, place] of hits.entries()) {
            const input = inputs.get(place)
            if (!input) continue
            if ((i + 1) % LIMITS.inputsAtOnce === 0) await breathe()
            if (!this.#isTracked(input.outpoint)) continue // another one with its key
            spends.set(input.outpoint, input.by)
            inputs.set(place, undefined)
          }
        }
      }
      return found.map(({ spends }) => spends)
    } catch (error) {
      for (const outpoint of bonds) this.untrack(outpoint, 'bond') // the blocks may never be connected
      throw error
    }
  }

  connectAt(height: Height, spends: ReadonlyMap<Outpoint, Spender>): void {
    const nowS = this.#nowS()
    forgetRescannedAt(this.#db, height)
    for (const tx of bySpender(spends)) upsertConfirmedSpends(this.#db, tx, height, nowS)
  }

  /**
   * The block's spends are evicted, unless the mempool has them; `rescanned`, its hash: a rescan takes it back, and they
   * are not doubted. Returns the outpoints.
   */
  disconnectAt(height: Height, rescanned?: BlockHash): Outpoint[] {
    const { outpoints, spenders } = unconfirmSpendersAt(this.#db, height, rescanned)
    for (const txid of spenders) if (this.#present.has(txid)) returnToMempool(this.#db, txid)
    return outpoints
  }

  /** The spends of `outpoints` were unconfirmed: those that nobody is owed are forgotten. */
  forgetUnowed(outpoints: readonly Outpoint[]): void {
    for (const outpoint of outpoints) this.#forget(outpoint)
  }

  // ---- the mempool ----

  /** At the start, inside a transaction, before the mempool is read anew: nothing is known to be in it, and nobody asks. */
  forgetMempool(): void {
    evictAllSpenders(this.#db)
    forgetUnwatchedSpends(this.#db)
  }

  /** Those of `txids` that spend tracked outpoints, each with what is recorded of it now: for `removeFromMempool`. */
  presentAmong(txids: readonly Txid[]): Map<Txid, Spends> {
    return new Map(
      txids.flatMap((txid) => {
        const spends = this.#present.get(txid)
        return spends ? [[txid, spends] as const] : []
      }),
    )
  }

  /** Those of these mempool transactions that spend tracked outpoints. */
  async spendersAmong(added: readonly ScannedTx[], api: NodeApi): Promise<SpendingTx[]> {
    const found: SpendingTx[] = []
    for (const { txid, spent, raw } of added) {
      const vins = this.#hits(spent)
      const rawTx = vins.length > 0 && (raw ? Buffer.from(raw) : await api.mempoolTransaction(txid))
      if (!rawTx) continue // nothing of ours, or gone again: the next round says so
      const outpoints = outpointsSpentBy(rawTx, vins)
      const spends = vins.flatMap((vin, i) => {
        const outpoint = outpoints[i]
        return outpoint && this.#isTracked(outpoint) ? [{ outpoint, vin }] : []
      })
      if (spends.length > 0) found.push({ txid, rawTx, spends })
    }
    return found
  }

  /** Inside a transaction: these have come. Returns the outpoints whose recorded spends changed. */
  addToMempool(added: readonly SpendingTx[]): Outpoint[] {
    return added.flatMap((tx) => this.#addPresent(tx).map(({ outpoint }) => outpoint))
  }

  /**
   * Inside a transaction: these have left, as `presentAmong` had it when that was told. One that a look has seen again in
   * between stays. Returns the outpoints whose recorded spends changed.
   */
  removeFromMempool(leaving: ReadonlyMap<Txid, Spends>): Outpoint[] {
    const touched: Outpoint[] = []
    for (const [txid, spends] of leaving) {
      if (this.#present.get(txid) !== spends) continue
      this.#present.delete(txid)
      evictSpender(this.#db, txid)
      for (const { outpoint } of spends) {
        this.#forget(outpoint)
        touched.push(outpoint)
      }
    }
    return touched
  }

  /** Returns all that is known to be spent by it: some may have been recorded before. */
  #addPresent(tx: SpendingTx): Spends {
    const all = new Map((this.#present.get(tx.txid) ?? NOTHING).map((spend) => [spend.vin, spend]))
    for (const spend of tx.spends) all.set(spend.vin, spend)
    const spends = [...all.values()]
    this.#present.set(tx.txid, spends) // a new list, see removeFromMempool
    const tracked = spends.filter(({ outpoint }) => this.#isTracked(outpoint))
    if (tracked.length > 0) upsertMempoolSpends(this.#db, { ...tx, spends: tracked }, this.#nowS())
    return spends
  }

  // ---- what happened before an outpoint was tracked ----

  /**
   * The mempool has these, and the node thread tells when they leave: to be called before anything is awaited after that
   * was heard. `recordMempool` follows, as soon as the transaction is there.
   */
  expect(txids: Iterable<Txid>): void {
    for (const txid of txids) if (!this.#present.has(txid)) this.#present.set(txid, NOTHING)
  }

  /** An expected transaction. Returns those of `outpoints` that it spends; none when it has left since. */
  recordMempool(txid: Txid, rawTx: Buffer, outpoints: readonly Outpoint[]): Outpoint[] {
    const spends = this.#present.has(txid) ? spendsBy(rawTx, outpoints) : NOTHING
    if (spends.length > 0) this.#db.transaction(() => this.#addPresent({ txid, rawTx, spends }))
    return spends.map(({ outpoint }) => outpoint)
  }

  /** Spends in a block of our chain that was connected before the outpoints were tracked, as they still are. */
  recordConfirmed(found: ReadonlyMap<Outpoint, Spender>, height: Height): void {
    const spends = new Map([...found].filter(([outpoint]) => this.#isTracked(outpoint)))
    const seenS = Math.min(this.#nowS(), readBlockTimeS(this.#db, height) ?? Number.POSITIVE_INFINITY)
    this.#db.transaction(() => {
      for (const tx of bySpender(spends)) upsertConfirmedSpends(this.#db, tx, height, seenS)
    })
  }

  #nowS(): number {
    return Math.floor(this.#clock.nowMs() / 1000)
  }
}

/** Which of `outpoints` the transaction spends. */
function spendsBy(rawTx: Buffer, outpoints: readonly Outpoint[]): Spends {
  return inputsOf(rawTx, outpoints).flatMap((vin, i) => (vin === undefined ? [] : [{ outpoint: outpoints[i]!, vin }]))
}

/** Each transaction once, however many outpoints it spends. */
function bySpender(spends: ReadonlyMap<Outpoint, Spender>): Iterable<SpendingTx> {
  const found = new Map<Txid, { txid: Txid; rawTx: Buffer; spends: { outpoint: Outpoint; vin: number }[] }>()
  for (const [outpoint, { txid, rawTx, vin }] of spends) {
    const tx = found.get(txid)
    if (tx) tx.spends.push({ outpoint, vin })
    else found.set(txid, { txid, rawTx, spends: [{ outpoint, vin }] })
  }
  return found.values()
}
