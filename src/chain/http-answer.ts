/**
 * One HTTP/1.1 answer, read as its bytes come: says where the next ones belong, so that a long body is received where it
 * stays, and when it is whole. No sockets here. Source: RFC 9112 (messages), RFC 9110 (which answers have no body).
 */
import { printable } from '../format.ts'
import type { Slab, Slabs } from './slabs.ts'

export const ANSWER_LIMITS = {
  /** What is read at once of anything but a long body: all headers must fit, bitcoind's have some 150 bytes. */
  chunkBytes: 65_536,
  /** Answers of status 1xx before the one that counts. */
  interim: 8,
  /** A line between the parts of a chunked body, and those after it. */
  lineBytes: 1_024,
  trailers: 32,
  /** Where a body begins whose length isn't told; doubled as it grows. */
  untoldBytes: 65_536,
}

/** What comes is no answer over HTTP, or a longer one than was asked for. */
export class OddHttp extends Error {}

export interface HttpAnswer {
  status: number
  /** The status line's words, as they came. */
  reason: string
  /** Lent: nobody may look at it after `release`. Whoever never calls that leaves it to the collector. */
  body: Buffer
  release(): void
}

interface Head {
  status: number
  reason: string
  /** The connection may serve another exchange. */
  isKept: boolean
  /** Of the body: its length, or how its end is known. */
  framing: number | 'chunked' | 'until-end'
}

export class AnswerReader {
  /** Memory of the connection's own, `ANSWER_LIMITS.chunkBytes` long. */
  readonly #chunk: Buffer
  readonly #slabs: Slabs
  readonly #bytesMax: number
  /** Bytes of headers that are in `#chunk`. */
  #headBytes = 0
  #interim = 0
  #head: Head | undefined
  #body: Slab | undefined
  #bodyBytes = 0
  readonly #chunks = new ChunkedFraming()
  #isUnasked = false
  #isTouched = false

  /** `bytesMax`: a longer body is given up as soon as it is announced, or has come. */
  constructor(chunk: Buffer, slabs: Slabs, bytesMax: number) {
    this.#chunk = chunk
    this.#slabs = slabs
    this.#bytesMax = bytesMax
  }

  /** Whether anything has come. */
  get isTouched(): boolean {
    return this.#isTouched
  }

  /** Of a whole answer: whether the connection may serve another exchange. */
  get isKept(): boolean {
    return this.#head?.isKept === true && !this.#isUnasked
  }

  /** Where the next bytes belong; never empty while the answer isn't whole. */
  room(): Buffer {
    if (!this.#head) return this.#chunk.subarray(this.#headBytes)
    if (typeof this.#head.framing !== 'number') return this.#chunk
    return this.#body!.memory.subarray(this.#bodyBytes, this.#head.framing)
  }

  /** `count` bytes have come to where `room` said. Returns whether the answer is whole; throws when it will never be. */
  took(count: number): boolean {
    this.#isTouched = true
    if (!this.#head) return this.#readHead(count)
    if (typeof this.#head.framing !== 'number') return this.#take(this.#chunk.subarray(0, count))
    this.#bodyBytes += count
    return this.#bodyBytes === this.#head.framing
  }

  /** Whether it is whole when the connection ends now. */
  get endsHere(): boolean {
    return this.#head?.framing === 'until-end'
  }

  /** Of the body, so far. */
  get bodyBytes(): number {
    return this.#bodyBytes
  }

  /** The whole answer. */
  answer(): HttpAnswer {
    const { status, reason } = this.#head!
    const slab = this.#body
    const body = slab ? slab.memory.subarray(0, this.#bodyBytes) : Buffer.alloc(0)
    return { status, reason, body, release: () => slab?.release() }
  }

  /** It will not be whole: gives back what was lent. */
  abandon(): void {
    this.#body?.release()
  }

  #readHead(count: number): boolean {
    // The end may lie across two reads.
    let from = Math.max(0, this.#headBytes - 3)
    this.#headBytes += count
    for (;;) {
      const end = this.#chunk.subarray(0, this.#headBytes).indexOf('\r\n\r\n', from, 'latin1')
      if (end < 0) {
        if (this.#headBytes === this.#chunk.length)
          throw new OddHttp(`its headers have no end within ${this.#chunk.length} bytes`)
        return false
      }
      const head = parseHead(this.#chunk.toString('latin1', 0, end))
      const rest = this.#chunk.subarray(end + 4, this.#headBytes)
      if (head.status >= 200 || head.status === 101) {
        this.#head = head
        return this.#beginBody(head.framing, rest)
      }
      if (++this.#interim > ANSWER_LIMITS.interim)
        throw new OddHttp('its answers are none: more and more of status 1xx')
      this.#headBytes = rest.copy(this.#chunk)
      from = 0
    }
  }

  #beginBody(framing: Head['framing'], rest: Buffer): boolean {
    if (typeof framing !== 'number') return this.#take(rest)
    if (framing > this.#bytesMax) throw this.#tooLong(framing)
    if (framing === 0 && rest.length === 0) return true
    this.#body = this.#slabs.take(framing)
    this.#bodyBytes = rest.copy(this.#body.memory, 0, 0, framing)
    this.#isUnasked = rest.length > framing
    return this.#bodyBytes === framing
  }

  /** More of a body whose length isn't told. */
  #take(bytes: Buffer): boolean {
    if (this.#head!.framing === 'until-end') {
      this.#append(bytes)
      return false
    }
    const end = this.#chunks.read(bytes, (part) => this.#append(part))
    this.#isUnasked = end < bytes.length
    return this.#chunks.isWhole
  }

  #append(part: Buffer): void {
    const bytes = this.#bodyBytes + part.length
    if (bytes > this.#bytesMax) throw this.#tooLong(bytes)
    if (!this.#body || bytes > this.#body.memory.length) {
      const larger = this.#slabs.take(Math.max(ANSWER_LIMITS.untoldBytes, Math.min(2 * bytes, this.#bytesMax)))
      this.#body?.memory.copy(larger.memory, 0, 0, this.#bodyBytes)
      this.#body?.release()
      this.#body = larger
    }
    part.copy(this.#body.memory, this.#bodyBytes)
    this.#bodyBytes = bytes
  }

  #tooLong(bytes: number): OddHttp {
    return new OddHttp(`its answer has ${bytes} bytes or more, ${this.#bytesMax} at the most fit`)
  }
}

/** `Transfer-Encoding: chunked`, read as it comes. */
class ChunkedFraming {
  isWhole = false
  #next: 'size' | 'part' | 'part-end' | 'trailer' = 'size'
  /** Bytes of the part that are still to come. */
  #left = 0
  #line = ''
  #trailers = 0

  /** Hands on what belongs to the body. Returns how far it has read: `bytes.length`, or where the body ended. */
  read(bytes: Buffer, onPart: (part: Buffer) => void): number {
    let at = 0
    while (at < bytes.length && !this.isWhole) {
      if (this.#next === 'part') {
        const part = bytes.subarray(at, at + this.#left)
        onPart(part)
        at += part.length
        this.#left -= part.length
        if (this.#left === 0) this.#next = 'part-end'
        continue
      }
      const end = bytes.indexOf(0x0a, at)
      this.#line += bytes.toString('latin1', at, end < 0 ? bytes.length : end)
      if (this.#line.length > ANSWER_LIMITS.lineBytes) throw notHttp('a line between the parts of its body', this.#line)
      if (end < 0) return bytes.length
      at = end + 1
      const line = this.#line
      this.#line = ''
      if (!line.endsWith('\r')) throw notHttp('a line between the parts of its body', line)
      this.#take(line.slice(0, -1))
    }
    return at
  }

  #take(line: string): void {
    if (this.#next === 'size') {
      const size = /^([0-9a-f]{1,8})[ \t]*(;.*)?$/i.exec(line)
      if (!size) throw notHttp('the length of a part of its body', line)
      this.#left = Number.parseInt(size[1]!, 16)
      this.#next = this.#left === 0 ? 'trailer' : 'part'
    } else if (this.#next === 'part-end') {
      if (line !== '') throw notHttp('what follows a part of its body', line)
      this.#next = 'size'
    } else if (line === '') {
      this.isWhole = true
    } else if (++this.#trailers > ANSWER_LIMITS.trailers) {
      throw notHttp('what follows its body', line)
    }
  }
}

/** `text`: status line and headers, without the empty line that ends them. Throws when they are none. */
function parseHead(text: string): Head {
  const [statusLine, ...lines] = text.split('\r\n')
  const [, minor, digits, reason = ''] = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/.exec(statusLine!) ?? []
  if (digits === undefined) throw notHttp('its first line', statusLine!)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9a-z-]+):[ \t]*(.*?)[ \t]*$/i.exec(line) ?? []
    if (name === undefined) throw notHttp('a header', line)
    const key = name.toLowerCase()
    const before = headers.get(key)
    headers.set(key, before === undefined ? value! : `${before}, ${value}`)
  }
  const status = Number(digits)
  const connection = tokensOf(headers.get('connection'))
  const framing = hasNoBody(status) ? 0 : framingOf(headers)
  const stays = minor === '1' ? !connection.includes('close') : connection.includes('keep-alive')
  const isKept = stays && framing !== 'until-end' && status !== 101
  return { status, reason, isKept, framing }
}

function hasNoBody(status: number): boolean {
  return status < 200 || status === 204 || status === 304
}

function framingOf(headers: ReadonlyMap<string, string>): Head['framing'] {
  const encoding = headers.get('transfer-encoding')
  const length = headers.get('content-length')
  if (encoding !== undefined) {
    // Both at once are how one answer is made to look like two.
    if (length !== undefined || encoding.toLowerCase() !== 'chunked') throw notHttp('the framing of its body', encoding)
    return 'chunked'
  }
  if (length === undefined) return 'until-end'
  const [first, ...others] = tokensOf(length)
  if (!/^\d{1,15}$/.test(first!) || others.some((other) => other !== first)) {
    throw notHttp('the length of its body', length)
  }
  return Number(first)
}

function tokensOf(value = ''): string[] {
  return value.split(',').map((token) => token.trim().toLowerCase())
}

function notHttp(what: string, text: string): OddHttp {
  return new OddHttp(`${what} is no HTTP: “${printable(text, 100)}”`)
}
