/**
 * A real bitcoind behind a line that the test has in its hand: RPC and REST pass through, and each exchange may be
 * answered otherwise, changed, cut, held back or dropped. For whatever stands between, or goes wrong with a disk.
 */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Regtest } from '../sandbox/regtest.ts'

/** One exchange as it was asked for. */
export interface Asked {
  /** `/` for RPC. */
  path: string
  /** Of RPC; several in a batch. */
  calls: { id: unknown; method: string; params: unknown[] }[]
}

export interface Answer {
  status: number
  body: Buffer
  headers?: Record<string, string>
}

/** What becomes of one exchange; undefined lets it pass. */
export type Fate =
  /** In place of the node's answer. */
  | { say: Answer }
  /** The node's own, changed. */
  | { change: (answer: Answer) => Answer }
  /** The node's own, promised whole, and the connection reset after half of it. */
  | 'cut'
  /** No answer at all: the connection is reset. */
  | 'reset'
  /** No answer until the weather is over. */
  | 'hang'
  /** A body that goes on and on. */
  | 'endless'
  | undefined

export class NodeLine implements AsyncDisposable {
  rpcPort = 0
  /** Exchanges by the method asked first, or by path. */
  readonly counts = new Map<string, number>()
  /** Exchanges that had a fate. */
  met = 0
  fate: (asked: Asked) => Fate = () => undefined
  readonly #nodePort: number
  readonly #held = new Set<ServerResponse>()
  readonly #server = createServer((request, response) => void this.#serve(request, response))

  private constructor(nodePort: number) {
    this.#nodePort = nodePort
  }

  static async before(node: Pick<Regtest, 'rpcPort'>): Promise<NodeLine> {
    const line = new NodeLine(node.rpcPort)
    line.#server.listen(0, '127.0.0.1')
    await once(line.#server, 'listening')
    line.rpcPort = (line.#server.address() as { port: number }).port
    return line
  }

  get exchanges(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  /** Somebody waits for an answer, or for its end. */
  get isHolding(): boolean {
    return this.#held.size > 0
  }

  /** Everything passes again; what was held back is dropped. */
  calm(): void {
    this.fate = () => undefined
    this.met = 0
    for (const response of this.#held) response.destroy()
    this.#held.clear()
  }

  /** Blocks that bitcoind has in its chain and can't give, as with assumeutxo before they are downloaded. */
  withhold(hashes: { has(hash: string): boolean }, message = 'Block not available (not fully downloaded)'): void {
    this.fate = (asked) => {
      const rest = /^\/rest\/block\/([0-9a-f]{64})/.exec(asked.path)?.[1]
      if (rest !== undefined && hashes.has(rest))
        return { say: { status: 404, body: Buffer.from(`${rest}: ${message}`) } }
      const [call] = asked.calls
      if (call?.method === 'getblock' && hashes.has(String(call.params[0]))) return { say: refusal(asked, -1, message) }
      return undefined
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const path = request.url ?? '/'
    const calls = body.length === 0 ? [] : ([JSON.parse(body.toString())].flat() as Asked['calls'])
    const name = calls[0]?.method ?? path.split('/').slice(0, 3).join('/')
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
    const fate = this.fate({ path, calls })
    if (fate !== undefined) this.met++
    if (fate === 'reset') return void response.destroy()
    if (fate === 'hang') return void this.#held.add(response)
    if (fate === 'endless') return this.#goOn(response)
    if (typeof fate === 'object' && 'say' in fate) return write(response, fate.say)
    const { method, headers } = request
    const onward = httpRequest(
      { host: '127.0.0.1', port: this.#nodePort, method, path, headers, agent: false },
      async (answer) => {
        if (fate === undefined) {
          response.writeHead(answer.statusCode!, answer.headers)
          return answer.pipe(response)
        }
        const parts: Buffer[] = []
        for await (const part of answer) parts.push(part)
        const given = { status: answer.statusCode!, body: Buffer.concat(parts), headers: typeOf(answer.headers) }
        if (typeof fate === 'object') return write(response, fate.change(given))
        response.writeHead(given.status, { ...given.headers, 'content-length': given.body.length })
        return response.write(given.body.subarray(0, given.body.length / 2), () => response.destroy())
      },
    )
    onward.on('error', () => response.destroy())
    onward.end(body)
  }

  #goOn(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    this.#held.add(response)
    const more = () => {
      if (!response.destroyed) response.write(' '.repeat(100_000), more)
    }
    more()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.calm()
    this.#server.closeAllConnections()
    await once(this.#server.close(), 'close')
  }
}

/** bitcoind's reply to a single call, with `result`. */
export function reply({ calls }: Asked, result: unknown): Answer {
  return jsonAnswer(200, { result, error: null, id: calls[0]?.id })
}

/** bitcoind's refusal of a single call. */
export function refusal({ calls }: Asked, code: unknown, message: string): Answer {
  return jsonAnswer(500, { result: null, error: { code, message }, id: calls[0]?.id })
}

export function jsonAnswer(status: number, value: unknown): Answer {
  return { status, body: Buffer.from(JSON.stringify(value)), headers: { 'content-type': 'application/json' } }
}

function typeOf({ 'content-type': type }: { 'content-type'?: string | undefined }): Record<string, string> {
  return type === undefined ? {} : { 'content-type': type }
}

function write(response: ServerResponse, { status, body, headers = { 'content-type': 'text/html' } }: Answer): void {
  response.writeHead(status, headers).end(body)
}
