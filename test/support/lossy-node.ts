/**
 * A real bitcoind behind a line that loses ZMQ messages on demand: RPC and REST pass through, but the addresses of its
 * publishers are those of a relay that may drop what it likes, or die.
 */
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { Publisher, Subscriber } from 'zeromq'
import { freePorts } from '../sandbox/ports.ts'
import type { Regtest } from '../sandbox/regtest.ts'

interface Notification {
  type: string
  address: string
}

export class LossyNode implements AsyncDisposable {
  readonly rpcPort: number
  /** Messages for which this holds are lost. */
  loses: (topic: string, body: Buffer) => boolean = () => false
  /** How many were. */
  lost = 0
  readonly #ends: (() => Promise<void>)[] = []
  readonly #relays: { from: Subscriber; to: Publisher }[] = []

  private constructor(rpcPort: number) {
    this.rpcPort = rpcPort
  }

  static async before(node: Regtest): Promise<LossyNode> {
    const [rpcPort, ...ports] = await freePorts(4)
    const lossy = new LossyNode(rpcPort!)
    const offered = await node.rpc<Notification[]>('getzmqnotifications')
    const addresses = new Map<string, string>()
    for (const address of new Set(offered.map((one) => one.address))) {
      const relayed = `tcp://127.0.0.1:${ports.pop()}`
      addresses.set(address, relayed)
      await lossy.#relay(address, relayed)
    }
    const rewritten = offered.map((one) => ({ ...one, address: addresses.get(one.address) }))
    await lossy.#serve(node.rpcPort, rewritten)
    return lossy
  }

  async #relay(address: string, relayed: string): Promise<void> {
    const from = new Subscriber({ receiveHighWaterMark: 0 })
    from.connect(address)
    from.subscribe()
    const to = new Publisher({ sendHighWaterMark: 0, linger: 0 })
    await to.bind(relayed)
    this.#relays.push({ from, to })
    void (async () => {
      for await (const frames of from) {
        if (this.loses(frames[0]!.toString(), frames[1]!)) this.lost++
        else await to.send(frames)
      }
    })().catch(() => {})
  }

  /** The publishers are gone, without a word. */
  killZmq(): void {
    for (const { from, to } of this.#relays.splice(0)) {
      from.close()
      to.close()
    }
  }

  async #serve(nodePort: number, zmq: unknown): Promise<void> {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const body = Buffer.concat(chunks)
      const asked = body.length > 0 ? (JSON.parse(body.toString()) as { id?: unknown; method?: string }) : {}
      if (asked.method === 'getzmqnotifications') {
        const reply = JSON.stringify({ id: asked.id, result: zmq, error: null })
        response.writeHead(200, { 'content-type': 'application/json' }).end(reply)
        return
      }
      const { method, url, headers } = request
      const onward = httpRequest(
        { host: '127.0.0.1', port: nodePort, method, path: url, headers, agent: false },
        (answer) => {
          response.writeHead(answer.statusCode!, answer.headers)
          answer.pipe(response)
        },
      )
      onward.on('error', () => response.destroy())
      onward.end(body)
    }).listen(this.rpcPort, '127.0.0.1')
    await once(server, 'listening')
    this.#ends.push(async () => {
      server.closeAllConnections()
      await once(server.close(), 'close')
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.killZmq()
    for (const end of this.#ends.splice(0)) await end()
  }
}
