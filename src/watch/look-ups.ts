/**
 * Finds out where outpoints stand, of which nothing is known yet or no more: bitcoind is asked, then the index of what
 * was spent, then the blocks it names. Strangers can't make bitcoind work without bound: every question waits for its turn
 * in the order of `wire/work.ts`, is about a few outpoints, and is left out when somebody else has had the answer meanwhile.
 */
import type { Found } from '../chain/mempool.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { bucketOf, type OutpointKey } from '../chain/outpoint-keys.ts'
import type { BlockHash, Height, Outpoint, Spender, Txid } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import type { Db } from '../store/open.ts'
import { type RecordedSpend, readSpends } from '../store/spends.ts'
import { findCandidates, readIndexedFrom } from '../store/spent-keys.ts'
import { readBlockHash, readBlockHeight } from '../store/tip.ts'
import { type Lane, PRICES, WORK_LIMITS } from '../wire/work.ts'
import type { Clock } from '../world.ts'
import type { Book, Entry } from './book.ts'
import type { SpendRecorder } from './recorder.ts'
import type { Settling } from './settling.ts'
import type { Transactions } from './transactions.ts'

const LIMITS = {
  /** Blocks of the index read in one piece: 2 ms. */
  indexedBlocks: 250,
}

interface LookUpDeps {
  db: Db
  clock: Clock
  api: NodeApi
  indexer: Indexer
  recorder: SpendRecorder
  settling: Settling
}

/** What bitcoind said of `entries`, at block `at`. */
interface Look {
  entries: readonly Entry[]
  at: BlockHash
  found: readonly Found[]
  /** The book's moves, and our tip, when it was asked. */
  since: number
  before: BlockHash | undefined
}

/** An output that bitcoind hasn't got. */
interface Gone {
  entry: Entry
  since: number
}

export class LookUps {
  readonly #deps: LookUpDeps
  readonly #book: Book
  readonly #transactions: Transactions

  constructor(deps: LookUpDeps, book: Book, transactions: Transactions) {
    this.#deps = deps
    this.#book = book
    this.#transactions = transactions
  }

  /** The recorded spends of the entry, the one that counts first; read when something has happened to it. */
  spendsOf(entry: Entry): readonly RecordedSpend[] {
    entry.spends ??= readSpends(this.#deps.db, entry.outpoint)
    return entry.deep ? [entry.deep, ...entry.spends] : entry.spends
  }

  /** Whether it can be told where the entry stands. */
  isKnown(entry: Entry): boolean {
    if (!entry.isComplete) return false
    const spends = this.spendsOf(entry)
    if (entry.deep) return this.#transactions.hasDeep(entry.deep.txid)
    return spends.length > 0 || this.#book.outputOf(entry) !== undefined
  }

  /**
   * Finds out about `wanted`. `entryOf` is called when the turn has come, not before: who waits has made no entry.
   * Those to which something happens meanwhile stay unknown. Throws PeerFault `busy`.
   */
  async find<T>(wanted: readonly T[], entryOf: (one: T) => Entry, lane: Lane): Promise<void> {
    const gone: Gone[] = []
    for (let i = 0; i < wanted.length; i += WORK_LIMITS.pieceOutpoints) {
      const some = wanted.slice(i, i + WORK_LIMITS.pieceOutpoints)
      const look = await this.#ask(lane, () => this.#look(some.map(entryOf)))
      if (look) gone.push(...(await this.#take(look, lane)))
    }
    await this.#lookBack(
      gone.filter(({ entry }) => !entry.isComplete),
      lane,
    )
    for (const { entry, since } of gone) {
      if (!this.#book.isStill(entry, since)) continue
      entry.isComplete = true
      entry.deep = undefined // if there was one, the node knows it no more
      entry.output = 'absent'
      entry.askedAt = since
    }
  }

  /** A question to bitcoind, in its turn. */
  async #ask<T>(lane: Lane, question: () => Promise<T>): Promise<T> {
    try {
      return await lane.ask(question)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    }
  }

  async #look(entries: readonly Entry[]): Promise<Look | undefined> {
    const { api, recorder, indexer } = this.#deps
    const open = [...new Set(entries)].filter((entry) => !this.isKnown(entry))
    if (open.length === 0) return undefined
    const since = this.#book.moves
    const before = indexer.tip()?.hash
    const { at, found } = await api.look(open.map(({ outpoint }) => outpoint))
    recorder.expect(found.flatMap((one) => (one.kind === 'mempool' ? [one.by] : []))) // at once, see there
    return { entries: open, at, found, since, before }
  }

  /** Takes what was heard, and returns what isn't there. */
  async #take({ entries, at, found, since, before }: Look, lane: Lane): Promise<Gone[]> {
    const tipHash = () => this.#deps.indexer.tip()?.hash
    // bitcoind spoke at a block that we are still connecting, or at one that we have left behind meanwhile.
    await this.#deps.settling.until(() => tipHash() === at || tipHash() !== before)
    if (tipHash() !== at) return []
    const gone: Gone[] = []
    const inMempool = new Map<Txid, Entry[]>()
    const inBlocks = new Map<BlockHash, Entry[]>()
    for (const [i, one] of found.entries()) {
      const entry = entries[i]!
      if (!this.#book.isStill(entry, since)) continue
      if (one.kind === 'absent') gone.push({ entry, since })
      else if (one.kind === 'mempool') addTo(inMempool, one.by, entry)
      else if (one.kind === 'confirmed') addTo(inBlocks, one.in, entry)
      else {
        entry.isComplete = true
        entry.output = 'unspent'
        entry.askedAt = since
      }
    }
    for (const [txid, spent] of inMempool) await this.#recordMempool(txid, spent, since, lane)
    for (const [hash, spent] of inBlocks) await this.#recordDeep(hash, spent, since, lane)
    return gone
  }

  async #recordMempool(txid: Txid, entries: readonly Entry[], since: number, lane: Lane): Promise<void> {
    const { api, recorder } = this.#deps
    const rawTx = await this.#ask(lane, () => api.mempoolTransaction(txid))
    if (!rawTx) return // gone again
    await lane.piece(() => {
      const still = entries.filter((entry) => this.#book.isStill(entry, since))
      const spent = recorder.recordMempool(
        txid,
        rawTx,
        still.map(({ outpoint }) => outpoint),
      )
      this.#reread(spent, true)
    })
  }

  /** The spends in a block that the node's own index of spends named. */
  async #recordDeep(hash: BlockHash, entries: readonly Entry[], since: number, lane: Lane): Promise<void> {
    const { db, api, indexer, recorder } = this.#deps
    const height = await this.#ask(lane, () => api.blockHeight(hash))
    const spends = await this.#spendsIn(
      hash,
      entries.map(({ outpoint }) => outpoint),
      lane,
    )
    await lane.piece(() => {
      const still = entries.filter(({ outpoint }) => spends.has(outpoint))
      for (const entry of still) if (!this.#book.isStill(entry, since)) spends.delete(entry.outpoint)
      if (readBlockHash(db, height) === hash) {
        recorder.recordConfirmed(spends, height)
        this.#reread(spends.keys(), true)
      } else if (readBlockHeight(db, hash) === undefined && height < (indexer.scannedFrom() ?? 0)) {
        const state = { kind: 'confirmed' as const, height, blockHash: hash }
        const firstSeenS = Math.floor(this.#deps.clock.nowMs() / 1000)
        for (const [outpoint, { txid, vin, rawTx }] of spends) {
          const entry = this.#book.get(outpoint)
          if (!entry) continue
          this.#transactions.keepDeep(txid, rawTx)
          entry.deep = { txid, vin, bytes: rawTx.length, state, firstSeenS }
          entry.isComplete = true
        }
      } // else of a branch that we don't follow: asked again
    })
  }

  /** Looks for spends of what is gone in the blocks of the retention, and records them. */
  async #lookBack(gone: readonly Gone[], lane: Lane): Promise<void> {
    const { db, recorder, indexer } = this.#deps
    const byHeight = new Map<Height, Set<Outpoint>>()
    for (const group of await this.#byBucket(gone, lane)) {
      const keys = group.map(({ key }) => key)
      const bottom = readIndexedFrom(db) ?? Number.POSITIVE_INFINITY
      for (let to = indexer.tip()?.height ?? 0; to >= bottom; to -= LIMITS.indexedBlocks) {
        await lane.piece(() => {
          const heights = { from: Math.max(bottom, to - LIMITS.indexedBlocks + 1), to }
          findCandidates(db, keys, heights, (index, height) => {
            const candidates = byHeight.get(height) ?? new Set()
            byHeight.set(height, candidates.add(group[index]!.outpoint))
          })
        })
      }
    }
    for (const [height, candidates] of byHeight) {
      const hash = readBlockHash(db, height)
      if (!hash) continue
      const spends = [...(await this.#spendsIn(hash, [...candidates], lane))]
      for (let i = 0; i < spends.length; i += WORK_LIMITS.pieceOutpoints) {
        await lane.piece(() => {
          // A reorg meanwhile: tracked already, the spend is recorded when its new block is connected.
          if (readBlockHash(db, height) !== hash) return
          const some = new Map(spends.slice(i, i + WORK_LIMITS.pieceOutpoints))
          recorder.recordConfirmed(some, height)
          this.#reread(some.keys(), false)
        })
      }
    }
  }

  /** Who spends `outpoints` in the block, read once. */
  async #spendsIn(hash: BlockHash, outpoints: readonly Outpoint[], lane: Lane): Promise<Map<Outpoint, Spender>> {
    lane.charge(PRICES.block)
    const spenders = await this.#ask(lane, () => this.#deps.api.spendersInBlock(hash, outpoints))
    return new Map(spenders.flatMap((by, i) => (by ? [[outpoints[i]!, by] as const] : [])))
  }

  /** By the part of the index in which their keys are. */
  async #byBucket(gone: readonly Gone[], lane: Lane): Promise<{ outpoint: Outpoint; key: OutpointKey }[][]> {
    const groups = new Map<number, { outpoint: Outpoint; key: OutpointKey }[]>()
    for (let i = 0; i < gone.length; i += WORK_LIMITS.pieceOutpoints) {
      await lane.piece(() => {
        for (const { entry } of gone.slice(i, i + WORK_LIMITS.pieceOutpoints)) {
          const key = this.#deps.recorder.keys.of(entry.outpoint)
          addTo(groups, bucketOf(key.hi), { outpoint: entry.outpoint, key })
        }
      })
    }
    return [...groups.values()]
  }

  /** Spends of these were recorded. `areAll`: there is no other in the chain. */
  #reread(outpoints: Iterable<Outpoint>, areAll: boolean): void {
    for (const outpoint of outpoints) {
      const entry = this.#book.get(outpoint)
      if (!entry) continue
      entry.spends = undefined
      entry.isComplete ||= areAll
    }
  }
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
