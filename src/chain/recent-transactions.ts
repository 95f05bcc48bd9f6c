/** Raw transactions as the publisher gave them, or bitcoind: the newest, until somebody asks for them. */
import type { Txid } from './types.ts'

const LIMITS = {
  /** Kept from the publisher until their event comes: half a second of the busiest hours. */
  transactions: 1_000,
  bytes: 4_000_000,
}

export class RecentTransactions {
  readonly #raws = new Map<Txid, Buffer>()
  #bytes = 0

  add(txid: Txid, raw: Buffer): void {
    if (this.#raws.has(txid)) return
    this.#raws.set(txid, raw)
    this.#bytes += raw.length
    for (const [oldest, { length }] of this.#raws) {
      if (this.#raws.size <= LIMITS.transactions && this.#bytes <= LIMITS.bytes) break
      this.#raws.delete(oldest)
      this.#bytes -= length
    }
  }

  get(txid: Txid): Buffer | undefined {
    return this.#raws.get(txid)
  }
}
