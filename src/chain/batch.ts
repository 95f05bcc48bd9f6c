/**
 * Blocks that wait to be connected together: while we are far behind, several go into one transaction, which then writes
 * each page once. Near the tip every block goes by itself.
 */
import { after, type Clock } from '../world.ts'
import type { ScannedBlock } from './decode.ts'
import type { Height } from './types.ts'

export const BATCH_LIMITS = {
  /** A batch ends below a height that is a multiple of this, as segments of the index of spends do (store/local/packed-keys.ts). */
  blocks: 32,
  /** And once it has keys of so many bytes: 32 blocks of 9,000 inputs have 2.3 MB. */
  keyBytes: 4_000_000,
  /** A block waits for those that come after it no longer than this: what a kill takes is read again. */
  waitMs: 1_000,
  /** So near to the node's tip each block is connected when it comes. */
  nearTipBlocks: 6,
}

/** A block and where it stands. */
export interface NextBlock {
  block: ScannedBlock
  height: Height
}

export class Batch {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  #blocks: NextBlock[] = []
  #keyBytes = 0
  #sinceMs = 0

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** Returns whether it is to be connected now. `best`: the height of the node's tip. */
  add(next: NextBlock, best: Height): boolean {
    if (this.#blocks.length === 0) this.#sinceMs = this.#clock.monotonicMs()
    this.#blocks.push(next)
    this.#keyBytes += next.block.spent.byteLength
    const { blocks, keyBytes, nearTipBlocks } = BATCH_LIMITS
    return (
      next.height > best - nearTipBlocks ||
      (next.height + 1) % blocks === 0 ||
      this.#keyBytes >= keyBytes ||
      this.#leftMs() <= 0
    )
  }

  /** Its blocks, which it has no more. */
  take(): NextBlock[] {
    const blocks = this.#blocks
    this.#blocks = []
    this.#keyBytes = 0
    return blocks
  }

  /** Resolves when `next` has come, or failed to; with false when its blocks have waited long enough before. */
  waitsFor(next: Promise<unknown>): Promise<boolean> {
    if (this.#blocks.length === 0) return Promise.resolve(true)
    return new Promise((resolve) => {
      const cancel = after(Math.max(0, this.#leftMs()), () => resolve(false))
      const ended = () => {
        cancel()
        resolve(true)
      }
      next.then(ended, ended)
    })
  }

  #leftMs(): number {
    return this.#sinceMs + BATCH_LIMITS.waitMs - this.#clock.monotonicMs()
  }
}
