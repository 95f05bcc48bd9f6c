/**
 * All that is read from bitcoind, as whole steps: one look at the best chain, one block walked, one round of mempool
 * changes. Lives in the node thread, next to its BitcoindRpc; the main thread sees it as `NodeApi`.
 */
import { Subscriber } from 'zeromq'
import { Bell } from '../bell.ts'
import { ConfigError, describeError, TransientError } from '../errors.ts'
import {
  findSpenderInBlock,
  MalformedError,
  type ScannedBlock,
  type ScannedTx,
  scanBlock,
  scanTransaction,
  spenderOf,
} from './decode.ts'
import { NETWORK_PARAMS } from './networks.ts'
import { OutpointKeys } from './outpoint-keys.ts'
import { BitcoindRpc, RPC_CODES, LIMITS as RPC_LIMITS, RpcFailure, type RpcOptions } from './rpc.ts'
import type { BlockHash, BlockRef, Height, Network, Outpoint, Spender, Txid } from './types.ts'

export const LIMITS = {
  /** Block hashes fetched ahead in one look: 2,000 × 64 hex digits stay far below a megabyte of JSON. */
  hashesAhead: 2_000,
  /** Mempool transactions a batch: 100 × 0.5 kB as a rule, 100 × 0.8 MB of hex at the very worst. */
  mempoolBatch: 100,
  /** Mempool transactions handed over at once, so that the main thread is never busy with them for long. */
  mempoolChunk: 1_000,
  /** Transactions known at the most: ten times a full default mempool (300 MB); 64 hex digits each, about 100 bytes. */
  mempoolKnown: 1_000_000,
}

export interface NodeInfo {
  version: number
  subversion: string
  /** How blocks will be read. */
  source: BlockSource
  /** Whether the node announces new blocks over ZMQ. */
  zmq: boolean
  signetChallenge?: string
}

export type BlockSource = 'rest' | 'rpc'

/** One look at the node's best chain. */
export interface ChainView {
  best: BlockRef
  /** The node is still in initial download: its best chain is not the network's. */
  isInitialDownload: boolean
  /** Height of its best header, for progress while it downloads. */
  headers: Height
  /** Lowest height whose block it still has; 0 when it isn't pruned. */
  pruneHeight: Height
  /** Hash at the height asked about, absent when its chain is shorter. */
  atHeight?: BlockHash
  /** Hashes of the heights that follow, at most LIMITS.hashesAhead. */
  following: BlockHash[]
}

export interface MempoolChanges {
  added: ScannedTx[]
  removed: Txid[]
  /** False: more is known to have come; ask again at once. */
  isComplete: boolean
  /** Transactions in the node's mempool when it was last listed. */
  size: number
}

/** What the main thread may ask of the node thread. Every call rejects with one of the classes of errors.ts. */
export interface NodeApi {
  /** First contact, and again after every loss: is it the right node, and how does it serve blocks? */
  connect(): Promise<NodeInfo>
  view(height: Height | undefined): Promise<ChainView>
  /** Hashes of `from` and what follows, at most LIMITS.hashesAhead. */
  hashesFrom(from: Height): Promise<BlockHash[]>
  readBlock(hash: BlockHash): Promise<{ block: ScannedBlock; source: BlockSource }>
  /** Returns when the node's best block is no longer `known`, at the latest after `maxMs`. */
  waitForTip(known: BlockHash, maxMs: number): Promise<void>
  mempoolChanges(): Promise<MempoolChanges>
  /** Waits until the mempool may have changed, at the latest `maxMs`. */
  waitForMempool(maxMs: number): Promise<void>
  /** The transaction of block `hash` that spends `outpoint`. */
  spenderInBlock(hash: BlockHash, outpoint: Outpoint): Promise<Spender | undefined>
  /** The mempool transaction that spends `outpoint`. */
  spenderInMempool(outpoint: Outpoint): Promise<Spender | undefined>
  /** A raw mempool transaction, undefined when it has gone. */
  mempoolTransaction(txid: Txid): Promise<Buffer | undefined>
}

export interface NodeReaderOptions {
  rpc: RpcOptions
  network: Network
  /** Salt of the outpoint keys, 16 bytes. */
  keySalt: Uint8Array
}

export class NodeReader implements NodeApi {
  readonly #rpc: BitcoindRpc
  readonly #options: NodeReaderOptions
  readonly #keys: OutpointKeys
  #source: BlockSource = 'rpc'
  #subscribers: Subscriber[] = []
  #hasZmqBlocks = false
  readonly #tipBell = new Bell()
  readonly #mempoolBell = new Bell()
  readonly #known = new Set<Txid>()
  /** Spenders told of outside the rounds: their leaving must be reported even if they never were in one. */
  readonly #vouched = new Set<Txid>()
  #queue: Txid[] = []
  #mempoolSize = 0

  constructor(options: NodeReaderOptions) {
    this.#options = options
    this.#rpc = new BitcoindRpc(options.rpc)
    this.#keys = new OutpointKeys(options.keySalt)
  }

  async connect(): Promise<NodeInfo> {
    const { rpc, network } = this.#options
    const where = `bitcoind at ${rpc.host}:${rpc.port} (--rpc)`
    const chain = await this.#rpc.chainInfo()
    const wanted = NETWORK_PARAMS[network].coreName
    if (chain.chain !== wanted) {
      throw new ConfigError(`${where} is on network ${chain.chain}, but --network is ${network}: change one of the two`)
    }
    const { version, subversion } = await this.#rpc.networkInfo()
    if (version < RPC_LIMITS.nodeVersionMin) {
      throw new ConfigError(
        `${where} is ${subversion}, version ${version}: Bitcoin Core 25.0 or later is needed, upgrade it`,
      )
    }
    this.#source = (await this.#rpc.hasRest()) ? 'rest' : 'rpc'
    await this.#subscribe()
    const info: NodeInfo = { version, subversion, source: this.#source, zmq: this.#hasZmqBlocks }
    if (chain.signet_challenge !== undefined) info.signetChallenge = chain.signet_challenge
    return info
  }

  async view(height: Height | undefined): Promise<ChainView> {
    const chain = await this.#rpc.chainInfo()
    const hashes = height === undefined ? [] : await this.#hashes(height, chain.blocks)
    const view: ChainView = {
      best: { hash: chain.bestblockhash, height: chain.blocks },
      isInitialDownload: chain.initialblockdownload,
      headers: chain.headers,
      pruneHeight: chain.pruneheight ?? 0,
      following: hashes.slice(1),
    }
    if (hashes[0] !== undefined) view.atHeight = hashes[0]
    return view
  }

  async hashesFrom(from: Height): Promise<BlockHash[]> {
    const chain = await this.#rpc.chainInfo()
    return this.#hashes(from, chain.blocks)
  }

  #hashes(from: Height, best: Height): Promise<BlockHash[]> {
    return this.#rpc.blockHashes(from, Math.min(best, from + LIMITS.hashesAhead))
  }

  async readBlock(hash: BlockHash): Promise<{ block: ScannedBlock; source: BlockSource }> {
    const block = await this.#withBlock(hash, (raw) => scanBlock(raw, hash, this.#keys))
    return { block, source: this.#source }
  }

  /** Fetches a block and hands it to `read`; what REST can't give whole is asked for by RPC, from then on always. */
  async #withBlock<T>(hash: BlockHash, read: (raw: Buffer) => T): Promise<T> {
    if (this.#source === 'rest') {
      try {
        return read(await this.#rpc.blockByRest(hash))
      } catch {
        const value = await this.#byRpc(hash, read) // when RPC can't either, it says why
        this.#source = 'rpc'
        return value
      }
    }
    return this.#byRpc(hash, read)
  }

  async #byRpc<T>(hash: BlockHash, read: (raw: Buffer) => T): Promise<T> {
    try {
      return read(await this.#rpc.blockByRpc(hash))
    } catch (error) {
      if (error instanceof RpcFailure || error instanceof MalformedError) {
        // Pruned meanwhile, or on a branch the node has dropped: the caller looks at the chain again.
        throw new TransientError(`bitcoind can't give block ${hash}: ${describeError(error)}`)
      }
      throw error
    }
  }

  async waitForTip(known: BlockHash, maxMs: number): Promise<void> {
    if ((await this.#rpc.bestBlockHash()) !== known) return
    if (this.#hasZmqBlocks) return this.#tipBell.wait(Math.min(maxMs, RPC_LIMITS.tipWaitMs))
    await this.#rpc.waitForNewBlock()
  }

  async waitForMempool(maxMs: number): Promise<void> {
    await this.#mempoolBell.wait(maxMs)
  }

  async mempoolChanges(): Promise<MempoolChanges> {
    const removed: Txid[] = []
    if (this.#queue.length === 0) {
      const listed = await this.#rpc.mempoolTxids()
      this.#mempoolSize = listed.length
      const fresh: Txid[] = []
      let stayed = 0
      for (const txid of listed) {
        if (this.#known.has(txid)) stayed++
        else fresh.push(txid)
      }
      // As a rule only new ones come: who has left is looked for when the count says that somebody has.
      if (stayed < this.#known.size || this.#vouched.size > 0) {
        const present = new Set(listed)
        for (const txid of this.#known) if (!present.has(txid)) removed.push(txid)
        for (const txid of this.#vouched) {
          if (!present.has(txid) && !this.#known.has(txid)) removed.push(txid)
          if (!present.has(txid) || this.#known.has(txid)) this.#vouched.delete(txid)
        }
        for (const txid of removed) this.#known.delete(txid)
      }
      this.#queue = fresh
      if (this.#known.size + this.#queue.length > LIMITS.mempoolKnown) {
        throw new ConfigError(
          `bitcoind's mempool has ${listed.length} transactions, more than ${LIMITS.mempoolKnown}: lower its maxmempool`,
        )
      }
    }
    const added: ScannedTx[] = []
    while (this.#queue.length > 0 && added.length < LIMITS.mempoolChunk) {
      const batch = this.#queue.splice(-LIMITS.mempoolBatch)
      const entries = await this.#rpc.rawTransactions(batch)
      for (const [i, entry] of entries.entries()) {
        // Gone between the two calls: replaced, evicted or mined. The next look at the whole list settles it.
        if (!('value' in entry)) continue
        const txid = batch[i]!
        this.#known.add(txid)
        added.push(scanTransaction(txid, entry.value, this.#keys))
      }
    }
    return { added, removed, isComplete: this.#queue.length === 0, size: this.#mempoolSize }
  }

  spenderInBlock(hash: BlockHash, outpoint: Outpoint): Promise<Spender | undefined> {
    return this.#withBlock(hash, (raw) => findSpenderInBlock(raw, outpoint))
  }

  async spenderInMempool(outpoint: Outpoint): Promise<Spender | undefined> {
    const txid = await this.#rpc.mempoolSpender(outpoint)
    if (txid === undefined) return undefined
    this.#vouched.add(txid)
    const raw = await this.mempoolTransaction(txid)
    return raw && spenderOf(raw, outpoint)
  }

  async mempoolTransaction(txid: Txid): Promise<Buffer | undefined> {
    const [entry] = await this.#rpc.rawTransactions([txid])
    if (entry === undefined || 'value' in entry) return entry?.value
    if (entry.code === RPC_CODES.notFound) return undefined
    throw new TransientError(`bitcoind can't give transaction ${txid}: code ${entry.code}`)
  }

  /** Ends the subscriptions; without this the thread can't be ended cleanly. */
  close(): void {
    for (const subscriber of this.#subscribers.splice(0)) subscriber.close()
  }

  /** Listens to the node's ZMQ publishers. They only wake us up: what is true is always asked by RPC. */
  async #subscribe(): Promise<void> {
    this.close()
    this.#hasZmqBlocks = false
    let offered: { type: string; address: string }[]
    try {
      offered = await this.#rpc.zmqNotifications()
    } catch (error) {
      if (error instanceof RpcFailure || error instanceof ConfigError) return // built without ZMQ, or not allowed
      throw error
    }
    const ofBlocks = offered.find(({ type }) => type === 'pubhashblock' || type === 'pubrawblock')
    const ofMempool = offered.find(({ type }) => ['pubsequence', 'pubhashtx', 'pubrawtx'].includes(type))
    if (ofBlocks) {
      this.#listen(ofBlocks, this.#tipBell)
      this.#hasZmqBlocks = true
    }
    if (ofMempool) this.#listen(ofMempool, this.#mempoolBell)
  }

  #listen({ type, address }: { type: string; address: string }, bell: Bell): void {
    const subscriber = new Subscriber({ receiveHighWaterMark: 100 })
    // A wildcard means "every interface of the node's machine": the one we already talk to.
    subscriber.connect(address.replace(/^tcp:\/\/(0\.0\.0\.0|\*|\[::\])/, `tcp://${this.#options.rpc.host}`))
    subscriber.subscribe(type.slice('pub'.length))
    this.#subscribers.push(subscriber)
    const receive = async () => {
      for await (const _message of subscriber) bell.ring()
    }
    // Closed or broken: the one-second looks of waitForTip and the mempool loop go on without it.
    receive().catch(() => bell.ring())
  }
}
