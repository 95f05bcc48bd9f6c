/**
 * Somebody who never heard of our service: a Tor of his own that forgets what it knew, and fetches the descriptor as the
 * network's directories have it now.
 */
import type { HostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { dial } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import type { Reply, Request } from '../../src/wire/messages.ts'
import type { TorClient } from '../sandbox/tor-network.ts'
import { waitUntil } from '../sandbox/wait.ts'

/** Tor holds a stream for two minutes when a circuit dies under it; a taker would have come again by then. */
const ATTEMPT_MS = 10_000

export class Stranger implements Disposable {
  readonly #socks: HostPort
  readonly #control: TorControl
  readonly #events: string[] = []

  private constructor(socks: HostPort, control: TorControl) {
    this.#socks = socks
    this.#control = control
  }

  static async at({ socks, control }: TorClient): Promise<Stranger> {
    const stranger = new Stranger(socks, new TorControl({ control, password: undefined }))
    await stranger.#control.connect()
    await stranger.#control.subscribe(['HS_DESC', 'SIGNAL'], (line) => stranger.#events.push(line))
    return stranger
  }

  /** Circuits and descriptors. Tor does it at most every ten seconds, and says when it has. */
  async forget(): Promise<void> {
    this.#events.length = 0
    await this.#control.must('SIGNAL NEWNYM')
    await waitUntil('Tor has forgotten', () => this.#events.includes('SIGNAL NEWNYM'))
  }

  /** One attempt: the descriptor as it is published now, a new circuit, one question. */
  async ask(address: HostPort, timeoutMs = ATTEMPT_MS): Promise<Extract<Reply, { type: 'Status' }>> {
    return await this.request(address, { type: 'Status' }, 'Status', timeoutMs)
  }

  /** The same with any question. */
  async request<T extends Reply['type']>(
    address: HostPort,
    request: Request,
    expected: T,
    timeoutMs = ATTEMPT_MS,
  ): Promise<Extract<Reply, { type: T }>> {
    await this.#fetch(address.host.replace('.onion', ''))
    const { signal } = new AbortController()
    const socket = await dial(address, { socks: this.#socks, timeoutMs, signal })
    try {
      const reply = await ask(socket, request, { timeoutMs })
      if (reply.type !== expected) throw new Error(`expected ${expected}, got ${JSON.stringify(reply)}`)
      return reply as Extract<Reply, { type: T }>
    } finally {
      socket.destroy()
    }
  }

  /** Tries until it is answered; fails with what the last attempt met. */
  async reach(address: HostPort, { timeoutMs = 120_000 } = {}): Promise<Extract<Reply, { type: 'Status' }>> {
    let met: unknown
    const attempt = () =>
      this.ask(address).catch((error: unknown) => {
        met = error
        return undefined
      })
    return await waitUntil('a stranger is answered', attempt, { timeoutMs }).catch((error: unknown) => {
      throw new Error(String(error), { cause: met })
    })
  }

  /** Into the place of an older one, if there is a newer one. */
  async #fetch(id: string): Promise<void> {
    this.#events.length = 0
    await this.#control.must(`HSFETCH ${id}`)
    const isDone = (line: string) =>
      line.startsWith(`HS_DESC RECEIVED ${id}`) || line.startsWith(`HS_DESC FAILED ${id}`)
    await waitUntil('the descriptor is fetched, or is not', () => this.#events.some(isDone))
  }

  [Symbol.dispose](): void {
    this.#control[Symbol.dispose]()
  }
}
