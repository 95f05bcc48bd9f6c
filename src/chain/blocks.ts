/**
 * One whole block from bitcoind, read where it lies: as it was published, by REST, else by RPC. What doesn't parse, or
 * isn't what its header commits to, is no block: it is asked for another way before anything is believed. Lives in the
 * node thread.
 */

import { BlockUnavailable, describeError, TransientError } from '../errors.ts'
import { assertTransactions, assertWitnesses } from './block-proof.ts'
import {
  assertHeader,
  blockHashOf,
  findSpendersInBlock,
  inputsInBlock,
  MalformedError,
  type ScannedBlock,
  type SpentInput,
  scanBlock,
} from './decode.ts'
import type { OutpointKeys } from './outpoint-keys.ts'
import type { BitcoindRpc } from './rpc.ts'
import type { BlockHash, BlockSource, Height, Outpoint, Spender } from './types.ts'

const LIMITS = {
  /** Blocks read by RPC after REST has failed; doubled each time it fails again, up to the second. */
  restRestsBlocks: 8,
  restRestsBlocksMax: 128,
  /** This near the tip every block is held to its header: a day's worth costs a second or two. */
  provenBlocks: 144,
}

export interface BlockRead {
  block: ScannedBlock
  /** The way blocks come just now; one that came otherwise doesn't change it. */
  source: BlockSource
  /** What REST did wrong when it was asked for this block. */
  restFault?: string
}

/** A block's bytes, lent until `release`. */
interface RawBlock {
  hash: BlockHash
  raw: Buffer
  release(): void
}

const OURS = () => {}

export class Blocks {
  readonly #rpc: BitcoindRpc
  readonly #keys: OutpointKeys
  readonly #rest = new RestTurns()
  /** Hashes of the blocks that are near the tip. */
  #young = new Set<BlockHash>()
  /** The last block scanned or published: who spends what in it is often asked next. */
  #last: RawBlock | undefined

  constructor(rpc: BitcoindRpc, keys: OutpointKeys) {
    this.#rpc = rpc
    this.#keys = keys
  }

  get source(): BlockSource {
    return this.#rest.source
  }

  /** Called after each contact. */
  onContact(hasRest: boolean): void {
    this.#rest.begin(hasRest)
  }

  /** A block as it was published. */
  onPublished(raw: Buffer): void {
    this.#keep({ hash: blockHashOf(raw), raw, release: OURS })
  }

  /** These blocks, from height `from` on, may be asked for next; the tip is at `best`. */
  onHashes(hashes: readonly BlockHash[], from: Height, best: Height): void {
    this.#young = new Set(hashes.filter((_, i) => from + i > best - LIMITS.provenBlocks))
  }

  async scan(hash: BlockHash, { withTxids }: { withTxids: boolean }): Promise<BlockRead> {
    const isYoung = this.#young.has(hash)
    const scanned = (raw: Buffer) => {
      const block = scanBlock(raw, hash, this.#keys, { withTxids })
      if (isYoung || withTxids || block.candidates.length > 0) assertTransactions(raw, block.txids)
      return block
    }
    const { value, restFault } = await this.#read(hash, scanned, (read) => this.#keep(read))
    return { block: value, source: this.source, ...(restFault !== undefined && { restFault }) }
  }

  /** For each of `outpoints` the transaction of block `hash` that spends it. */
  spenders(hash: BlockHash, outpoints: readonly Outpoint[]): Promise<(Spender | undefined)[]> {
    return this.#find(hash, (raw) => findSpendersInBlock(raw, outpoints))
  }

  /** The inputs of block `hash` at `positions`, see `inputsInBlock`. */
  inputs(hash: BlockHash, positions: readonly number[]): Promise<(SpentInput | undefined)[]> {
    return this.#find(hash, (raw) => inputsInBlock(raw, positions))
  }

  async #find<T>(hash: BlockHash, look: (raw: Buffer) => (T | undefined)[]): Promise<(T | undefined)[]> {
    const found = (raw: Buffer) => {
      assertHeader(raw, hash)
      const all = look(raw)
      assertTransactions(raw)
      if (all.some(Boolean)) assertWitnesses(raw) // a preimage is told as it stands there
      return all
    }
    const { value } = await this.#read(hash, found, ({ release }) => release())
    return value
  }

  #keep(block: RawBlock | undefined): void {
    this.#last?.release()
    this.#last = block
  }

  /**
   * Hands the block to `read`, which throws when it isn't one, and then to `onRead` unless it is the one that is kept.
   * Throws BlockUnavailable when it can't be had whole.
   */
  async #read<T>(
    hash: BlockHash,
    read: (raw: Buffer) => T,
    onRead: (block: RawBlock) => void,
  ): Promise<{ value: T; restFault?: string }> {
    const last = this.#last
    if (last?.hash === hash) {
      try {
        return { value: read(last.raw) }
      } catch {
        this.#keep(undefined) // published by whom? Asked for, it is told right
      }
    }
    if (!this.#rest.isTurn()) return { value: await this.#byRpc(hash, read, onRead) }
    let restFault: string
    try {
      const value = await this.#byRest(hash, read, onRead)
      this.#rest.worked()
      return { value }
    } catch (error) {
      restFault = `REST: block ${hash}: ${describeError(error)}`
    }
    const value = await this.#byRpc(hash, read, onRead, restFault) // when RPC can't either, it says why
    this.#rest.failed()
    return { value, restFault }
  }

  async #byRest<T>(hash: BlockHash, read: (raw: Buffer) => T, onRead: (block: RawBlock) => void): Promise<T> {
    const { body: raw, release } = await this.#rpc.blockByRest(hash)
    try {
      const value = read(raw)
      onRead({ hash, raw, release })
      return value
    } catch (error) {
      release()
      throw error
    }
  }

  async #byRpc<T>(
    hash: BlockHash,
    read: (raw: Buffer) => T,
    onRead: (block: RawBlock) => void,
    restFault?: string,
  ): Promise<T> {
    const reply = await this.#rpc.blockByRpc(hash)
    // Pruned meanwhile, or on a branch the node has dropped: the caller looks at the chain again.
    if ('lacking' in reply) throw new BlockUnavailable(`bitcoind can't give block ${hash}: ${reply.lacking}`)
    try {
      const value = read(reply.raw)
      onRead({ hash, raw: reply.raw, release: OURS })
      return value
    } catch (error) {
      if (error instanceof TransientError) throw error
      const also = restFault === undefined ? '' : `; by ${restFault}`
      throw new BlockUnavailable(`bitcoind gives block ${hash} damaged: ${whatIsWrong(error)}${also}`)
    }
  }
}

/** Any throw while a block is decoded says that it is none: what our own words refuse, no valid block has. */
function whatIsWrong(error: unknown): string {
  return error instanceof MalformedError ? error.message : `it can't be decoded: ${describeError(error)}`
}

/** Whose turn it is: REST while it works; after a failure it rests for some blocks, and is tried again. */
class RestTurns {
  #hasRest = false
  /** In a row. */
  #failures = 0
  #rests = 0

  /** RPC once REST has failed twice in a row. */
  get source(): BlockSource {
    return this.#hasRest && this.#failures < 2 ? 'rest' : 'rpc'
  }

  begin(hasRest: boolean): void {
    this.#hasRest = hasRest
    this.#failures = 0
    this.#rests = 0
  }

  isTurn(): boolean {
    if (!this.#hasRest) return false
    if (this.#rests === 0) return true
    this.#rests--
    return false
  }

  worked(): void {
    this.#failures = 0
  }

  failed(): void {
    if (this.#rests > 0) return // of several at once, the first
    this.#rests = Math.min(LIMITS.restRestsBlocks * 2 ** this.#failures, LIMITS.restRestsBlocksMax)
    this.#failures++
  }
}
