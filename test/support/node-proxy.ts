/** A real bitcoind behind an HTTP proxy that counts what is asked, and answers in its place what the test wants it to. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'

export interface Exchange {
  /** Of REST; `/` for RPC. */
  path: string
  /** The RPC call, of a batch the first; undefined for REST. */
  method: string | undefined
  params: unknown[]
}

export interface Answer {
  status: number
  /** RPC: bitcoind's error. */
  error?: { code: number; message: string }
  /** Anything else, as it is. */
  text?: string
}

export class NodeProxy implements AsyncDisposable {
  readonly #server: Server
  /** What is asked while this returns an answer gets that one. */
  answers: (exchange: Exchange) => Answer | undefined = () => undefined
  /** How many exchanges there were. */
  asked = 0

  private constructor(nodePort: number) {
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const body = Buffer.concat(chunks)
      const call = body.length > 0 ? JSON.parse(body.toString()) : undefined
      const first = (Array.isArray(call) ? call[0] : call) as { method?: string; params?: unknown[] } | undefined
      const { method, url, headers } = request
      this.asked++
      const answer = this.answers({ path: url ?? '/', method: first?.method, params: first?.params ?? [] })
      if (answer) {
        const { status, error = null, text } = answer
        const isJson = text === undefined
        response.writeHead(status, { 'content-type': isJson ? 'application/json' : 'text/plain' })
        response.end(isJson ? JSON.stringify({ id: call?.id ?? null, result: null, error }) : text)
        return
      }
      const onward = httpRequest(
        { host: '127.0.0.1', port: nodePort, method, path: url, headers, agent: false },
        (reply) => {
          response.writeHead(reply.statusCode!, reply.headers)
          reply.pipe(response)
        },
      )
      onward.on('error', () => response.destroy())
      onward.end(body)
    })
  }

  static async before(node: Regtest): Promise<NodeProxy> {
    const proxy = new NodeProxy(node.rpcPort)
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening')
    return proxy
  }

  /** What `Tracker.start` needs of `node`, through the proxy. */
  of(node: Regtest): Parameters<typeof Tracker.start>[0] {
    const { port } = this.#server.address() as { port: number }
    return { rpcPort: port, cookieFile: node.cookieFile } as Regtest
  }

  /** Blocks that bitcoind has in its chain and not on its disk, as with assumeutxo before they are downloaded. */
  withhold(hashes: ReadonlySet<string>, message = 'Block not available (not fully downloaded)'): void {
    this.answers = ({ path, method, params }) => {
      const rest = /^\/rest\/block\/([0-9a-f]{64})/.exec(path)?.[1]
      if (rest !== undefined && hashes.has(rest))
        return { status: 404, text: `${rest} not available (not fully downloaded)\r\n` }
      if (method === 'getblock' && hashes.has(String(params[0]))) return { status: 500, error: { code: -1, message } }
      return undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await once(this.#server.close(), 'close')
  }
}
