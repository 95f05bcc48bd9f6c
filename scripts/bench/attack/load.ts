/**
 * What attackers are made of: connections that ask without end and throw the answers away. Cheap on purpose, since they
 * share the machine with what they attack: requests are encoded once, replies counted and not read.
 */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { asTxid, type Outpoint, toInternal } from '../../../src/chain/types.ts'
import { encodeFrame } from '../../../src/wire/frame.ts'
import { encodeRequest, type Request } from '../../../src/wire/messages.ts'

/** What the attackers of this process have counted. */
export const tally: Record<string, number> = {}

export function count(what: string, by = 1): void {
  tally[what] = (tally[what] ?? 0) + by
}

export function framed(request: Request): Buffer {
  return encodeFrame(encodeRequest(request))
}

export function times<T>(n: number, make: (i: number) => T): T[] {
  return Array.from({ length: n }, (_, i) => make(i))
}

/** Outpoints that exist nowhere. */
export function madeUp(n: number): Outpoint[] {
  return times(n, (i) => ({ txid: asTxid(randomBytes(32).toString('hex')), vout: i % 4 }))
}

/** Requests that look like `request`, each about outpoints of its own: four bytes of every txid differ from the last. */
export function changing(request: Extract<Request, { outpoints: readonly Outpoint[] }>): () => Buffer {
  const template = framed(request)
  const places = request.outpoints.map(({ txid }) => template.indexOf(toInternal(txid)))
  let n = 0
  return () => {
    const frame = Buffer.from(template)
    n++
    for (const at of places) frame.writeUInt32LE(n, at)
    return frame
  }
}

const ERROR_HEAD = Buffer.from('\xa1\x65Error', 'latin1')

/** Counts the frames that come, and which of them are refusals. */
class ReplyCounter {
  #head = Buffer.alloc(0)
  #left = 0

  /** How many replies this chunk ends. */
  take(chunk: Buffer): number {
    let ended = 0
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        at += taken
        if (this.#left === 0) ended++
        continue
      }
      // Ten bytes say how long it is and whether it is an Error; nothing that we are told is shorter.
      const needed = 4 + ERROR_HEAD.length - this.#head.length
      this.#head = Buffer.concat([this.#head, chunk.subarray(at, at + needed)])
      at += needed
      if (this.#head.length < 4 + ERROR_HEAD.length) break
      if (this.#head.indexOf(ERROR_HEAD) === 4) count('refusals')
      this.#left = this.#head.readUInt32BE() - ERROR_HEAD.length
      if (this.#left === 0) ended++
      this.#head = Buffer.alloc(0)
    }
    return ended
  }
}

export interface LaneOptions {
  /** Requests on their way at a time. */
  inFlight?: number
  /** Between a lost connection and the next. */
  againMs?: number
}

/** One connection, dialled again whenever it ends, on which the next request follows each reply. Resolves when it is up. */
export function lane(
  port: number,
  next: () => Buffer,
  { inFlight = 4, againMs = 100 }: LaneOptions = {},
): Promise<void> {
  return new Promise((resolve) => {
    const dial = () => {
      const socket = open(port)
      const counter = new ReplyCounter()
      const ask = (n: number) => {
        count('requests', n)
        for (let i = 0; i < n; i++) socket.write(next())
      }
      socket.on('connect', () => {
        ask(inFlight)
        resolve()
      })
      socket.on('data', (chunk) => {
        const replies = counter.take(chunk)
        count('replies', replies)
        ask(replies)
      })
      socket.on('close', () => setTimeout(dial, againMs))
    }
    dial()
  })
}

/** As many lanes, opened a few at a time. */
export async function lanes(n: number, port: number, next: () => Buffer, options?: LaneOptions): Promise<void> {
  for (let i = 0; i < n; i += 50) {
    await Promise.all(times(Math.min(50, n - i), () => lane(port, next, options)))
  }
}

/** A connection, counted; whatever happens to it, `close` follows. */
export function open(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  socket.on('connect', () => count('connections'))
  socket.on('error', () => {})
  socket.on('close', () => count('closed'))
  return socket
}

/** `n` connections on which `onOpen` happens; whichever ends is replaced a second later. */
export async function hold(n: number, port: number, onOpen: (socket: Socket) => void = () => {}): Promise<void> {
  const dial = () => {
    const socket = open(port)
    socket.on('connect', () => onOpen(socket))
    socket.on('close', () => setTimeout(dial, 1_000))
  }
  for (let i = 0; i < n; i++) {
    dial()
    if (i % 50 === 49) await pause(10)
  }
  await pause(200)
}
