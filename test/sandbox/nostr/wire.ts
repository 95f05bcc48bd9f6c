/**
 * The WebSocket client of today's market programs: SOCKS5, upgrade request and frames byte for byte as the programs were
 * seen to write them (docs/nostr.md). It shares nothing with the tracker: what one side gets wrong the other must notice.
 * Left out: messages over 16 MiB end the connection.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { HostPort } from '../../../src/tor/address.ts'

const HEAD_BYTES_MAX = 16_384
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

/** RFC 6455, section 5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface Message {
  /** One of OPCODE, never `continuation`. */
  op: number
  data: Buffer
}

/** How a relay is reached. */
export interface Route {
  /** Tor's SOCKS port. */
  socks?: HostPort
  /** Tor's password: then the relay's host is the SOCKS user, which gives each relay circuits of its own. */
  password?: string
  /** PEM of a certificate to trust; default the public roots. */
  ca?: string
  /** For each step until the connection is open; default 5 min, as the programs have it. */
  timeoutMs?: number
}

export class ReadTimeout extends Error {
  override readonly name = 'ReadTimeout'
}

/** Takes bytes from a stream in portions, across the phases SOCKS, HTTP and frames. */
class ByteReader {
  #bytes = Buffer.alloc(0)
  #end: Error | undefined
  #wake = () => {}

  constructor(stream: Duplex) {
    const end = (error?: Error) => {
      this.#end ??= error ?? new Error('the connection was closed')
      this.#wake()
    }
    stream.on('error', end)
    stream.on('end', () => end())
    stream.on('close', () => end())
    stream.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
  }

  take(count: number, timeoutMs: number): Promise<Buffer> {
    return this.#takeWhen((bytes) => (bytes.length >= count ? count : undefined), timeoutMs)
  }

  /** An HTTP head, with the empty line that ends it. */
  takeHead(timeoutMs: number): Promise<Buffer> {
    return this.#takeWhen((bytes) => {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0 && bytes.length > HEAD_BYTES_MAX) throw new Error('the head of the answer is too long')
      return end < 0 ? undefined : end + 4
    }, timeoutMs)
  }

  /** `lengthIn` says how many bytes to take, once they are there. */
  async #takeWhen(lengthIn: (bytes: Buffer) => number | undefined, timeoutMs: number): Promise<Buffer> {
    const endMs = performance.now() + timeoutMs
    for (;;) {
      const length = lengthIn(this.#bytes)
      if (length !== undefined) {
        const taken = this.#bytes.subarray(0, length)
        this.#bytes = this.#bytes.subarray(length)
        return taken
      }
      if (this.#end) throw this.#end
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) throw new ReadTimeout(`nothing to read for ${timeoutMs} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

export class RelaySocket {
  /** The bytes' way, TLS included: for what no program of the market would write. */
  readonly stream: Duplex
  readonly #reader: ByteReader
  #fragments: Message | undefined

  private constructor(stream: Duplex, reader: ByteReader) {
    this.stream = stream
    this.#reader = reader
  }

  /** `url`: ws:// or wss://. Rejects when the answer is not exactly the upgrade that was asked for. */
  static async open(url: string, { socks, password, ca, timeoutMs = 300_000 }: Route = {}): Promise<RelaySocket> {
    const { hostname, port, pathname, search, protocol } = new URL(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    const target: HostPort = { host, port: Number(port) || (protocol === 'wss:' ? 443 : 80) }
    const tcp = connect({ ...(socks ?? target), noDelay: true })
    try {
      const inTime = { signal: AbortSignal.timeout(timeoutMs) }
      await once(tcp, 'connect', inTime)
      let [stream, reader]: [Duplex, ByteReader] = [tcp, new ByteReader(tcp)]
      if (socks) await connectBySocks(stream, reader, { target, password, timeoutMs })
      if (protocol === 'wss:') {
        const tls = connectTls({
          socket: tcp,
          ...(!isIP(host) && { servername: host }),
          ...(ca !== undefined && { ca }),
        })
        await once(tls, 'secureConnect', inTime)
        ;[stream, reader] = [tls, new ByteReader(tls)]
      }
      // The default port is left out of Host.
      await upgrade(stream, reader, { host: port ? `${host}:${port}` : host, path: `${pathname}${search}`, timeoutMs })
      return new RelaySocket(stream, reader)
    } catch (error) {
      tcp.destroy()
      throw error
    }
  }

  sendText(text: string): void {
    this.sendFrame(OPCODE.text, Buffer.from(text))
  }

  /** One frame, whole and masked. */
  sendFrame(op: number, payload: Buffer): void {
    const mask = randomBytes(4)
    const masked = Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]!))
    this.stream.write(Buffer.concat([frameHead(0x80 | op, payload.length), mask, masked]))
  }

  /** Fragments are joined; a control frame is a message by itself, and a ping is answered. Throws ReadTimeout. */
  async read(timeoutMs: number): Promise<Message> {
    for (;;) {
      const { op, isFinal, data } = await this.#readFrame(timeoutMs)
      if (op === OPCODE.ping) this.sendFrame(OPCODE.pong, data)
      if (op >= OPCODE.close) return { op, data }
      if ((op === OPCODE.continuation) !== (this.#fragments !== undefined)) throw new Error('fragments out of order')
      const message: Message = this.#fragments
        ? { op: this.#fragments.op, data: Buffer.concat([this.#fragments.data, data]) }
        : { op, data }
      this.#fragments = isFinal ? undefined : message
      if (isFinal) return message
    }
  }

  async #readFrame(timeoutMs: number): Promise<Message & { isFinal: boolean }> {
    const [first, second] = await this.#reader.take(2, timeoutMs)
    if (first! & 0x70) throw new Error('a reserved bit is set')
    if (second! & 0x80) throw new Error('a server’s frame is masked')
    let length = second! & 0x7f
    if (length === 126) length = (await this.#reader.take(2, timeoutMs)).readUInt16BE()
    else if (length === 127) length = Number((await this.#reader.take(8, timeoutMs)).readBigUInt64BE())
    if (length > MESSAGE_BYTES_MAX) throw new Error(`a frame of ${length} bytes`)
    const data = Buffer.from(await this.#reader.take(length, timeoutMs))
    return { op: first! & 0x0f, isFinal: (first! & 0x80) !== 0, data }
  }

  /** Closes TCP without a close frame, as makers and takers do. */
  drop(): void {
    this.stream.destroy()
  }
}

function frameHead(first: number, length: number): Buffer {
  if (length < 126) return Buffer.from([first, 0x80 | length])
  if (length < 65_536) return Buffer.from([first, 0x80 | 126, length >> 8, length & 0xff])
  const head = Buffer.from([first, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0])
  head.writeBigUInt64BE(BigInt(length), 2)
  return head
}

/** RFC 1928 and 1929, the host's name unresolved. */
async function connectBySocks(
  stream: Duplex,
  reader: ByteReader,
  { target, password, timeoutMs }: { target: HostPort; password: string | undefined; timeoutMs: number },
): Promise<void> {
  const method = password === undefined ? 0 : 2
  const prefixed = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')])
  stream.write(Buffer.from([5, 1, method]))
  if ((await reader.take(2, timeoutMs))[1] !== method) throw new Error('SOCKS: the method was refused')
  if (password !== undefined) {
    stream.write(Buffer.concat([Buffer.from([1]), prefixed(target.host), prefixed(password)]))
    if ((await reader.take(2, timeoutMs))[1] !== 0) throw new Error('SOCKS: the password was refused')
  }
  const port = Buffer.from([target.port >> 8, target.port & 0xff])
  stream.write(Buffer.concat([Buffer.from([5, 1, 0, 3]), prefixed(target.host), port]))
  const reply = await reader.take(5, timeoutMs)
  if (reply[1] !== 0) throw new Error(`SOCKS: reply ${reply[1]}`)
  // The rest of the bound address, whose first byte is the fifth already read, and its port.
  const rest = { 1: 3, 3: reply[4]!, 4: 15 }[reply[3]!]
  if (rest === undefined) throw new Error('SOCKS: an address of unknown type')
  await reader.take(rest + 2, timeoutMs)
}

async function upgrade(
  stream: Duplex,
  reader: ByteReader,
  { host, path, timeoutMs }: { host: string; path: string; timeoutMs: number },
): Promise<void> {
  const key = randomBytes(16).toString('base64')
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
  ]
  stream.write(`${lines.join('\r\n')}\r\n\r\n`)
  const head = (await reader.takeHead(timeoutMs)).toString('latin1')
  const [status, ...fields] = head.trimEnd().split('\r\n')
  if (!/^HTTP\/1\.1 101( |$)/.test(status!)) throw new Error(`the upgrade was refused: ${status}`)
  const headers = new Map(fields.map((line) => [line.split(':')[0]!.toLowerCase(), line.replace(/^[^:]*: */, '')]))
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  if (headers.get('upgrade')?.toLowerCase() !== 'websocket') throw new Error('the answer has no Upgrade')
  if (headers.get('connection')?.toLowerCase() !== 'upgrade') throw new Error('the answer has no Connection')
  if (headers.get('sec-websocket-accept') !== accept) throw new Error('the answer has no right Sec-WebSocket-Accept')
  for (const name of ['sec-websocket-extensions', 'sec-websocket-protocol'])
    if (headers.has(name)) throw new Error(`the answer names a ${name} that nobody asked for`)
}
