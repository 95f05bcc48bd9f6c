/**
 * All that is read from bitcoind, as whole steps: one look at the best chain, one block walked, one round of mempool
 * changes. Lives in the node thread, next to its BitcoindRpc; the main thread sees it as `NodeApi`.
 */
import { Bell } from '../concurrency.ts'
import { BlockUnavailable, ConfigError, describeError, TransientError } from '../errors.ts'
import { systemClock } from '../world.ts'
import { blockHashOf, findSpendersInBlock, MalformedError, type ScannedBlock, scanBlock, txidOf } from './decode.ts'
import { type Found, Mempool, type MempoolChanges } from './mempool.ts'
import { NETWORK_PARAMS } from './networks.ts'
import { OutpointKeys } from './outpoint-keys.ts'
import {
  BitcoindRpc,
  type ChainInfo,
  type IndexInfo,
  type NetworkInfo,
  RPC_CODES,
  RPC_LIMITS,
  RpcFailure,
  type RpcOptions,
  type UtxoEntry,
  type ZmqNotification,
} from './rpc.ts'
import {
  asSats,
  type BlockHash,
  type BlockRef,
  type BlockSource,
  canExist,
  type Height,
  type Judged,
  type Network,
  type Outpoint,
  type OutputClaim,
  type OutputFacts,
  type Spender,
  type Txid,
  type TxOutput,
  type TxProof,
} from './types.ts'
import { ZmqFeed } from './zmq.ts'

const LIMITS = {
  /** Block hashes fetched ahead in one look: 2,000 × 64 hex digits stay far below a megabyte of JSON. */
  hashesAhead: 2_000,
  /** How old the number of peers may be. */
  peersMs: 60_000,
  /** Outputs judged in one batch: each may bring a transaction of 100 kB. */
  judgedAtOnce: 100,
}

export interface NodeInfo {
  version: number
  subversion: string
  /** How blocks will be read. */
  source: BlockSource
  /** What the node announces over ZMQ: new blocks, and who enters and leaves its mempool. */
  zmq: { blocks: boolean; mempoolEvents: boolean }
  signetChallenge?: string
}

/** One look at the node's best chain. */
export interface ChainView {
  best: BlockRef
  /** Its header's time, Unix seconds; absent where the node doesn't tell. */
  bestTimeS?: number
  /** The node is still in initial download: its best chain is not the network's. */
  isInitialDownload: boolean
  /** Height of its best header: of the chain that it knows to have most work, blocks or not. */
  headers: Height
  /** Its peers, asked for once a minute; absent where it doesn't tell. */
  peers?: number
  /** Lowest height whose block it still has; 0 when it isn't pruned. */
  pruneHeight: Height
  /** Hash at the height asked about, absent when its chain is shorter. */
  atHeight?: BlockHash
  /** Hashes of the heights that follow, at most LIMITS.hashesAhead. */
  following: BlockHash[]
}

/** An answer of bitcoind's, or why there is none; `isForbidden`: it doesn't let us in, or not to this call. */
export type Asked<T> = { value: T } | { refusal: string; isForbidden: boolean }

/** Only `chain` where that was refused. */
export interface NodeInspection {
  chain: Asked<ChainInfo>
  network?: Asked<NetworkInfo>
  hasRest?: Asked<boolean>
  /** Empty where it publishes nothing; undefined where it was built without ZMQ. */
  zmq?: Asked<ZmqNotification[] | undefined>
  indexes?: Asked<IndexInfo>
}

/** What the main thread may ask of the node thread. Every call rejects with one of the classes of errors.ts. */
export interface NodeApi {
  /** First contact, and again after every loss: is it the right node, and how does it serve blocks? */
  connect(): Promise<NodeInfo>
  /** What there is to know of the node, for doctor: each question by itself, so that one refusal hides nothing else. */
  inspect(): Promise<NodeInspection>
  /** `ahead`: how many hashes that follow are wanted; at most, and without it, LIMITS.hashesAhead. */
  view(height: Height | undefined, ahead?: number): Promise<ChainView>
  /** Hashes of `from` and of `ahead` heights that follow, as for `view`. */
  hashesFrom(from: Height, ahead?: number): Promise<BlockHash[]>
  /** `withTxids`: also the txid of every transaction. */
  readBlock(hash: BlockHash, options: { withTxids: boolean }): Promise<{ block: ScannedBlock; source: BlockSource }>
  /** Returns when the node's best block is no longer `known`, at the latest after `maxMs`. */
  waitForTip(known: BlockHash, maxMs: number): Promise<void>
  /** What has changed in the mempool since the last call; `tip` is the block the index is at. */
  mempoolChanges(tip: BlockHash | undefined): Promise<MempoolChanges>
  /** Waits until the mempool may have changed, at the latest `maxMs`. */
  waitForMempool(maxMs: number): Promise<void>
  /** Where each of `outpoints` stands at block `at`, the mempool included. */
  look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }>
  /** For each of `outpoints` the transaction of block `hash` that spends it. */
  spendersInBlock(hash: BlockHash, outpoints: readonly Outpoint[]): Promise<(Spender | undefined)[]>
  /** A raw mempool transaction, undefined when it has gone. */
  mempoolTransaction(txid: Txid): Promise<Buffer | undefined>
  blockHeight(hash: BlockHash): Promise<Height>
  /** A transaction of `block` with the proof that it is there; undefined when the node has no such block any more. */
  txProof(txid: Txid, block: BlockHash): Promise<TxProof | undefined>
  /** What the chain up to block `at` says of each claim. */
  judge(claims: readonly OutputClaim[]): Promise<Judged>
  /** The output, unless it was never made or is spent in a block; and the height this is true at. */
  output(outpoint: Outpoint): Promise<{ tipHeight: Height; output: TxOutput | undefined }>
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
  readonly #zmq: ZmqFeed
  #hasZmqBlocks = false
  readonly #tipBell = new Bell()
  readonly #mempool: Mempool
  #peers: { atMs: number; count: number | undefined } | undefined
  /** The last block read or published: who spends what in it is often asked next. */
  #lastBlock: { hash: BlockHash; raw: Buffer } | undefined

  constructor(options: NodeReaderOptions) {
    this.#options = options
    this.#rpc = new BitcoindRpc(options.rpc)
    this.#keys = new OutpointKeys(options.keySalt)
    const mempool = new Mempool(this.#rpc, this.#keys)
    this.#mempool = mempool
    this.#zmq = new ZmqFeed({
      onBlock: () => {
        this.#tipBell.ring()
        mempool.onGap()
      },
      onRawBlock: (raw) => {
        this.#lastBlock = { hash: blockHashOf(raw), raw }
      },
      onMempoolEvent: (event) => mempool.onEvent(event),
      onRawTx: (raw) => mempool.onRawTx(raw),
      onGap: () => mempool.onGap(),
    })
  }

  async connect(): Promise<NodeInfo> {
    const { rpc, network } = this.#options
    const where = `bitcoind at ${rpc.host}:${rpc.port} (--rpc)`
    const chain = await this.#rpc.chainInfo()
    const wanted = NETWORK_PARAMS[network].coreName
    if (chain.chain !== wanted) {
      throw new ConfigError(`${where} is on network ${chain.chain}, but --network is ${network}: change one of the two`)
    }
    const { version, subversion, connections } = await this.#rpc.networkInfo()
    this.#peers = { atMs: systemClock.monotonicMs(), count: connections }
    if (version < RPC_LIMITS.nodeVersionMin) {
      throw new ConfigError(
        `${where} is ${subversion}, version ${version}: Bitcoin Core 25.0 or later is needed, upgrade it`,
      )
    }
    this.#source = (await this.#rpc.hasRest()) ? 'rest' : 'rpc'
    const zmq = this.#zmq.listen(await this.#offered(), rpc.host)
    this.#hasZmqBlocks = zmq.blocks
    this.#mempool.onGap() // what was published meanwhile is lost
    const info: NodeInfo = { version, subversion, source: this.#source, zmq }
    if (chain.signet_challenge !== undefined) info.signetChallenge = chain.signet_challenge
    return info
  }

  async inspect(): Promise<NodeInspection> {
    const rpc = this.#rpc
    const chain = await asked(rpc.chainInfo())
    if ('refusal' in chain) return { chain }
    const zmq = rpc.zmqNotifications().catch((error: unknown) => {
      if (error instanceof RpcFailure) return undefined
      throw error
    })
    return {
      chain,
      network: await asked(rpc.networkInfo()),
      hasRest: await asked(rpc.hasRest()),
      zmq: await asked(zmq),
      indexes: await asked(rpc.indexInfo()),
    }
  }

  async view(height: Height | undefined, ahead?: number): Promise<ChainView> {
    const chain = await this.#rpc.chainInfo()
    const hashes = height === undefined ? [] : await this.#hashes(height, chain.blocks, ahead)
    const view: ChainView = {
      best: { hash: chain.bestblockhash, height: chain.blocks },
      isInitialDownload: chain.initialblockdownload,
      headers: chain.headers,
      pruneHeight: chain.pruneheight ?? 0,
      following: hashes.slice(1),
    }
    if (chain.time !== undefined) view.bestTimeS = chain.time
    if (hashes[0] !== undefined) view.atHeight = hashes[0]
    const peers = await this.#peerCount()
    if (peers !== undefined) view.peers = peers
    return view
  }

  async #peerCount(): Promise<number | undefined> {
    const nowMs = systemClock.monotonicMs()
    if (this.#peers === undefined || nowMs - this.#peers.atMs > LIMITS.peersMs) {
      this.#peers = { atMs: nowMs, count: (await this.#rpc.networkInfo()).connections }
    }
    return this.#peers.count
  }

  async hashesFrom(from: Height, ahead?: number): Promise<BlockHash[]> {
    const chain = await this.#rpc.chainInfo()
    return this.#hashes(from, chain.blocks, ahead)
  }

  #hashes(from: Height, best: Height, ahead: number = LIMITS.hashesAhead): Promise<BlockHash[]> {
    return this.#rpc.blockHashes(from, Math.min(best, from + Math.min(ahead, LIMITS.hashesAhead)))
  }

  async readBlock(
    hash: BlockHash,
    { withTxids }: { withTxids: boolean },
  ): Promise<{ block: ScannedBlock; source: BlockSource }> {
    const block = await this.#withBlock(hash, (raw) => {
      const scanned = scanBlock(raw, hash, this.#keys, { withTxids })
      this.#lastBlock = { hash, raw }
      return scanned
    })
    return { block, source: this.#source }
  }

  /** Fetches a block and hands it to `read`; what REST can't give whole is asked for by RPC, from then on always. */
  async #withBlock<T>(hash: BlockHash, read: (raw: Buffer) => T): Promise<T> {
    if (this.#lastBlock?.hash === hash) {
      try {
        return read(this.#lastBlock.raw)
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error
        this.#lastBlock = undefined // published by whom? Asked for, it is told right
      }
    }
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
        throw new BlockUnavailable(`bitcoind can't give block ${hash}: ${describeError(error)}`)
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
    await this.#mempool.bell.wait(maxMs)
  }

  mempoolChanges(tip: BlockHash | undefined): Promise<MempoolChanges> {
    return this.#mempool.changes(tip)
  }

  look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }> {
    return this.#mempool.look(outpoints)
  }

  spendersInBlock(hash: BlockHash, outpoints: readonly Outpoint[]): Promise<(Spender | undefined)[]> {
    return this.#withBlock(hash, (raw) => findSpendersInBlock(raw, outpoints))
  }

  mempoolTransaction(txid: Txid): Promise<Buffer | undefined> {
    return this.#mempool.transaction(txid)
  }

  blockHeight(hash: BlockHash): Promise<Height> {
    return this.#rpc.blockHeight(hash)
  }

  async txProof(txid: Txid, block: BlockHash): Promise<TxProof | undefined> {
    const entries = await this.#rpc.txProof(txid, block)
    const [tx, header, merkle] = entries.map((entry) => ('value' in entry ? entry.value : undefined))
    if (tx && header && merkle) {
      if (blockHashOf(header) === block && txidOf(tx) === txid) return { tx, header, merkle }
      throw new TransientError(`bitcoind answered with another block than ${block}`)
    }
    const codes = entries.flatMap((entry) => ('code' in entry ? [entry.code] : []))
    if (codes.every((code) => code === RPC_CODES.miscError)) return undefined // "Block not available (pruned data)"
    throw new TransientError(`bitcoind refused a proof from block ${block} with code ${codes.join(', ')}`)
  }

  async judge(claims: readonly OutputClaim[]): Promise<Judged> {
    const chain = await this.#rpc.chainInfo()
    const facts: OutputFacts[] = []
    for (let from = 0; from < claims.length; from += LIMITS.judgedAtOnce) {
      facts.push(...(await this.#judgeSome(claims.slice(from, from + LIMITS.judgedAtOnce), chain.blocks)))
    }
    const best = await this.#rpc.bestBlockHash()
    const [header] = await this.#rpc.blockHeaders([best])
    if (best !== chain.bestblockhash || !header || !('value' in header)) {
      throw new TransientError(`bitcoind moved on to block ${best} meanwhile`)
    }
    return { at: { hash: best, height: chain.blocks, timeS: header.value.time }, facts }
  }

  async #judgeSome(claims: readonly OutputClaim[], tipHeight: Height): Promise<OutputFacts[]> {
    const asked = claims.map(({ outpoint, block }) => ({ txid: outpoint.txid, block }))
    const headers = await this.#rpc.blockHeaders(asked.map(({ block }) => block))
    const txs = await this.#rpc.transactionsIn(asked)
    const outputs = await this.#unspentOutputs(claims.map(({ outpoint }) => outpoint))
    return claims.map((_, i) => {
      const [header, tx, output] = [headers[i]!, txs[i]!, outputs[i]]
      const facts: OutputFacts = { isPruned: 'code' in tx && tx.code === RPC_CODES.miscError }
      if ('value' in header) {
        const { height, time, confirmations } = header.value
        facts.block = { height, timeS: time, isInBestChain: confirmations >= 0 }
      }
      if ('value' in tx) facts.tx = tx.value
      if (output) {
        facts.unspent = {
          amountSats: asSats(Math.round(output.value * 1e8)),
          confHeight: tipHeight - output.confirmations + 1,
          scriptPubKey: Buffer.from(output.scriptPubKey.hex, 'hex'),
        }
      }
      return facts
    })
  }

  async #unspentOutputs(outpoints: readonly Outpoint[]): Promise<(UtxoEntry | undefined)[]> {
    const asked = outpoints.filter(canExist)
    const entries = await this.#rpc.unspentOutputs(asked)
    return outpoints.map((outpoint) => entries[asked.indexOf(outpoint)])
  }

  async output(outpoint: Outpoint): Promise<{ tipHeight: Height; output: TxOutput | undefined }> {
    const nothing = { inChain: null, withMempool: null }
    const { inChain, withMempool } = canExist(outpoint) ? await this.#rpc.txOut(outpoint) : nothing
    const found = withMempool ?? inChain
    const tipHeight = await this.#rpc.blockHeight(found?.bestblock ?? (await this.#rpc.bestBlockHash()))
    if (!found) return { tipHeight, output: undefined }
    const { confirmations, value, scriptPubKey } = found
    const output: TxOutput = {
      amountSats: asSats(Math.round(value * 1e8)),
      scriptPubKey: Buffer.from(scriptPubKey.hex, 'hex'),
      confHeight: confirmations === 0 ? undefined : tipHeight - confirmations + 1,
      isUnspent: withMempool !== null,
    }
    return { tipHeight, output }
  }

  /** Ends the subscriptions for good; the thread can't be ended cleanly before this has resolved. */
  close(): Promise<void> {
    return this.#zmq.close()
  }

  /** The node's ZMQ publishers; none where it was built without, or doesn't tell us. */
  async #offered(): Promise<ZmqNotification[]> {
    try {
      return await this.#rpc.zmqNotifications()
    } catch (error) {
      if (error instanceof RpcFailure || error instanceof ConfigError) return []
      throw error
    }
  }
}

async function asked<T>(answer: Promise<T>): Promise<Asked<T>> {
  try {
    return { value: await answer }
  } catch (error) {
    return { refusal: describeError(error), isForbidden: error instanceof ConfigError }
  }
}
