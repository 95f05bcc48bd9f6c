/**
 * bitcoind behind a handful of typed calls, through bitcoin-core's client: credentials, deadlines, and zod on every
 * reply. Runs in the node thread only (json-bigint takes tens of milliseconds for a large reply). Knows nothing of
 * indexes. Sources: Bitcoin Core's RPC help and REST-interface.md, 25.0 and later.
 */
import { readFileSync } from 'node:fs'
import BitcoinCore from 'bitcoin-core'
import { z } from 'zod'
import { AccessRefused, ConfigError, describeError, TransientError } from '../errors.ts'
import { BLOCK_LIMITS } from './decode.ts'
import { asBlockHash, asTxid, type BlockHash, type Outpoint, type Txid } from './types.ts'

export type RpcAuth = { kind: 'cookie'; file: string } | { kind: 'password'; user: string; password: string }

export interface RpcOptions {
  host: string
  port: number
  auth: RpcAuth
}

export const RPC_LIMITS = {
  /** A healthy node answers in milliseconds; while it flushes or verifies a block it may take this long. */
  callMs: 30_000,
  /** `waitfornewblock` is asked to return after this: a lost notice costs no more. */
  tipWaitMs: 1_000,
  /** Bitcoin Core 25.0: gettxspendingprevout, waitfornewblock and pruneheight as used here. */
  nodeVersionMin: 250_000,
}

/** bitcoind understood the call and refused it; `code` is from its rpc/protocol.h, or an HTTP status from REST. */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure'
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export const RPC_CODES = {
  /** "Block not available (pruned data)" and the like. */
  miscError: -1,
  notFound: -5,
  outOfRange: -8,
  inWarmup: -28,
}

const hash = z.string().regex(/^[0-9a-f]{64}$/)
const height = z.number().int().min(0)
const blockHash = hash.transform(asBlockHash)
const txid = hash.transform(asTxid)
const hex = z.string().regex(/^(?:[0-9a-f]{2})*$/)

const chainInfoSchema = z.object({
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

const spendersSchema = z.array(z.object({ spendingtxid: txid.optional(), blockhash: blockHash.optional() }))
/** Who spends an outpoint: in the mempool, or in `blockHash` where the node has an index of spends. */
export interface SpenderRef {
  txid: Txid
  blockHash?: BlockHash
}

const txOutSchema = z.object({
  bestblock: blockHash,
  confirmations: height,
  /** BTC with eight decimals; a double holds them exactly enough to round to sats. */
  value: z.number().min(0).max(21e6),
  scriptPubKey: z.object({ hex }),
})
export type TxOut = z.infer<typeof txOutSchema>

// The hot one: 100,000 strings. The elements are checked as they are used, not all at once.
const mempoolSchema = z.object({
  txids: z.custom<Txid[]>(Array.isArray, 'expected a list'),
  mempool_sequence: z.number().int().min(0),
})

/** `confirmations` is -1 for a block that is not in the best chain. */
const headerSchema = z.object({ height, time: z.number().int().min(0), confirmations: z.number().int() })
export type BlockHeader = z.infer<typeof headerSchema>

const utxoSchema = z
  .object({
    confirmations: z.number().int().min(1),
    /** BTC, a double: rounded to sats it is exact. */
    value: z.number().min(0),
    scriptPubKey: z.object({ hex }),
  })
  .nullable()
export type UtxoEntry = NonNullable<z.infer<typeof utxoSchema>>

/** One entry of a batch: the value, or the code bitcoind refused it with. */
export type BatchEntry<T> = { value: T } | { code: number }

export class BitcoindRpc {
  readonly #options: RpcOptions
  #client: BitcoinCore | undefined

  constructor(options: RpcOptions) {
    this.#options = options
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
  /** Returns when the tip changes, at the latest after RPC_LIMITS.tipWaitMs. */
  async waitForNewBlock(): Promise<BlockHash> {
    const reply = await this.#call(z.object({ hash: blockHash }), 'waitfornewblock', RPC_LIMITS.tipWaitMs)
    return reply.hash
  }
  zmqNotifications(): Promise<ZmqNotification[]> {
    return this.#call(zmqSchema, 'getzmqnotifications')
  }
  /** The node's optional indexes, by name. */
  indexInfo(): Promise<IndexInfo> {
    return this.#call(indexSchema, 'getindexinfo')
  }
  /** The whole mempool, and the counter of its events that the listing contains up to. */
  async mempoolTxids(): Promise<{ txids: Txid[]; sequence: number }> {
    const { txids, mempool_sequence } = await this.#call(mempoolSchema, 'getrawmempool', false, true)
    return { txids, sequence: mempool_sequence }
  }

  /** Hashes of the best chain from `from` to `to`, cut short where the chain ends. */
  async blockHashes(from: number, to: number): Promise<BlockHash[]> {
    const calls = []
    for (let h = from; h <= to; h++) calls.push({ method: 'getblockhash', parameters: [h] })
    const hashes: BlockHash[] = []
    for (const entry of await this.#batch(blockHash, calls)) {
      if ('value' in entry) hashes.push(entry.value)
      else if (entry.code === RPC_CODES.outOfRange) break
      else throw new RpcFailure(entry.code, `getblockhash refused with code ${entry.code}`)
    }
    return hashes
  }

  /** Raw transactions of the mempool; one that is gone comes back as a code. */
  async rawTransactions(txids: readonly Txid[]): Promise<BatchEntry<Buffer>[]> {
    const calls = txids.map((id) => ({ method: 'getrawtransaction', parameters: [id] }))
    return asBytes(await this.#batch(hex, calls))
  }

  /** For each of `outpoints` who spends it; bitcoind sees all of them at one moment. */
  async spenders(outpoints: readonly Outpoint[]): Promise<(SpenderRef | undefined)[]> {
    const asked = outpoints.map(({ txid, vout }) => ({ txid, vout }))
    const entries = await this.#call(spendersSchema, 'gettxspendingprevout', asked)
    if (entries.length !== outpoints.length) throw new TransientError('bitcoind answered for other outpoints')
    return entries.map(({ spendingtxid, blockhash }) => {
      if (spendingtxid === undefined) return undefined
      return { txid: spendingtxid, ...(blockhash !== undefined && { blockHash: blockhash }) }
    })
  }

  /** For each of `outpoints` its output, where the UTXO set or the mempool makes one and no mempool transaction spends it. */
  async outputs(outpoints: readonly Outpoint[]): Promise<({ isConfirmed: boolean } | undefined)[]> {
    const calls = outpoints.map(({ txid, vout }) => ({ method: 'gettxout', parameters: [txid, vout, true] }))
    const entries = await this.#batch(z.object({ confirmations: height }).nullable(), calls)
    return entries.map((entry) => {
      if ('code' in entry) throw new RpcFailure(entry.code, `gettxout refused with code ${entry.code}`)
      return entry.value ? { isConfirmed: entry.value.confirmations > 0 } : undefined
    })
  }

  /** What the UTXO set, without the mempool, has of `outpoints`; undefined where it has nothing. */
  async unspentOutputs(outpoints: readonly Outpoint[]): Promise<(UtxoEntry | undefined)[]> {
    const calls = outpoints.map(({ txid, vout }) => ({ method: 'gettxout', parameters: [txid, vout, false] }))
    const entries = await this.#batch(utxoSchema, calls)
    return entries.map((entry) => {
      if ('value' in entry) return entry.value ?? undefined
      throw new RpcFailure(entry.code, `gettxout refused with code ${entry.code}`)
    })
  }

  /** The output in the UTXO set, without and with what the mempool makes and spends; both at the same block. */
  async txOut(outpoint: Outpoint): Promise<{ inChain: TxOut | null; withMempool: TxOut | null }> {
    const { txid: id, vout } = outpoint
    const calls = [false, true].map((mempool) => ({ method: 'gettxout', parameters: [id, vout, mempool] }))
    const [inChain, withMempool] = (await this.#batch(txOutSchema.nullable(), calls)).map((entry) => {
      if ('value' in entry) return entry.value
      throw new RpcFailure(entry.code, `gettxout refused with code ${entry.code}`)
    }) as [TxOut | null, TxOut | null]
    if (inChain && withMempool && inChain.bestblock !== withMempool.bestblock) {
      throw new TransientError('a block came between two questions to bitcoind')
    }
    return { inChain, withMempool }
  }

  /** Height of a block the node knows. */
  async blockHeight(id: BlockHash): Promise<number> {
    return (await this.#call(z.object({ height }), 'getblockheader', id)).height
  }

  /** Block headers; an unknown one comes back as a code. */
  blockHeaders(ids: readonly BlockHash[]): Promise<BatchEntry<BlockHeader>[]> {
    const calls = ids.map((id) => ({ method: 'getblockheader', parameters: [id] }))
    return this.#batch(headerSchema, calls)
  }

  /** Raw transactions from the blocks that hold them, without an index; one that isn't there comes back as a code. */
  async transactionsIn(asked: readonly { txid: Txid; block: BlockHash }[]): Promise<BatchEntry<Buffer>[]> {
    const calls = asked.map(({ txid, block }) => ({ method: 'getrawtransaction', parameters: [txid, false, block] }))
    return asBytes(await this.#batch(hex, calls))
  }

  /** Of a transaction of `block`: itself, the block's 80-byte header, and a merkleblock that proves it is there. */
  async txProof(
    id: Txid,
    block: BlockHash,
  ): Promise<[tx: BatchEntry<Buffer>, header: BatchEntry<Buffer>, merkle: BatchEntry<Buffer>]> {
    const [tx, header, merkle] = asBytes(
      await this.#batch(hex, [
        { method: 'getrawtransaction', parameters: [id, false, block] },
        { method: 'getblockheader', parameters: [block, false] },
        { method: 'gettxoutproof', parameters: [[id], block] },
      ]),
    )
    return [tx!, header!, merkle!]
  }

  /** A raw block by RPC, verbosity 0. */
  async blockByRpc(id: BlockHash): Promise<Buffer> {
    return Buffer.from(await this.#call(z.string(), 'getblock', id, 0), 'hex')
  }

  /** A raw block by REST. */
  blockByRest(id: BlockHash): Promise<Buffer> {
    return this.#guard('REST block', async (client) => {
      const body: unknown = await client.getBlockByHash(id, { extension: 'bin' })
      if (!Buffer.isBuffer(body)) throw new TransientError('bitcoind answered a REST request with something else')
      if (body.length > BLOCK_LIMITS.blockBytes) throw new TransientError(`REST block of ${body.length} bytes`)
      return body
    })
  }

  /** Whether the node serves REST (`rest=1`). */
  async hasRest(): Promise<boolean> {
    try {
      await this.#guard('REST chaininfo', (client) => client.getBlockchainInformation())
      return true
    } catch (error) {
      if (error instanceof RpcFailure || error instanceof ConfigError) return false
      throw error
    }
  }

  async #call<S extends z.ZodType>(schema: S, method: string, ...params: unknown[]): Promise<z.infer<S>> {
    const reply = await this.#guard(method, (client) => client.command(method, ...params))
    const parsed = schema.safeParse(reply)
    if (parsed.success) return parsed.data
    throw new TransientError(`bitcoind's answer to ${method} is not understood: ${z.prettifyError(parsed.error)}`)
  }

  async #batch<S extends z.ZodType>(
    schema: S,
    calls: { method: string; parameters: unknown[] }[],
  ): Promise<BatchEntry<z.infer<S>>[]> {
    if (calls.length === 0) return []
    const method = `a batch of ${calls[0]?.method}`
    const replies = await this.#guard(method, (client) => client.command<unknown>(calls))
    if (!Array.isArray(replies) || replies.length !== calls.length) {
      throw new TransientError(
        `bitcoind answered ${method} with ${Array.isArray(replies) ? replies.length : 'no'} replies`,
      )
    }
    return replies.map((reply: unknown) => {
      if (reply instanceof Error) return { code: codeOf(reply) ?? RPC_CODES.miscError }
      const parsed = schema.safeParse(reply)
      if (!parsed.success) throw new TransientError(`bitcoind's answer to ${method} is not understood`)
      return { value: parsed.data }
    })
  }

  /** Runs one exchange; a cookie that went stale (bitcoind restarted) is read again, once. */
  async #guard<T>(what: string, exchange: (client: BitcoinCore) => Promise<T>): Promise<T> {
    const hadClient = this.#client !== undefined
    try {
      return await exchange(this.#connectedClient())
    } catch (error) {
      if (codeOf(error) !== 401) throw this.#asFate(what, error)
      this.#client = undefined
      if (this.#options.auth.kind === 'password' || !hadClient) throw this.#asFate(what, error)
    }
    try {
      return await exchange(this.#connectedClient())
    } catch (error) {
      if (codeOf(error) === 401) this.#client = undefined
      throw this.#asFate(what, error)
    }
  }

  #connectedClient(): BitcoinCore {
    this.#client ??= new BitcoinCore({
      host: `http://${this.#options.host.includes(':') ? `[${this.#options.host}]` : this.#options.host}:${this.#options.port}`,
      ...this.#credentials(),
      timeout: RPC_LIMITS.callMs,
      // Its own logger would format every body, credentials included; ours logs outcomes instead.
      logger: { debug() {} },
    })
    return this.#client
  }

  #credentials(): { username: string; password: string } {
    const { auth } = this.#options
    if (auth.kind === 'password') return { username: auth.user, password: auth.password }
    let text: string
    try {
      text = readFileSync(auth.file, 'utf8').trim()
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
        throw new TransientError(
          `no cookie at ${auth.file}: start bitcoind, or name its cookie with --cookie-file, or give --auth user:pass`,
        )
      }
      throw new AccessRefused(
        `--cookie-file ${auth.file} can't be read (${describeError(error)}): give this user read access (rpccookieperms=group), or give --auth user:pass`,
      )
    }
    const colon = text.indexOf(':')
    if (colon < 1) throw new TransientError(`the cookie at ${auth.file} is not complete yet`)
    return { username: text.slice(0, colon), password: text.slice(colon + 1) }
  }

  #asFate(what: string, error: unknown): Error {
    if (error instanceof TransientError || error instanceof ConfigError || error instanceof RpcFailure) return error
    const { auth, host, port } = this.#options
    const where = `bitcoind at ${host}:${port} (--rpc)`
    const code = codeOf(error)
    if (code === 401) {
      return auth.kind === 'password'
        ? new AccessRefused(`${where} refuses user and password: check --auth (or remove it to use the cookie)`)
        : new TransientError(`${where} refuses the cookie in ${auth.file}: is it this node's --cookie-file?`)
    }
    if (code === 403)
      return new AccessRefused(`${where} forbids ${what}: check its rpcallowip and rpcwhitelist settings`)
    if (code === RPC_CODES.inWarmup) return new TransientError(`${where} is starting: ${describeError(error)}`)
    if (code === 500 || code === 502 || code === 503) {
      return new TransientError(`${where} is overloaded: ${describeError(error)}`)
    }
    if (code !== undefined) return new RpcFailure(code, `${what}: ${describeError(error)}`)
    return new TransientError(`${where} does not answer ${what}: ${describeError(error)}`)
  }
}

function asBytes(entries: readonly BatchEntry<string>[]): BatchEntry<Buffer>[] {
  return entries.map((entry) => ('value' in entry ? { value: Buffer.from(entry.value, 'hex') } : entry))
}

/** The numeric code of bitcoin-core's RpcError; network errors carry a string there. */
function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'number' ? error.code : undefined
}
