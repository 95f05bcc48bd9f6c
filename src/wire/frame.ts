/**
 * Frames: u32 big-endian length ‖ payload. Sans-io: bytes in, payloads out. The announced length is judged before
 * anything is kept, and no more is kept than has come. Source: docs/protocol.md, "Framing".
 */

export const HEAD_BYTES = 4

/** What a frame begun is first given to grow in; nearly all requests are shorter. */
const FIRST_BYTES = 256

/** A frame announced a length over the limit. */
export class FrameTooLarge extends Error {
  override readonly name = 'FrameTooLarge'
  readonly announcedBytes: number
  constructor(announcedBytes: number, maxBytes: number) {
    super(`a frame of ${announcedBytes} bytes was announced, ${maxBytes} are allowed`)
    this.announcedBytes = announcedBytes
  }
}

/**
 * Chunks wait as they came until `next` is asked. A frame that lies whole in one chunk is a view of it; a frame in
 * pieces grows in one buffer by doubling, so that one byte per chunk costs neither quadratic time nor a Buffer each.
 */
export class FrameReader {
  readonly #maxBytes: number
  #chunks: Buffer[] = []
  /** The frame begun, head included: the first `#begunBytes` of `#begun`. */
  #begun = Buffer.alloc(0)
  #begunBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): void {
    if (chunk.length > 0) this.#chunks.push(chunk)
  }

  /** True when part of a frame has come and the rest not; meaningful once `next` has returned undefined. */
  get isMidFrame(): boolean {
    return this.#begunBytes > 0
  }

  /** The next whole payload, or undefined until more has come. Throws FrameTooLarge; nothing is to be read after that. */
  next(): Buffer | undefined {
    for (let chunk = this.#chunks.shift(); chunk; chunk = this.#chunks.shift()) {
      if (this.#begunBytes === 0 && chunk.length >= HEAD_BYTES) {
        const end = HEAD_BYTES + this.#judgedLength(chunk)
        if (chunk.length >= end) {
          this.#putBack(chunk.subarray(end))
          return chunk.subarray(HEAD_BYTES, end)
        }
      }
      const rest = this.#grow(chunk)
      this.#putBack(rest)
      const payload = this.#finished()
      if (payload) return payload
    }
    return undefined
  }

  /** Adds to the frame begun what belongs to it (first its head, then its payload); returns what is left of `chunk`. */
  #grow(chunk: Buffer): Buffer {
    const wanted = this.#frameBytes() ?? HEAD_BYTES
    const taken = Math.min(chunk.length, wanted - this.#begunBytes)
    const filled = this.#begunBytes + taken
    if (filled > this.#begun.length) {
      const grown = Buffer.allocUnsafe(Math.max(filled, FIRST_BYTES, Math.min(wanted, 2 * this.#begun.length)))
      this.#begun.copy(grown, 0, 0, this.#begunBytes)
      this.#begun = grown
    }
    chunk.copy(this.#begun, this.#begunBytes, 0, taken)
    this.#begunBytes = filled
    return chunk.subarray(taken)
  }

  #finished(): Buffer | undefined {
    const frameBytes = this.#frameBytes()
    if (frameBytes === undefined || this.#begunBytes < frameBytes) return undefined
    const payload = this.#begun.subarray(HEAD_BYTES, frameBytes)
    this.#begun = Buffer.alloc(0)
    this.#begunBytes = 0
    return payload
  }

  /** Length of the frame begun, head included; undefined until its head is whole. */
  #frameBytes(): number | undefined {
    return this.#begunBytes < HEAD_BYTES ? undefined : HEAD_BYTES + this.#judgedLength(this.#begun)
  }

  #judgedLength(head: Buffer): number {
    const length = head.readUInt32BE(0)
    if (length > this.#maxBytes) throw new FrameTooLarge(length, this.#maxBytes)
    return length
  }

  #putBack(rest: Buffer): void {
    if (rest.length > 0) this.#chunks.unshift(rest)
  }
}

export function frameHead(payloadBytes: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(payloadBytes)
  return head
}

/** `prefix`: the byte 0x01 or 0x02 that precedes the CBOR item on some requests; it counts in the length. */
export function encodeFrame(payload: Uint8Array, prefix?: number): Buffer {
  const prefixBytes = prefix === undefined ? Buffer.alloc(0) : Buffer.of(prefix)
  return Buffer.concat([frameHead(prefixBytes.length + payload.length), prefixBytes, payload])
}
