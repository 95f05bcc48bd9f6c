/**
 * How often we dial because a stranger named somebody (`Ping`, `Post`, `EVENT`): nobody can make us a burden to a third
 * party. Kept in memory and on the monotonic clock: after a restart a host may be dialled once more within its hour, and a
 * first burst is there again, no more.
 */
import { formatHostPort, type HostPort, isLoopback } from '../tor/address.ts'
import type { Clock } from '../world.ts'

const HOUR_MS = 3_600_000

export const DIAL_LIMITS = {
  /** Between two dials of one host, whatever came of the first, whichever port. */
  perHostMs: HOUR_MS,
  /** All hosts together, in any hour. Also the most hosts that have to be remembered. */
  perHour: 120,
  /**
   * Of those, what may go at once after a quiet time; the others are spaced evenly, one in 36 s: whoever is honest and
   * comes after a flood waits for the next of these, not for the hour to end.
   */
  burst: 20,
}

/**
 * Who answers at an address, as far as dialling goes: a host, all its ports together. On loopback, where only our own
 * tests live, each port is a host of its own.
 */
export function dialledHost(address: HostPort): string {
  return isLoopback(address.host) ? formatHostPort(address) : address.host
}

export class DialBudget {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #limits: typeof DIAL_LIMITS
  /** When each host was dialled, the oldest first. */
  readonly #dialledMs = new Map<string, number>()
  #tokens: number
  #filledMs: number
  #taken = 0

  constructor(clock: Pick<Clock, 'monotonicMs'>, limits = DIAL_LIMITS) {
    this.#clock = clock
    this.#limits = limits
    this.#tokens = limits.burst
    this.#filledMs = clock.monotonicMs()
  }

  /** Dials taken since the start. */
  get taken(): number {
    return this.#taken
  }

  /** True while the host was dialled within `perHostMs`. */
  isResting(address: HostPort): boolean {
    this.#forget()
    return this.#dialledMs.has(dialledHost(address))
  }

  /** Whether any host may be dialled now. */
  hasRoom(): boolean {
    this.#fill()
    return this.#tokens >= 1
  }

  /** Whether this one may be dialled now for a stranger's sake. */
  mayDial(address: HostPort): boolean {
    return this.hasRoom() && !this.isResting(address)
  }

  /** True: it may, and this was the dial; whoever takes it dials once. */
  take(address: HostPort): boolean {
    if (!this.mayDial(address)) return false
    this.#tokens--
    this.#taken++
    this.rest(address)
    return true
  }

  /** The host is not to be dialled for `perHostMs` from now. */
  rest(address: HostPort): void {
    const host = dialledHost(address)
    this.#dialledMs.delete(host)
    this.#dialledMs.set(host, this.#clock.monotonicMs())
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs()
    const { burst, perHour } = this.#limits
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#filledMs) * (perHour - burst)) / HOUR_MS)
    this.#filledMs = nowMs
  }

  #forget(): void {
    const untilMs = this.#clock.monotonicMs() - this.#limits.perHostMs
    for (const [host, atMs] of this.#dialledMs) {
      if (atMs > untilMs) break
      this.#dialledMs.delete(host)
    }
  }
}
