/** Counts a catch-up: rate, time left, a line in the log now and then. */
import type { World } from '../world.ts'
import type { Following } from './following.ts'
import type { Height } from './types.ts'

const LIMITS = {
  /** A line of progress in the log this often, while catching up. */
  progressLogMs: 10_000,
}

interface MeterDeps extends Pick<World, 'clock' | 'log'> {
  following: Following
}

export class Meter {
  readonly #deps: MeterDeps
  readonly #from: Height
  readonly #startMs: number
  #loggedMs: number
  #blocks = 0
  #bytes = 0

  constructor(deps: MeterDeps, from: Height) {
    this.#deps = deps
    this.#from = from
    this.#startMs = deps.clock.monotonicMs()
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
    this.#deps.log.info({ height, percent, ...progress }, 'catching up')
  }
}
