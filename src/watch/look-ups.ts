/**
 * Finds out where outpoints stand, of which nothing is known yet or no more: bitcoind is asked, then the index of what
 * was spent, then the blocks it names. Strangers can't make bitcoind work without bound: every question waits for its turn
 * in the order of `wire/work.ts`, is about a few outpoints, and is left out when somebody else has had the answer meanwhile.
 */
import type { Found } from '../chain/mempool.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import type { OutpointKey } from '../chain/outpoint-keys.ts'
import type { BlockHash, Height, Outpoint, Spender, Txid } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import { bucketOf } from '../store/local/packed-keys.ts'
import { type RecordedSpend, readSpends } from '../store/local/spends.ts'
import { findCandidates } from '../store/local/spent-keys.ts'
import { readBlockHash } from '../store/local/tip.ts'
import type { Db } from '../store/open.ts'
import { type Lane, PRICES, WORK_LIMITS } from '../wire/work.ts'
import type { Clock } from '../world.ts'
import type { Book, Entry } from './book.ts'
import type { SpendRecorder } from './recorder.ts'
import type { Settling } from './settling.ts'
import type { Output } from './spend.ts'
import type { Transactions } from './transactions.ts'

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

/** What is spent, or may have been: by whom must be found out yet. */
interface Rest {
  since: number
  gone: Gone[]
  inMempool: Map<Txid, Entry[]>
  inBlocks: Map<BlockHash, Entry[]>
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
      const heard = await this.#ask(lane, () => this.#look(some.map(entryOf)))
      const rest = heard && (heard.rest ?? (await this.#noteLater(heard.look)))
      if (!rest) continue
      gone.push(...rest.gone)
      for (const [txid, entries] of rest.inMempool) await this.#recordMempool(txid, entries, rest.since, lane)
      for (const [hash, entries] of rest.inBlocks) await this.#recordDeep(hash, entries, rest.since, lane)
    }
    await this.#lookBack(gone, lane)
    for (const { entry, since } of gone) if (this.#book.isStill(entry, since)) this.#noteOutput(entry, 'absent', since)
  }

  /** A question to bitcoind, in its turn. What it answers is noted before the next one begins, which may do without. */
  async #ask<T>(lane: Lane, question: () => Promise<T>): Promise<T> {
    try {
      return await lane.ask(question)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    }
  }

  /** Undefined when all are known by now. Without `rest`: bitcoind spoke at another block than our tip. */
  async #look(entries: readonly Entry[]): Promise<{ look: Look; rest: Rest | undefined } | undefined> {
    const { api, recorder, indexer } = this.#deps
    const open = [...new Set(entries)].filter((entry) => !this.isKnown(entry))
    if (open.length === 0) return undefined
    const since = this.#book.moves
    const before = indexer.tip()?.hash
    const { at, found } = await api.look(open.map(({ outpoint }) => outpoint))
    recorder.expect(found.flatMap((one) => (one.kind === 'mempool' ? [one.by] : []))) // at once, see there
    const look = { entries: open, at, found, since, before }
    return { look, rest: this.#noteAtTip(look) }
  }

  /** The same when bitcoind spoke at a block that we are still connecting, or have left behind meanwhile. */
  async #noteLater(look: Look): Promise<Rest | undefined> {
    const tipHash = () => this.#deps.indexer.tip()?.hash
    await this.#deps.settling.until(() => tipHash() === look.at || tipHash() !== look.before)
    return this.#noteAtTip(look)
  }

  /** Notes what was heard, if that is true at our tip; returns what has to be looked at further. */
  #noteAtTip({ entries, at, found, since }: Look): Rest | undefined {
    if (this.#deps.indexer.tip()?.hash !== at) return undefined
    const rest: Rest = { since, gone: [], inMempool: new Map(), inBlocks: new Map() }
    for (const [i, one] of found.entries()) {
      const entry = entries[i]!
      if (!this.#book.isStill(entry, since)) continue
      if (one.kind === 'mempool') addTo(rest.inMempool, one.by, entry)
      else if (one.kind === 'confirmed') addTo(rest.inBlocks, one.in, entry)
      else if (one.kind === 'absent' && !entry.isComplete) rest.gone.push({ entry, since })
      else this.#noteOutput(entry, one.kind, since)
    }
    return rest
  }

  #noteOutput(entry: Entry, output: Output, since: number): void {
    entry.isComplete = true
    if (output === 'absent') entry.deep = undefined // if there was one, the node knows it no more
    entry.output = output
    entry.askedAt = since
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
      } else if (height < (indexer.scannedFrom() ?? 0)) {
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
    const { db, recorder } = this.#deps
    const byHeight = new Map<Height, Set<Outpoint>>()
    for (const group of await this.#byBucket(gone, lane)) {
      await lane.piece(() => {
        if (group.every(({ entry }) => entry.isComplete)) return // somebody else has looked meanwhile
        const keys = group.map(({ key }) => key)
        findCandidates(db, keys, (index, height) => {
          const candidates = byHeight.get(height) ?? new Set()
          byHeight.set(height, candidates.add(group[index]!.entry.outpoint))
        })
      })
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
  async #byBucket(gone: readonly Gone[], lane: Lane): Promise<{ entry: Entry; key: OutpointKey }[][]> {
    const groups = new Map<number, { entry: Entry; key: OutpointKey }[]>()
    for (let i = 0; i < gone.length; i += WORK_LIMITS.pieceOutpoints) {
      await lane.piece(() => {
        for (const { entry } of gone.slice(i, i + WORK_LIMITS.pieceOutpoints)) {
          const key = this.#deps.recorder.keys.of(entry.outpoint)
          addTo(groups, bucketOf(key.hi), { entry, key })
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
