/**
 * What a block and a mempool transaction mean to us: announcements and spends of tracked outpoints, written with the
 * tip in one transaction. The only writer of chain rows. Knows the rules of bonds, not how blocks are fetched.
 */
import { Transaction } from 'bitcoinjs-lib'
import { findAnnouncement } from './bonds/announcement.ts'
import type { AnnouncedOutput, Tip } from './bonds/types.ts'
import { refusalOf } from './bonds/verify.ts'
import { type ScannedBlock, spenderOf } from './chain/decode.ts'
import type { MempoolIndex } from './chain/mempool.ts'
import type { MempoolChanges } from './chain/mempool-view.ts'
import type { NodeApi, NodeInfo } from './chain/node-reader.ts'
import { bucketOf, type OutpointKey, OutpointKeys } from './chain/outpoint-keys.ts'
import type { ChainIndex } from './chain/sync.ts'
import { type Reason, TrackedOutpoints } from './chain/tracked.ts'
import {
  asTxid,
  fromInternal,
  type Height,
  type Network,
  type Outpoint,
  type Spender,
  type Txid,
} from './chain/types.ts'
import {
  clearPendingBonds,
  deleteBondsAt,
  deletePendingBond,
  insertBond,
  insertPendingBond,
  type NewBond,
  readBondOutpoints,
  readBondOutpointsAt,
} from './store/bonds.ts'
import { claimSignet, type Db } from './store/open.ts'
import {
  deleteSpends,
  evictAllSpenders,
  evictSpender,
  readSpentOutpoints,
  unconfirmSpendersAt,
  upsertConfirmedSpend,
  upsertMempoolSpend,
} from './store/spends.ts'
import { deleteSpentKeysAt, findCandidates, insertSpentKeys, pruneSpentKeys } from './store/spent-keys.ts'
import { deleteBlock, insertBlock, readBlockHash, readBlockTimeS, readScannedFrom, readTip } from './store/tip.ts'
import { expireWatches, readWatches, upsertWatch } from './store/watches.ts'
import { breathe, type Clock } from './world.ts'

export interface IndexerOptions {
  network: Network
  allowTestAddresses: boolean
  /** Blocks whose spent outpoints are kept as keys. */
  retentionBlocks: number
  /** Salt of the outpoint keys, 16 bytes. */
  keySalt: Uint8Array
}

/** Who wants to know what has changed. Called after the rows are committed; what it does must be quick. */
export interface IndexListener {
  /** Whether anybody waits for outputs to come or go; else `onTransactions` is not called. */
  readonly wantsTransactions: boolean
  /** The recorded spends of these outpoints may have changed. */
  onSpends(outpoints: Iterable<Outpoint>): void
  /** These transactions came or went, in the mempool or with a block: their outputs may exist now, or no more. */
  onTransactions(txids: Iterable<Txid>): void
  onBlock(height: Height): void
  /** Blocks were taken back: what bitcoind said of outputs before may hold no more. */
  onReorg(): void
  /** After a start, a reorg or a loss: all of chain and mempool is known again. */
  onSettled(): void
}

interface Spend {
  outpoint: Outpoint
  by: Spender
}

/** What an unconfirmed transaction means to us. */
interface PresentTx {
  announced: AnnouncedOutput | undefined
  spends: Spend[]
}

export class Indexer implements ChainIndex, MempoolIndex {
  readonly #db: Db
  readonly #clock: Clock
  readonly #options: IndexerOptions
  readonly #keys: OutpointKeys
  readonly #tracked: TrackedOutpoints
  /** The mempool's transactions that mean something to us; few. Applied again after a block is taken back. */
  readonly #present = new Map<Txid, PresentTx>()
  #listener: IndexListener | undefined
  #tip: Tip | undefined
  #scannedFrom: Height | undefined
  #revision = 0
  #isSettled = false

  constructor(db: Db, options: IndexerOptions, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.#options = options
    this.#keys = new OutpointKeys(options.keySalt)
    this.#tracked = new TrackedOutpoints(this.#keys)
    this.#tip = readTip(db)
    this.#scannedFrom = readScannedFrom(db)
    for (const outpoint of readBondOutpoints(db)) this.#tracked.add(outpoint, 'bond')
    for (const outpoint of readWatches(db)) this.#tracked.add(outpoint, 'registered')
    db.transaction(() => {
      clearPendingBonds(db)
      evictAllSpenders(db)
      for (const outpoint of readSpentOutpoints(db)) this.#forget(outpoint)
    })
  }

  listen(listener: IndexListener): void {
    this.#listener = listener
  }

  tip(): Tip | undefined {
    return this.#tip
  }

  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined {
    return this.#scannedFrom
  }

  get wantsTxids(): boolean {
    return this.#listener?.wantsTransactions ?? false
  }

  /** Whether all of the mempool is known at our tip; false from a reorg, a loss or the start until it has been read. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Changes whenever rows that the list of makers is made of may have changed. */
  get revision(): number {
    return this.#revision
  }

  met(node: NodeInfo): void {
    if (node.signetChallenge !== undefined) claimSignet(this.#db, node.signetChallenge)
  }

  async connect(block: ScannedBlock, height: Height, bestHeight: Height, api: NodeApi): Promise<void> {
    const bonds = this.#bondsIn(block, height)
    const spends = await this.#spendsIn(block, bonds, api)

    const nowS = this.#nowS()
    const expired = this.#db.transaction(() => {
      insertBlock(this.#db, { hash: block.hash, height, prevHash: block.prevHash, timeS: block.timeS })
      for (const bond of bonds) insertBond(this.#db, bond, height)
      for (const [outpoint, by] of spends) upsertConfirmedSpend(this.#db, outpoint, by, height, nowS)
      if (height > bestHeight - this.#options.retentionBlocks) insertSpentKeys(this.#db, height, block.spent)
      if (height === bestHeight) pruneSpentKeys(this.#db, height - this.#options.retentionBlocks + 1)
      return expireWatches(this.#db, height)
    })
    this.#tip = { hash: block.hash, height, timeS: block.timeS }
    this.#scannedFrom ??= height
    this.#revision++
    for (const outpoint of expired) this.untrack(outpoint, 'registered')
    this.#listener?.onSpends(spends.keys())
    if (block.txids) this.#listener?.onTransactions(txidsOf(block.txids))
    this.#listener?.onBlock(height)
  }

  disconnect(): void {
    const tip = this.#tip
    if (!tip) return
    const gone = readBondOutpointsAt(this.#db, tip.height)
    const unconfirmed = this.#db.transaction(() => {
      const outpoints = unconfirmSpendersAt(this.#db, tip.height)
      deleteBondsAt(this.#db, tip.height)
      deleteSpentKeysAt(this.#db, tip.height)
      deleteBlock(this.#db, tip.height)
      for (const present of this.#present.values()) this.#writePresent(present)
      return outpoints
    })
    for (const outpoint of gone) this.untrack(outpoint, 'bond')
    for (const outpoint of unconfirmed) this.#forget(outpoint)
    this.#tip = readTip(this.#db)
    this.#scannedFrom = readScannedFrom(this.#db)
    this.#revision++
    this.#isSettled = false
    this.#listener?.onReorg()
    this.#listener?.onSpends(unconfirmed)
  }

  async applyMempool(changes: MempoolChanges, api: NodeApi): Promise<void> {
    const fresh: [Txid, PresentTx][] = []
    for (const { txid, spent, candidate } of changes.added) {
      const announced = candidate && this.#announcementIn(candidate)
      const spends = await this.#spendsOf(txid, this.#tracked.hits(spent), api)
      if (announced || spends.length > 0) fresh.push([txid, { announced, spends }])
    }
    const left = changes.removed.flatMap((txid) => {
      const present = this.#present.get(txid)
      return present ? [[txid, present] as const] : []
    })
    if (fresh.length > 0 || left.length > 0) {
      this.#db.transaction(() => {
        for (const [txid, { spends }] of left) {
          this.#present.delete(txid)
          deletePendingBond(this.#db, txid)
          evictSpender(this.#db, txid)
          for (const { outpoint } of spends) this.#forget(outpoint)
        }
        for (const [txid, present] of fresh) {
          const before = this.#present.get(txid) // vouched for by a look before its round
          if (before)
            present.spends.push(
              ...before.spends.filter(({ by }) => !present.spends.some((spend) => spend.by.vin === by.vin)),
            )
          this.#present.set(txid, present)
          this.#writePresent(present)
        }
      })
    }
    const touched = [...left, ...fresh].flatMap(([, { spends }]) => spends.map(({ outpoint }) => outpoint))
    if (touched.length > 0) this.#listener?.onSpends(touched)
    if (this.wantsTxids) this.#listener?.onTransactions([...changes.removed, ...changes.added.map(({ txid }) => txid)])
    if (!this.#isSettled && changes.settledAt !== undefined && changes.settledAt === this.#tip?.hash) {
      this.#isSettled = true
      this.#listener?.onSettled()
    }
  }

  mempoolLost(): void {
    this.#isSettled = false
  }

  /** Records the spends of `outpoint` from now on. What happened before is for `lookBack`, and for whoever asks the node. */
  track(outpoint: Outpoint, reason: 'asked'): void {
    this.#tracked.add(outpoint, reason)
  }

  /** Takes one reason back; with the last one its recorded spends are forgotten. */
  untrack(outpoint: Outpoint, reason: Reason): void {
    this.#tracked.remove(outpoint, reason)
    this.#forget(outpoint)
  }

  /** Whether every spend of it is recorded that the index holds: from a bond's block, or from a registration on. */
  isTracked(outpoint: Outpoint): boolean {
    return this.#tracked.has(outpoint)
  }

  isRegistered(outpoint: Outpoint): boolean {
    return this.#tracked.isFor(outpoint, 'registered')
  }

  /** Keeps outpoints watched until `untilHeight`, across restarts and power cuts. */
  register(outpoints: readonly Outpoint[], untilHeight: Height): void {
    this.#db.durably(() => {
      for (const outpoint of outpoints) upsertWatch(this.#db, outpoint, untilHeight)
    })
    for (const outpoint of outpoints) this.#tracked.add(outpoint, 'registered')
  }

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

  /** A spend in the mempool that came before the outpoint was tracked; the node thread vouches for its spender. */
  recordMempool(outpoint: Outpoint, by: Spender): void {
    const present = this.#present.get(by.txid) ?? { announced: undefined, spends: [] }
    if (!present.spends.some((spend) => spend.by.vin === by.vin)) present.spends.push({ outpoint, by })
    this.#present.set(by.txid, present)
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

  /**
   * Forgets what nobody is owed: all spends of an outpoint that isn't tracked, the evicted ones of one that is only a
   * bond's. While somebody watches it, a spend once seen is kept: it may be the only copy of a preimage.
   */
  #forget(outpoint: Outpoint): void {
    if (!this.#tracked.has(outpoint)) deleteSpends(this.#db, outpoint, 'all')
    else if (!this.#tracked.isFor(outpoint, 'registered') && !this.#tracked.isFor(outpoint, 'asked'))
      deleteSpends(this.#db, outpoint, 'evicted')
  }

  /** Spends of tracked outpoints in a block, the block's own new bonds included: from here on they are tracked. */
  async #spendsIn(block: ScannedBlock, bonds: readonly NewBond[], api: NodeApi): Promise<Map<Outpoint, Spender>> {
    const fresh = bonds.filter(({ refusal }) => !refusal).map(({ outpoint }) => outpoint)
    for (const outpoint of fresh) this.#tracked.add(outpoint, 'bond')
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
      for (const outpoint of fresh) this.untrack(outpoint, 'bond') // the block may never be connected
      throw error
    }
  }

  #bondsIn(block: ScannedBlock, height: Height): NewBond[] {
    const bonds: NewBond[] = []
    for (const raw of block.candidates) {
      const bond: NewBond | undefined = this.#announcementIn(raw)
      if (!bond) continue
      const refusal = refusalOf(bond, height, this.#options.network)
      if (refusal) bond.refusal = refusal
      bonds.push(bond)
    }
    return bonds
  }

  #announcementIn(raw: Uint8Array): AnnouncedOutput | undefined {
    return findAnnouncement(Transaction.fromBuffer(raw), { allowTestAddresses: this.#options.allowTestAddresses })
  }

  async #spendsOf(txid: Txid, outpoints: Outpoint[], api: NodeApi): Promise<Spend[]> {
    if (outpoints.length === 0) return []
    const raw = await api.mempoolTransaction(txid)
    if (!raw) return [] // gone again; the next round says so
    return outpoints.flatMap((outpoint) => {
      const by = spenderOf(raw, outpoint)
      return by ? [{ outpoint, by }] : []
    })
  }

  #writePresent({ announced, spends }: PresentTx): void {
    if (announced) insertPendingBond(this.#db, announced)
    for (const { outpoint, by } of spends) {
      if (this.#tracked.has(outpoint)) upsertMempoolSpend(this.#db, outpoint, by, this.#nowS())
    }
  }

  #nowS(): number {
    return Math.floor(this.#clock.nowMs() / 1000)
  }
}

/** 32 bytes each in internal order → txids. */
function* txidsOf(bytes: Uint8Array): Generator<Txid> {
  for (let at = 0; at < bytes.length; at += 32) yield asTxid(fromInternal(bytes.subarray(at, at + 32)))
}
