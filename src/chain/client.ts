/**
 * bitcoin-core's client over our own transport: it makes the requests and reads the replies; bytes, deadlines and turns
 * are receiver.ts' and window.ts'. What comes back is a value, bitcoind's refusal, or an error by fate: whatever nobody
 * has foreseen (a status, a body that is no reply, silence) is weather, and named in full. Knows no method's meaning.
 */
import { readFileSync } from 'node:fs'
import BitcoinCore from 'bitcoin-core'
import { AccessRefused, ConfigError, describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import { systemClock } from '../world.ts'
import { describeAnswer, isJsonBody, isNoRoom, type RpcQuestion, repliesIn } from './answers.ts'
import { BLOCK_LIMITS } from './decode.ts'
import type { HttpAnswer } from './http-answer.ts'
import { type HttpRequest, Receiver } from './receiver.ts'
import { cutTxids, type TakeTxid } from './txid-listing.ts'
import type { BlockHash } from './types.ts'
import { ExchangeWindow, NoRoom } from './window.ts'

export type RpcAuth = { kind: 'cookie'; file: string } | { kind: 'password'; user: string; password: string }

export interface RpcOptions {
  host: string
  port: number
  auth: RpcAuth
}

/** What the log tells of one exchange: never what was asked or answered in it. `asked`: a method, how many in a batch, or REST. */
export interface Exchange {
  asked: string
  status: number
  bytes: number
  tookMs: number
}

export const CLIENT_LIMITS = {
  /** A healthy node answers in milliseconds; while it flushes or verifies a block it may take this long. */
  deadlineMs: 30_000,
  /** Any reply that isn't named below: the largest is 2,000 block hashes, 0.3 MB. */
  replyBytes: 2_000_000,
  /** A block as hex. */
  blockReplyBytes: 2 * BLOCK_LIMITS.blockBytes + 10_000,
  /** A mempool of 1,000,000 (67 MB of JSON, let go before the next), or a batch of 100 transactions, the largest there are. */
  largeReplyBytes: 100_000_000,
}

const REPLY_BYTES: Record<string, number> = {
  getblock: CLIENT_LIMITS.blockReplyBytes,
  getrawmempool: CLIENT_LIMITS.largeReplyBytes,
  getrawtransaction: CLIENT_LIMITS.largeReplyBytes,
}

/** bitcoind understood a call and refused it; `code` is from its rpc/protocol.h. */
export interface RpcRefusal {
  code: number
  message: string
}

/** `forbidden`: HTTP 403, by `rpcallowip` or `rpcwhitelist`. */
export type RpcReply = { value: unknown } | { refusal: RpcRefusal } | { forbidden: true }

export interface Call {
  method: string
  parameters: unknown[]
}

const IN_WARMUP = -28

export class BitcoindClient {
  readonly #options: RpcOptions
  readonly #receiver: Receiver
  readonly #window = new ExchangeWindow()
  readonly #onExchange: ((exchange: Exchange) => void) | undefined
  #client: BitcoinCore | undefined
  #isMet = false

  /** `onExchange`: gets each, once it has been answered. */
  constructor(options: RpcOptions, onExchange?: (exchange: Exchange) => void) {
    this.#options = options
    this.#onExchange = onExchange
    this.#receiver = new Receiver({ host: options.host, port: options.port })
  }

  /** Who is asked, for messages. */
  get where(): string {
    const { host, port } = this.#options
    return `bitcoind at ${host.includes(':') ? `[${host}]` : host}:${port} (--rpc)`
  }

  /** Whether bitcoind has room for an exchange that only waits. */
  get hasRoom(): boolean {
    return this.#window.size > 2
  }

  /** It is the right node and has let us in: from now on a closed door is weather. */
  met(): void {
    this.#isMet = true
  }

  close(): void {
    this.#receiver.close()
  }

  /** `takeTxid`: gets the txids of a `getrawmempool false true`, whose reply has their number instead (txid-listing.ts). */
  async call({ method, parameters }: Call, takeTxid?: TakeTxid): Promise<RpcReply> {
    const reply = await this.#guard(method, (client) => this.#listing(client, takeTxid).command(method, ...parameters))
    return 'value' in reply ? this.#asReply(method, reply.value) : reply
  }

  /** The replies in the order of `calls`; bitcoind forbids all where it forbids one. */
  async batch(calls: readonly Call[]): Promise<RpcReply[]> {
    const method = `a batch of ${calls[0]?.method}`
    const reply = await this.#guard(method, (client) => client.command<unknown>(calls))
    if ('forbidden' in reply) return calls.map(() => reply)
    const replies = reply.value
    if (!Array.isArray(replies) || replies.length !== calls.length)
      throw this.unclear(method, 'it is no batch of replies')
    return replies.map((one: unknown) => this.#asReply(method, one))
  }

  /** A raw block by REST, lent. Throws when that can't be had whole. */
  restBlock(hash: BlockHash): Promise<HttpAnswer> {
    return this.#rest(`/rest/block/${hash}.bin`)
  }

  /** Whether the node serves REST (`rest=1`). */
  async hasRest(): Promise<boolean> {
    try {
      return isJsonBody((await this.#rest('/rest/chaininfo.json')).body)
    } catch (error) {
      if (error instanceof OddAnswer) return false
      throw error
    }
  }

  async #rest(path: string): Promise<HttpAnswer> {
    let answer: HttpAnswer
    try {
      answer = await this.#exchange('REST', { method: 'GET', path, bytesMax: BLOCK_LIMITS.blockBytes })
    } catch (error) {
      throw this.#asFate('REST', error)
    }
    if (answer.status === 200) return answer
    // REST asks for no credentials: 401 and 403 are as odd as any other status, and nothing of ours is refused.
    const said = describeAnswer(answer.status, answer.reason, answer.body)
    answer.release()
    throw new OddAnswer(`${this.where} answers REST with ${said}`)
  }

  /** The error of a call that bitcoind doesn't allow us. A ConfigError unless we have been let in before. */
  refused(what: string, advice = 'check its rpcallowip and rpcwhitelist settings'): Error {
    return this.#access(`${this.where} forbids ${what}: ${advice}`)
  }

  /** The error of a refusal that is nobody's answer. */
  failed(method: string, { code, message }: RpcRefusal): TransientError {
    return new TransientError(`${this.where} answers ${method} with code ${code}: ${printable(message)}`)
  }

  /** The error of a reply that isn't understood. */
  unclear(method: string, why: string): TransientError {
    return new TransientError(`${this.where} answers ${method} with what is not understood: ${why}`)
  }

  #asReply(method: string, value: unknown): RpcReply {
    if (!isRpcError(value)) return { value }
    if (value.code !== IN_WARMUP) return { refusal: { code: value.code, message: value.message } }
    throw new TransientError(`${this.where} is starting: ${printable(value.message)} (${method})`)
  }

  /** The error of a node that is the wrong one. A ConfigError unless it has been the right one before. */
  wrong(text: string): Error {
    return new (this.#isMet ? TransientError : ConfigError)(`${this.where} ${text}`)
  }

  #access(text: string): Error {
    return this.#isMet ? new TransientError(text) : new AccessRefused(text)
  }

  /** Runs one exchange; a cookie that went stale (bitcoind restarted) is read again, once. */
  async #guard(
    what: string,
    exchange: (client: BitcoinCore) => Promise<unknown>,
  ): Promise<{ value: unknown } | { forbidden: true }> {
    for (let isFirst = this.#client !== undefined; ; isFirst = false) {
      try {
        const client = this.#connected()
        return { value: await exchange(client).catch(asValue) }
      } catch (error) {
        if (!(error instanceof HttpRefusal)) throw this.#asFate(what, error)
        if (error.status === 403) return { forbidden: true }
        if (error.status !== 401) throw this.#asFate(what, error)
        this.#client = undefined
        if (this.#options.auth.kind === 'password' || !isFirst) throw this.#asFate(what, error)
      }
    }
  }

  #asFate(what: string, error: unknown): Error {
    if (error instanceof TransientError || error instanceof ConfigError) return error
    if (error instanceof NoRoom) {
      return new TransientError(`${this.where} is overloaded, and was for long: ${what}: ${error.message}`)
    }
    if (!(error instanceof HttpRefusal)) {
      return new TransientError(`${this.where} does not answer ${what}: ${describeError(error)}`)
    }
    const { auth } = this.#options
    if (error.status === 401) {
      return auth.kind === 'password'
        ? this.#access(`${this.where} refuses user and password: check --auth (or remove it to use the cookie)`)
        : new TransientError(`${this.where} refuses the cookie in ${auth.file}: is it this node's --cookie-file?`)
    }
    return new OddAnswer(`${this.where} answers ${what} with ${error.message}`)
  }

  #connected(): BitcoinCore {
    if (this.#client) return this.#client
    const client = new BitcoinCore({ ...this.#credentials(), logger: { debug() {} } })
    const transport = { postAsync: (asked: Post) => this.#post(asked) }
    client.request = transport as unknown as BitcoinCore['request']
    this.#client = client
    return client
  }

  /** `client`, for one call whose reply is a list of txids. */
  #listing(client: BitcoinCore, takeTxid: TakeTxid | undefined): BitcoinCore {
    if (!takeTxid) return client
    return Object.create(client, { request: { value: { postAsync: (asked: Post) => this.#post(asked, takeTxid) } } })
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
      if (error instanceof Error && 'code' in error && error.code === 'EISDIR') {
        throw this.#access(`--cookie-file ${auth.file} is a folder: name the file .cookie in it`)
      }
      throw this.#access(
        `--cookie-file ${auth.file} can't be read (${describeError(error)}): give this user read access (rpccookieperms=group), or give --auth user:pass`,
      )
    }
    const colon = text.indexOf(':')
    if (colon < 1) throw new TransientError(`the cookie at ${auth.file} is not complete yet`)
    return { username: text.slice(0, colon), password: text.slice(colon + 1) }
  }

  // ---- the transport under bitcoin-core's client ----

  async #post({ body, auth = {} }: Post, takeTxid?: TakeTxid): Promise<object> {
    const asked = [JSON.parse(body) as RpcQuestion | RpcQuestion[]].flat()
    const [first] = asked
    const named = asked.length > 1 ? `${asked.length} × ${first?.method}` : String(first?.method)
    const answer = await this.#exchange(named, {
      method: 'POST',
      path: '/',
      body,
      headers: {
        authorization: `Basic ${Buffer.from(`${auth.user ?? ''}:${auth.pass ?? ''}`).toString('base64')}`,
        'content-type': 'application/json',
      },
      bytesMax: Math.max(...asked.map(({ method }) => REPLY_BYTES[method] ?? CLIENT_LIMITS.replyBytes)),
    })
    const { status, reason, body: bytes } = answer
    try {
      const kept = takeTxid && status === 200 ? await cutTxids(bytes, takeTxid) : bytes
      const replies = repliesIn(status, kept, asked)
      if (replies === undefined) throw new HttpRefusal(status, reason, bytes)
      return { statusCode: status, headers: { 'content-type': 'application/json' }, body: replies }
    } finally {
      answer.release()
    }
  }

  /** `named`: as it is told of. */
  #exchange(named: string, asked: Omit<HttpRequest, 'deadlineMs'>): Promise<HttpAnswer> {
    return this.#window.run(async () => {
      const startMs = systemClock.monotonicMs()
      const answer = await this.#receiver.exchange({ ...asked, deadlineMs: CLIENT_LIMITS.deadlineMs })
      const tookMs = Math.round(systemClock.monotonicMs() - startMs)
      this.#onExchange?.({ asked: named, status: answer.status, bytes: answer.body.length, tookMs })
      if (!isNoRoom(answer.status, answer.body)) return answer
      const said = describeAnswer(answer.status, answer.reason, answer.body)
      answer.release()
      throw new NoRoom(said)
    })
  }
}

/** What bitcoin-core hands to its transport. */
interface Post {
  body: string
  auth?: { user?: string; pass?: string }
}

/** An answer that is no reply: an HTTP status, or a body that isn't JSON-RPC. */
class HttpRefusal extends Error {
  readonly status: number
  constructor(status: number, reason: string, body: Buffer) {
    super(describeAnswer(status, reason, body))
    this.status = status
  }
}

/** Somebody is there and answers, but not as bitcoind does. */
class OddAnswer extends TransientError {}

/** Of bitcoin-core: thrown for a single call, among the values of a batch. */
function isRpcError(value: unknown): value is Error & { code: number } {
  return value instanceof Error && value.name === 'RpcError' && 'code' in value && typeof value.code === 'number'
}

function asValue(error: unknown): unknown {
  if (isRpcError(error)) return error
  throw error
}
