/** Work that reaches bitcoind for strangers: a few at once, a short queue, and beyond it an answer instead of waiting. */

export interface TurnLimits {
  /** Pieces of work under way. */
  atOnce: number
  /** Sizes of all work that waits, together. */
  queued: number
}

export class Turns {
  readonly #limits: TurnLimits
  readonly #waiting: { size: number; start: () => void }[] = []
  #working = 0

  constructor(limits: TurnLimits) {
    this.#limits = limits
  }

  /** Runs `work` when its turn comes; false at once when too much is waiting. `size`: its share of the queue. */
  async run(size: number, work: () => Promise<void>): Promise<boolean> {
    if (this.#working >= this.#limits.atOnce) {
      const queued = this.#waiting.reduce((sum, other) => sum + other.size, 0)
      if (queued + size > this.#limits.queued) return false
      await new Promise<void>((start) => this.#waiting.push({ size, start }))
    } else {
      this.#working++
    }
    try {
      await work()
      return true
    } finally {
      const next = this.#waiting.shift() // our place goes to the next one
      if (next) next.start()
      else this.#working--
    }
  }
}
