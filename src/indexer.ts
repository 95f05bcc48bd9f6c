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
import type { MempoolChanges, NodeApi, NodeInfo } from './chain/node-reader.ts'
import { OutpointKeys } from './chain/outpoint-keys.ts'
import type { ChainIndex } from './chain/sync.ts'
import { TrackedOutpoints } from './chain/tracked.ts'
import type { Height, Network, Outpoint, Spender, Txid } from './chain/types.ts'
import {
  clearPendingBonds,
  deleteBondsAt,
  deletePendingBond,
  insertBond,
  insertPendingBond,
  isTrackedBond,
  type NewBond,
  readBondOutpoints,
  readBondOutpointsAt,
} from './store/bonds.ts'
import { claimSignet, type Db } from './store/open.ts'
import {
  clearMempoolSpends,
  removeMempoolSpends,
  unconfirmSpendsAt,
  upsertConfirmedSpend,
  upsertMempoolSpend,
} from './store/spends.ts'
import { deleteSpentKeysAt, findCandidateHeights, insertSpentKeys, pruneSpentKeys } from './store/spent-keys.ts'
import { deleteBlock, insertBlock, readBlockHash, readScannedFrom, readTip } from './store/tip.ts'
import { expireWatches, hasWatch, readWatches, upsertWatch } from './store/watches.ts'
import type { Clock } from './world.ts'

export interface IndexerOptions {
  network: Network
  allowTestAddresses: boolean
  /** Blocks whose spent outpoints are kept as keys. */
  retentionBlocks: number
  /** Salt of the outpoint keys, 16 bytes. */
  keySalt: Uint8Array
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
  #tip: Tip | undefined
  #scannedFrom: Height | undefined
  #revision = 0

  constructor(db: Db, options: IndexerOptions, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.#options = options
    this.#keys = new OutpointKeys(options.keySalt)
    this.#tracked = new TrackedOutpoints(this.#keys)
    this.#tip = readTip(db)
    this.#scannedFrom = readScannedFrom(db)
    db.transaction(() => {
      clearPendingBonds(db)
      clearMempoolSpends(db)
    })
    for (const outpoint of readBondOutpoints(db)) this.#tracked.add(outpoint)
    for (const outpoint of readWatches(db)) this.#tracked.add(outpoint)
  }

  tip(): Tip | undefined {
    return this.#tip
  }

  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined {
    return this.#scannedFrom
  }

  /** Changes whenever rows that an answer is made of may have changed. */
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
    for (const outpoint of expired) this.untrack(outpoint)
  }

  disconnect(): void {
    const tip = this.#tip
    if (!tip) return
    const gone = readBondOutpointsAt(this.#db, tip.height)
    this.#db.transaction(() => {
      unconfirmSpendsAt(this.#db, tip.height)
      deleteBondsAt(this.#db, tip.height)
      deleteSpentKeysAt(this.#db, tip.height)
      deleteBlock(this.#db, tip.height)
      for (const present of this.#present.values()) this.#writePresent(present)
    })
    for (const outpoint of gone) this.untrack(outpoint)
    this.#tip = readTip(this.#db)
    this.#scannedFrom = readScannedFrom(this.#db)
    this.#revision++
  }

  async applyMempool(changes: MempoolChanges, api: NodeApi): Promise<void> {
    const fresh: [Txid, PresentTx][] = []
    for (const { txid, spent, candidate } of changes.added) {
      const announced = candidate && this.#announcementIn(candidate)
      const spends = await this.#spendsOf(txid, this.#tracked.hits(spent), api)
      if (announced || spends.length > 0) fresh.push([txid, { announced, spends }])
    }
    const left = changes.removed.filter((txid) => this.#present.has(txid))
    if (fresh.length === 0 && left.length === 0) return
    this.#db.transaction(() => {
      for (const txid of left) {
        this.#present.delete(txid)
        deletePendingBond(this.#db, txid)
        removeMempoolSpends(this.#db, txid)
      }
      for (const [txid, present] of fresh) {
        this.#present.set(txid, present)
        this.#writePresent(present)
      }
    })
    this.#revision++
  }

  /** Records the spends of `outpoint` from now on. What happened before is the look-up's affair. */
  track(outpoint: Outpoint): void {
    this.#tracked.add(outpoint)
  }

  /** Takes `track` back, unless the outpoint is a bond's or watched. */
  untrack(outpoint: Outpoint): void {
    if (!hasWatch(this.#db, outpoint) && !isTrackedBond(this.#db, outpoint)) this.#tracked.remove(outpoint)
  }

  /** Keeps an outpoint watched until `untilHeight`, across restarts. */
  keepWatch(outpoint: Outpoint, untilHeight: Height): void {
    upsertWatch(this.#db, outpoint, untilHeight)
    this.#tracked.add(outpoint)
  }

  /**
   * Looks back for the spend of `outpoint`: in the blocks of the retention, then in the mempool, and records it.
   * Throws TransientError when bitcoind can't be asked.
   */
  async lookBack(outpoint: Outpoint, api: NodeApi): Promise<void> {
    for (const height of findCandidateHeights(this.#db, this.#keys.of(outpoint))) {
      const hash = readBlockHash(this.#db, height)
      const by = hash && (await api.spenderInBlock(hash, outpoint))
      // A reorg meanwhile: tracked already, the spend is recorded when its new block is connected.
      if (!by || readBlockHash(this.#db, height) !== hash) continue
      upsertConfirmedSpend(this.#db, outpoint, by, height, this.#nowS())
      return
    }
    const by = await api.spenderInMempool(outpoint)
    if (!by) return
    const present = this.#present.get(by.txid) ?? { announced: undefined, spends: [] }
    present.spends.push({ outpoint, by })
    this.#present.set(by.txid, present)
    upsertMempoolSpend(this.#db, outpoint, by, this.#nowS())
  }

  /** Spends of tracked outpoints in a block, the block's own new bonds included: from here on they are tracked. */
  async #spendsIn(block: ScannedBlock, bonds: readonly NewBond[], api: NodeApi): Promise<Map<Outpoint, Spender>> {
    const fresh = bonds.filter(({ refusal }) => !refusal).map(({ outpoint }) => outpoint)
    for (const outpoint of fresh) this.#tracked.add(outpoint)
    const spends = new Map<Outpoint, Spender>()
    try {
      // Again when an outpoint was added while we asked (a new watch): it may have been spent in this very block.
      for (let revision: number | undefined; revision !== this.#tracked.revision; ) {
        revision = this.#tracked.revision
        for (const outpoint of this.#tracked.hits(block.spent.words)) {
          if (spends.has(outpoint)) continue
          const by = await api.spenderInBlock(block.hash, outpoint)
          if (by) spends.set(outpoint, by)
        }
      }
      return spends
    } catch (error) {
      for (const outpoint of fresh) this.untrack(outpoint) // the block may never be connected
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
    for (const { outpoint, by } of spends) upsertMempoolSpend(this.#db, outpoint, by, this.#nowS())
  }

  #nowS(): number {
    return Math.floor(this.#clock.nowMs() / 1000)
  }
}
