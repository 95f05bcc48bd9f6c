/**
 * The raw transactions that spend what somebody watches, for those who are told: from the database, and those of blocks
 * below all that was scanned, which stand in no row, from a small memory.
 */
import type { Txid } from '../chain/types.ts'
import { PeerFault } from '../errors.ts'
import { readSpenderTx } from '../store/local/spends.ts'
import type { Db } from '../store/open.ts'
import { type Lane, WORK_LIMITS } from '../wire/work.ts'
import type { Entry } from './book.ts'

export const TRANSACTION_LIMITS = {
  /** In one reply, each counted as often as it is sent. The largest there can be takes 4 MB. */
  replyBytesMax: 8_388_608,
  /** Read in one piece: a millisecond. */
  pieceBytes: 1_048_576,
  /** Of deep spends, kept until others need the room; then bitcoind is asked again. Four replies. */
  deepBytes: 4 * 8_388_608,
}

export class Transactions {
  readonly #db: Db
  readonly #deep = new Map<Txid, Buffer>()
  #deepBytes = 0
  /** Read last: thousands may have to be told of one transaction. */
  #last: { txid: Txid; rawTx: Buffer; asOf: number } | undefined

  constructor(db: Db) {
    this.#db = db
  }

  /** Keeps a transaction that no row has. */
  keepDeep(txid: Txid, rawTx: Buffer): void {
    if (this.#deep.has(txid)) return
    this.#deep.set(txid, rawTx)
    this.#deepBytes += rawTx.length
    for (const [oldest, { length }] of this.#deep) {
      if (this.#deepBytes <= TRANSACTION_LIMITS.deepBytes) return
      this.#deep.delete(oldest)
      this.#deepBytes -= length
    }
  }

  hasDeep(txid: Txid): boolean {
    return this.#deep.has(txid)
  }

  /** Undefined when it has been forgotten meanwhile. `asOf`: the book's moves. */
  read(txid: Txid, asOf: number): Buffer | undefined {
    if (this.#last?.txid === txid && this.#last.asOf === asOf) return this.#last.rawTx
    const rawTx = this.#deep.get(txid) ?? readSpenderTx(this.#db, txid)
    this.#last = rawTx && { txid, rawTx, asOf }
    return rawTx
  }

  /** What is told of `entries`, which are known, each transaction read once; piece by piece. */
  async gather(entries: Iterable<Entry>, asOf: number, lane: Lane): Promise<Map<Txid, Buffer>> {
    const bytes = new Map<Txid, number>()
    for (const entry of entries) {
      const first = spenderThatCounts(entry)
      if (first) bytes.set(first.txid, first.bytes)
    }
    const gathered = new Map<Txid, Buffer>()
    const wanted = [...bytes]
    while (wanted.length > 0) {
      await lane.piece(() => {
        let left = TRANSACTION_LIMITS.pieceBytes
        for (const [txid, size] of wanted.splice(-WORK_LIMITS.pieceOutpoints)) {
          if (left > 0) {
            const rawTx = this.read(txid, asOf)
            if (rawTx) gathered.set(txid, rawTx)
            left -= size
          } else wanted.push([txid, size])
        }
      })
    }
    return gathered
  }
}

/** What is told of the entry beside its state; undefined while no spend is known. */
export function spenderThatCounts(entry: Entry) {
  return entry.deep ?? entry.spends?.[0]
}

/** Counts the bytes of transactions in a reply; throws PeerFault when one more is too many. */
export class ReplySize {
  #bytes = 0

  add(entry: Entry): void {
    this.#bytes += spenderThatCounts(entry)?.bytes ?? 0
    if (this.#bytes <= TRANSACTION_LIMITS.replyBytesMax) return
    const message = `the transactions that spend these outpoints take more than the ${TRANSACTION_LIMITS.replyBytesMax} bytes that one reply may have: ask about fewer at once`
    throw new PeerFault('limit', message)
  }
}
