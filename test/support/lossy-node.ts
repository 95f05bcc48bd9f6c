/**
 * A real bitcoind behind a line that loses ZMQ messages on demand: RPC and REST pass through, but the addresses of its
 * publishers are those of a relay that may drop what it likes, or die.
 */
import { Publisher, Subscriber } from 'zeromq'
import { freePorts } from '../sandbox/ports.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import { NodeLine, reply } from './node-line.ts'

interface Notification {
  type: string
  address: string
}

export class LossyNode implements AsyncDisposable {
  readonly #proxy: NodeLine
  /** Messages for which this holds are lost. */
  loses: (topic: string, body: Buffer) => boolean = () => false
  /** How many were. */
  lost = 0
  readonly #relays: { from: Subscriber; to: Publisher }[] = []

  private constructor(proxy: NodeLine) {
    this.#proxy = proxy
  }

  get rpcPort(): number {
    return this.#proxy.rpcPort
  }

  static async before(node: Regtest): Promise<LossyNode> {
    const ports = await freePorts(3)
    const lossy = new LossyNode(await NodeLine.before(node))
    const offered = await node.rpc<Notification[]>('getzmqnotifications')
    const addresses = new Map<string, string>()
    for (const address of new Set(offered.map((one) => one.address))) {
      const relayed = `tcp://127.0.0.1:${ports.pop()}`
      addresses.set(address, relayed)
      await lossy.#relay(address, relayed)
    }
    const rewritten = offered.map((one) => ({ ...one, address: addresses.get(one.address) }))
    lossy.#proxy.fate = (asked) =>
      asked.calls[0]?.method === 'getzmqnotifications' ? { say: reply(asked, rewritten) } : undefined
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

  /** How often it was asked this. */
  exchangesOf(method: string): number {
    return this.#proxy.counts.get(method) ?? 0
  }

  /** The publishers are gone, without a word. */
  killZmq(): void {
    for (const { from, to } of this.#relays.splice(0)) {
      from.close()
      to.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.killZmq()
    await this.#proxy[Symbol.asyncDispose]()
  }
}
