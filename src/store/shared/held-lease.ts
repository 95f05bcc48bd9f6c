/**
 * A lease that is looked at, rather than run: whoever is about to do something asks whether it is his to do. Nobody asks
 * the store unless somebody asks here. By the rules of what is done twice at the worst: it is no right to rely on, as the
 * one of the onion address is (tor/tenure.ts).
 */
import { TransientError } from '../../errors.ts'
import type { Clock } from '../../world.ts'
import type { Leases } from './leases.ts'

/** Of the length: it is renewed after this part of it, and asked for again after that part when it is another's. */
const RENEWED = 1 / 2
const ASKED = 1 / 6

export class HeldLease {
  readonly #leases: Leases
  readonly #name: string
  readonly #lengthMs: number
  readonly #clock: Clock
  #isOurs = false
  /** On the monotonic clock. */
  #askMs = Number.NEGATIVE_INFINITY

  constructor(leases: Leases, name: string, lengthMs: number, clock: Clock) {
    this.#leases = leases
    this.#name = name
    this.#lengthMs = lengthMs
    this.#clock = clock
  }

  /** While the store is away it is whose it was. */
  async isOurs(): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#askMs) return this.#isOurs
    try {
      this.#isOurs = await this.#leases.take(this.#name, this.#lengthMs)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      this.#askMs = nowMs + this.#lengthMs * ASKED
      return this.#isOurs
    }
    this.#askMs = nowMs + this.#lengthMs * (this.#isOurs ? RENEWED : ASKED)
    return this.#isOurs
  }

  /** Another needn't wait for its end. */
  async giveBack(): Promise<void> {
    if (!this.#isOurs) return
    this.#isOurs = false
    this.#askMs = Number.NEGATIVE_INFINITY
    try {
      await this.#leases.drop(this.#name)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error // it ends by itself
    }
  }
}
