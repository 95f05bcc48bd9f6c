/**
 * Many clients of the Nostr door at little cost, since they share the machine with what they ask: requests are encoded
 * once, answers counted and not read.
 */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'

const HEAD = [
  'GET / HTTP/1.1',
  'Host: door',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
].join('\r\n')

/** The upgrade, as the market's programs ask for it. */
export const UPGRADE = Buffer.from(`${HEAD}\r\n\r\n`)

/** One masked text frame; the mask is all zeros, which costs nobody anything. */
export function maskedText(text: string): Buffer {
  const payload = Buffer.from(text)
  const { length } = payload
  const head = length < 126 ? Buffer.of(0x81, 0x80 | length) : Buffer.of(0x81, 0x80 | 126, length >> 8, length & 0xff)
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

/** Counts a word in what comes, in however many pieces it does. */
export class WordCounter {
  readonly #word: Buffer
  #rest = Buffer.alloc(0)

  constructor(word: string) {
    this.#word = Buffer.from(word)
  }

  take(chunk: Buffer): number {
    const bytes = Buffer.concat([this.#rest, chunk])
    let found = 0
    let at = bytes.indexOf(this.#word)
    let end = 0
    for (; at >= 0; at = bytes.indexOf(this.#word, end)) {
      found++
      end = at + this.#word.length
    }
    this.#rest = bytes.subarray(Math.max(end, bytes.length - this.#word.length + 1))
    return found
  }
}

/** A connection that asks one thing at a time, and knows the answer's end by a word in it. */
export class DoorLoad {
  readonly socket: Socket
  #onData: (chunk: Buffer) => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', () => {})
  }

  static open(port: number): Promise<DoorLoad> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    return DoorLoad.over(socket)
  }

  /** Resolves when the upgrade is done. */
  static over(socket: Socket): Promise<DoorLoad> {
    const load = new DoorLoad(socket)
    return load.ask(UPGRADE, '\r\n\r\n').then(() => load)
  }

  /** Resolves once `word` has come `times` times, with the milliseconds it took. */
  ask(bytes: Buffer, word: string, times = 1): Promise<number> {
    const counter = new WordCounter(word)
    const startMs = performance.now()
    return new Promise((resolve, reject) => {
      let left = times
      const onClose = () => reject(new Error('the door closed a connection'))
      this.socket.once('close', onClose)
      this.#onData = (chunk) => {
        left -= counter.take(chunk)
        if (left > 0) return
        this.socket.off('close', onClose)
        resolve(performance.now() - startMs)
      }
      if (bytes.length > 0) this.socket.write(bytes)
    })
  }
}
