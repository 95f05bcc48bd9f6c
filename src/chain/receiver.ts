/**
 * HTTP with bitcoind, one exchange at a time, bounded in time and bytes: the transport under bitcoin-core's client,
 * whose own follows redirects (with our credentials), buffers whatever comes and waits as long as something does. Knows
 * neither RPC nor REST: an answer is a status and a body.
 */
import { Agent, type IncomingMessage, request } from 'node:http'
import { after } from '../world.ts'

const LIMITS = {
  /** Connections: as many as exchanges at once (window.ts), and not one more. */
  connections: 16,
}

export interface HttpRequest {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: string
  /** A longer body is given up as soon as it is announced, or has come. */
  bytesMax: number
  /** From the first byte sent to the last one received. */
  deadlineMs: number
}

export interface HttpAnswer {
  status: number
  /** The status line's words, as they came. */
  reason: string
  body: Buffer
}

export class Receiver {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: LIMITS.connections })
  readonly #address: { host: string; port: number }

  constructor(address: { host: string; port: number }) {
    this.#address = address
  }

  /** Rejects when there is no whole answer: refused, reset, cut short, too long, too late. */
  async exchange(asked: HttpRequest): Promise<HttpAnswer> {
    try {
      return await this.#send(asked)
    } catch (error) {
      // bitcoind closes a connection that was idle for a while, perhaps while we were sending: never answered, ask again.
      if (!(error instanceof ConnectionWasStale)) throw error
      return this.#send(asked)
    }
  }

  /** Ends every connection. */
  close(): void {
    this.#agent.destroy()
  }

  #send({ method, path, headers = {}, body, bytesMax, deadlineMs }: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const sent = request({ ...this.#address, agent: this.#agent, method, path, headers })
      const cancel = after(deadlineMs, () => sent.destroy(new Error(`no answer within ${deadlineMs / 1000} s`)))
      const fail = (error: Error) => {
        cancel()
        sent.destroy()
        reject(error)
      }
      let isAnswered = false
      sent.on('response', (response) => {
        isAnswered = true
        receive(response, bytesMax).then((received) => {
          cancel()
          resolve({ status: response.statusCode ?? 0, reason: response.statusMessage ?? '', body: received })
        }, fail)
      })
      sent.on('error', (error: NodeJS.ErrnoException) => {
        const isStale = !isAnswered && sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
        fail(isStale ? new ConnectionWasStale(error.message, { cause: error }) : error)
      })
      sent.end(body)
    })
  }
}

class ConnectionWasStale extends Error {}

/** The whole body, in one piece of memory. */
function receive(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const announced = Number(response.headers['content-length'] ?? Number.NaN)
    const tooLong = (bytes: number) => new Error(`its answer has ${bytes} bytes or more, ${bytesMax} at the most fit`)
    if (announced > bytesMax) return reject(tooLong(announced))
    const whole = announced > 0 ? Buffer.allocUnsafeSlow(announced) : undefined // not pooled: a block may be kept
    const parts: Buffer[] = []
    let bytes = 0
    response.on('data', (part: Buffer) => {
      if (bytes + part.length > bytesMax) return reject(tooLong(bytes + part.length))
      if (whole) part.copy(whole, bytes)
      else parts.push(part)
      bytes += part.length
    })
    response.on('error', (error) => reject(new Error(`its answer broke off after ${bytes} bytes`, { cause: error })))
    response.on('end', () => {
      if (!response.complete || (whole && bytes !== whole.length)) {
        return reject(new Error(`its answer broke off after ${bytes} bytes`))
      }
      resolve(whole ?? Buffer.concat(parts))
    })
  })
}
