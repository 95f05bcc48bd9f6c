/**
 * A client's conversation with one relay over one connection (NIP-01): subscriptions that are read to their EOSE and then
 * stay, events that are sent and answered. What the relay sends is charged and read in its turn; one that sends without end
 * is read slowly, and waits.
 */
import { Bell, raceAbort } from '../concurrency.ts'
import { TransientError } from '../errors.ts'
import { priceOfBytes } from '../wire/prices.ts'
import type { Lane } from '../wire/work.ts'
import type { Clock } from '../world.ts'
import type { NostrEvent } from './event.ts'
import type { RelayConnection } from './relay-client.ts'
import { type RelayMessage, readRelayMessage } from './relay-messages.ts'

export const RELAY_SESSION_LIMITS = {
  /** How long a relay may be silent before its EOSE. Takers wait 150 s for it. */
  eoseMs: 60_000,
  /** One answer as a whole: a market of 1,000 makers has 48,000 events a day, where a relay keeps them all. */
  readingMsMax: 1_800_000,
  readingEventsMax: 200_000,
  /** Units of a message beside its bytes: a signature. */
  messageUnits: 1,
  /** How often a deadline is looked at. */
  lookMs: 1_000,
}

/** Called in pieces of work on the serving thread. */
export interface SessionListener {
  /** One event of any subscription; undefined where its frame was too long to be read. */
  onEvent(event: unknown, frame: string): void
  onSaid(kind: 'NOTICE' | 'CLOSED' | 'AUTH', text: string): void
  /** It sends faster than it is read. */
  onSlowed(): void
}

interface Subscription {
  events: number
  /** Nothing is lost with it: the connection goes on without. */
  isOptional?: true
  /** Its EOSE has come. */
  isRead: boolean
  /** What the relay said when it ended it. */
  closed?: string
}

/** An event that waits for its `OK`. */
interface SentEvent {
  id: string
  ok?: { isAccepted: boolean; text: string }
  /** What else the relay said meanwhile. */
  notice?: string
}

export class RelaySession {
  readonly #connection: RelayConnection
  readonly #lane: Lane
  readonly #listener: SessionListener
  readonly #clock: Clock
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #bell = new Bell()
  #sent: SentEvent | undefined
  #progressMs: number

  constructor(connection: RelayConnection, lane: Lane, listener: SessionListener, clock: Clock) {
    this.#connection = connection
    this.#lane = lane
    this.#listener = listener
    this.#clock = clock
    this.#progressMs = clock.monotonicMs()
  }

  /** Takes what comes. Throws TransientError at the end of the connection, or of a subscription that was to stay. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      const text = await this.#connection.next(signal)
      this.#lane.charge(priceOfBytes(text.length) + RELAY_SESSION_LIMITS.messageUnits)
      if (this.#lane.account.waitMs > 0) {
        this.#listener.onSlowed()
        await raceAbort(this.#lane.afford(), signal)
      }
      const ended = await this.#lane.piece(() => this.#take(text))
      this.#progressMs = this.#clock.monotonicMs()
      if (ended !== undefined) throw new TransientError(`it ended the subscription: ${ended || 'without a reason'}`)
    }
  }

  /** Returns what the relay said where it ended a subscription that was read. */
  #take(text: string): string | undefined {
    const message = readRelayMessage(text)
    if (!message) return undefined
    switch (message.type) {
      case 'EVENT':
      case 'too-long':
        for (const subscription of this.#subscriptions.values()) subscription.events++
        this.#listener.onEvent(message.type === 'EVENT' ? message.event : undefined, text)
        return undefined
      case 'EOSE':
        this.#noteRead(message.subscription)
        return undefined
      case 'CLOSED':
        return this.#noteClosed(message)
      case 'OK':
        if (this.#sent?.id !== message.id) return undefined
        this.#sent.ok ??= message
        this.#bell.ring()
        return undefined
      case 'NOTICE':
        if (this.#sent) this.#sent.notice = message.text
        this.#listener.onSaid('NOTICE', message.text)
        return undefined
      case 'AUTH':
        this.#listener.onSaid('AUTH', 'asks who we are, and is not told')
        return undefined
    }
  }

  #noteRead(id: string): void {
    const subscription = this.#subscriptions.get(id)
    if (!subscription) return
    subscription.isRead = true
    this.#bell.ring()
  }

  #noteClosed({ subscription: id, text }: Extract<RelayMessage, { type: 'CLOSED' }>): string | undefined {
    const subscription = this.#subscriptions.get(id)
    this.#subscriptions.delete(id)
    if (!subscription || subscription.isOptional) return undefined // some answer our own CLOSE
    this.#listener.onSaid('CLOSED', text)
    if (subscription.isRead) return text
    subscription.closed = text
    this.#bell.ring()
    return undefined
  }

  /** Subscribes; returns once everything that is stored has come. Throws TransientError when it is refused or does not end. */
  async read(id: string, filter: object, signal: AbortSignal): Promise<void> {
    const { eoseMs, readingMsMax, readingEventsMax, lookMs } = RELAY_SESSION_LIMITS
    const subscription: Subscription = { events: 0, isRead: false }
    this.#subscriptions.set(id, subscription)
    const startMs = this.#clock.monotonicMs()
    this.#progressMs = startMs
    this.#connection.send(['REQ', id, filter])
    for (;;) {
      if (subscription.isRead) return
      if (subscription.closed !== undefined) {
        throw new TransientError(`it refuses to be read: ${subscription.closed || 'without a reason'}`)
      }
      const nowMs = this.#clock.monotonicMs()
      if (subscription.events > readingEventsMax || nowMs - startMs > readingMsMax) {
        throw new TransientError(`it sent ${subscription.events} events and no EOSE`)
      }
      if (nowMs - this.#progressMs > eoseMs && this.#connection.waiting === 0) {
        throw new TransientError(`it sent no EOSE within ${eoseMs / 1000} s`)
      }
      await raceAbort(this.#bell.wait(lookMs), signal)
    }
  }

  /** Subscribes to what the relay may tell or not, as it likes. */
  listen(id: string, filter: object): void {
    this.#subscriptions.set(id, { events: 0, isRead: false, isOptional: true })
    this.#connection.send(['REQ', id, filter])
  }

  /** Ends a subscription. */
  close(id: string): void {
    if (this.#subscriptions.delete(id)) this.#connection.send(['CLOSE', id])
  }

  /** Sends an event, one at a time; the relay's `OK`, if it comes in time, and what else it said meanwhile. */
  async publish(event: NostrEvent, timeoutMs: number, signal: AbortSignal): Promise<Omit<SentEvent, 'id'>> {
    const sent: SentEvent = { id: event.id }
    this.#sent = sent
    const endMs = this.#clock.monotonicMs() + timeoutMs
    this.#connection.send(['EVENT', event])
    try {
      while (!sent.ok && this.#clock.monotonicMs() < endMs) {
        await raceAbort(this.#bell.wait(RELAY_SESSION_LIMITS.lookMs), signal)
      }
      return sent
    } finally {
      this.#sent = undefined
    }
  }
}
