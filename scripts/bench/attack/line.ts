/** One connection of an honest client: any number of requests on their way, answers in their order, pushes between. */
import { connect, type Socket } from 'node:net'
import { encodeFrame, FrameReader } from '../../../src/wire/frame.ts'
import { parseReply, type Reply } from '../../../src/wire/messages.ts'

const REPLY_BYTES_MAX = 16_777_216

export interface LineOptions {
  onPush(reply: Reply): void
  /** The connection, once up, has ended, and not by us. */
  onLost(): void
}

/** Dials with the first request, and again with the next one after it was lost. */
export class Line {
  readonly #port: number
  readonly #options: LineOptions
  #socket: Socket | undefined
  #waiting: ((answer: Reply | string) => void)[] = []

  constructor(port: number, options: LineOptions) {
    this.#port = port
    this.#options = options
  }

  get isClosed(): boolean {
    return this.#socket === undefined
  }

  /** The reply to a payload, or in a word why there is none. */
  ask(payload: Uint8Array, patienceMs: number): Promise<Reply | string> {
    this.#socket ??= this.#dial()
    const socket = this.#socket
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        // The answers after it would be taken for its own: this connection is of no more use.
        resolve(`no answer in ${patienceMs / 1000} s`)
        this.#drop(socket, 'given up after another request')
      }, patienceMs)
      this.#waiting.push((answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      socket.write(encodeFrame(payload))
    })
  }

  close(): void {
    if (this.#socket) this.#drop(this.#socket, 'closed by us')
  }

  #dial(): Socket {
    const frames = new FrameReader(REPLY_BYTES_MAX)
    const socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true })
    let why = 'closed without an answer'
    socket.on('error', (error) => {
      why = 'code' in error ? String(error.code) : error.message
    })
    socket.on('data', (chunk) => {
      frames.push(chunk)
      for (let payload = frames.next(); payload; payload = frames.next()) {
        const reply = parseReply(payload)
        if (reply.type === 'Spend') this.#options.onPush(reply)
        else this.#waiting.shift()?.(reply)
      }
    })
    socket.on('close', () => {
      if (this.#socket !== socket) return // dropped by us
      this.#options.onLost()
      this.#drop(socket, why)
    })
    return socket
  }

  #drop(socket: Socket, why: string): void {
    if (this.#socket !== socket) return
    this.#socket = undefined
    socket.destroy()
    for (const answer of this.#waiting.splice(0)) answer(why)
  }
}
