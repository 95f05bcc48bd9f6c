/**
 * bitcoind behind a handful of typed calls, with zod on every reply. Runs in the node thread only (a large reply takes
 * tens of milliseconds to parse). Every call gives what its type says or throws TransientError; of bitcoind's refusals
 * only those named here are values. Knows no indexes. Sources: Bitcoin Core's RPC help and REST-interface.md, 25.0 and
 * later.
 */
import { z } from 'zod'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import { BitcoindClient, type Call, type Exchange, type RpcOptions, type RpcRefusal, type RpcReply } from './client.ts'
import { txidOf } from './decode.ts'
import type { HttpAnswer } from './http-answer.ts'
import type { TakeTxid } from './txid-listing.ts'
import { asBlockHash, asTxid, type BlockHash, type Outpoint, type Txid } from './types.ts'

export const RPC_LIMITS = {
  /** `waitfornewblock` is asked to return after this: a lost notice costs no more. */
  tipWaitMs: 1_000,
  /** Where it can't be used, the tip is asked for this often. */
  tipPollMs: 150,
  /** Less than the blocks whose spent outpoints are kept: a wrong height must not let any of them out. */
  headersBehindMax: 100,
  /** Bitcoin Core 25.0: gettxspendingprevout, waitfornewblock and pruneheight as used here. */
  nodeVersionMin: 250_000,
}

/** From bitcoind's rpc/protocol.h. */
export const RPC_CODES = {
  /** For us: "Block not available (pruned data)", or not downloaded, or not on its disk. Has other meanings too. */
  miscError: -1,
  notFound: -5,
  outOfRange: -8,
  internalError: -32603,
  methodNotFound: -32601,
}

/** A refusal that is an answer: the block is known, and its data is not there. */
const isWithoutData = ({ code, message }: RpcRefusal) => code === RPC_CODES.miscError && /^block not/i.test(message)
const isNotFound = ({ code }: RpcRefusal) => code === RPC_CODES.notFound
const isOutOfRange = ({ code }: RpcRefusal) => code === RPC_CODES.outOfRange
const isLacking = (refusal: RpcRefusal) => isNotFound(refusal) || isWithoutData(refusal)
/** Of a block: also what a damaged disk makes bitcoind say. */
const isWithoutBlock = (refusal: RpcRefusal) =>
  isLacking(refusal) ||
  ((refusal.code === RPC_CODES.miscError || refusal.code === RPC_CODES.internalError) && /block/i.test(refusal.message))

const hash = z.string().regex(/^[0-9a-f]{64}$/)
const height = z.number().int().min(0)
const blockHash = hash.transform(asBlockHash)
const txid = hash.transform(asTxid)
/** Buffer.from stops at the first character that is no hex, and forgets an odd last one: the length tells. */
const bytes = z.string().transform((text, context) => {
  const decoded = Buffer.from(text, 'hex')
  if (2 * decoded.length !== text.length) context.addIssue(`no hex: ${text.length} characters`)
  return decoded
})
const bitcoins = z.number().min(0).max(21e6)

const chainInfoSchema = z
  .object({
    chain: z.string(),
    blocks: height,
    headers: height,
    bestblockhash: blockHash,
    initialblockdownload: z.boolean(),
    pruned: z.boolean(),
    pruneheight: height.optional(),
    signet_challenge: z.string().optional(),
    /** Header times of the tip and of the 11 last blocks' middle, Unix seconds. */
    time: z.number().int().optional(),
    mediantime: z.number().int().optional(),
  })
  .refine(({ blocks, pruneheight = 0 }) => pruneheight <= blocks + 1, 'it has pruned blocks above its tip')
  // The headers of most work may be of a lower height for a while, but never by this many.
  .refine(({ blocks, headers }) => blocks - headers < RPC_LIMITS.headersBehindMax, 'it has blocks without headers')
export type ChainInfo = z.infer<typeof chainInfoSchema>

const networkInfoSchema = z.object({
  version: z.number().int(),
  subversion: z.string(),
  /** Its peers. */
  connections: z.number().int().min(0).optional(),
})
export type NetworkInfo = z.infer<typeof networkInfoSchema>

const zmqSchema = z.array(z.object({ type: z.string(), address: z.string() }))
export type ZmqNotification = z.infer<typeof zmqSchema>[number]

const indexSchema = z.record(z.string(), z.object({ synced: z.boolean(), best_block_height: height }))
export type IndexInfo = z.infer<typeof indexSchema>

const deploymentSchema = z.object({ active: z.boolean(), height: height.optional() })
/** By name; a change that is no soft fork (Knots' `blake2b`) stands beside the soft forks, in their shape. */
const deploymentsSchema = z
  .object({ deployments: z.record(z.string(), z.unknown()) })
  .loose()
  .transform(({ deployments, ...beside }) => {
    const all = Object.entries({ ...beside, ...deployments }).map(
      ([name, one]) => [name, deploymentSchema.safeParse(one)] as const,
    )
    return new Map(all.flatMap(([name, { data }]) => (data ? [[name, data] as const] : [])))
  })
export type Deployments = z.infer<typeof deploymentsSchema>

const spendersSchema = z.array(
  z.object({ txid, vout: z.number(), spendingtxid: txid.optional(), blockhash: blockHash.optional() }),
)
/** Who spends an outpoint: in the mempool, or in `blockHash` where the node has an index of spends. */
export interface SpenderRef {
  txid: Txid
  blockHash?: BlockHash
}

const txOutSchema = z.object({
  bestblock: blockHash,
  confirmations: height,
  /** BTC with eight decimals; a double holds them exactly enough to round to sats. */
  value: bitcoins,
  scriptPubKey: z.object({ hex: bytes }),
})
export type TxOut = z.infer<typeof txOutSchema>

/** The reply without its list, see txid-listing.ts. */
const mempoolSchema = z.object({ txids: z.number().int().min(0), mempool_sequence: z.number().int().min(0) })

/** `confirmations` is -1 for a block that is not in the best chain. */
const headerSchema = z.object({ height, time: z.number().int().min(0), confirmations: z.number().int() })
export type BlockHeader = z.infer<typeof headerSchema>

const utxoSchema = z
  .object({
    confirmations: z.number().int().min(1),
    /** BTC, a double: rounded to sats it is exact. */
    value: bitcoins,
    scriptPubKey: z.object({ hex: bytes }),
  })
  .nullable()
export type UtxoEntry = NonNullable<z.infer<typeof utxoSchema>>

/** One entry of a batch: the value, or the code of a refusal that is an answer. */
export type BatchEntry<T> = { value: T } | { code: number }

export class BitcoindRpc {
  readonly #client: BitcoindClient

  constructor(options: RpcOptions, onExchange?: (exchange: Exchange) => void) {
    this.#client = new BitcoindClient(options, onExchange)
  }

  get where(): string {
    return this.#client.where
  }
  get hasRoom(): boolean {
    return this.#client.hasRoom
  }
  /** The error of a call that bitcoind doesn't allow us. */
  refused(what: string, advice?: string): Error {
    return this.#client.refused(what, advice)
  }
  /** The error of a node that is the wrong one; weather once it was the right one. */
  wrong(text: string): Error {
    return this.#client.wrong(text)
  }
  /** It is the right node and has let us in: from now on a closed door is weather. */
  met(): void {
    this.#client.met()
  }
  close(): void {
    this.#client.close()
  }

  chainInfo(): Promise<ChainInfo> {
    return this.#call(chainInfoSchema, 'getblockchaininfo')
  }
  networkInfo(): Promise<NetworkInfo> {
    return this.#call(networkInfoSchema, 'getnetworkinfo')
  }
  bestBlockHash(): Promise<BlockHash> {
    return this.#call(blockHash, 'getbestblockhash')
  }
  firstBlockHash(): Promise<BlockHash> {
    return this.#call(blockHash, 'getblockhash', 0)
  }
  /** Returns when the tip changes, at the latest after RPC_LIMITS.tipWaitMs. */
  async waitForNewBlock(): Promise<void> {
    await this.#call(z.object({ hash: blockHash }), 'waitfornewblock', RPC_LIMITS.tipWaitMs)
  }
  /** Undefined where bitcoind was built without ZMQ. */
  zmqNotifications(): Promise<ZmqNotification[] | undefined> {
    return this.#optional(zmqSchema, 'getzmqnotifications')
  }
  /** The node's optional indexes, by name; undefined where it doesn't tell. */
  indexInfo(): Promise<IndexInfo | undefined> {
    return this.#optional(indexSchema, 'getindexinfo')
  }
  /** The changes of consensus it knows; undefined where it doesn't tell. */
  deployments(): Promise<Deployments | undefined> {
    return this.#optional(deploymentsSchema, 'getdeploymentinfo')
  }
  /** Hands `take` the whole mempool. Returns their number, and the counter of its events that the listing contains up to. */
  async listMempool(take: TakeTxid): Promise<{ count: number; sequence: number }> {
    const reply = await this.#client.call({ method: 'getrawmempool', parameters: [false, true] }, take)
    const { txids, mempool_sequence } = this.#understood(mempoolSchema, 'getrawmempool', reply)
    return { count: txids, sequence: mempool_sequence }
  }

  /** Which of `calls` bitcoind forbids us: by its rpcwhitelist, or all of them by its rpcallowip. */
  async forbidden(calls: readonly Call[]): Promise<string[]> {
    const forbidden: string[] = []
    for (const call of calls) {
      if ('forbidden' in (await this.#client.call(call))) forbidden.push(call.method)
    }
    return forbidden
  }

  /** Hashes of the best chain from `from` to `to`, cut short where the chain ends. */
  async blockHashes(from: number, to: number): Promise<BlockHash[]> {
    const calls = []
    for (let h = from; h <= to; h++) calls.push({ method: 'getblockhash', parameters: [h] })
    const hashes: BlockHash[] = []
    for (const entry of await this.#batch(blockHash, calls, isOutOfRange)) {
      if ('code' in entry) break
      hashes.push(entry.value)
    }
    return hashes
  }

  /** Raw transactions of the mempool; one that is gone comes back as `notFound`. */
  async rawTransactions(txids: readonly Txid[]): Promise<BatchEntry<Buffer>[]> {
    const calls = txids.map((id) => ({ method: 'getrawtransaction', parameters: [id] }))
    return ofTxids(await this.#batch(bytes, calls, isNotFound), txids)
  }

  /** For each of `outpoints` who spends it; bitcoind sees all of them at one moment. */
  async spenders(outpoints: readonly Outpoint[]): Promise<(SpenderRef | undefined)[]> {
    const asked = outpoints.map(({ txid, vout }) => ({ txid, vout }))
    const entries = await this.#call(spendersSchema, 'gettxspendingprevout', asked)
    const isAsked = ({ txid, vout }: Partial<Outpoint>, i: number) => txid === asked[i]?.txid && vout === asked[i]?.vout
    if (entries.length !== outpoints.length || !entries.every(isAsked)) {
      throw new TransientError('bitcoind answered for other outpoints')
    }
    return entries.map(({ spendingtxid, blockhash }) => {
      if (spendingtxid === undefined) return undefined
      return { txid: spendingtxid, ...(blockhash !== undefined && { blockHash: blockhash }) }
    })
  }

  /** For each of `outpoints` its output, where the UTXO set or the mempool makes one and no mempool transaction spends it. */
  async outputs(outpoints: readonly Outpoint[]): Promise<({ isConfirmed: boolean } | undefined)[]> {
    const calls = outpoints.map(({ txid, vout }) => ({ method: 'gettxout', parameters: [txid, vout, true] }))
    const outputs = await this.#values(z.object({ confirmations: height }).nullable(), calls)
    return outputs.map((output) => (output ? { isConfirmed: output.confirmations > 0 } : undefined))
  }

  /** What the UTXO set, without the mempool, has of `outpoints`; undefined where it has nothing. */
  async unspentOutputs(outpoints: readonly Outpoint[]): Promise<(UtxoEntry | undefined)[]> {
    const calls = outpoints.map(({ txid, vout }) => ({ method: 'gettxout', parameters: [txid, vout, false] }))
    return (await this.#values(utxoSchema, calls)).map((output) => output ?? undefined)
  }

  /** The output in the UTXO set, without and with what the mempool makes and spends; both at the same block. */
  async txOut(outpoint: Outpoint): Promise<{ inChain: TxOut | null; withMempool: TxOut | null }> {
    const { txid: id, vout } = outpoint
    const calls = [false, true].map((mempool) => ({ method: 'gettxout', parameters: [id, vout, mempool] }))
    const [inChain = null, withMempool = null] = await this.#values(txOutSchema.nullable(), calls)
    if (inChain && withMempool && inChain.bestblock !== withMempool.bestblock) {
      throw new TransientError('a block came between two questions to bitcoind')
    }
    return { inChain, withMempool }
  }

  /** Height of a block the node knows. */
  async blockHeight(id: BlockHash): Promise<number> {
    return (await this.#call(z.object({ height }), 'getblockheader', id)).height
  }

  /** The serialized header of a block, undefined where bitcoind refuses it: 80 bytes, unless its chain isn't Bitcoin's. */
  async rawHeader(id: BlockHash): Promise<Buffer | undefined> {
    const reply = await this.#client.call({ method: 'getblockheader', parameters: [id, false] })
    return 'refusal' in reply ? undefined : this.#understood(bytes, 'getblockheader', reply)
  }

  /** Block headers; an unknown one comes back as a code. */
  blockHeaders(ids: readonly BlockHash[]): Promise<BatchEntry<BlockHeader>[]> {
    const calls = ids.map((id) => ({ method: 'getblockheader', parameters: [id] }))
    return this.#batch(headerSchema, calls, isNotFound)
  }

  /** Raw transactions from the blocks that hold them, without an index; one that isn't there comes back as a code. */
  async transactionsIn(asked: readonly { txid: Txid; block: BlockHash }[]): Promise<BatchEntry<Buffer>[]> {
    const calls = asked.map(({ txid, block }) => ({ method: 'getrawtransaction', parameters: [txid, false, block] }))
    const entries = await this.#batch(bytes, calls, isLacking)
    return ofTxids(
      entries,
      asked.map(({ txid }) => txid),
    )
  }

  /** Of a transaction of `block`: itself, the block's 80-byte header, and a merkleblock that proves it is there. */
  async txProof(
    id: Txid,
    block: BlockHash,
  ): Promise<[tx: BatchEntry<Buffer>, header: BatchEntry<Buffer>, merkle: BatchEntry<Buffer>]> {
    const calls = [
      { method: 'getrawtransaction', parameters: [id, false, block] },
      { method: 'getblockheader', parameters: [block, false] },
      { method: 'gettxoutproof', parameters: [[id], block] },
    ]
    const [tx, header, merkle] = await this.#batch(bytes, calls, isLacking)
    return [ofTxids([tx!], [id])[0]!, header!, merkle!]
  }

  /** A raw block by RPC, verbosity 0; undefined with the reason when bitcoind is there and hasn't got it. */
  async blockByRpc(id: BlockHash): Promise<{ raw: Buffer } | { lacking: string }> {
    const reply = await this.#client.call({ method: 'getblock', parameters: [id, 0] })
    if ('refusal' in reply && isWithoutBlock(reply.refusal)) {
      return { lacking: this.#client.failed('getblock', reply.refusal).message }
    }
    return { raw: this.#understood(bytes, 'getblock', reply) }
  }

  /** A raw block by REST, lent. */
  blockByRest(id: BlockHash): Promise<HttpAnswer> {
    return this.#client.restBlock(id)
  }

  /** Whether the node serves REST (`rest=1`). */
  hasRest(): Promise<boolean> {
    return this.#client.hasRest()
  }

  async #call<S extends z.ZodType>(schema: S, method: string, ...parameters: unknown[]): Promise<z.infer<S>> {
    return this.#understood(schema, method, await this.#client.call({ method, parameters }))
  }

  /** A call that we can do without: undefined where bitcoind forbids it, or hasn't got it. */
  async #optional<S extends z.ZodType>(schema: S, method: string): Promise<z.infer<S> | undefined> {
    const reply = await this.#client.call({ method, parameters: [] })
    if ('forbidden' in reply || ('refusal' in reply && reply.refusal.code === RPC_CODES.methodNotFound))
      return undefined
    return this.#understood(schema, method, reply)
  }

  /** The value of `reply`, checked. */
  #understood<S extends z.ZodType>(schema: S, method: string, reply: RpcReply): z.infer<S> {
    if ('forbidden' in reply) throw this.#client.refused(method)
    if ('refusal' in reply) throw this.#client.failed(method, reply.refusal)
    const parsed = schema.safeParse(reply.value)
    if (parsed.success) return parsed.data
    throw this.#client.unclear(method, describeIssues(parsed.error))
  }

  /** Every refusal for which `isAnswer` doesn't hold is weather for the whole batch. */
  async #batch<S extends z.ZodType>(
    schema: S,
    calls: readonly Call[],
    isAnswer: (refusal: RpcRefusal) => boolean,
  ): Promise<BatchEntry<z.infer<S>>[]> {
    if (calls.length === 0) return []
    const replies = await this.#client.batch(calls)
    return replies.map((reply, i): BatchEntry<z.infer<S>> => {
      if ('refusal' in reply && isAnswer(reply.refusal)) return { code: reply.refusal.code }
      return { value: this.#understood(schema, calls[i]!.method, reply) }
    })
  }

  async #values<S extends z.ZodType>(schema: S, calls: readonly Call[]): Promise<z.infer<S>[]> {
    const entries = await this.#batch(schema, calls, () => false)
    return entries.flatMap((entry) => ('value' in entry ? [entry.value] : []))
  }
}

/** The first faults, in one line that can be printed. */
function describeIssues({ issues }: z.ZodError): string {
  const faults = issues.slice(0, 3).map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
  return printable(faults.join('; '))
}

/** `entries` as they are, if every transaction among them is the one that was asked for. */
function ofTxids(entries: BatchEntry<Buffer>[], txids: readonly Txid[]): BatchEntry<Buffer>[] {
  for (const [i, entry] of entries.entries()) {
    if (!('value' in entry)) continue
    const wrong = whyNot(txids[i]!, entry.value)
    if (wrong !== undefined) throw new TransientError(`bitcoind gave other bytes for transaction ${txids[i]}: ${wrong}`)
  }
  return entries
}

function whyNot(txid: Txid, raw: Buffer): string | undefined {
  try {
    const is = txidOf(raw)
    return is === txid ? undefined : `they are of ${is}`
  } catch (error) {
    return describeError(error)
  }
}
