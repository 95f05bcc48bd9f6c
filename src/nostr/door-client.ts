/**
 * One client of the Nostr door: its messages one by one, each charged before it costs anything, and what it is told. What
 * it is subscribed to is told from the shelf piece by piece, as fast as it takes it: nothing waits in a queue for a client
 * that doesn't read, but a place in the shelf's own order.
 *
 * `#converse` alone takes messages, `#tell` alone tells events. The socket is paused unless `#converse` waits for
 * more, so that a client that has spent its allowance, or that doesn't read, feels it in its own TCP window.
 */
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { WebSocket } from 'ws'
import type { Network, Outpoint } from '../chain/types.ts'
import { isAbort } from '../errors.ts'
import type { WireLimits } from '../wire/limits.ts'
import { priceOfBytes } from '../wire/prices.ts'
import type { SlotGroup } from '../wire/slots.ts'
import { type Lane, PRICES } from '../wire/work.ts'
import type { Clock } from '../world.ts'
import { judgeArrived } from './arrived-event.ts'
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import {
  type ClientMessage,
  closedText,
  endOfStoredText,
  noticeText,
  okText,
  parseClientMessage,
} from './door-messages.ts'
import { FrameProgress } from './frame-progress.ts'
import { SubscriptionSet } from './nostr-subscription.ts'
import type { Shelf } from './shelf.ts'
import { textFrames } from './text-frames.ts'

export const DOOR_MESSAGES = ['EVENT', 'REQ', 'CLOSE', 'COUNT', 'unknown'] as const
export type DoorMessage = (typeof DOOR_MESSAGES)[number]
/** `closed`: the connection was ended for it. */
export type DoorOutcome = 'ok' | 'invalid' | 'limit' | 'closed'

export interface DoorWorld {
  network: Network
  limits: WireLimits
  shelf: Shelf
  clock: Clock
  log: Logger
  /** An event that names a bond, by the client with this account. */
  onNamed(outpoint: Outpoint, from: object): void
  onGroup(client: DoorClient, group: SlotGroup): void
  count(client: DoorClient, type: DoorMessage, outcome: DoorOutcome): void
}

/** Codes of RFC 6455, section 7.4.1. */
const CLOSE = { goingAway: 1001, unsupported: 1003, policy: 1008, internal: 1011 }

export class DoorClient {
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #lane: Lane
  readonly #gone: AbortSignal
  readonly #world: DoorWorld
  readonly #progress = new FrameProgress()
  /** Messages, and pings with what they carry. */
  readonly #inbox: (string | Buffer)[] = []
  readonly #subscriptions = new SubscriptionSet()
  #isConversing = false
  #isTelling = false
  #messages = 0
  /** It has sent a REQ: only then it is told what it didn't ask for. */
  #hasRequested = false
  /** What was wrong before its first REQ, as it is told then. */
  #fault: string | undefined
  /** Last time it said something, or took some of what waits. */
  #activeAtMs: number
  #pingedAtMs: number
  #midMessageSinceMs: number | undefined
  /** Bytes the socket had taken at the last sweep, and since when it has taken no more. */
  #taken = 0
  #takenAtMs: number
  #drained: (() => void)[] = []

  /** `gone` fires once the socket has closed. */
  constructor(ws: WebSocket, socket: Socket, lane: Lane, gone: AbortSignal, world: DoorWorld) {
    this.#ws = ws
    this.#socket = socket
    this.#lane = lane
    this.#gone = gone
    this.#world = world
    const nowMs = world.clock.monotonicMs()
    this.#activeAtMs = nowMs
    this.#pingedAtMs = nowMs
    this.#takenAtMs = nowMs
    ws.on('error', () => {}) // a frame that is none and the like: the library closes with its code
    ws.on('message', (data: Buffer, isBinary: boolean) => this.#take(data, isBinary))
    ws.on('ping', (data: Buffer) => this.#put(data))
    ws.on('pong', () => {
      if (this.#subscriptions.size > 0) this.#activeAtMs = this.#world.clock.monotonicMs()
    })
    socket.on('data', (chunk: Buffer) => this.#noteProgress(chunk))
    gone.addEventListener('abort', () => this.#end(), { once: true })
  }

  get subscriptions(): number {
    return this.#subscriptions.size
  }

  get messages(): number {
    return this.#messages
  }

  get unsentBytes(): number {
    return this.#ws.bufferedAmount
  }

  get isOpen(): boolean {
    return this.#ws.readyState === WebSocket.OPEN
  }

  /** Says goodbye; the socket closes once the client has answered, or after a moment. */
  close(code: number, why: string): void {
    this.#inbox.length = 0
    this.#ws.resume() // its own goodbye has to be read
    this.#ws.close(code, why)
  }

  stop(): void {
    this.close(CLOSE.goingAway, 'the tracker is being stopped')
  }

  destroy(): void {
    this.#ws.terminate()
  }

  /** Looks after all deadlines, and pings who is subscribed. */
  sweep(): void {
    const { limits, clock } = this.#world
    const nowMs = clock.monotonicMs()
    const unsent = this.#ws.bufferedAmount
    const taken = this.#socket.bytesWritten - this.#socket.writableLength
    if (taken !== this.#taken || unsent === 0) {
      if (taken !== this.#taken) this.#activeAtMs = nowMs
      this.#taken = taken
      this.#takenAtMs = nowMs
    } else if (nowMs - this.#takenAtMs > limits.unsentMsMax) return this.destroy()
    if (!this.isOpen) return
    if (this.#isConversing) {
      // Not read just now: what is missing of its next message is not its fault.
      if (this.#midMessageSinceMs !== undefined) this.#midMessageSinceMs = nowMs
      this.#activeAtMs = nowMs
    }
    if (this.#midMessageSinceMs !== undefined && nowMs - this.#midMessageSinceMs > limits.frameMsMax) {
      return this.close(CLOSE.policy, `a message begun must be finished within ${limits.frameMsMax / 1000} s`)
    }
    const isSubscribed = this.#subscriptions.size > 0
    const idleMsMax = isSubscribed ? limits.subscribedIdleMsMax : limits.idleMsMax
    if (nowMs - this.#activeAtMs > idleMsMax) return this.close(CLOSE.goingAway, 'nothing was said for long')
    if (isSubscribed && nowMs - this.#pingedAtMs >= LIMITS.pingMs) {
      this.#pingedAtMs = nowMs
      if (unsent === 0) this.#ws.ping() // who has something to read needs none
    }
  }

  /** There may be something to tell. */
  wake(): void {
    if (this.#isTelling || !this.#hasNews()) return
    this.#isTelling = true
    void this.#tell().finally(() => {
      this.#isTelling = false
      if (this.#hasNews()) this.wake()
    })
  }

  #noteProgress(chunk: Buffer): void {
    this.#progress.push(chunk)
    this.#midMessageSinceMs = this.#progress.isMidMessage
      ? (this.#midMessageSinceMs ?? this.#world.clock.monotonicMs())
      : undefined
  }

  #take(data: Buffer, isBinary: boolean): void {
    this.#activeAtMs = this.#world.clock.monotonicMs()
    this.#midMessageSinceMs = undefined
    if (!this.isOpen) return
    if (isBinary) {
      this.#world.count(this, 'unknown', 'closed')
      return this.close(CLOSE.unsupported, 'text messages only')
    }
    this.#put(data.toString())
  }

  #put(said: string | Buffer): void {
    this.#inbox.push(said)
    this.#ws.pause()
    if (this.#isConversing) return
    this.#isConversing = true
    void this.#converse().finally(() => {
      this.#isConversing = false
      this.#ws.resume()
    })
  }

  /** Never rejects. */
  async #converse(): Promise<void> {
    try {
      for (let said = this.#inbox.shift(); said !== undefined && this.isOpen; said = this.#inbox.shift()) {
        const what = said
        await this.#lane.afford()
        await this.#room()
        this.#lane.charge(Math.max(1, priceOfBytes(Buffer.byteLength(what))))
        await this.#lane.begin(() => this.#answer(what))
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  #answer(text: string | Buffer): void {
    if (!this.isOpen) return
    if (typeof text !== 'string') return this.#ws.pong(text)
    if (this.#messages++ === 0) this.#world.onGroup(this, 'asked')
    const message = parseClientMessage(text)
    if (message.type === 'EVENT') this.#answerEvent(message.event)
    else if (message.type === 'CLOSE') this.#closeSubscription(message.id)
    else if (message.type === 'unknown') this.#refuse(message.fault)
    else this.#request(message, text.length)
  }

  /** The answer is the first thing that is said, and the only one. */
  #answerEvent(value: unknown): void {
    this.#lane.charge(PRICES.signature)
    const { clock, network, count, onNamed } = this.#world
    const judged = judgeArrived(value, network, Math.floor(clock.nowMs() / 1000))
    count(this, 'EVENT', judged.ok ? 'ok' : 'invalid')
    this.#send(okText(judged.id, judged.ok ? undefined : judged.refusal))
    if (judged.ok) onNamed(judged.outpoint, this.#lane.account)
  }

  #request(message: Extract<ClientMessage, { type: 'REQ' | 'COUNT' }>, chars: number): void {
    this.#hasRequested = true
    const { type, token } = message
    if ('refusal' in message) {
      this.#world.count(this, type, 'invalid')
      this.#send(closedText(token, message.refusal))
    } else {
      if (this.#subscriptions.size === 0) this.#pingedAtMs = this.#world.clock.monotonicMs()
      const refusal = this.#subscriptions.put(message, chars)
      this.#noteGroup()
      this.#world.count(this, type, refusal === undefined ? 'ok' : 'limit')
      if (refusal !== undefined) this.#send(closedText(token, refusal))
    }
    this.#tellFault()
    this.wake()
  }

  #closeSubscription(id: string): void {
    this.#world.count(this, 'CLOSE', 'ok')
    this.#subscriptions.remove(id)
    this.#noteGroup()
  }

  #noteGroup(): void {
    this.#world.onGroup(this, this.#subscriptions.size > 0 ? 'subscribed' : 'asked')
  }

  /** In words to who is subscribed, or once it is: a maker reads one message, and takes this one for its answer. */
  #refuse(fault: string): void {
    this.#world.count(this, 'unknown', 'invalid')
    this.#fault = fault
    this.#tellFault()
  }

  #tellFault(): void {
    if (this.#fault === undefined || !this.#hasRequested) return
    this.#send(noticeText(`invalid: ${this.#fault}`))
    this.#fault = undefined
  }

  #hasNews(): boolean {
    const { shelf } = this.#world
    return this.isOpen && this.#subscriptions.next(shelf) !== undefined && shelf.isWhole()
  }

  /** Tells all there is, piece by piece. Never rejects. */
  async #tell(): Promise<void> {
    try {
      while (this.#hasNews()) {
        await this.#room()
        await this.#lane.piece(() => this.#tellSome())
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  #tellSome(): void {
    if (!this.#hasNews()) return
    const { shelf } = this.#world
    const subscription = this.#subscriptions.next(shelf)!
    const { head, token } = subscription
    const { events, isEnd } = subscription.next(shelf, LIMITS.eventsPerPiece)
    const texts = events.map(({ json }) => `${head}${json}]`)
    if (isEnd) texts.push(endOfStoredText(token))
    const frames = textFrames(texts)
    this.#lane.charge(1 + priceOfBytes(frames.length))
    if (frames.length === 0) return
    // Past the library, which holds nothing back: it neither compresses nor cuts what is sent here.
    this.#socket.write(frames, () => this.#noteTaken())
  }

  #send(text: string): void {
    this.#ws.send(text, () => this.#noteTaken())
  }

  /** Resolves once so little is unread that more may be said; rejects when the client has gone. */
  async #room(): Promise<void> {
    while (!this.#hasRoom()) {
      await new Promise<void>((resolve) => this.#drained.push(resolve))
      this.#gone.throwIfAborted()
    }
  }

  #hasRoom(): boolean {
    return this.#ws.bufferedAmount <= LIMITS.unsentBytes
  }

  #noteTaken(): void {
    if (this.#drained.length > 0 && this.#hasRoom()) for (const resolve of this.#drained.splice(0)) resolve()
  }

  #end(): void {
    this.#subscriptions.clear()
    this.#inbox.length = 0
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  #fail(error: unknown): void {
    if (isAbort(error, this.#gone)) return
    this.#world.log.error({ err: error }, 'a client of the Nostr door could not be answered')
    this.close(CLOSE.internal, 'this tracker failed to answer; its log says why')
  }
}
