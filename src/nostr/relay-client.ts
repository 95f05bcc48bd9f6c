/**
 * One WebSocket connection to a relay, as its client: reached through Tor over a circuit of its own, read no faster than it
 * is asked for, kept alive by pings. Knows no subscriptions. Everything that goes wrong is TransientError in one sentence.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import { Bell, raceAbort, ScopedAbort } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import { type HostPort, type TorPort, urlHost } from '../tor/address.ts'
import { dial, freshIsolation } from '../tor/socks.ts'
import { after, type Clock, every } from '../world.ts'

export const RELAY_CLIENT_LIMITS = {
  /** For each of: the connection, TLS, the upgrade. Onions take their time. */
  openMs: 60_000,
  /** The longest message that doesn't end the connection: relays take events of 64 to 256 kB, and one may have our kind. */
  messageBytesMax: 1_048_576,
  /** Messages that wait to be looked at, together; beyond it the relay is not read. A whole message more may come. */
  waitingChars: 262_144,
  /** A connection that is quiet is asked for a sign of life this often, and is over when the next time comes without one. */
  pingMs: 45_000,
  /** What the relay says of a refusal. */
  reasonChars: 120,
}

export interface RelayRoute {
  /** Tor's SOCKS port; undefined without Tor. */
  socks: TorPort | undefined
  /** Connections that share it share a circuit; else it is this one's alone. */
  isolation?: string
}

export class RelayConnection implements Disposable {
  readonly #socket: WebSocket
  readonly #clock: Clock
  readonly #waiting: string[] = []
  readonly #bell = new Bell()
  readonly #stopPings: () => void
  #waitingChars = 0
  #heardMs: number
  #end: TransientError | undefined

  private constructor(socket: WebSocket, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
    this.#heardMs = clock.monotonicMs()
    socket.on('message', (data, isBinary) => this.#take(String(data), isBinary))
    socket.on('pong', () => this.#hear())
    socket.on('ping', () => this.#hear())
    socket.on('error', (error) => this.#over(sentenceOf(error)))
    socket.on('close', (code, reason) => this.#over(closeSentence(code, reason.toString())))
    this.#stopPings = every(RELAY_CLIENT_LIMITS.pingMs, () => this.#ping())
  }

  /** `url`: ws:// or wss://. Throws TransientError, or the reason of the signal. */
  static async open(url: string, route: RelayRoute, clock: Clock, signal: AbortSignal): Promise<RelayConnection> {
    const { openMs, messageBytesMax } = RELAY_CLIENT_LIMITS
    const stream = await openStream(url, route, signal)
    const socket = new WebSocket(url, {
      // An agent would want a connection of its own. Node's types ask for a TLS socket here only where it made one.
      createConnection: (() => stream) as never,
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: messageBytesMax,
    })
    stream.resume()
    // Listens from the beginning: a relay may speak first.
    const connection = new RelayConnection(socket, clock)
    using attempt = new ScopedAbort(signal)
    const tooLate = new TransientError(`it did not answer the request for a WebSocket within ${openMs / 1000} s`)
    const cancel = after(openMs, () => attempt.abort(tooLate))
    try {
      await raceAbort(upgraded(socket), attempt.signal)
      return connection
    } catch (error) {
      connection[Symbol.dispose]()
      throw error
    } finally {
      cancel()
    }
  }

  /** Messages that have come and wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  send(message: readonly unknown[]): void {
    this.#socket.send(JSON.stringify(message), () => {}) // that it failed is told by the end of the connection
  }

  /** The next message. Throws TransientError once the connection is over and all that came before it was told. */
  async next(signal: AbortSignal): Promise<string> {
    for (;;) {
      signal.throwIfAborted()
      const text = this.#waiting.shift()
      if (text !== undefined) {
        this.#waitingChars -= text.length
        if (this.#socket.isPaused && this.#waitingChars < RELAY_CLIENT_LIMITS.waitingChars / 2) {
          this.#hear() // while it was not read it could not be heard
          this.#socket.resume()
        }
        return text
      }
      if (this.#end) throw this.#end
      await raceAbort(this.#bell.wait(RELAY_CLIENT_LIMITS.pingMs), signal)
    }
  }

  #take(text: string, isBinary: boolean): void {
    this.#hear()
    if (isBinary || this.#end) return
    this.#waiting.push(text)
    this.#waitingChars += text.length
    if (this.#waitingChars > RELAY_CLIENT_LIMITS.waitingChars) this.#socket.pause()
    this.#bell.ring()
  }

  #hear(): void {
    this.#heardMs = this.#clock.monotonicMs()
  }

  #ping(): void {
    if (this.#socket.isPaused) return
    const quietMs = this.#clock.monotonicMs() - this.#heardMs
    if (quietMs > 2 * RELAY_CLIENT_LIMITS.pingMs) {
      this.#over(`no sign of life for ${Math.round(quietMs / 1000)} s`)
      this.#socket.terminate()
    } else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping(() => {})
  }

  #over(sentence: string): void {
    this.#end ??= new TransientError(sentence)
    this.#stopPings()
    this.#bell.ring()
  }

  [Symbol.dispose](): void {
    this.#over('closed by us')
    this.#socket.terminate()
  }
}

/** TCP or Tor, and TLS where the URL asks for it. Throws TransientError. */
export async function openStream(
  url: string,
  { socks, isolation = freshIsolation() }: RelayRoute,
  signal: AbortSignal,
): Promise<Socket | TLSSocket> {
  const { openMs } = RELAY_CLIENT_LIMITS
  const target = targetOf(url)
  const raw = await dial(target, { socks, timeoutMs: openMs, signal, isolation })
  if (!/^(wss|https):/.test(url)) return raw
  const { host } = target
  const secure = connectTls({ socket: raw, host, servername: isIP(host) ? '' : host, ALPNProtocols: ['http/1.1'] })
  raw.resume()
  const cancel = after(openMs, () => secure.destroy(new Error(`no TLS within ${openMs / 1000} s`)))
  try {
    await raceAbort(once(secure, 'secureConnect'), signal)
  } catch (error) {
    secure.destroy()
    raw.destroy()
    if (signal.aborted) throw signal.reason
    throw new TransientError(tlsSentence(error))
  } finally {
    cancel()
  }
  secure.on('error', () => {}) // 'close' follows
  return secure
}

function targetOf(url: string): HostPort {
  const parsed = new URL(url)
  const port = parsed.port === '' ? (/^(wss|https):/.test(url) ? 443 : 80) : Number(parsed.port)
  return { host: urlHost(parsed), port }
}

function upgraded(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', (error) => reject(new TransientError(sentenceOf(error))))
    socket.once('close', () => reject(new TransientError('it closed before it was a WebSocket')))
    socket.once('unexpected-response', (request, response: IncomingMessage) => {
      reject(new TransientError(refusalSentence(response)))
      response.destroy()
      request.destroy()
    })
  })
}

function refusalSentence({ statusCode = 0, headers }: IncomingMessage): string {
  const moved = statusCode >= 300 && statusCode < 400 && headers.location
  if (!moved) return `it answers HTTP ${statusCode} where a WebSocket was asked for`
  const { reasonChars } = RELAY_CLIENT_LIMITS
  return `it says that it has moved to ${printable(moved, reasonChars)}: if that is so, name it in --nostr-relays`
}

function tlsSentence(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const text = describeError(error)
  if (/CERT|ISSUER|SIGNATURE|ALTNAME|SELF_SIGNED|UNABLE_TO/.test(code)) {
    return `its certificate can't be verified (${printable(code, 60)}); NODE_EXTRA_CA_CERTS names a file with further authorities`
  }
  return `no TLS: ${printable(text, RELAY_CLIENT_LIMITS.reasonChars)}`
}

/** What `ws` and sockets say, in our words where they are known. */
function sentenceOf(error: unknown): string {
  const text = describeError(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
    return `it sent a message of more than ${RELAY_CLIENT_LIMITS.messageBytesMax} bytes`
  }
  if (code.startsWith('HPE_')) return 'what it sent is no HTTP'
  if (code.startsWith('WS_ERR')) return `what it sent is no WebSocket (${printable(code, 60)})`
  return printable(text, RELAY_CLIENT_LIMITS.reasonChars)
}

function closeSentence(code: number, reason: string): string {
  const said = reason === '' ? '' : `: ${printable(reason, RELAY_CLIENT_LIMITS.reasonChars)}`
  return code === 1006 ? 'the connection was lost' : `it closed the connection (${code}${said})`
}
