/**
 * All that is read from bitcoind, as whole steps: one look at the best chain, one block walked, one round of mempool
 * changes. Lives in the node thread, next to its BitcoindRpc; the main thread sees it as `NodeApi`.
 */
import { Bell } from '../concurrency.ts'
import { BlockUnavailable, ConfigError, describeError, TransientError } from '../errors.ts'
import { systemClock } from '../world.ts'
import { admit, adviceOnForbidden, type Leaving, leavingBitcoin, NEEDED_CALLS } from './admission.ts'
import { type BlockRead, Blocks } from './blocks.ts'
import type { Exchange, RpcOptions } from './client.ts'
import { blockHashOf, type SpentInput } from './decode.ts'
import { type Found, Mempool, type MempoolChanges } from './mempool.ts'
import { readMerkleBlock } from './merkle-block.ts'
import { OutpointKeys } from './outpoint-keys.ts'
import {
  BitcoindRpc,
  type ChainInfo,
  type IndexInfo,
  type NetworkInfo,
  RPC_CODES,
  RPC_LIMITS,
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
  /** Looks at a chain that moves meanwhile; reorgs are minutes apart. */
  lookTries: 5,
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
  /** What the operator should know, a sentence each. */
  warnings?: string[]
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
  /** That it has left Bitcoin's chain, or is going to; undefined where nothing tells of it. */
  leaving?: Asked<Leaving | undefined>
  /** What it offers, and at which of its addresses nobody answers; undefined where it was built without ZMQ. */
  zmq?: Asked<{ offered: ZmqNotification[]; silent: string[] } | undefined>
  /** Undefined where it doesn't tell. */
  indexes?: Asked<IndexInfo | undefined>
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
  readBlock(hash: BlockHash, options: { withTxids: boolean }): Promise<BlockRead>
  /** Returns when the node's best block is no longer `known`, at the latest after `maxMs`. */
  waitForTip(known: BlockHash, maxMs: number): Promise<void>
  /** What has changed in the mempool since the last call; `tip` is the block the index is at. */
  mempoolChanges(tip: BlockHash | undefined): Promise<MempoolChanges>
  /**
   * Waits until the mempool may have changed, at the latest `maxMs`. Tells what has come where that is all; undefined:
   * ask for `mempoolChanges`.
   */
  waitForMempool(maxMs: number): Promise<MempoolChanges | undefined>
  /** Where each of `outpoints` stands at block `at`, the mempool included. */
  look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }>
  /** For each of `outpoints` the transaction of block `hash` that spends it. */
  spendersInBlock(hash: BlockHash, outpoints: readonly Outpoint[]): Promise<(Spender | undefined)[]>
  /** The inputs of block `hash` at `positions`, which ascend and count them as the keys of its scan lie. */
  inputsInBlock(hash: BlockHash, positions: readonly number[]): Promise<(SpentInput | undefined)[]>
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
  readonly #blocks: Blocks
  readonly #zmq: ZmqFeed
  readonly #mempool: Mempool
  #peers: { atMs: number; count: number | undefined } | undefined
  readonly #tipBell = new Bell()
  /** Blocks heard of over ZMQ, and how many that was when `waitForTip` was last called, at which tip. */
  #blocksHeard = 0
  #lastWait: { known: BlockHash; heard: number } | undefined
  /** Blocks are heard of as they come: waiting for the bell alone is enough. */
  #hearsBlocks = false
  #mayWait = true

  /** `onExchange`: gets each exchange with bitcoind. */
  constructor(options: NodeReaderOptions, onExchange?: (exchange: Exchange) => void) {
    this.#options = options
    this.#rpc = new BitcoindRpc(options.rpc, onExchange)
    this.#keys = new OutpointKeys(options.keySalt)
    const mempool = new Mempool(this.#rpc, this.#keys)
    this.#mempool = mempool
    this.#blocks = new Blocks(this.#rpc, this.#keys)
    this.#zmq = new ZmqFeed({
      onBlock: () => {
        this.#blocksHeard++
        this.#hearsBlocks = true
        this.#tipBell.ring()
        mempool.onGap()
      },
      onRawBlock: (raw) => this.#blocks.onPublished(raw),
      onMempoolEvent: (event) => mempool.onEvent(event),
      onRawTx: (raw) => mempool.onRawTx(raw),
      onGap: () => mempool.onGap(),
    })
  }

  async connect(): Promise<NodeInfo> {
    const { rpc, network } = this.#options
    const { chain, network: software, forbidden, warnings } = await admit(this.#rpc, network)
    this.#peers = { atMs: systemClock.monotonicMs(), count: software.connections }
    this.#mayWait = !forbidden.includes('waitfornewblock')
    this.#blocks.onContact(await this.#rpc.hasRest())
    this.#hearsBlocks = false
    const { silent, ...zmq } = await this.#zmq.listen((await this.#rpc.zmqNotifications()) ?? [], rpc.host)
    warnings.push(...silent.map((address) => `nobody publishes at ${address}, which bitcoind names for ZMQ`))
    this.#mempool.onGap() // what was published meanwhile is lost
    this.#rpc.met()
    const { version, subversion } = software
    const info: NodeInfo = { version, subversion, source: this.#blocks.source, zmq, warnings }
    if (chain.signet_challenge !== undefined) info.signetChallenge = chain.signet_challenge
    return info
  }

  async inspect(): Promise<NodeInspection> {
    const rpc = this.#rpc
    const lacking = await asked(rpc.forbidden(NEEDED_CALLS))
    if ('value' in lacking && lacking.value.length > 0) return { chain: forbids(rpc, lacking.value) }
    const chain = await asked(rpc.chainInfo())
    if ('refusal' in chain) return { chain }
    const zmq = rpc.zmqNotifications().then(async (offered) => {
      if (!offered) return undefined
      return { offered, silent: (await this.#zmq.listen(offered, this.#options.rpc.host)).silent }
    })
    return {
      chain,
      network: await asked(rpc.networkInfo()),
      leaving: await asked(leavingBitcoin(rpc, chain.value.bestblockhash)),
      hasRest: await asked(rpc.hasRest()),
      zmq: await asked(zmq),
      indexes: await asked(rpc.indexInfo()),
    }
  }

  async view(height: Height | undefined, ahead?: number): Promise<ChainView> {
    const { chain, hashes } = await this.#look(height, ahead)
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

  /** Two calls that agree: between them the chain may have moved, and who gives other hashes is not believed. */
  async #look(from: Height | undefined, ahead?: number): Promise<{ chain: ChainInfo; hashes: BlockHash[] }> {
    for (let tries = 1; tries <= LIMITS.lookTries; tries++) {
      const chain = await this.#rpc.chainInfo()
      if (from === undefined || from > chain.blocks) return { chain, hashes: [] }
      const hashes = await this.#hashes(from, chain.blocks, ahead)
      const last = Math.min(chain.blocks, from + Math.min(ahead ?? LIMITS.hashesAhead, LIMITS.hashesAhead))
      const isWhole = hashes.length === last - from + 1
      if (isWhole && (last < chain.blocks || hashes.at(-1) === chain.bestblockhash)) return { chain, hashes }
    }
    throw new TransientError("bitcoind's best block is not among the blocks that it names by height")
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

  async #hashes(from: Height, best: Height, ahead: number = LIMITS.hashesAhead): Promise<BlockHash[]> {
    const hashes = await this.#rpc.blockHashes(from, Math.min(best, from + Math.min(ahead, LIMITS.hashesAhead)))
    this.#blocks.onHashes(hashes, from, best)
    return hashes
  }

  async readBlock(hash: BlockHash, options: { withTxids: boolean }): Promise<BlockRead> {
    try {
      return await this.#blocks.scan(hash, options)
    } catch (error) {
      if (!(error instanceof BlockUnavailable)) throw error
      const leaving = await leavingBitcoin(this.#rpc, await this.#rpc.bestBlockHash())
      if (!leaving?.isActive) throw error
      throw new BlockUnavailable(`${this.#rpc.where} ${leaving.text}`, { cause: error })
    }
  }

  async waitForTip(known: BlockHash, maxMs: number): Promise<void> {
    const last = this.#lastWait
    this.#lastWait = { known, heard: this.#blocksHeard }
    // A block has come and nobody told: until somebody does, we ask.
    if (last && last.known !== known && last.heard === this.#blocksHeard) this.#hearsBlocks = false
    if ((await this.#rpc.bestBlockHash()) !== known) return
    if (this.#hearsBlocks) return this.#tipBell.wait(Math.min(maxMs, RPC_LIMITS.tipWaitMs))
    if (this.#mayWait && this.#rpc.hasRoom) return this.#rpc.waitForNewBlock()
    const untilMs = systemClock.monotonicMs() + Math.min(maxMs, RPC_LIMITS.tipWaitMs)
    do await this.#tipBell.wait(RPC_LIMITS.tipPollMs)
    while (systemClock.monotonicMs() < untilMs && (await this.#rpc.bestBlockHash()) === known)
  }

  waitForMempool(maxMs: number): Promise<MempoolChanges | undefined> {
    return this.#mempool.next(maxMs)
  }

  mempoolChanges(tip: BlockHash | undefined): Promise<MempoolChanges> {
    return this.#mempool.changes(tip)
  }

  look(outpoints: readonly Outpoint[]): Promise<{ at: BlockHash; found: Found[] }> {
    return this.#mempool.look(outpoints)
  }

  spendersInBlock(hash: BlockHash, outpoints: readonly Outpoint[]): Promise<(Spender | undefined)[]> {
    return this.#blocks.spenders(hash, outpoints)
  }

  inputsInBlock(hash: BlockHash, positions: readonly number[]): Promise<(SpentInput | undefined)[]> {
    return this.#blocks.inputs(hash, positions)
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
      if (blockHashOf(header) === block && isProofOf(txid, header, merkle)) return { tx, header, merkle }
      throw new TransientError(`bitcoind's proof of ${txid} in block ${block} is none`)
    }
    const codes = entries.flatMap((entry) => ('code' in entry ? [entry.code] : []))
    if (codes.every((code) => code === RPC_CODES.miscError)) return undefined // pruned
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
          scriptPubKey: output.scriptPubKey.hex,
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
      scriptPubKey: scriptPubKey.hex,
      confHeight: confirmations === 0 ? undefined : tipHeight - confirmations + 1,
      isUnspent: withMempool !== null,
    }
    return { tipHeight, output }
  }

  /** Ends the subscriptions for good; the thread can't be ended cleanly before this has resolved. */
  close(): Promise<void> {
    this.#rpc.close()
    return this.#zmq.close()
  }
}

function isProofOf(txid: Txid, header: Buffer, merkle: Buffer): boolean {
  const tree = readMerkleBlock(merkle)
  if (!tree.ok) return tree.fault === 'ambiguous-merkle' // by chance: whoever gets it decides
  return tree.header.equals(header) && tree.matched.some((match) => match.txid === txid)
}

async function asked<T>(answer: Promise<T>): Promise<Asked<T>> {
  try {
    return { value: await answer }
  } catch (error) {
    return { refusal: describeError(error), isForbidden: error instanceof ConfigError }
  }
}

function forbids(rpc: BitcoindRpc, lacking: readonly string[]): { refusal: string; isForbidden: boolean } {
  const refusal = rpc.refused(lacking.join(', '), adviceOnForbidden(lacking))
  return { refusal: describeError(refusal), isForbidden: true }
}
