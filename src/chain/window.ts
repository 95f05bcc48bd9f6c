/**
 * How many exchanges with bitcoind are under way at once. bitcoind refuses work beyond its queue (`rpcworkqueue`, HTTP
 * 503): that is back-pressure, not weather. The window shrinks, the refused exchange waits for its turn and is tried
 * again; when all goes well the window grows again, one by one.
 */
import { TransientError } from '../errors.ts'
import { after, Backoff, type Clock, sleep, systemClock } from '../world.ts'

export const WINDOW_LIMITS = {
  /** bitcoind's own defaults are 4 threads (16 from 30.0 on) and a queue of 16 (64). */
  atOnce: 16,
  /** Exchanges well done in a row before there may be one more at once. */
  growAfter: 50,
  /** Waiting for a turn: every caller of ours has a bound of its own, far below. */
  waiting: 1_000,
  /** A turn comes as soon as an exchange ends, and each of those has its deadline. */
  turnMs: 60_000,
  /** A refused exchange is tried again for this long, after pauses. */
  retryMs: 10_000,
  backoff: { firstMs: 25, maxMs: 1_000 },
}

/** Thrown by an exchange that bitcoind had no room for. */
export class NoRoom extends Error {}

export class ExchangeWindow {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  #size = WINDOW_LIMITS.atOnce
  #underWay = 0
  #doneWell = 0
  /** Counts the times it shrank: of all that was under way then, only the first refusal counts. */
  #shrunk = 0

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** Exchanges that may be under way at once, just now. */
  get size(): number {
    return this.#size
  }

  /** Runs `exchange` in its turn, again while it throws NoRoom, at last throwing that. */
  async run<T>(exchange: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(WINDOW_LIMITS.backoff, () => 1) // no jitter: the window keeps us apart
    const startMs = this.#clock.monotonicMs()
    for (;;) {
      await this.#turn()
      const shrunkBefore = this.#shrunk
      try {
        const value = await exchange()
        this.#grow()
        return value
      } catch (error) {
        if (!(error instanceof NoRoom)) throw error
        if (this.#shrunk === shrunkBefore) this.#shrink()
        if (this.#clock.monotonicMs() - startMs > WINDOW_LIMITS.retryMs) throw error
      } finally {
        this.#underWay--
        this.#admit()
      }
      await sleep(backoff.nextMs(), NEVER)
    }
  }

  #turn(): Promise<void> {
    if (this.#underWay < this.#size) {
      this.#underWay++
      return Promise.resolve()
    }
    if (this.#waiting.length >= WINDOW_LIMITS.waiting) throw new TransientError('too many questions wait for bitcoind')
    return new Promise((resolve, reject) => {
      const start = () => {
        cancel()
        resolve()
      }
      const cancel = after(WINDOW_LIMITS.turnMs, () => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1)
        reject(new TransientError(`bitcoind left no room for a question within ${WINDOW_LIMITS.turnMs / 1000} s`))
      })
      this.#waiting.push(start)
    })
  }

  #admit(): void {
    while (this.#underWay < this.#size && this.#waiting.length > 0) {
      this.#underWay++
      this.#waiting.shift()!()
    }
  }

  /** To half of what was under way: who else uses this bitcoind has a share of its queue, too. */
  #shrink(): void {
    this.#size = Math.max(1, Math.floor(Math.min(this.#size, this.#underWay) / 2))
    this.#doneWell = 0
    this.#shrunk++
  }

  #grow(): void {
    if (++this.#doneWell < WINDOW_LIMITS.growAfter || this.#size >= WINDOW_LIMITS.atOnce) return
    this.#size++
    this.#doneWell = 0
  }
}

const NEVER = new AbortController().signal
