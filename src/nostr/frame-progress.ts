/**
 * Whether a WebSocket message is in the making: the library that reads the frames doesn't tell. Follows their lengths and
 * nothing else; what is wrong with a frame is for the library to see. Source: RFC 6455, section 5.2. Pure.
 */

/** The longest head: two bytes, eight of length, four of mask. */
const LONGEST_HEAD_BYTES = 14

export class FrameProgress {
  readonly #head = Buffer.alloc(LONGEST_HEAD_BYTES)
  #headBytes = 0
  /** Of the payload begun. */
  #left = 0
  /** A message's last frame has not begun yet. */
  #isFragmented = false

  /** A frame or a message has begun and not ended. */
  get isMidMessage(): boolean {
    return this.#headBytes > 0 || this.#left > 0 || this.#isFragmented
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        at += taken
      } else {
        this.#head[this.#headBytes++] = chunk[at++]!
        this.#readHead()
      }
    }
  }

  #readHead(): void {
    const head = this.#head
    if (this.#headBytes < 2) return
    const short = head[1]! & 0x7f
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const maskBytes = (head[1]! & 0x80) === 0 ? 0 : 4
    if (this.#headBytes < 2 + lengthBytes + maskBytes) return
    if (lengthBytes === 0) this.#left = short
    else this.#left = lengthBytes === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
    const isControl = (head[0]! & 0x08) !== 0
    if (!isControl) this.#isFragmented = (head[0]! & 0x80) === 0
    this.#headBytes = 0
  }
}
