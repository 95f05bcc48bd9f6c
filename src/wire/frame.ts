/**
 * Frames: u32 big-endian length ‖ payload. Sans-io: bytes in, payloads out. The announced length is judged before
 * anything is kept, and no more is kept than has come. Source: docs/protocol.md, "Framing".
 */

export const HEAD_BYTES = 4

/** A frame announced a length over the limit. */
export class FrameTooLarge extends Error {
  override readonly name = 'FrameTooLarge'
  readonly announcedBytes: number
  constructor(announcedBytes: number, maxBytes: number) {
    super(`a frame of ${announcedBytes} bytes was announced, ${maxBytes} are allowed`)
    this.announcedBytes = announcedBytes
  }
}

export class FrameReader {
  readonly #maxBytes: number
  #chunks: Buffer[] = []
  #buffered = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes of a frame that is not whole yet (its head included). */
  get pendingBytes(): number {
    return this.#buffered
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
  }

  /** The next whole payload, or undefined until more has come. Throws FrameTooLarge. */
  next(): Buffer | undefined {
    if (this.#buffered < HEAD_BYTES) return undefined
    const length = this.#head()
    if (length > this.#maxBytes) throw new FrameTooLarge(length, this.#maxBytes)
    if (this.#buffered < HEAD_BYTES + length) return undefined
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#buffered)
    const rest = all.subarray(HEAD_BYTES + length)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#buffered = rest.length
    return all.subarray(HEAD_BYTES, HEAD_BYTES + length)
  }

  #head(): number {
    if (this.#chunks[0]!.length < HEAD_BYTES) this.#chunks = [Buffer.concat(this.#chunks, this.#buffered)]
    return this.#chunks[0]!.readUInt32BE(0)
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
