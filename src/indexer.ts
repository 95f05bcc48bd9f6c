/**
 * What a block and a mempool transaction mean to us: announcements of bonds, and (by the recorder) spends of tracked
 * outpoints, written with the tip in one transaction. The only writer of the chain's rows. Knows the rules of bonds, not
 * how blocks are fetched.
 */
import { Transaction } from 'bitcoinjs-lib'
import { findAnnouncement } from './bonds/announcement.ts'
import type { AnnouncedOutput, Tip, TxRefusal } from './bonds/types.ts'
import { refusalOf } from './bonds/verify.ts'
import type { NextBlock } from './chain/batch.ts'
import type { ScannedBlock } from './chain/decode.ts'
import type { MempoolChanges } from './chain/mempool.ts'
import type { MempoolIndex } from './chain/mempool-sync.ts'
import type { NodeApi, NodeInfo } from './chain/node-reader.ts'
import { letGo } from './chain/slabs.ts'
import type { ChainIndex } from './chain/sync.ts'
import {
  type BlockHash,
  type BlockRef,
  formatOutpoint,
  type Height,
  type Network,
  type Outpoint,
  type Txid,
} from './chain/types.ts'
import {
  clearPendingBonds,
  deleteBond,
  deleteBondsAt,
  deletePendingBond,
  insertBond,
  insertPendingBond,
  type NewBond,
  readBondOutpoints,
  readBondOutpointsAt,
  updateTxRefusals,
} from './store/local/bonds.ts'
import type { SpendingTx } from './store/local/spends.ts'
import {
  deleteSpentKeysAt,
  hasSpentKeysAt,
  insertSpentKeys,
  packSpentKeys,
  pruneSpentKeys,
} from './store/local/spent-keys.ts'
import { deleteBlock, insertBlock, readBlockHash, readScannedFrom, readTip } from './store/local/tip.ts'
import { claimSignet, type Db } from './store/open.ts'
import type { SpendRecorder } from './watch/recorder.ts'
import { breathe } from './world.ts'

const LIMITS = {
  /** Blocks whose txids are kept in memory, 32 bytes each: what a deeper reorg has changed is asked of bitcoind. */
  txidsKept: 12,
  /** Spends of one batch of the mempool that are written in one go, and those of one transaction: some 10 µs each. */
  spendsAtOnce: 300,
  /** Announcements in the mempool that are kept; what comes beyond them is told of once it is in a block. */
  pending: 5_000,
}

export interface IndexerOptions {
  network: Network
  allowTestAddresses: boolean
  /** Blocks whose spent outpoints are kept as keys. */
  retentionBlocks: number
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
  /** Of a block that came or went it isn't known which transactions it has: nobody wanted them when it was fetched. */
  onUnknownTransactions(): void
  /** A block was taken back: what bitcoind is saying just now may be of another chain. */
  onReorg(): void
  /** After a start, a reorg or a loss: all of chain and mempool is known again. */
  onSettled(): void
}

export class Indexer implements ChainIndex, MempoolIndex {
  readonly #db: Db
  readonly #recorder: SpendRecorder
  readonly #options: IndexerOptions
  /** Announcements in the mempool. Written again after a block is taken back. */
  readonly #pending = new Map<Txid, AnnouncedOutput>()
  /** Of the last blocks, the txids where they were fetched, 32 bytes each in internal order. */
  readonly #txids = new Map<BlockHash, Uint8Array>()
  readonly #listeners: IndexListener[] = []
  #tip: Tip | undefined
  #scannedFrom: Height | undefined
  #revision = 0
  #pendingRevision = 0
  #isSettled = false

  constructor(db: Db, recorder: SpendRecorder, options: IndexerOptions) {
    this.#db = db
    this.#recorder = recorder
    this.#options = options
    this.#tip = readTip(db)
    this.#scannedFrom = readScannedFrom(db)
    for (const outpoint of readBondOutpoints(db)) recorder.track(outpoint, 'bond')
    db.transaction(() => {
      clearPendingBonds(db)
      recorder.forgetMempool()
    })
  }

  listen(listener: IndexListener): void {
    this.#listeners.push(listener)
  }

  tip(): Tip | undefined {
    return this.#tip
  }

  /** The lowest height whose block was scanned. */
  scannedFrom(): Height | undefined {
    return this.#scannedFrom
  }

  /** The block there. */
  lowest(): BlockRef | undefined {
    const height = this.#scannedFrom
    const hash = height === undefined ? undefined : readBlockHash(this.#db, height)
    return height === undefined || hash === undefined ? undefined : { height, hash }
  }

  get wantsTxids(): boolean {
    return this.#listeners.some((listener) => listener.wantsTransactions)
  }

  /** Whether all of the mempool is known at our tip; false from a reorg, a loss or the start until it has been read. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Changes whenever rows that the list of makers is made of may have changed. */
  get revision(): number {
    return this.#revision
  }

  /** Changes whenever an announcement has entered or left the mempool. */
  get pendingRevision(): number {
    return this.#pendingRevision
  }

  met(node: NodeInfo): void {
    if (node.signetChallenge !== undefined) claimSignet(this.#db, node.signetChallenge)
  }

  /** The blocks' keys are of no use afterwards: their memory is let go. */
  async connect(blocks: readonly NextBlock[], bestHeight: Height, api: NodeApi): Promise<void> {
    const { retentionBlocks } = this.#options
    const indexed = blocks.filter(({ height }) => height > bestHeight - retentionBlocks)
    const keys = await packSpentKeys(
      this.#db,
      indexed.map(({ block, height }) => ({ height, words: block.spent })),
    )
    const bonds = blocks.map(({ block, height }) => this.#bondsIn(block, height))
    const qualified = bonds.flat().filter(({ refusal }) => !refusal)
    const spends = await this.#recorder.spendsIn(
      blocks.map(({ block }) => block),
      qualified.map(({ outpoint }) => outpoint),
      api,
    )

    this.#db.transaction(() => {
      for (const [i, { block, height }] of blocks.entries()) {
        insertBlock(this.#db, { hash: block.hash, height, prevHash: block.prevHash, timeS: block.timeS })
        for (const bond of bonds[i]!) insertBond(this.#db, bond, height)
        this.#recorder.connectAt(height, spends[i]!)
      }
      insertSpentKeys(this.#db, keys)
      if (indexed.length > 0) pruneSpentKeys(this.#db, bestHeight - retentionBlocks + 1)
    })
    const { block: last, height: lastHeight } = blocks.at(-1)!
    this.#tip = { hash: last.hash, height: lastHeight, timeS: last.timeS }
    this.#scannedFrom ??= blocks[0]!.height
    for (const [i, { block, height }] of blocks.entries()) {
      this.#revision++
      if (block.txids) this.#keepTxids(block.hash, block.txids)
      for (const listener of this.#listeners) listener.onSpends(spends[i]!.keys())
      this.#onTransactionsOf(block.hash)
      for (const listener of this.#listeners) listener.onBlock(height)
      letGo(block.spent)
    }
  }

  /** Takes the tip back: by a reorg, or by a `rescan`, to read it again. */
  disconnect(why: 'reorg' | 'rescan' = 'reorg'): void {
    const tip = this.#tip
    if (!tip) return
    const gone = readBondOutpointsAt(this.#db, tip.height)
    // What it spends is known, then: every outpoint asked about has been looked for there.
    const isIndexed = hasSpentKeysAt(this.#db, tip.height)
    const unconfirmed = this.#db.transaction(() => {
      const outpoints = this.#recorder.disconnectAt(tip.height, why === 'rescan' ? tip.hash : undefined)
      deleteBondsAt(this.#db, tip.height)
      deleteSpentKeysAt(this.#db, tip.height)
      deleteBlock(this.#db, tip.height)
      for (const announced of this.#pending.values()) insertPendingBond(this.#db, announced)
      return outpoints
    })
    for (const outpoint of gone) this.#recorder.untrack(outpoint, 'bond')
    this.#recorder.forgetUnowed(unconfirmed)
    this.#tip = readTip(this.#db)
    this.#scannedFrom = readScannedFrom(this.#db)
    this.#revision++
    this.#pendingRevision++
    this.#isSettled = false
    for (const listener of this.#listeners) {
      listener.onReorg()
      listener.onSpends(unconfirmed)
    }
    if (!isIndexed) this.#txids.delete(tip.hash)
    this.#onTransactionsOf(tip.hash)
    this.#txids.delete(tip.hash)
  }

  #keepTxids(hash: BlockHash, txids: Uint8Array): void {
    this.#txids.set(hash, txids)
    for (const oldest of this.#txids.keys()) {
      if (this.#txids.size <= LIMITS.txidsKept) return
      this.#txids.delete(oldest)
    }
  }

  /** The block came or went. */
  #onTransactionsOf(hash: BlockHash): void {
    const txids = this.#txids.get(hash)
    for (const listener of this.#listeners) {
      if (txids) listener.onTransactions(txidsOf(txids))
      else listener.onUnknownTransactions()
    }
  }

  async applyMempool(changes: MempoolChanges, api: NodeApi): Promise<void> {
    // Before anything is awaited: who leaves is who was there when this was said, not who has come back since.
    const leaving = this.#recorder.presentAmong(changes.removed)
    const spenders = await this.#recorder.spendersAmong(changes.added, api)
    const announced = changes.added.flatMap(({ txid, candidate }) => {
      const output = candidate && this.#announcementIn(candidate)
      return output ? [[txid, output] as const] : []
    })
    const withdrawn = changes.removed.filter((txid) => this.#pending.has(txid))
    // Whoever is replaced leaves last, in one transaction with the rest: nobody is told of a gap.
    const rest = await this.#addMany(spenders)
    if (rest.length > 0 || announced.length > 0 || leaving.size > 0 || withdrawn.length > 0) {
      const touched = this.#db.transaction(() => {
        for (const txid of withdrawn) {
          this.#pending.delete(txid)
          deletePendingBond(this.#db, txid)
        }
        for (const [txid, output] of announced) {
          if (this.#pending.size >= LIMITS.pending) break
          this.#pending.set(txid, output)
          insertPendingBond(this.#db, output)
        }
        return [...this.#recorder.addToMempool(rest), ...this.#recorder.removeFromMempool(leaving)]
      })
      if (announced.length > 0 || withdrawn.length > 0) this.#pendingRevision++
      if (touched.length > 0) for (const listener of this.#listeners) listener.onSpends(touched)
    }
    if (this.wantsTxids) {
      const txids = [...changes.removed, ...changes.added.map(({ txid }) => txid)]
      for (const listener of this.#listeners) listener.onTransactions(txids)
    }
    if (!this.#isSettled && changes.settledAt !== undefined && changes.settledAt === this.#tip?.hash) {
      this.#isSettled = true
      for (const listener of this.#listeners) listener.onSettled()
    }
  }

  /** Forgets bonds of the past, with what is recorded of their spends: beyond what is kept of them (MARKET_LIMITS). */
  forgetBonds(outpoints: readonly Outpoint[]): void {
    this.#db.transaction(() => {
      for (const outpoint of outpoints) {
        deleteBond(this.#db, outpoint)
        this.#recorder.untrack(outpoint, 'bond')
      }
    })
  }

  /**
   * Transactions of bonds that an older version has stored, looked at again as today's takers do. Returns what was found,
   * by `txid:vout`.
   */
  reread(transactions: readonly Uint8Array[]): Map<string, readonly TxRefusal[]> {
    const readings = new Map<string, readonly TxRefusal[]>()
    this.#db.transaction(() => {
      for (const raw of transactions) {
        const { outpoint, txRefusals } = this.#announcementIn(raw) ?? {}
        if (!outpoint || !txRefusals) continue // test addresses are no longer taken
        updateTxRefusals(this.#db, outpoint, txRefusals)
        readings.set(formatOutpoint(outpoint), txRefusals)
      }
    })
    if (readings.size > 0) this.#revision++
    return readings
  }

  /** Transactions that spend thousands of outpoints somebody asks about are noted in pieces. Returns the last of them. */
  async #addMany(spenders: readonly SpendingTx[]): Promise<SpendingTx[]> {
    let some: SpendingTx[] = []
    let spends = 0
    for (const tx of spenders) {
      if (some.length > 0 && spends + tx.spends.length > LIMITS.spendsAtOnce) {
        const full = some
        const touched = this.#db.transaction(() => this.#recorder.addToMempool(full))
        for (const listener of this.#listeners) listener.onSpends(touched)
        await breathe()
        some = []
        spends = 0
      }
      some.push(tx)
      spends += tx.spends.length
    }
    return some
  }

  mempoolLost(): void {
    this.#isSettled = false
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
}

/** 32 bytes each in internal order → txids, the last first: all bytes turned round at once, ten times as fast as each. */
function* txidsOf(bytes: Uint8Array): Generator<Txid> {
  const hex = Buffer.from(bytes).reverse().toString('hex')
  for (let at = 0; at < hex.length; at += 64) yield hex.slice(at, at + 64) as Txid
}
