/** A wire server with limits of the test's choosing, and clients that send bytes, not requests. */
import { connect, type Socket } from 'node:net'
import pino from 'pino'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { WIRE_LIMITS, type WireLimits } from '../../src/wire/limits.ts'
import { encodeReply, encodeRequest, parseReply, type Reply, type Request } from '../../src/wire/messages.ts'
import { type Handle, type Outcome, serveWire, type WireServer } from '../../src/wire/server.ts'
import { Work } from '../../src/wire/work.ts'
import { type Clock, systemClock } from '../../src/world.ts'

/** A clock the test moves. */
export class HandClock implements Clock {
  atMs = 1_000_000
  nowMs(): number {
    return this.atMs
  }
  monotonicMs(): number {
    return this.atMs
  }
}

export const address = (...addresses: string[]): Buffer => encodeReply({ type: 'Address', addresses })

/** Answers all: `Get` with one maker, `Watch` with the outpoint's number, `Ping` with its own address. */
export const echo = (request: Request): Outcome => {
  switch (request.type) {
    case 'Watch':
      return { send: address(`watched:${request.outpoint.vout}`) }
    case 'Ping':
      return { send: encodeReply({ type: 'Pong', address: request.address }) }
    case 'Pong':
      return 'nothing'
    default:
      return { send: address(request.type) }
  }
}

export interface TestServer extends WireServer {
  /** What was logged, as JSON lines. */
  readonly logged: string[]
}

/** Sweeps every 10 ms unless told otherwise; all else as in production. */
export async function startServer(
  handle: Handle = echo,
  limits: Partial<WireLimits> = {},
  clock: Clock = systemClock,
  signal: AbortSignal = new AbortController().signal,
  circuitIds = false,
): Promise<TestServer> {
  const logged: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) })
  const options = { listen: { host: '127.0.0.1', port: 0 }, limits: { ...WIRE_LIMITS, sweepMs: 10, ...limits } }
  const work = new Work(options.limits, clock)
  const server = await serveWire(options, handle, { clock, random: Math.random, log, signal, work, circuitIds })
  return Object.assign(server, { logged })
}

/** A client: sends what it is told, keeps what comes. */
export class Client implements Disposable {
  readonly socket: Socket
  readonly replies: Reply[] = []
  /** The server has said its last word, or the connection broke. */
  isClosed = false
  readonly #reader = new FrameReader(16_777_216)

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.#reader.push(chunk)
      for (let payload = this.#reader.next(); payload; payload = this.#reader.next()) {
        this.replies.push(parseReply(payload))
      }
    })
    const onClose = () => {
      this.isClosed = true
    }
    socket.on('error', onClose).on('end', onClose).on('close', onClose)
  }

  static open(port: number): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Client(socket))
      })
    })
  }

  /** True when the bytes end with whole replies. */
  get isBetweenReplies(): boolean {
    return !this.#reader.isMidFrame
  }

  send(...requests: Request[]): this {
    return this.sendBytes(Buffer.concat(requests.map((request) => encodeFrame(encodeRequest(request)))))
  }

  sendPayload(hexPayload: string): this {
    return this.sendBytes(encodeFrame(Buffer.from(hexPayload.replaceAll(' ', ''), 'hex')))
  }

  sendBytes(bytes: Uint8Array): this {
    this.socket.write(bytes)
    return this
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}
