/** The Nostr door from outside, by the sandbox's own WebSocket: what is asked, and everything that comes until it is enough. */
import { connect, type Socket } from 'node:net'
import { bondKey } from '../sandbox/bond-key.ts'
import { type SignedEvent, signEvent } from '../sandbox/nostr/signed-event.ts'
import { type Message, OPCODE, ReadTimeout, RelaySocket, type Route } from '../sandbox/nostr/wire.ts'
import type { FundedBond, Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { onionHost } from './onions.ts'

export const KIND = 37_780
/** For what must come, on a machine that is busy. */
const PATIENCE_MS = 30_000
/** For what must not come: everything that was written before has come by then. */
const QUIET_MS = 1_000

/** Announces a bond of each name, as makers of today do, and mines them. */
export async function mineBonds(node: Regtest, names: readonly string[], lockBlocks = 2_000): Promise<FundedBond[]> {
  const bonds: FundedBond[] = []
  for (const name of names) {
    bonds.push(await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21`, lockBlocks }))
  }
  await node.mine(1)
  return bonds
}

export function doorUrl({ nostrPort }: Pick<Tracker, 'nostrPort'>): string {
  return `ws://127.0.0.1:${nostrPort}`
}

export class DoorVisitor implements Disposable {
  readonly socket: RelaySocket

  private constructor(socket: RelaySocket) {
    this.socket = socket
  }

  static async open(url: string, route: Route = {}): Promise<DoorVisitor> {
    return new DoorVisitor(await RelaySocket.open(url, route))
  }

  say(...message: unknown[]): this {
    this.socket.sendText(JSON.stringify(message))
    return this
  }

  /** The next text, as it was written. */
  async text(): Promise<string> {
    const { op, data } = await this.#next()
    if (op !== OPCODE.text) throw new Error(`a text was expected: ${op} ${data.toString('latin1')}`)
    return data.toString()
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever the door says
  async message(): Promise<any[]> {
    return JSON.parse(await this.text())
  }

  /** All events of a subscription up to its EOSE. */
  async stored(id: string): Promise<SignedEvent[]> {
    const events: SignedEvent[] = []
    for (;;) {
      const [type, of, event] = await this.message()
      if (of !== id) throw new Error(`of another subscription: ${of}`)
      if (type === 'EOSE') return events
      if (type !== 'EVENT') throw new Error(`neither EVENT nor EOSE: ${type}`)
      events.push(event)
    }
  }

  async ask(id: string, ...filters: unknown[]): Promise<SignedEvent[]> {
    return this.say('REQ', id, ...filters).stored(id)
  }

  /** Code and reason of the close frame that must come; 1005 where it has none. */
  async goodbye(): Promise<{ code: number; reason: string }> {
    for (;;) {
      const { op, data } = await this.#next()
      if (op !== OPCODE.close) continue
      return { code: data.length < 2 ? 1005 : data.readUInt16BE(), reason: data.toString('utf8', 2) }
    }
  }

  /** True when nothing comes for a moment, neither text nor ping. */
  async isQuiet(forMs = QUIET_MS): Promise<boolean> {
    try {
      await this.socket.read(forMs)
      return false
    } catch (error) {
      if (error instanceof ReadTimeout) return true
      throw error
    }
  }

  async #next(): Promise<Message> {
    for (;;) {
      const message = await this.socket.read(PATIENCE_MS)
      if (message.op !== OPCODE.ping && message.op !== OPCODE.pong) return message
    }
  }

  [Symbol.dispose](): void {
    this.socket.drop()
  }
}

/** As a maker announces `txid`, with whatever the test wants to differ; signed after it. */
export function announcement(
  txid: string,
  change: Partial<Pick<SignedEvent, 'content' | 'created_at' | 'kind' | 'tags'>> = {},
): SignedEvent {
  const createdAtS = change.created_at ?? Math.floor(Date.now() / 1000)
  return signEvent({
    kind: KIND,
    content: `${txid}:0`,
    created_at: createdAtS,
    tags: [
      ['d', `fidelity:${txid}:0`],
      ['expiration', String(createdAtS + 86_400)],
    ],
    ...change,
  })
}

/** Writes `bytes` to the door and gives all that comes until it closes; undefined when it doesn't. */
export function rawExchange(port: number, bytes: Buffer | string, forMs = PATIENCE_MS): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket: Socket = connect({ host: '127.0.0.1', port })
    const timer = setTimeout(() => {
      resolve(undefined)
      socket.destroy()
    }, forMs)
    socket.on('error', () => {})
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks).toString('latin1'))
    })
    socket.write(bytes)
  })
}
