/**
 * One REQ: first the stored events that match, newest first and no more than its limits, then those that come; and all of
 * one connection.
 */
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import { eventHead } from './door-messages.ts'
import { isMatch, type NostrFilter } from './filters.ts'
import type { ServedEvent, Shelf } from './shelf.ts'

type ReadShelf = Pick<Shelf, 'newest' | 'of' | 'cameAfter' | 'lastArrival'>

export class NostrSubscription {
  /** Its id as the client wrote it, quotes included. */
  readonly token: string
  /** What stands before each of its events. */
  readonly head: string
  /** Characters of the REQ. */
  readonly chars: number
  readonly #filters: readonly NostrFilter[]
  /** How many more each filter may have of what is stored. */
  readonly #left: number[]
  /** What was stored when the answer began. */
  #stored: readonly ServedEvent[] | undefined
  #at = 0
  /** All up to this have been looked at. */
  #arrival = 0
  #isLive = false

  constructor(token: string, filters: readonly NostrFilter[], chars: number) {
    this.token = token
    this.head = eventHead(token)
    this.chars = chars
    this.#filters = filters
    this.#left = filters.map(({ limit = Number.POSITIVE_INFINITY }) => limit)
  }

  /** What is stored has been told to its end. */
  get isLive(): boolean {
    return this.#isLive
  }

  hasNext({ lastArrival }: Pick<Shelf, 'lastArrival'>): boolean {
    return !this.#isLive || this.#arrival < lastArrival
  }

  /** Looks at the next `count`. What has been taken off the shelf meanwhile is passed over; `isEnd`: of what is stored. */
  next(shelf: ReadShelf, count: number): { events: readonly ServedEvent[]; isEnd: boolean } {
    return this.#isLive ? { events: this.#nextLive(shelf, count), isEnd: false } : this.#nextStored(shelf, count)
  }

  #nextStored(shelf: ReadShelf, count: number): { events: readonly ServedEvent[]; isEnd: boolean } {
    if (!this.#stored) {
      this.#stored = shelf.newest()
      this.#arrival = shelf.lastArrival
    }
    const events: ServedEvent[] = []
    const end = Math.min(this.#stored.length, this.#at + count)
    for (; this.#at < end && this.#left.some((left) => left > 0); this.#at++) {
      // Signed anew since the answer began: the present one is as good.
      const served = shelf.of(this.#stored[this.#at]!.txid)
      if (served && this.#takes(served)) events.push(served)
    }
    const isEnd = this.#at >= this.#stored.length || !this.#left.some((left) => left > 0)
    if (isEnd) {
      this.#stored = undefined
      this.#isLive = true
    }
    return { events, isEnd }
  }

  /** By one of the filters that may still have some. */
  #takes({ event }: ServedEvent): boolean {
    let isTaken = false
    for (const [i, filter] of this.#filters.entries()) {
      if (this.#left[i]! <= 0 || !isMatch(filter, event)) continue
      this.#left[i]!--
      isTaken = true
    }
    return isTaken
  }

  #nextLive(shelf: ReadShelf, count: number): readonly ServedEvent[] {
    const come = shelf.cameAfter(this.#arrival, count)
    this.#arrival = come.length < count ? shelf.lastArrival : come.at(-1)!.arrival
    return come.filter(({ event }) => this.#filters.some((filter) => isMatch(filter, event)))
  }
}

/** Those of one connection. */
export class SubscriptionSet {
  readonly #byId = new Map<string, NostrSubscription>()
  #chars = 0

  get size(): number {
    return this.#byId.size
  }

  /**
   * One that has the same id is replaced, whatever becomes of this one. `chars`: of the REQ. Returns why there is no room
   * for it, with a prefix of NIP-01.
   */
  put(
    { id, token, filters }: { id: string; token: string; filters: readonly NostrFilter[] },
    chars: number,
  ): string | undefined {
    this.remove(id)
    if (this.#byId.size >= LIMITS.subscriptions) {
      return `rate-limited: a connection has at most ${LIMITS.subscriptions} subscriptions`
    }
    if (this.#chars + chars > LIMITS.subscriptionChars) {
      return `rate-limited: the subscriptions of a connection have at most ${LIMITS.subscriptionChars} characters together`
    }
    this.#byId.set(id, new NostrSubscription(token, filters, chars))
    this.#chars += chars
    return undefined
  }

  remove(id: string): void {
    const subscription = this.#byId.get(id)
    if (!subscription) return
    this.#byId.delete(id)
    this.#chars -= subscription.chars
  }

  clear(): void {
    this.#byId.clear()
    this.#chars = 0
  }

  /** The one to be told something next: those whose stored events are not all told first, as they were asked for. */
  next(shelf: Pick<Shelf, 'lastArrival'>): NostrSubscription | undefined {
    let live: NostrSubscription | undefined
    for (const subscription of this.#byId.values()) {
      if (!subscription.hasNext(shelf)) continue
      if (!subscription.isLive) return subscription
      live ??= subscription
    }
    return live
  }
}
