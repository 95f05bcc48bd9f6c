/**
 * The answers to `BondProof`: a bond's transaction with what proves to a client with headers alone that it is in its
 * block. It reaches bitcoind, as watching and `Post` do, so: only for bonds we know, in turn, and kept.
 * A proof belongs to a transaction and a block and never changes; after a reorg the store names another block.
 */
import type { NodeApi } from '../chain/node-reader.ts'
import { type BlockRef, formatOutpoint, type Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import { readBondBlock } from '../store/local/bonds.ts'
import type { Db } from '../store/open.ts'
import { encodeReply } from './messages.ts'
import { type Lane, PRICES } from './work.ts'

export const BOND_PROOF_LIMITS = {
  /** Encoded proofs kept. One takes about a kilobyte: these are all bonds of a large market. */
  keptBytes: 4_194_304,
}

export class BondProofs {
  readonly #db: Db
  readonly #api: Pick<NodeApi, 'txProof'>
  /** By outpoint and block; the one not asked for longest comes first. */
  readonly #kept = new Map<string, Buffer>()
  #keptBytes = 0
  /** What is being fetched, for all whose turn it is and who ask for the same. */
  readonly #underWay = new Map<string, Promise<Buffer>>()

  constructor({ db, api }: { db: Db; api: Pick<NodeApi, 'txProof'> }) {
    this.#db = db
    this.#api = api
  }

  /** The encoded reply. Throws PeerFault. */
  async read(outpoint: Outpoint, lane: Lane): Promise<Buffer> {
    const block = readBondBlock(this.#db, outpoint)
    if (!block) throw new PeerFault('not_found', `${formatOutpoint(outpoint)} is no confirmed bond known here`)
    const name = `${formatOutpoint(outpoint)} ${block.hash}`
    const kept = this.#recall(name)
    if (kept) return kept
    lane.charge(PRICES.block)
    try {
      return await lane.ask(() => this.#fetchOnce(outpoint, block, name))
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    }
  }

  /** Others may have fetched it while this one waited, or be about to. */
  #fetchOnce(outpoint: Outpoint, block: BlockRef, name: string): Promise<Buffer> {
    const kept = this.#recall(name)
    if (kept) return Promise.resolve(kept)
    let fetching = this.#underWay.get(name)
    if (!fetching) {
      fetching = this.#fetch(outpoint, block, name).finally(() => this.#underWay.delete(name))
      this.#underWay.set(name, fetching)
    }
    return fetching
  }

  async #fetch({ txid }: Outpoint, block: BlockRef, name: string): Promise<Buffer> {
    const proof = await this.#api.txProof(txid, block.hash)
    if (!proof) throw new PeerFault('not_found', `bitcoind no longer has block ${block.height}: it was pruned`)
    const encoded = encodeReply({ type: 'BondProof', height: block.height, ...proof })
    this.#keep(name, encoded)
    return encoded
  }

  #recall(name: string): Buffer | undefined {
    const encoded = this.#kept.get(name)
    if (!encoded) return undefined
    this.#kept.delete(name)
    this.#kept.set(name, encoded)
    return encoded
  }

  #keep(name: string, encoded: Buffer): void {
    if (encoded.length > BOND_PROOF_LIMITS.keptBytes) return
    this.#kept.set(name, encoded)
    this.#keptBytes += encoded.length
    for (const [oldest, { length }] of this.#kept) {
      if (this.#keptBytes <= BOND_PROOF_LIMITS.keptBytes) return
      this.#kept.delete(oldest)
      this.#keptBytes -= length
    }
  }
}
