/** Counts a catch-up: rate, time left, a line in the log now and then, and one at its end. */
import type { World } from '../world.ts'
import type { Following } from './following.ts'
import type { Height } from './types.ts'

const LIMITS = {
  /** A line of progress in the log this often, while catching up. */
  progressLogMs: 30_000,
  /** So many blocks at once are told of: the day's course brings one or two. What was behind at the start always is. */
  toldBlocks: 6,
}

interface MeterDeps extends Pick<World, 'clock' | 'log'> {
  following: Following
}

export class Meter {
  readonly #deps: MeterDeps
  readonly #from: Height
  readonly #startMs: number
  /** The tip was not reached before. */
  readonly #isFirst: boolean
  #loggedMs: number
  #blocks = 0
  #bytes = 0

  constructor(deps: MeterDeps, from: Height) {
    this.#deps = deps
    this.#from = from
    this.#startMs = deps.clock.monotonicMs()
    this.#isFirst = !deps.following.hasReachedTip
    this.#loggedMs = this.#startMs
  }

  count(bytes: number, height: Height, to: Height): void {
    this.#blocks++
    this.#bytes += bytes
    const nowMs = this.#deps.clock.monotonicMs()
    const seconds = (nowMs - this.#startMs) / 1000
    const blocksPerS = seconds > 0 ? this.#blocks / seconds : 0
    const progress = {
      from: this.#from,
      at: height,
      to,
      blocksPerS: Math.round(blocksPerS * 10) / 10,
      mbPerS: seconds > 0 ? Math.round(this.#bytes / seconds / 1e5) / 10 : 0,
      etaS: blocksPerS > 0 ? Math.ceil((to - height) / blocksPerS) : undefined,
    }
    this.#deps.following.progress = progress
    if (nowMs - this.#loggedMs < LIMITS.progressLogMs) return
    this.#loggedMs = nowMs
    const span = to - this.#from + 1
    const percent = span > 0 ? Math.round((1000 * (height - this.#from + 1)) / span) / 10 : 100
    const { at: _, ...rest } = progress
    this.#deps.log.info({ height, percent, ...rest }, 'catching up')
  }

  /** The tip is reached: what was behind it is told, if it was much. */
  done(height: Height): void {
    if (!this.#isFirst && this.#blocks < LIMITS.toldBlocks) return
    const tookMs = Math.round(this.#deps.clock.monotonicMs() - this.#startMs)
    this.#deps.log.info({ from: this.#from, height, blocks: this.#blocks, bytes: this.#bytes, tookMs }, 'caught up')
  }
}
