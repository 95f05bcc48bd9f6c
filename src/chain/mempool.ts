/**
 * The node's mempool as a set of txids that is kept equal to it: by the events that bitcoind publishes, and by listing
 * the whole and taking the difference, which heals whatever the events have missed and serves alone where there are
 * none. Lives in the node thread.
 *
 * Who has left is told only at the block that the index has connected: a transaction that a block took is not in the
 * mempool either, and must never look as if it had been dropped. Until then the leave is withheld.
 */
import { Bell } from '../concurrency.ts'
import { TransientError } from '../errors.ts'
import { type Clock, systemClock } from '../world.ts'
import { type ScannedTx, scanTransaction, txidOf } from './decode.ts'
import type { OutpointKeys } from './outpoint-keys.ts'
import { RecentTransactions } from './recent-transactions.ts'
import { type BitcoindRpc, RPC_CODES } from './rpc.ts'
import { TxidKey, TxidSet } from './txid-set.ts'
import { type BlockHash, canExist, type Outpoint, type Txid } from './types.ts'
import type { MempoolEvent } from './zmq.ts'

const LIMITS = {
  /**
   * Transactions a batch: 100 × 0.5 kB as a rule, 100 × 0.8 MB of hex where bitcoind keeps its standards. Where it takes
   * transactions of up to 4 MB the reply may be too long: after a failure a tenth, then twice as many each time.
   */
  batch: 100,
  /** Transactions handed over at once, come or gone, so that the main thread is never busy with them for long. */
  chunk: 1_000,
  /** So few come along in full: whoever of them spends what is watched needn't be asked for. Of thousands it is a waste. */
  inFull: 20,
  inFullBytes: 50_000,
  /** Transactions followed at the most: some times a full default mempool (300 MB); about 45 bytes each. */
  known: 1_000_000,
  /** A mempool that is too large is listed again after this: each listing is 70 MB of JSON. */
  tooLargeMs: 30_000,
  /** Without a publisher the mempool is listed this often. */
  pollMs: 150,
  /** Without a sign of life from the publisher it is listed this often; main has seconds like that rarely. */
  quietMs: 1_000,
  /** With one it is listed this often all the same: no event that was missed stays missed for longer. */
  relistMs: 10_000,
  /** Listing a large mempool costs the node too: it rests at least this many times what the last one took. */
  restFactor: 4,
  /** `look` asks again when chain or mempool moved between its questions, and when it met a transaction for the first time. */
  lookTries: 6,
}

export interface MempoolChanges {
  added: ScannedTx[]
  removed: Txid[]
  /** False: more is known to have come; ask again at once. */
  isComplete: boolean
  /** Somebody has left, and is told of once the index is at the node's tip: ask again soon. */
  isWithheld: boolean
  /** The block at which all of the mempool has been told; absent while something is missing. */
  settledAt?: BlockHash
  /** Transactions in the node's mempool. */
  size: number
}

/** Where an outpoint stands according to the node. What rests on the mempool says on which of its transactions. */
export type Found =
  /** `fundedBy`: the transaction that makes it, while that is in the mempool. */
  | { kind: 'unspent'; fundedBy?: Txid }
  /** By this transaction of the mempool. */
  | { kind: 'mempool'; by: Txid }
  /** By a transaction of this block; told by nodes with an index of spends. */
  | { kind: 'confirmed'; in: BlockHash }
  /** It has no such output: not funded, or spent in a block. */
  | { kind: 'absent' }

export class Mempool {
  /** Rings when there may be something new. */
  readonly bell = new Bell()
  readonly #rpc: BitcoindRpc
  readonly #keys: OutpointKeys
  readonly #clock: Clock
  readonly #max: number
  readonly #key: TxidKey
  readonly #known: TxidSet
  /** In the mempool, still to be fetched and told; none of them is known. */
  #fresh: TxidSet
  /** Known or held, no longer in the mempool, still to be told. */
  #leaving: TxidSet
  /**
   * Met by a look before `changes` told of them, each with the number of that look: their leaving is told all the same.
   * All are the node's, so there are never more than it has.
   */
  readonly #held = new Map<Txid, number>()
  #looks = 0
  readonly #recent = new RecentTransactions()
  /** Events that came while a listing was under way. */
  #during: MempoolEvent[] | undefined
  /** Events below this are contained in the last listing. */
  #listedSequence = 0
  #listedAt: BlockHash | undefined
  #isListDue = true
  #listedAtMs = 0
  #listMs = 0
  #signAtMs = 0
  /** The publisher has told of all that came lately: no listing had to. */
  #isHeard = false
  /** Too large when it was listed last: not listed again before this. */
  #restUntilMs = 0
  #restWhy = ''
  #batchMax = LIMITS.batch

  /** `max`: transactions followed. */
  constructor(rpc: BitcoindRpc, keys: OutpointKeys, clock: Clock = systemClock, max = LIMITS.known) {
    this.#rpc = rpc
    this.#keys = keys
    this.#clock = clock
    this.#max = max
    this.#key = new TxidKey(keys)
    this.#known = new TxidSet(this.#key)
    this.#fresh = new TxidSet(this.#key)
    this.#leaving = new TxidSet(this.#key)
  }

  // ---- what the publisher says ----

  onEvent(event: MempoolEvent): void {
    this.#signAtMs = this.#clock.monotonicMs()
    this.#isHeard = true
    if (this.#during) this.#during.push(event)
    else this.#apply(event)
    this.bell.ring()
  }

  onRawTx(raw: Buffer): void {
    this.#recent.add(txidOf(raw), raw)
  }

  /** The chain moved, or events were lost: only a listing tells. */
  onGap(): void {
    this.#isListDue = true
    this.#listedAt = undefined
    this.bell.ring()
  }

  #apply({ kind, txid, mempoolSequence }: MempoolEvent): void {
    if (mempoolSequence < this.#listedSequence) return
    if (kind === 'added') this.#enter(txid)
    else this.#leave(txid)
  }

  #enter(txid: Txid): void {
    this.#leaving.delete(txid)
    if (this.#known.has(txid) || this.#fresh.has(txid)) return
    if (this.#known.size + this.#fresh.size < this.#max) this.#fresh.add(txid)
    else this.#isListDue = true // which says that there are too many
  }

  #leave(txid: Txid): void {
    this.#fresh.delete(txid)
    if (this.#known.has(txid) || this.#held.has(txid)) this.#leaving.add(txid)
  }

  // ---- what the index is told ----

  /**
   * Waits until there may be something new, `maxMs` at the most. While nobody leaves, who has come is told at once;
   * undefined: ask for `changes`.
   */
  async next(maxMs: number): Promise<MempoolChanges | undefined> {
    await this.bell.wait(Math.min(maxMs, this.#listingDueMs()))
    if (this.#fresh.size === 0 || this.#leaving.size > 0 || this.#listingDueMs() === 0) return undefined
    const changes = await this.changes(undefined)
    return { ...changes, isComplete: changes.isComplete && !changes.isWithheld }
  }

  /** `tip`: the block the index is at; without one nobody is told to have left. */
  async changes(tip: BlockHash | undefined): Promise<MempoolChanges> {
    if (this.#isListDue || (this.#fresh.size === 0 && this.#listingDueMs() === 0)) await this.#list()
    const fetched = await this.#fetchFresh()
    const isTold = tip !== undefined && this.#leaving.size > 0 && (await this.#rpc.bestBlockHash()) === tip
    // Whoever is replaced leaves last: with the last of those who have come, or after them.
    const removed = isTold && this.#fresh.size === 0 ? this.#takeLeaving() : []
    const isComplete = this.#fresh.size === 0 && !(isTold && this.#leaving.size > 0)
    const isWithheld = this.#leaving.size > 0
    return {
      added: fetched.filter(({ txid }) => this.#known.has(txid)), // the others have left since they were fetched
      removed,
      isComplete,
      isWithheld,
      ...(isComplete && !isWithheld && this.#listedAt !== undefined && { settledAt: this.#listedAt }),
      size: this.#known.size + this.#fresh.size - this.#leaving.size,
    }
  }

  #takeLeaving(): Txid[] {
    const removed = this.#leaving.some(LIMITS.chunk)
    for (const txid of removed) {
      this.#leaving.delete(txid)
      this.#known.delete(txid)
      this.#held.delete(txid)
    }
    return removed
  }

  /** Milliseconds until the mempool is listed without a reason. */
  #listingDueMs(): number {
    if (this.#isListDue) return 0
    const quietMs = this.#isHeard ? LIMITS.quietMs : LIMITS.pollMs
    const quietAtMs = Math.max(this.#signAtMs, this.#listedAtMs) + quietMs
    const restedAtMs = this.#listedAtMs + LIMITS.restFactor * this.#listMs
    const atMs = Math.max(restedAtMs, Math.min(quietAtMs, this.#listedAtMs + LIMITS.relistMs))
    return Math.max(0, atMs - this.#clock.monotonicMs())
  }

  async #list(): Promise<void> {
    const startMs = this.#clock.monotonicMs()
    if (startMs < this.#restUntilMs) throw new TransientError(this.#restWhy)
    this.#isListDue = false
    this.#during = []
    try {
      const before = await this.#rpc.bestBlockHash()
      const fresh = new TxidSet(this.#key)
      this.#known.unmarkAll()
      const { count, sequence } = await this.#rpc.listMempool((text, at) => {
        if (!this.#key.read(text, at)) return false
        if (!this.#known.mark(this.#key) && fresh.size <= this.#max) fresh.addKey(this.#key)
        return true
      })
      const after = await this.#rpc.bestBlockHash()
      if (count > this.#max) throw this.#tooLarge(count)
      this.#difference(fresh, await this.#known.unmarked())
      this.#listedSequence = sequence
      for (const event of this.#during) this.#apply(event)
      if (!this.#isListDue) this.#listedAt = before === after ? after : undefined
      if (before !== after) this.#isListDue = true
    } catch (error) {
      this.#isListDue = true
      throw error
    } finally {
      this.#during = undefined
    }
    this.#listedAtMs = this.#clock.monotonicMs()
    this.#listMs = this.#listedAtMs - startMs
  }

  /** Nothing is known of such a mempool: watching rests until it is smaller. */
  #tooLarge(size: number): TransientError {
    this.#restUntilMs = this.#clock.monotonicMs() + LIMITS.tooLargeMs
    this.#restWhy = `bitcoind's mempool has ${size} transactions, ${this.#max} can be followed: lower its maxmempool`
    return new TransientError(this.#restWhy)
  }

  /** `fresh`: what the listing has that isn't known; `gone`: what it hasn't of the known, the rest of which is marked. */
  #difference(fresh: TxidSet, gone: TxidSet): void {
    if (fresh.size > 0) this.#isHeard = false
    this.#fresh = fresh
    this.#leaving = gone
    for (const txid of this.#held.keys()) {
      if (!this.#known.isMarked(txid) && !fresh.has(txid)) this.#leaving.add(txid)
    }
  }

  async #fetchFresh(): Promise<ScannedTx[]> {
    const added: ScannedTx[] = []
    const areFew = this.#fresh.size <= LIMITS.inFull
    let bytes = 0
    while (this.#fresh.size > 0 && added.length < LIMITS.chunk) {
      const batch = this.#fresh.some(this.#batchMax)
      let raws: (Buffer | undefined)[]
      try {
        raws = await this.#transactions(batch)
      } catch (error) {
        this.#batchMax = Math.ceil(this.#batchMax / 10)
        if (added.length > 0) return added // known from here on: who is not told of them now never is
        throw error
      }
      this.#batchMax = Math.min(LIMITS.batch, 2 * this.#batchMax)
      for (const [i, txid] of batch.entries()) {
        const raw = raws[i]
        if (!this.#fresh.delete(txid)) continue // it left meanwhile
        if (raw === undefined) {
          this.#leave(txid) // gone between the two calls: replaced, evicted, mined
          continue
        }
        this.#known.add(txid)
        this.#held.delete(txid)
        const scanned = scanTransaction(txid, raw, this.#keys)
        bytes += raw.length
        if (areFew && bytes <= LIMITS.inFullBytes) scanned.raw = Uint8Array.from(raw)
        added.push(scanned)
      }
    }
    return added
  }

  // ---- what is asked about single outpoints and transactions ----

  /** A raw mempool transaction, undefined when it has gone. */
  async transaction(txid: Txid): Promise<Buffer | undefined> {
    return (await this.#transactions([txid]))[0]
  }

  async #transactions(txids: readonly Txid[]): Promise<(Buffer | undefined)[]> {
    const raws = txids.map((txid) => this.#recent.get(txid))
    const missing = txids.filter((_, i) => raws[i] === undefined)
    const entries = await this.#rpc.rawTransactions(missing)
    const fetched = new Map(missing.map((txid, i) => [txid, entries[i]!]))
    return txids.map((txid, i) => {
      const entry = fetched.get(txid)
      if (entry === undefined) return raws[i]
      if ('value' in entry) {
        this.#recent.add(txid, entry.value)
        return entry.value
      }
      if (entry.code === RPC_CODES.notFound) return undefined
      throw new TransientError(`bitcoind can't give transaction ${txid}: code ${entry.code}`)
    })
  }

  /**
   * Where each of `outpoints` stands at block `at`, the mempool included. Whatever is told here of a mempool transaction
   * (it spends an outpoint, it funds one) ends in `changes`: it was held before bitcoind was asked, and still is when this
   * returns. The held check is the last step, with nothing awaited after it: a leave is told after the answer.
   */
  async look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }> {
    for (let tries = 1; tries <= LIMITS.lookTries; tries++) {
      const look = ++this.#looks
      const at = await this.#rpc.bestBlockHash()
      const found = await this.#lookOnce(outpoints)
      const isStill = found !== undefined && (await this.#rpc.bestBlockHash()) === at
      const unheld = (found ?? []).map(restsOn).filter((txid) => txid !== undefined && !this.#isHeldSince(txid, look))
      if (isStill && unheld.length === 0) return { at, found }
      for (const txid of unheld) this.#hold(txid!, look)
    }
    throw new TransientError('chain and mempool move too fast to be asked')
  }

  /** Whether somebody has looked after its leaving since before look number `look` began. */
  #isHeldSince(txid: Txid, look: number): boolean {
    const since = this.#known.has(txid) ? 0 : this.#held.get(txid)
    return since !== undefined && since < look && !this.#leaving.has(txid)
  }

  #hold(txid: Txid, look: number): void {
    if (this.#leaving.has(txid))
      this.#isListDue = true // it has come back, or was never gone: a listing tells
    else if (!this.#held.has(txid)) {
      this.#held.set(txid, look)
      this.#enter(txid)
    }
    this.bell.ring()
  }

  /** Undefined when something moved between two questions. */
  async #lookOnce(outpoints: readonly Outpoint[]): Promise<Found[] | undefined> {
    const asked = outpoints.flatMap((outpoint, i) => (canExist(outpoint) ? [{ outpoint, i }] : []))
    const outputs = await this.#rpc.outputs(asked.map(({ outpoint }) => outpoint))
    const found: Found[] = outpoints.map(() => ({ kind: 'absent' }))
    for (const [k, { outpoint, i }] of asked.entries()) {
      const output = outputs[k]
      if (output) found[i] = { kind: 'unspent', ...(!output.isConfirmed && { fundedBy: outpoint.txid }) }
    }
    const gone = asked.filter((_, k) => !outputs[k])
    if (gone.length === 0) return found
    const spenders = await this.#rpc.spenders(gone.map(({ outpoint }) => outpoint))
    for (const [k, { i }] of gone.entries()) {
      const spender = spenders[k]
      if (!spender) continue
      found[i] = spender.blockHash
        ? { kind: 'confirmed', in: spender.blockHash }
        : { kind: 'mempool', by: spender.txid }
    }
    // A spender that left between the first question and the second has given its outpoint free.
    const absent = gone.filter(({ i }) => found[i]!.kind === 'absent')
    const again = await this.#rpc.outputs(absent.map(({ outpoint }) => outpoint))
    return again.some(Boolean) ? undefined : found
  }
}

/** The mempool transaction that makes it so. */
function restsOn(found: Found): Txid | undefined {
  if (found.kind === 'mempool') return found.by
  return found.kind === 'unspent' ? found.fundedBy : undefined
}
