/**
 * Takes connections, frames and requests, hands each request on, and sends the replies in order. Whatever a stranger
 * does costs at most its own connection. Knows no chain and no bonds.
 *
 * A connection's life: bytes → FrameReader → one request at a time → its reply → the next. Reading stops while the
 * client is over its rate or leaves replies unread, so its pressure ends up in its own TCP window. One sweep a second
 * looks after all deadlines.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { ConfigError, describeError, PeerFault, type WireErrorCode } from '../errors.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { type Clock, every, type World } from '../world.ts'
import { FrameReader, FrameTooLarge, frameHead } from './frame.ts'
import type { WireLimits } from './limits.ts'
import { encodeReply, parseRequest, type Request } from './messages.ts'

/** `send`: a CBOR payload, unframed; the buffer may be shared between connections. */
export type Outcome = { send: Buffer } | 'close' | 'nothing'
export type Handle = (request: Request) => Promise<Outcome> | Outcome

/** Requests answered, by kind (`unknown` for what was none) and outcome (`ok`, `closed`, or an error code). */
export type RequestCounts = Map<string, number>

export interface WireServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Open just now. */
  connections(): number
  /** `kind/outcome` → how often. */
  readonly counts: RequestCounts
}

const SWEEP_MS = 1_000

/** Listens. Throws ConfigError naming --address when that can't be had. */
export async function serveWire(
  { listen, limits }: { listen: HostPort; limits: WireLimits },
  handle: Handle,
  { clock, log }: World,
): Promise<WireServer> {
  const connections = new Set<Connection>()
  const counts: RequestCounts = new Map()
  const shared: Shared = { limits, handle, clock, log, counts }
  // Half-open clients (who say all they have to say and then only listen) still get their replies.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (connections.size >= limits.connectionsMax) makeRoom(connections)
    const connection = new Connection(socket, shared, () => connections.delete(connection))
    connections.add(connection)
  })
  try {
    server.listen({ host: listen.host, port: listen.port, backlog: 1_024 })
    await once(server, 'listening')
  } catch (error) {
    throw new ConfigError(`--address ${formatHostPort(listen)} can't be listened on: ${whyNot(error)}`)
  }
  // Out of file descriptors and the like: the newcomer is lost, the rest goes on.
  server.on('error', (error) => log.warn({ detail: describeError(error) }, 'a connection could not be taken'))
  const stopSweeping = every(SWEEP_MS, () => {
    for (const connection of connections) connection.sweep()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('listening on something that is no port')
  return {
    host: address.address,
    port: address.port,
    counts,
    connections: () => connections.size,
    async [Symbol.asyncDispose]() {
      stopSweeping()
      const closed = once(server, 'close')
      server.close()
      for (const connection of connections) connection.destroy()
      await closed
    },
  }
}

function whyNot(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'another program listens there. Stop it, or choose another port'
  if (code === 'EACCES') return 'this user may not use that port. Choose one above 1023'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address. Choose 127.0.0.1'
  return describeError(error)
}

/** All are strangers and look alike behind Tor: the one that has been silent longest has to go. */
function makeRoom(connections: Set<Connection>): void {
  let idlest: Connection | undefined
  for (const connection of connections) {
    if (!idlest || connection.isIdlerThan(idlest)) idlest = connection
  }
  idlest?.destroy()
}

interface Shared {
  limits: WireLimits
  handle: Handle
  clock: Clock
  log: Logger
  counts: RequestCounts
}

class Connection {
  readonly #socket: Socket
  readonly #shared: Shared
  readonly #frames: FrameReader
  #isAnswering = false
  #isEnded = false
  /** Since when the last reply is on its way. */
  #closingSinceMs: number | undefined
  /** Last time a whole request came or a reply was sent. */
  #activeAtMs: number
  /** When the first byte of the frame now coming came. */
  #frameSinceMs: number | undefined
  /** Since when replies lie unread, and how many bytes had been taken by then. */
  #unsent: { sinceMs: number; bytesWritten: number } | undefined
  #tokens: number
  #tokensAtMs: number

  constructor(socket: Socket, shared: Shared, onClose: () => void) {
    this.#socket = socket
    this.#shared = shared
    this.#frames = new FrameReader(shared.limits.frameBytesMax)
    this.#activeAtMs = shared.clock.monotonicMs()
    this.#tokens = shared.limits.requestsBurst
    this.#tokensAtMs = this.#activeAtMs
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', onClose)
    socket.on('end', () => {
      this.#isEnded = true
      this.#advance()
    })
    socket.on('data', (chunk) => {
      this.#frames.push(chunk)
      this.#advance()
    })
    socket.on('drain', () => this.#advance())
  }

  /** Answering ones come last. */
  isIdlerThan(other: Connection): boolean {
    if (this.#isAnswering !== other.#isAnswering) return other.#isAnswering
    return this.#activeAtMs < other.#activeAtMs
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Once a second: deadlines, and whoever waits for tokens. */
  sweep(): void {
    const { limits, clock } = this.#shared
    const nowMs = clock.monotonicMs()
    if (this.#isAnswering) return
    if (this.#socket.writableLength > 0) {
      const written = this.#socket.bytesWritten - this.#socket.writableLength
      if (this.#unsent?.bytesWritten !== written) this.#unsent = { sinceMs: nowMs, bytesWritten: written }
      else if (nowMs - this.#unsent.sinceMs > limits.unsentMsMax) this.destroy()
      return
    }
    this.#unsent = undefined
    const isFrameLate = this.#frameSinceMs !== undefined && nowMs - this.#frameSinceMs > limits.frameMsMax
    const isIdle = nowMs - this.#activeAtMs > limits.idleMsMax
    const isClosed = this.#closingSinceMs !== undefined && nowMs - this.#closingSinceMs > limits.frameMsMax
    if (isFrameLate || isIdle || isClosed) this.destroy()
    else this.#advance()
  }

  /** Does all that can be done now; called whenever something has changed. */
  #advance(): void {
    if (this.#isAnswering || this.#closingSinceMs !== undefined || this.#socket.destroyed) return
    if (this.#socket.writableLength > this.#shared.limits.unsentBytesMax) return this.#pause()
    if (!this.#hasToken()) return this.#pause()
    let payload: Buffer | undefined
    try {
      payload = this.#frames.next()
    } catch (error) {
      if (!(error instanceof FrameTooLarge)) throw error
      this.#count('unknown', 'too_large')
      return this.#fail('too_large', error.message, true)
    }
    if (payload) {
      this.#frameSinceMs = undefined
      this.#activeAtMs = this.#shared.clock.monotonicMs()
      this.#tokens--
      void this.#answer(payload)
      return
    }
    if (this.#isEnded) return void this.#socket.end() // all is said; half a frame will not become whole
    if (this.#frames.pendingBytes > 0) this.#frameSinceMs ??= this.#shared.clock.monotonicMs()
    this.#socket.resume()
  }

  /** Stops reading; the client's bytes wait in its own socket. */
  #pause(): void {
    this.#socket.pause()
    this.#frameSinceMs = undefined // it is we who don't read
  }

  #hasToken(): boolean {
    const { limits, clock } = this.#shared
    const nowMs = clock.monotonicMs()
    const gained = ((nowMs - this.#tokensAtMs) / 1000) * limits.requestsPerS
    this.#tokens = Math.min(limits.requestsBurst, this.#tokens + gained)
    this.#tokensAtMs = nowMs
    return this.#tokens >= 1
  }

  /** Never rejects. */
  async #answer(payload: Buffer): Promise<void> {
    const parsed = parseRequest(payload)
    if (!parsed.ok) {
      this.#count('unknown', parsed.code)
      this.#fail(parsed.code, parsed.message, parsed.closes)
      if (!parsed.closes) this.#advanceSoon()
      return
    }
    const { request } = parsed
    this.#isAnswering = true
    this.#socket.pause()
    try {
      const outcome = await this.#shared.handle(request)
      this.#count(request.type, outcome === 'close' ? 'closed' : 'ok')
      if (outcome === 'close') this.destroy()
      else if (outcome !== 'nothing') this.#send(outcome.send)
    } catch (error) {
      if (error instanceof PeerFault) {
        this.#count(request.type, error.code)
        this.#fail(error.code, error.message, false)
      } else {
        this.#shared.log.error({ err: error, request: request.type }, 'a request failed')
        this.#count(request.type, 'internal')
        this.#fail('internal', 'this tracker failed to answer; its operator has been told', true)
      }
    }
    this.#isAnswering = false
    this.#activeAtMs = this.#shared.clock.monotonicMs()
    this.#advanceSoon()
  }

  /** In a turn of its own: a client that pipelines a thousand requests must not keep the others waiting. */
  #advanceSoon(): void {
    setImmediate(() => this.#advance())
  }

  #fail(code: WireErrorCode, message: string, closes: boolean): void {
    this.#send(encodeReply({ type: 'Error', code, message }))
    if (!closes) return
    this.#closingSinceMs = this.#shared.clock.monotonicMs()
    this.#socket.resume().removeAllListeners('data') // what still comes is not read: let it go by
    this.#socket.end()
  }

  #send(payload: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    this.#socket.cork()
    this.#socket.write(frameHead(payload.length))
    this.#socket.write(payload)
    this.#socket.uncork()
  }

  #count(kind: string, outcome: string): void {
    const name = `${kind}/${outcome}`
    this.#shared.counts.set(name, (this.#shared.counts.get(name) ?? 0) + 1)
  }
}
