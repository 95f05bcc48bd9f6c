/**
 * What one client says: the PROXY line that may come first, then frames. Knows how long a frame has been in the making,
 * and no requests.
 */
import type { Clock } from '../world.ts'
import { FrameReader } from './frame.ts'
import { readProxyLine } from './proxy-line.ts'

export class Inbox {
  readonly #clock: Clock
  readonly #frames: FrameReader
  /** First bytes that may be a PROXY line; undefined once that is settled. */
  #head: Buffer | undefined
  #circuit: string | undefined
  #midFrameSinceMs: number | undefined

  /** `circuitIds`: whether a PROXY line tells of which circuit the client is. */
  constructor({ frameBytesMax }: { frameBytesMax: number }, circuitIds: boolean, clock: Clock) {
    this.#frames = new FrameReader(frameBytesMax)
    this.#clock = clock
    if (circuitIds) this.#head = Buffer.alloc(0)
  }

  /** As Tor names it; undefined where it doesn't, and before the first bytes. */
  get circuit(): string | undefined {
    return this.#circuit
  }

  /** Since when the rest of a frame, or of the line, is waited for. */
  get midFrameSinceMs(): number | undefined {
    return this.#midFrameSinceMs
  }

  /** Bytes have come. Returns false when they begin as a PROXY line and are none: nothing is to be read after that. */
  push(chunk: Buffer): boolean {
    if (this.#head === undefined) {
      this.#frames.push(chunk)
      return true
    }
    const head = Buffer.concat([this.#head, chunk])
    const line = readProxyLine(head)
    if (line.kind === 'partial') {
      this.#head = head // at most the length of such a line
      this.#midFrameSinceMs ??= this.#clock.monotonicMs()
      return true
    }
    this.#head = undefined
    if (line.kind === 'broken') return false
    if (line.kind === 'line') this.#circuit = line.circuit
    this.#frames.push(line.kind === 'line' ? head.subarray(line.bytes) : head)
    return true
  }

  /** The next whole payload; undefined until more has come. Throws FrameTooLarge; nothing is to be read after that. */
  next(): Buffer | undefined {
    const payload = this.#frames.next()
    const isMidFrame = payload === undefined && (this.#frames.isMidFrame || (this.#head?.length ?? 0) > 0)
    if (isMidFrame) this.#midFrameSinceMs ??= this.#clock.monotonicMs()
    else this.#midFrameSinceMs = undefined
    return payload
  }
}
