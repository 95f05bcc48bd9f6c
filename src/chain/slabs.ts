/**
 * Memory for large answers, used again and again: a block of 2 MB in fresh memory costs its page faults and the collector
 * as much as reading it does. Whoever takes a slab gives it back; one that is forgotten is garbage like any other.
 */
import { after } from '../world.ts'

const LIMITS = {
  /** Less than this is not worth keeping: it is ordinary memory. */
  bytesMin: 65_536,
  /** Sizes are rounded up to this, so that blocks of about one size fit into one another's memory. */
  stepBytes: 262_144,
  /** Larger ones (a listing of the mempool) are let go at once: no block is larger. */
  keptBytesMax: 4_194_304,
  /** Kept for the next exchange; as many as there can be at once (window.ts). */
  kept: 16,
  /** After this without use all are let go: between blocks nobody needs them. */
  keptMs: 5_000,
}

/** Memory that is lent: nobody may look at it after `release`. */
export interface Slab {
  /** As long as was asked for, or longer. */
  memory: Buffer<ArrayBuffer>
  release(): void
}

export class Slabs {
  readonly #free: Buffer<ArrayBuffer>[] = []
  #cancelLettingGo: (() => void) | undefined

  take(bytes: number): Slab {
    if (bytes < LIMITS.bytesMin) return { memory: Buffer.allocUnsafeSlow(bytes), release: () => {} }
    const memory = this.#fitting(bytes) ?? this.#grown(bytes)
    let isLent = true
    const release = () => {
      if (isLent) this.#takeBack(memory)
      isLent = false
    }
    return { memory, release }
  }

  /** Lets all go that are free. */
  close(): void {
    this.#cancelLettingGo?.()
    for (const memory of this.#free.splice(0)) letGo(memory)
  }

  #fitting(bytes: number): Buffer<ArrayBuffer> | undefined {
    const i = this.#free.findLastIndex((memory) => memory.length >= bytes)
    return i < 0 ? undefined : this.#free.splice(i, 1)[0]
  }

  /** In place of one that is too small: there are never more than were lent at once. */
  #grown(bytes: number): Buffer<ArrayBuffer> {
    const small = this.#free.pop()
    if (small) letGo(small)
    return Buffer.allocUnsafeSlow(Math.ceil(bytes / LIMITS.stepBytes) * LIMITS.stepBytes)
  }

  #takeBack(memory: Buffer<ArrayBuffer>): void {
    if (memory.length > LIMITS.keptBytesMax || this.#free.length >= LIMITS.kept) return letGo(memory)
    this.#free.push(memory)
    this.#cancelLettingGo?.()
    this.#cancelLettingGo = after(LIMITS.keptMs, () => this.close())
  }
}

/** Frees memory that nobody will look at again: the collector, which sees only a small object, would take its time. */
export function letGo({ buffer }: Uint8Array | Uint32Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}
