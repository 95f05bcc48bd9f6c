/**
 * The node's mempool as a set of txids that is kept equal to it: by the events that bitcoind publishes, and by listing
 * the whole and taking the difference, which heals whatever the events have missed and serves alone where there are
 * none. Lives in the node thread.
 *
 * Who has left is told only at the block that the index has connected: a transaction that a block took is not in the
 * mempool either, and must never look as if it had been dropped. Until then the leave is withheld.
 */
import { Bell } from '../concurrency.ts'
import { ConfigError, TransientError } from '../errors.ts'
import { type Clock, systemClock } from '../world.ts'
import { type ScannedTx, scanTransaction, spenderOf, txidOf } from './decode.ts'
import type { OutpointKeys } from './outpoint-keys.ts'
import { type BitcoindRpc, RPC_CODES } from './rpc.ts'
import type { BlockHash, Outpoint, Spender, Txid } from './types.ts'
import type { MempoolEvent } from './zmq.ts'

const LIMITS = {
  /** Transactions a batch: 100 × 0.5 kB as a rule, 100 × 0.8 MB of hex at the very worst. */
  batch: 100,
  /** Transactions handed over at once, so that the main thread is never busy with them for long. */
  chunk: 1_000,
  /** Transactions known at the most: ten times a full default mempool (300 MB); 64 hex digits each, about 100 bytes. */
  known: 1_000_000,
  /** Without a sign of life from the publisher the mempool is listed this often; main has seconds like that rarely. */
  quietMs: 1_000,
  /** With one it is listed this often all the same: no event that was missed stays missed for longer. */
  relistMs: 10_000,
  /** Listing a large mempool costs the node too: it rests at least this many times what the last one took. */
  restFactor: 4,
  /** Raw transactions kept from the publisher until their event comes: half a second of the busiest hours. */
  recent: 1_000,
  recentBytes: 4_000_000,
  /** `look` asks again when the mempool moved between its questions; it moves about seven times a second. */
  lookTries: 5,
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

/** Where an outpoint stands according to the node. */
export type Found =
  | { kind: 'unspent' }
  /** By a transaction of the mempool. */
  | { kind: 'mempool'; by: Spender }
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
  readonly #known = new Set<Txid>()
  /** In the mempool, still to be fetched and told. */
  readonly #fresh = new Set<Txid>()
  /** Known or looked up, no longer in the mempool, still to be told. */
  readonly #leaving = new Set<Txid>()
  /** Spenders told of outside `changes`: their leaving must be told even if they never were in one. */
  readonly #lookedUp = new Set<Txid>()
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

  constructor(rpc: BitcoindRpc, keys: OutpointKeys, clock: Clock = systemClock) {
    this.#rpc = rpc
    this.#keys = keys
    this.#clock = clock
  }

  // ---- what the publisher says ----

  onEvent(event: MempoolEvent): void {
    this.#signAtMs = this.#clock.monotonicMs()
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
    if (!this.#known.has(txid)) this.#fresh.add(txid)
  }

  #leave(txid: Txid): void {
    this.#fresh.delete(txid)
    if (this.#known.has(txid) || this.#lookedUp.has(txid)) this.#leaving.add(txid)
  }

  // ---- what the index is told ----

  /** `tip`: the block the index is at. */
  async changes(tip: BlockHash | undefined): Promise<MempoolChanges> {
    if (this.#isTimeToList()) await this.#list()
    const added = await this.#fetchFresh()
    const removed = this.#leaving.size > 0 && (await this.#rpc.bestBlockHash()) === tip ? this.#takeLeaving() : []
    const isComplete = this.#fresh.size === 0
    const isWithheld = this.#leaving.size > 0
    return {
      added,
      removed,
      isComplete,
      isWithheld,
      ...(isComplete && !isWithheld && this.#listedAt !== undefined && { settledAt: this.#listedAt }),
      size: this.#known.size + this.#fresh.size - this.#leaving.size,
    }
  }

  #takeLeaving(): Txid[] {
    const removed = [...this.#leaving]
    for (const txid of removed) {
      this.#known.delete(txid)
      this.#lookedUp.delete(txid)
    }
    this.#leaving.clear()
    return removed
  }

  #isTimeToList(): boolean {
    if (this.#fresh.size > 0 && !this.#isListDue) return false
    const nowMs = this.#clock.monotonicMs()
    if (this.#isListDue) return true
    if (nowMs - this.#listedAtMs < LIMITS.restFactor * this.#listMs) return false
    return (
      nowMs - Math.max(this.#signAtMs, this.#listedAtMs) >= LIMITS.quietMs ||
      nowMs - this.#listedAtMs >= LIMITS.relistMs
    )
  }

  async #list(): Promise<void> {
    const startMs = this.#clock.monotonicMs()
    this.#isListDue = false
    this.#during = []
    try {
      const before = await this.#rpc.bestBlockHash()
      const { txids, sequence } = await this.#rpc.mempoolTxids()
      const after = await this.#rpc.bestBlockHash()
      if (this.#known.size + txids.length > LIMITS.known) {
        throw new ConfigError(
          `bitcoind's mempool has ${txids.length} transactions, more than ${LIMITS.known}: lower its maxmempool`,
        )
      }
      this.#difference(txids)
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

  #difference(listed: readonly Txid[]): void {
    // As a rule only new ones come: who has left is looked for when the count says that somebody has.
    let stayed = 0
    for (const txid of listed) {
      if (this.#known.has(txid)) stayed++
      else this.#fresh.add(txid)
      this.#leaving.delete(txid)
    }
    if (stayed === this.#known.size && this.#fresh.size + stayed === listed.length && this.#lookedUp.size === 0) return
    const present = new Set(listed)
    for (const txid of this.#known) if (!present.has(txid)) this.#leaving.add(txid)
    for (const txid of this.#lookedUp) if (!present.has(txid)) this.#leaving.add(txid)
    for (const txid of this.#fresh) if (!present.has(txid)) this.#fresh.delete(txid)
  }

  async #fetchFresh(): Promise<ScannedTx[]> {
    const added: ScannedTx[] = []
    while (this.#fresh.size > 0 && added.length < LIMITS.chunk) {
      const batch: Txid[] = []
      for (const txid of this.#fresh) {
        if (batch.push(txid) >= LIMITS.batch) break
      }
      const raws = await this.#transactions(batch)
      for (const [i, txid] of batch.entries()) {
        const raw = raws[i]
        // Gone between the two calls (replaced, evicted, mined), or its leave was told meanwhile.
        if (!this.#fresh.delete(txid) || raw === undefined) continue
        this.#known.add(txid)
        this.#lookedUp.delete(txid)
        added.push(scanTransaction(txid, raw, this.#keys))
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
   * Where each of `outpoints` stands at block `at`, the mempool included. A spender told here is held from now on: when it
   * leaves the mempool, `changes` says so, however short it was there.
   */
  async look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }> {
    for (let tries = 1; tries <= LIMITS.lookTries; tries++) {
      const at = await this.#rpc.bestBlockHash()
      const found = await this.#lookOnce(outpoints)
      const isStill = found?.every((one) => one.kind !== 'mempool' || this.#isHeld(one.by.txid)) ?? false
      if (found && isStill && (await this.#rpc.bestBlockHash()) === at) return { at, found }
    }
    throw new TransientError('the mempool moves too fast to be asked')
  }

  #isHeld(txid: Txid): boolean {
    return (this.#known.has(txid) || this.#lookedUp.has(txid)) && !this.#leaving.has(txid)
  }

  /** Undefined when a spender left between two questions. */
  async #lookOnce(outpoints: readonly Outpoint[]): Promise<Found[] | undefined> {
    const exist = await this.#rpc.areUnspent(outpoints)
    const found = exist.map((isUnspent): Found => (isUnspent ? { kind: 'unspent' } : { kind: 'absent' }))
    const gone = outpoints.flatMap((outpoint, i) => (exist[i] ? [] : [{ outpoint, i }]))
    if (gone.length === 0) return found
    const spenders = await this.#rpc.spenders(gone.map(({ outpoint }) => outpoint))
    for (const spender of spenders) {
      if (!spender || spender.blockHash !== undefined || this.#known.has(spender.txid)) continue
      this.#lookedUp.add(spender.txid)
      this.#enter(spender.txid)
      this.bell.ring()
    }
    const txids = [...new Set(spenders.flatMap((spender) => (spender && !spender.blockHash ? [spender.txid] : [])))]
    const raws = await this.#transactions(txids)
    for (const [k, { outpoint, i }] of gone.entries()) {
      const spender = spenders[k]
      if (!spender) continue
      if (spender.blockHash !== undefined) {
        found[i] = { kind: 'confirmed', in: spender.blockHash }
        continue
      }
      const raw = raws[txids.indexOf(spender.txid)]
      const by = raw && spenderOf(raw, outpoint)
      if (!by) return undefined
      found[i] = { kind: 'mempool', by }
    }
    // A spender that left between the first question and the second has given its outpoint free.
    const absent = gone.filter(({ i }) => found[i]!.kind === 'absent')
    const again = await this.#rpc.areUnspent(absent.map(({ outpoint }) => outpoint))
    return again.some(Boolean) ? undefined : found
  }
}

/** Raw transactions as the publisher gave them, the newest; bounded in number and bytes. */
class RecentTransactions {
  readonly #raws = new Map<Txid, Buffer>()
  #bytes = 0

  add(txid: Txid, raw: Buffer): void {
    if (this.#raws.has(txid)) return
    this.#raws.set(txid, raw)
    this.#bytes += raw.length
    for (const [oldest, { length }] of this.#raws) {
      if (this.#raws.size <= LIMITS.recent && this.#bytes <= LIMITS.recentBytes) break
      this.#raws.delete(oldest)
      this.#bytes -= length
    }
  }

  get(txid: Txid): Buffer | undefined {
    return this.#raws.get(txid)
  }
}
