/**
 * HTTP with bitcoind, one exchange at a time on a connection, bounded in time and bytes: the transport under
 * bitcoin-core's client, whose own follows redirects (with our credentials), buffers whatever comes and waits as long as
 * something does; and of blocks by REST. Bodies are received where they stay, in memory that is used again: by node:http a
 * block costs four times as much. Knows neither RPC nor REST: an answer is a status and a body.
 */
import { connect, type Socket } from 'node:net'
import { after } from '../world.ts'
import { ANSWER_LIMITS, AnswerReader, type HttpAnswer } from './http-answer.ts'
import { Slabs } from './slabs.ts'

const LIMITS = {
  /** Connections kept for the next exchange: as many as exchanges at once (window.ts), and not one more. */
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

interface Address {
  host: string
  port: number
}

export class Receiver {
  readonly #address: Address
  readonly #slabs = new Slabs()
  readonly #connections = new Set<Connection>()
  /** Those that wait for an exchange; the one used last is taken first. */
  readonly #idle: Connection[] = []

  constructor(address: Address) {
    this.#address = address
  }

  /** Rejects when there is no whole answer: refused, reset, cut short, too long, too late. */
  async exchange(asked: HttpRequest): Promise<HttpAnswer> {
    const kept = this.#idle.pop()
    if (kept) {
      try {
        return await kept.exchange(asked)
      } catch (error) {
        // bitcoind closes a connection that was idle for a while, perhaps while we were sending: never answered, ask again.
        if (!(error instanceof ConnectionWasStale)) throw error
      }
    }
    return this.#connect().exchange(asked)
  }

  /** Ends every connection. */
  close(): void {
    for (const connection of this.#connections) connection.destroy()
    this.#slabs.close()
  }

  #connect(): Connection {
    const connection = new Connection(this.#address, this.#slabs, {
      onIdle: () => {
        if (this.#idle.length < LIMITS.connections) this.#idle.push(connection)
        else connection.destroy()
      },
      onClosed: () => {
        this.#connections.delete(connection)
        const i = this.#idle.indexOf(connection)
        if (i >= 0) this.#idle.splice(i, 1)
      },
    })
    this.#connections.add(connection)
    return connection
  }
}

class ConnectionWasStale extends Error {}

/** The exchange that is under way. */
interface Exchange {
  answer: AnswerReader
  resolve: (answer: HttpAnswer) => void
  reject: (error: Error) => void
  cancelDeadline: () => void
}

class Connection {
  readonly #host: string
  readonly #slabs: Slabs
  readonly #events: { onIdle: () => void; onClosed: () => void }
  readonly #chunk = Buffer.allocUnsafeSlow(ANSWER_LIMITS.chunkBytes)
  readonly #socket: Socket
  #current: Exchange | undefined
  #answered = 0

  constructor({ host, port }: Address, slabs: Slabs, events: { onIdle: () => void; onClosed: () => void }) {
    this.#host = `${host.includes(':') ? `[${host}]` : host}:${port}`
    this.#slabs = slabs
    this.#events = events
    const onread = {
      buffer: () => this.#current?.answer.room() ?? this.#chunk,
      callback: (count: number) => {
        this.#onBytes(count)
        return true
      },
    }
    this.#socket = connect({ host, port, noDelay: true, onread })
    this.#socket.on('end', () => this.#onEnd())
    this.#socket.on('error', (error) => this.#onGone(error))
    this.#socket.on('close', () => {
      this.#onGone()
      events.onClosed()
    })
  }

  exchange({ method, path, headers = {}, body = '', bytesMax, deadlineMs }: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const answer = new AnswerReader(this.#chunk, this.#slabs, bytesMax)
      const cancelDeadline = after(deadlineMs, () => this.#fail(new Error(`no answer within ${deadlineMs / 1000} s`)))
      this.#current = { answer, resolve, reject, cancelDeadline }
      const length = method === 'POST' ? { 'content-length': String(Buffer.byteLength(body)) } : {}
      const fields = { host: this.#host, ...headers, ...length }
      const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
      this.#socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
    })
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onBytes(count: number): void {
    if (!this.#current) return this.destroy() // nobody has asked for these
    try {
      if (this.#current.answer.took(count)) this.#succeed(this.#current)
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #onEnd(): void {
    if (this.#current?.answer.endsHere) this.#succeed(this.#current)
    else this.#onGone()
  }

  #onGone(cause?: Error): void {
    const answer = this.#current?.answer
    if (!answer) this.destroy()
    else if (answer.isTouched) this.#fail(new Error(`its answer broke off after ${answer.bodyBytes} bytes`, { cause }))
    else if (this.#answered > 0) this.#fail(new ConnectionWasStale())
    else this.#fail(cause ?? new Error('the connection was closed without an answer'))
  }

  #succeed({ answer, resolve, cancelDeadline }: Exchange): void {
    this.#current = undefined
    this.#answered++
    cancelDeadline()
    if (answer.isKept) this.#events.onIdle()
    else this.destroy()
    resolve(answer.answer())
  }

  /** Ends the connection, and the exchange that is under way. */
  #fail(error: Error): void {
    this.destroy()
    if (!this.#current) return
    const { answer, reject, cancelDeadline } = this.#current
    this.#current = undefined
    cancelDeadline()
    answer.abandon()
    reject(error)
  }
}
