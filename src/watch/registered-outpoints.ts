/**
 * The registered outpoints, everybody's, by their keys alone: there may be ten million. A key is a candidate; whether an
 * outpoint is registered is what its row says, or that it waits for one. Also which connection has registered which, for
 * as long as both last.
 */
import { KeyTable } from '../chain/key-table.ts'
import type { OutpointKeys } from '../chain/outpoint-keys.ts'
import { formatOutpoint, type Outpoint } from '../chain/types.ts'
import type { Db } from '../store/open.ts'
import { eachRegistration, readRegistration } from '../store/shared/registrations.ts'
import type { Clock } from '../world.ts'
import type { Subscription } from './subscription.ts'

export class RegisteredOutpoints {
  readonly #db: Db
  readonly #keys: OutpointKeys
  readonly #table = new KeyTable()
  /** `txid:vout` of those whose row is on its way: as many as requests have just now. */
  readonly #unwritten = new Set<string>()
  /** Connections that have registered something. */
  readonly #clients = new Set<Subscription>()
  #revision = 0
  /** How long it took to read those that have rows, ms. */
  readonly readMs: number

  constructor(db: Db, keys: OutpointKeys, clock: Clock) {
    this.#db = db
    this.#keys = keys
    const startMs = clock.monotonicMs()
    eachRegistration(db, (txid, vout) => {
      const { hi, lo } = keys.ofHex(txid, vout)
      this.#table.add(hi, lo)
    })
    this.readMs = clock.monotonicMs() - startMs
  }

  get size(): number {
    return this.#table.size
  }

  /** Changes whenever an outpoint is added: hits found before may lack one. */
  get revision(): number {
    return this.#revision
  }

  /** The row is read only where the key is there. */
  has(outpoint: Outpoint): boolean {
    const { hi, lo } = this.#keys.of(outpoint)
    if (!this.#table.has(hi, lo)) return false
    return this.#unwritten.has(formatOutpoint(outpoint)) || readRegistration(this.#db, outpoint) !== undefined
  }

  /** Its row is on its way: see `written`. */
  add(outpoint: Outpoint): void {
    if (this.has(outpoint)) return
    const { hi, lo } = this.#keys.of(outpoint)
    this.#table.add(hi, lo)
    this.#unwritten.add(formatOutpoint(outpoint))
    this.#revision++
  }

  /** Its row is there. */
  written(outpoint: Outpoint): void {
    this.#unwritten.delete(formatOutpoint(outpoint))
  }

  /** It was registered; whether the row is gone already doesn't matter. */
  delete(outpoint: Outpoint): void {
    const { hi, lo } = this.#keys.of(outpoint)
    if (!this.#table.delete(hi, lo)) return
    this.#unwritten.delete(formatOutpoint(outpoint))
    for (const { registered } of this.#clients) registered.delete(hi, lo)
  }

  /** Calls `onHit` with the number of each of the keys in `words` (2 words each: high, low) that a registered one has. */
  hits(words: Uint32Array, onHit: (index: number) => void): void {
    this.#table.hits(words, onHit)
  }

  // ---- whose they are ----

  /** `client` has registered it. */
  claim(outpoint: Outpoint, client: Subscription): void {
    if (client.isOver) return
    const { hi, lo } = this.#keys.of(outpoint)
    if (!client.registered.has(hi, lo)) client.registered.add(hi, lo)
    this.#clients.add(client)
  }

  isOf(outpoint: Outpoint, client: Subscription): boolean {
    const { hi, lo } = this.#keys.of(outpoint)
    return client.registered.has(hi, lo) && this.has(outpoint)
  }

  leave(client: Subscription): void {
    this.#clients.delete(client)
  }
}
