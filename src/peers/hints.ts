/**
 * Hosts that strangers say a tracker is at, until one of them is dialled. Whoever asks often gains nothing by it: a
 * client (a connection, or a circuit where it is known) has one hint waiting, and those of clients for whom least was dialled
 * so far come first, drawn by lot.
 */
import type { HostPort } from '../tor/address.ts'
import type { Clock } from '../world.ts'
import { dialledHost } from './dial-budget.ts'

export const HINT_LIMITS = {
  /** One for each connection there may be. A newcomer takes the place of any: nobody can fill it and sit there. */
  waitingMax: 1_024,
  /** A tracker pings about every five minutes: what doesn't come again is not waited for. */
  waitMs: 600_000,
}

/** What is known of a client. Not the client itself: a hint that waits must not keep one that has left in memory. */
interface Account {
  waiting: Hint | undefined
  /** How many of its hints were dialled. */
  dialled: number
}

interface Hint {
  target: HostPort
  account: Account
  atMs: number
}

export class Hints {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #random: () => number
  readonly #waiting: Hint[] = []
  readonly #byHost = new Map<string, Hint>()
  readonly #accounts = new WeakMap<object, Account>()

  constructor(clock: Pick<Clock, 'monotonicMs'>, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  get size(): number {
    return this.#waiting.length
  }

  /** False where that host waits already, or another hint of that client. */
  mayAdd(target: HostPort, from: object): boolean {
    // Often one and the same.
    const before = new Set([this.#accountOf(from).waiting, this.#byHost.get(dialledHost(target))])
    for (const hint of before) {
      if (!hint) continue
      if (!this.#isStale(hint)) return false
      this.#remove(hint)
    }
    return true
  }

  /** `from`: the client it came from. False, and nothing was added, where it may not be. */
  add(target: HostPort, from: object): boolean {
    if (!this.mayAdd(target, from)) return false
    const account = this.#accountOf(from)
    if (this.#waiting.length >= HINT_LIMITS.waitingMax) this.#remove(this.#draw(this.#waiting))
    const hint = { target, account, atMs: this.#clock.monotonicMs() }
    account.waiting = hint
    this.#byHost.set(dialledHost(target), hint)
    this.#waiting.push(hint)
    return true
  }

  /** The one to be dialled next; undefined when there is none. It waits no more, and neither do those not `isWanted`. */
  take(isWanted: (target: HostPort) => boolean): HostPort | undefined {
    let next: Hint[] = []
    let fewest = Number.POSITIVE_INFINITY
    for (const hint of [...this.#waiting]) {
      const { dialled } = hint.account
      if (this.#isStale(hint) || !isWanted(hint.target)) this.#remove(hint)
      else if (dialled < fewest) {
        fewest = dialled
        next = [hint]
      } else if (dialled === fewest) next.push(hint)
    }
    if (next.length === 0) return undefined
    const hint = this.#draw(next)
    this.#remove(hint)
    hint.account.dialled++
    return hint.target
  }

  #accountOf(from: object): Account {
    let account = this.#accounts.get(from)
    if (!account) {
      account = { waiting: undefined, dialled: 0 }
      this.#accounts.set(from, account)
    }
    return account
  }

  #draw(hints: readonly Hint[]): Hint {
    return hints[Math.floor(this.#random() * hints.length)]!
  }

  #isStale({ atMs }: Hint): boolean {
    return this.#clock.monotonicMs() - atMs > HINT_LIMITS.waitMs
  }

  #remove(hint: Hint): void {
    const at = this.#waiting.indexOf(hint)
    const last = this.#waiting.pop()!
    if (last !== hint) this.#waiting[at] = last
    this.#byHost.delete(dialledHost(hint.target))
    hint.account.waiting = undefined
  }
}
