/**
 * Who spends this outpoint? Answers from the recorded spends; an outpoint asked about for the first time is looked for
 * backwards, in the retention's blocks and the mempool, and watched from then on. Strangers can't make bitcoind work
 * without bound: few look-ups at once, a short queue, and none for an outpoint already watched.
 */
import type { NodeApi } from '../chain/node-reader.ts'
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import type { Db } from '../store/open.ts'
import { type RecordedSpend, readSpends } from '../store/spends.ts'
import { countWatches, hasWatch } from '../store/watches.ts'

export const LIMITS = {
  /** Look-ups at work: each reads 4,032 index rows and rarely a block from bitcoind. */
  lookUpsAtOnce: 2,
  /** Look-ups waiting; at about 5 ms each the last one waits a third of a second. Beyond it: `busy`. */
  lookUpsQueued: 64,
  /** Blocks a v1 `Watch` keeps watching: two weeks. */
  watchBlocks: 2_016,
}

export class Watcher {
  readonly #db: Db
  readonly #indexer: Indexer
  readonly #api: NodeApi
  readonly #watchesMax: number
  readonly #underWay = new Map<string, Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #working = 0

  constructor(db: Db, indexer: Indexer, api: NodeApi, watchesMax: number) {
    this.#db = db
    this.#indexer = indexer
    this.#api = api
    this.#watchesMax = watchesMax
  }

  /**
   * Every known spend of `outpoint`, the one that counts first; watches it from now on. Only to be called while synced.
   * Throws PeerFault `limit` (too many watches), `busy` (too many look-ups, or bitcoind is away).
   */
  async watch(outpoint: Outpoint, tipHeight: Height): Promise<RecordedSpend[]> {
    const isWatched = hasWatch(this.#db, outpoint)
    if (!isWatched) {
      if (countWatches(this.#db) + this.#underWay.size >= this.#watchesMax) {
        throw new PeerFault(
          'limit',
          `this tracker watches ${this.#watchesMax} outpoints already: try again in some hours`,
        )
      }
      await this.#lookBackOnce(outpoint)
    }
    this.#indexer.keepWatch(outpoint, tipHeight + LIMITS.watchBlocks)
    return readSpends(this.#db, outpoint)
  }

  #lookBackOnce(outpoint: Outpoint): Promise<void> {
    const name = formatOutpoint(outpoint)
    let lookUp = this.#underWay.get(name)
    if (!lookUp) {
      lookUp = this.#lookBack(outpoint).finally(() => this.#underWay.delete(name))
      this.#underWay.set(name, lookUp)
    }
    return lookUp
  }

  async #lookBack(outpoint: Outpoint): Promise<void> {
    if (this.#working >= LIMITS.lookUpsAtOnce) {
      if (this.#waiting.length >= LIMITS.lookUpsQueued) {
        throw new PeerFault('busy', `${LIMITS.lookUpsQueued} look-ups are waiting already: try again in a second`)
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#working++
    }
    try {
      this.#indexer.track(outpoint) // first, so that nothing that happens during the look-up is missed
      await this.#indexer.lookBack(outpoint, this.#api)
    } catch (error) {
      this.#indexer.untrack(outpoint)
      if (!(error instanceof TransientError)) throw error
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    } finally {
      const next = this.#waiting.shift() // our place goes to the next one
      if (next) next()
      else this.#working--
    }
  }
}
