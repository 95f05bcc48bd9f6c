/**
 * Records who spends the outpoints that somebody cares for (bonds', registered ones, those asked about): as blocks and
 * mempool bring it, and backwards from the index of what was spent. The only writer of spends. An outpoint is tracked
 * before anything is asked about it, so that nothing is missed in between.
 */
import { type ScannedBlock, type ScannedTx, spenderOf } from '../chain/decode.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { bucketOf, type OutpointKey, OutpointKeys } from '../chain/outpoint-keys.ts'
import { TrackedOutpoints, type TrackReason } from '../chain/tracked.ts'
import type { BlockHash, Height, Outpoint, Spender, Txid } from '../chain/types.ts'
import type { Db } from '../store/open.ts'
import { expireRegistrations, readRegistrations, upsertRegistration } from '../store/registrations.ts'
import {
  deleteSpends,
  evictAllSpenders,
  evictSpender,
  forgetRescannedAt,
  readSpentOutpoints,
  unconfirmSpendersAt,
  upsertConfirmedSpend,
  upsertMempoolSpend,
} from '../store/spends.ts'
import { findCandidates } from '../store/spent-keys.ts'
import { readBlockHash, readBlockTimeS } from '../store/tip.ts'
import { breathe, type Clock } from '../world.ts'

/** One outpoint and the transaction that takes it. */
export interface TrackedSpend {
  outpoint: Outpoint
  by: Spender
}

export class SpendRecorder {
  readonly #db: Db
  readonly #clock: Clock
  readonly #keys: OutpointKeys
  readonly #tracked: TrackedOutpoints
  #registrations = 0
  /** The mempool's transactions that spend tracked outpoints; few. Written again after a block was taken back. */
  readonly #present = new Map<Txid, readonly TrackedSpend[]>()

  /** `keySalt`: of the outpoint keys, 16 bytes. */
  constructor(db: Db, keySalt: Uint8Array, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.#keys = new OutpointKeys(keySalt)
    this.#tracked = new TrackedOutpoints(this.#keys)
    for (const outpoint of readRegistrations(db)) this.#addRegistered(outpoint)
  }

  // ---- who cares for what ----

  /** Records the spends of `outpoint` from now on. What happened before is for `lookBack`, and for whoever asks the node. */
  track(outpoint: Outpoint, reason: Exclude<TrackReason, 'registered'>): void {
    this.#tracked.add(outpoint, reason)
  }

  /** Takes one reason back; with the last one its recorded spends are forgotten. */
  untrack(outpoint: Outpoint, reason: TrackReason): void {
    if (reason === 'registered' && this.isRegistered(outpoint)) this.#registrations--
    this.#tracked.remove(outpoint, reason)
    this.#forget(outpoint)
  }

  /** Whether every spend of it is recorded that the index holds: from a bond's block, or from a registration on. */
  isTracked(outpoint: Outpoint): boolean {
    return this.#tracked.has(outpoint)
  }

  /** Outpoints registered. */
  get registrations(): number {
    return this.#registrations
  }

  isRegistered(outpoint: Outpoint): boolean {
    return this.#tracked.isFor(outpoint, 'registered')
  }

  /**
   * Keeps outpoints watched until `untilHeight`, or for longer where somebody has asked for that before, across restarts
   * and power cuts. Returns until when all of them are.
   */
  register(outpoints: readonly Outpoint[], untilHeight: Height): Height {
    const ends = this.#db.durably(() =>
      outpoints.map((outpoint) => upsertRegistration(this.#db, outpoint, untilHeight)),
    )
    for (const outpoint of outpoints) this.#addRegistered(outpoint)
    return outpoints.length === 0 ? untilHeight : Math.min(...ends)
  }

  #addRegistered(outpoint: Outpoint): void {
    if (!this.isRegistered(outpoint)) this.#registrations++
    this.#tracked.add(outpoint, 'registered')
  }

  /**
   * Forgets what nobody is owed: all spends of an outpoint that isn't tracked, the evicted ones of one that is only a
   * bond's. While somebody watches it, a spend once seen is kept: it may be the only copy of a preimage.
   */
  #forget(outpoint: Outpoint): void {
    if (!this.#tracked.has(outpoint)) deleteSpends(this.#db, outpoint, 'all')
    else if (!this.#tracked.isFor(outpoint, 'registered') && !this.#tracked.isFor(outpoint, 'asked'))
      deleteSpends(this.#db, outpoint, 'evicted')
  }

  // ---- blocks; what is called `…At` belongs inside the transaction that moves the tip ----

  /** Spends of tracked outpoints in a block, `bonds` included, its own new ones: from here on they are tracked. */
  async spendsIn(block: ScannedBlock, bonds: readonly Outpoint[], api: NodeApi): Promise<Map<Outpoint, Spender>> {
    for (const outpoint of bonds) this.#tracked.add(outpoint, 'bond')
    const spends = new Map<Outpoint, Spender>()
    const asked = new Set<Outpoint>()
    try {
      // Again when an outpoint was added while we asked (a new watch): it may have been spent in this very block.
      for (let revision: number | undefined; revision !== this.#tracked.revision; ) {
        revision = this.#tracked.revision
        const hits = this.#tracked.hits(block.spent.words).filter((outpoint) => !asked.has(outpoint))
        if (hits.length === 0) continue
        for (const outpoint of hits) asked.add(outpoint)
        for (const [i, by] of (await api.spendersInBlock(block.hash, hits)).entries()) if (by) spends.set(hits[i]!, by)
      }
      return spends
    } catch (error) {
      for (const outpoint of bonds) this.untrack(outpoint, 'bond') // the block may never be connected
      throw error
    }
  }

  /** Returns the outpoints whose registration ends with this block: to be untracked once it is connected. */
  connectAt(height: Height, spends: ReadonlyMap<Outpoint, Spender>): Outpoint[] {
    const nowS = this.#nowS()
    forgetRescannedAt(this.#db, height)
    for (const [outpoint, by] of spends) upsertConfirmedSpend(this.#db, outpoint, by, height, nowS)
    return expireRegistrations(this.#db, height)
  }

  /**
   * The block's spends are evicted until the mempool brings them back; `rescanned`, its hash: a rescan takes it back,
   * and they are not doubted. Returns the outpoints.
   */
  disconnectAt(height: Height, rescanned?: BlockHash): Outpoint[] {
    return unconfirmSpendersAt(this.#db, height, rescanned)
  }

  /** Writes what is in the mempool again: some of it may have been confirmed in a block that was taken back. */
  rewritePresent(): void {
    for (const spends of this.#present.values()) this.#writePresent(spends)
  }

  /** The spends of `outpoints` were unconfirmed: those that nobody is owed are forgotten. */
  forgetUnowed(outpoints: readonly Outpoint[]): void {
    for (const outpoint of outpoints) this.#forget(outpoint)
  }

  // ---- the mempool ----

  /** Inside a transaction, before the mempool is read anew: nothing is known to be in it. */
  forgetMempool(): void {
    evictAllSpenders(this.#db)
    for (const outpoint of readSpentOutpoints(this.#db)) this.#forget(outpoint)
  }

  /** Those of `txids` that spend tracked outpoints, each with what is recorded of it now: for `moveMempool`. */
  presentAmong(txids: readonly Txid[]): Map<Txid, readonly TrackedSpend[]> {
    return new Map(
      txids.flatMap((txid) => {
        const spends = this.#present.get(txid)
        return spends ? [[txid, spends] as const] : []
      }),
    )
  }

  /** Which of these mempool transactions spend tracked outpoints. */
  async spendersAmong(added: readonly ScannedTx[], api: NodeApi): Promise<Map<Txid, TrackedSpend[]>> {
    const found = new Map<Txid, TrackedSpend[]>()
    for (const { txid, spent } of added) {
      const hits = this.#tracked.hits(spent)
      const raw = hits.length > 0 && (await api.mempoolTransaction(txid))
      if (!raw) continue // nothing of ours, or gone again: the next round says so
      const spends = hits.flatMap((outpoint) => {
        const by = spenderOf(raw, outpoint)
        return by ? [{ outpoint, by }] : []
      })
      if (spends.length > 0) found.set(txid, spends)
    }
    return found
  }

  /**
   * Inside a transaction: who has left (as `presentAmong` had it when the leaving was told) and who has come. One that a
   * look has seen again in between stays. Returns the outpoints whose recorded spends changed.
   */
  moveMempool(
    leaving: ReadonlyMap<Txid, readonly TrackedSpend[]>,
    added: ReadonlyMap<Txid, TrackedSpend[]>,
  ): Outpoint[] {
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
    for (const [txid, spends] of added) {
      // Some may have been recorded by a look before this round.
      const before = this.#present.get(txid) ?? []
      const all = [...spends, ...before.filter(({ by }) => !spends.some((spend) => spend.by.vin === by.vin))]
      this.#present.set(txid, all)
      this.#writePresent(all)
      touched.push(...all.map(({ outpoint }) => outpoint))
    }
    return touched
  }

  #writePresent(spends: readonly TrackedSpend[]): void {
    for (const { outpoint, by } of spends) {
      if (this.#tracked.has(outpoint)) upsertMempoolSpend(this.#db, outpoint, by, this.#nowS())
    }
  }

  // ---- what happened before an outpoint was tracked ----

  /**
   * Looks for spends of `outpoints` in the blocks of the retention and records them. They must be tracked already, so
   * that nothing that happens meanwhile is missed. Throws TransientError when bitcoind can't be asked.
   */
  async lookBack(outpoints: readonly Outpoint[], api: NodeApi): Promise<void> {
    const byHeight = new Map<Height, Outpoint[]>()
    for (const group of this.#byBucket(outpoints)) {
      findCandidates(
        this.#db,
        group.map(({ key }) => key),
        (index, height) => {
          const { outpoint } = group[index]!
          byHeight.set(height, [...(byHeight.get(height) ?? []), outpoint])
        },
      )
      await breathe() // a pass takes some milliseconds
    }
    for (const [height, candidates] of byHeight) {
      const hash = readBlockHash(this.#db, height)
      if (!hash) continue
      const spenders = await api.spendersInBlock(hash, candidates)
      // A reorg meanwhile: tracked already, the spend is recorded when its new block is connected.
      if (readBlockHash(this.#db, height) !== hash) continue
      for (const [i, outpoint] of candidates.entries()) {
        const by = spenders[i]
        if (by) this.recordConfirmed(outpoint, by, height)
      }
    }
  }

  /** A spend in a block of our chain that was connected before the outpoint was tracked. */
  recordConfirmed(outpoint: Outpoint, by: Spender, height: Height): void {
    const seenS = Math.min(this.#nowS(), readBlockTimeS(this.#db, height) ?? Number.POSITIVE_INFINITY)
    this.#db.transaction(() => upsertConfirmedSpend(this.#db, outpoint, by, height, seenS))
  }

  /** A spend in the mempool that came before the outpoint was tracked; the node thread tells when its spender leaves. */
  recordMempool(outpoint: Outpoint, by: Spender): void {
    const others = (this.#present.get(by.txid) ?? []).filter((spend) => spend.by.vin !== by.vin)
    this.#present.set(by.txid, [...others, { outpoint, by }]) // a new list, see moveMempool
    this.#db.transaction(() => upsertMempoolSpend(this.#db, outpoint, by, this.#nowS()))
  }

  #byBucket(outpoints: readonly Outpoint[]): { outpoint: Outpoint; key: OutpointKey }[][] {
    const groups = new Map<number, { outpoint: Outpoint; key: OutpointKey }[]>()
    for (const outpoint of outpoints) {
      const key = this.#keys.of(outpoint)
      const bucket = bucketOf(key.hi)
      const group = groups.get(bucket)
      if (group) group.push({ outpoint, key })
      else groups.set(bucket, [{ outpoint, key }])
    }
    return [...groups.values()]
  }

  #nowS(): number {
    return Math.floor(this.#clock.nowMs() / 1000)
  }
}
