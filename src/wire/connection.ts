/**
 * One client's connection: bytes → frames → one request at a time → its reply → the next. Whatever the client does
 * costs at most this connection. Knows no other connection, no chain and no bonds.
 *
 * `#converse` is the only one that takes requests and answers them; what goes out is `outbox.ts`. The socket's events and
 * the sweep only change a field and call it: what can be answered at once is, in the same turn of the event loop; the
 * others are waited for. The socket is paused unless `#converse` waits for bytes, so that the pressure of a client that has
 * spent its allowance, or that leaves its replies unread, ends up in its own TCP window.
 */
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { isAbort, PeerFault, type WireErrorCode } from '../errors.ts'
import type { Clock } from '../world.ts'
import type { Backlog } from './backlog.ts'
import { FrameTooLarge } from './frame.ts'
import { Inbox } from './inbox.ts'
import type { WireLimits } from './limits.ts'
import { encodeError, parseRequest, type Request } from './messages.ts'
import { Outbox } from './outbox.ts'
import { priceOf, priceOfBytes } from './prices.ts'
import type { SlotGroup } from './slots.ts'
import { type Lane, WORK_LIMITS, type Work } from './work.ts'

/**
 * `send`: a CBOR payload, unframed; the buffer may be shared between connections, and must not change afterwards.
 * `close`: close without a reply. `nothing`: no reply. For an `Error` reply throw a PeerFault; the connection stays open.
 */
export type Outcome = { send: Buffer } | 'close' | 'nothing'
export type Handle = (request: Request, peer: Peer) => Promise<Outcome> | Outcome

/** The client, for what it asks and for what it is told unasked. */
export interface Peer {
  /** By which it has its work done. */
  readonly lane: Lane
  /**
   * Says what `encode` gives, a CBOR payload, between two replies, and not before the reply to a request that is being
   * answered. One that still waits under the same key is replaced; `encode` is called when its turn comes, and nothing is
   * said when it gives undefined.
   */
  push(key: string, encode: () => Buffer | undefined): void
  /** Takes back what waits under `key`. */
  unpush(key: string): void
  /** Outpoints it is subscribed to: who has some is not idle. */
  subscriptions: number
  /** Called once, when the connection has ended; at once if it has. */
  onEnd(listener: () => void): void
}

export interface ConnectionWorld {
  limits: WireLimits
  handle: Handle
  work: Work
  backlog: Backlog
  /** Whether a PROXY line tells of which circuit a client is. */
  circuitIds: boolean
  clock: Clock
  log: Logger
  /** Fires when the daemon stops: requests that wait for something are given up. */
  signal: AbortSignal
  /** A request was handled in so many milliseconds, whatever came of it. */
  onHandled(kind: Request['type'], tookMs: number): void
  /** `kind`: the request's type, or `unknown`. `outcome`: `ok`, `closed`, `ignored`, `pushed`, or the code of its Error. */
  count(kind: Request['type'] | 'unknown', outcome: 'ok' | 'closed' | 'ignored' | 'pushed' | WireErrorCode): void
  /** Where it belongs when places are short. */
  onGroup(connection: Connection, group: SlotGroup): void
}

/** What an operator is told of a connection. */
export interface ClientFacts {
  /** Counts connections since the start. */
  id: number
  /** Since when, Unix milliseconds. */
  sinceMs: number
  /** As Tor names it; undefined where it isn't known. */
  circuit: string | undefined
  subscriptions: number
  requests: number
  /** Units spent since it came, and of late. */
  units: number
  unitsLately: number
  /** What is left of its allowance; below 1 it isn't read. */
  unitsLeft: number
  /** Bytes that it has not taken yet. */
  unsentBytes: number
}

/** What a request came to. */
interface Answer {
  reply?: Buffer
  /** The connection ends after it. */
  closes: boolean
}

/** A request that is being handled, as far as it is known. */
interface Handling {
  type: Request['type'] | 'unknown'
  /** It was one, and not only a frame. */
  isRequest: boolean
  closesOnFault: boolean
  readonly startMs: number
}

let connectionsMade = 0

/** The next number, whatever door a client comes by. */
export function nextClientId(): number {
  return ++connectionsMade
}

export class Connection implements Peer {
  readonly id = nextClientId()
  /** Settles when no request is taken or answered any more, the socket possibly still saying goodbye. Never rejects. */
  readonly conversation: Promise<void>
  readonly #conversationEnd = Promise.withResolvers<void>()
  readonly #socket: Socket
  readonly #world: ConnectionWorld
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #gone = new AbortController()
  readonly #sinceMs: number
  /** Made with the first bytes, which may tell the circuit. */
  #lane: Lane | undefined
  #subscriptions = 0
  #requests = 0
  #waiting: (() => void)[] = []
  readonly #endListeners: (() => void)[] = []
  #hasEnded = false
  /** The handler has a request of ours. */
  #isHandling = false
  /** A request is being answered, and its answer has to be waited for. */
  #isAnswering = false
  /** All requests that have come are answered: the next bytes are waited for. */
  #awaitsBytes = true
  /** The allowance is spent, and that was counted. */
  #isExhausted = false
  /** The client has said all it will say; it may still be listening. */
  #isHalfClosed = false
  /** Nothing is answered any more. */
  #isOver = false
  #isStopping = false
  /** Last time a whole request came, a reply was made or some of it was taken; until then, when the connection came. */
  #activeAtMs: number
  /** Since when our last word is out. */
  #lingerSinceMs: number | undefined

  constructor(socket: Socket, world: ConnectionWorld) {
    this.#socket = socket
    this.#world = world
    const { limits, clock, circuitIds } = world
    this.#inbox = new Inbox(limits, circuitIds, clock)
    this.#activeAtMs = clock.monotonicMs()
    this.#sinceMs = clock.nowMs()
    this.#outbox = new Outbox(socket, {
      limits,
      clock,
      backlog: world.backlog,
      lane: () => this.lane,
      onCut: () => this.destroy(),
      onPushed: () => world.count('Subscribe', 'pushed'),
      onMoved: () => this.#onMoved(),
    })
    socket.on('error', () => {}) // a reset and the like: 'close' follows
    socket.on('close', () => {
      this.#isOver = true
      this.#end()
      this.#wake()
    })
    socket.on('end', () => {
      this.#isHalfClosed = true
      this.#wake()
    })
    socket.on('data', (chunk) => {
      if (this.#isOver) return // let it go by
      this.#awaitsBytes = false
      if (!this.#inbox.push(chunk)) this.#refuse('bad_frame', 'a PROXY line that is none')
      this.#wake()
      if (!(this.#awaitsBytes || this.#isOver)) socket.pause()
    })
    this.conversation = this.#conversationEnd.promise
  }

  get lane(): Lane {
    this.#lane ??= this.#world.work.lane(this.#gone.signal, this.#inbox.circuit)
    return this.#lane
  }

  get subscriptions(): number {
    return this.#subscriptions
  }

  set subscriptions(count: number) {
    this.#subscriptions = count
    this.#world.onGroup(this, count > 0 ? 'subscribed' : 'asked')
  }

  facts(): ClientFacts {
    const { account, units = 0 } = this.#lane ?? {}
    return {
      id: this.id,
      sinceMs: this.#sinceMs,
      circuit: this.#inbox.circuit,
      subscriptions: this.#subscriptions,
      requests: this.#requests,
      units,
      unitsLately: account?.lately ?? 0,
      unitsLeft: account?.left ?? this.#world.limits.unitsBurst,
      unsentBytes: this.#socket.writableLength,
    }
  }

  push(key: string, encode: () => Buffer | undefined): void {
    this.#outbox.push(key, encode)
  }

  unpush(key: string): void {
    this.#outbox.unpush(key)
  }

  onEnd(listener: () => void): void {
    if (this.#hasEnded) listener()
    else this.#endListeners.push(listener)
  }

  #end(): void {
    this.#hasEnded = true
    this.#outbox.close()
    this.#gone.abort(new DOMException('the client has gone', 'AbortError'))
    for (const listener of this.#endListeners.splice(0)) listener()
  }

  destroy(): void {
    this.#isOver = true
    this.#outbox.close()
    this.#socket.destroy()
    this.#wake()
  }

  /** Ends the conversation: now, or when the reply on its way is out. */
  stop(): void {
    this.#isStopping = true
    if (!this.#isHandling && !this.#outbox.isSending) this.#finish()
  }

  /** Looks after all deadlines, and wakes whoever waits for its allowance to grow. */
  sweep(): void {
    const { limits, clock } = this.#world
    const nowMs = clock.monotonicMs()
    const isOverdue = (sinceMs: number | undefined, maxMs: number) => sinceMs !== undefined && nowMs - sinceMs > maxMs
    const { unsentSinceMs } = this.#outbox
    if (isOverdue(unsentSinceMs, limits.unsentMsMax)) return this.destroy()
    if (unsentSinceMs !== undefined || this.#isHandling) return
    if (isOverdue(this.#lingerSinceMs, limits.lingerMsMax)) return this.destroy()
    if (this.#isOver) return
    if (isOverdue(this.#inbox.midFrameSinceMs, limits.frameMsMax)) {
      const message = `a frame begun must be finished within ${limits.frameMsMax / 1000} s`
      return this.#refuse('bad_frame', message)
    }
    const idleMsMax = this.#subscriptions > 0 ? limits.subscribedIdleMsMax : limits.idleMsMax
    if (isOverdue(this.#activeAtMs, idleMsMax)) return this.#finish()
    this.#wake()
  }

  /** Takes requests and answers them, until one has to be waited for or none is left. */
  #converse(): void {
    try {
      while (!this.#isAnswering) {
        if (this.#isOver || this.#isStopping) return this.#endConversation()
        if (this.#awaitsBytes && !this.#isHalfClosed) return
        const payload = this.#nextPayload()
        if (payload === undefined) return
        this.#isAnswering = true
        const answered = this.#answer(payload)
        if (answered)
          void answered.then(
            () => this.#goOn(),
            (error) => this.#fail(error),
          )
        else this.#isAnswering = false
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  #goOn(): void {
    this.#isAnswering = false
    this.#converse()
  }

  #fail(error: unknown): void {
    this.#world.log.error({ err: error }, 'a connection failed')
    this.destroy()
    this.#goOn()
  }

  #endConversation(): void {
    this.#conversationEnd.resolve()
    if (!this.#isOver) this.#finish()
  }

  /** The next frame's payload, if the client may be answered now. */
  #nextPayload(): Buffer | undefined {
    if (this.#outbox.isFull || !this.#mayAsk()) return undefined
    let payload: Buffer | undefined
    try {
      payload = this.#inbox.next()
    } catch (error) {
      if (!(error instanceof FrameTooLarge)) throw error
      this.#refuse('too_large', error.message)
      return undefined
    }
    if (payload) {
      if (this.#requests++ === 0) this.#world.onGroup(this, 'asked')
      this.#activeAtMs = this.#world.clock.monotonicMs()
      return payload
    }
    if (this.#isHalfClosed) {
      if (this.#inbox.midFrameSinceMs !== undefined) this.#refuse('bad_frame', 'the bytes end in the middle of a frame')
      else this.#finish()
      return undefined
    }
    this.#awaitsBytes = true
    if (this.#socket.isPaused()) this.#socket.resume()
    return undefined
  }

  #mayAsk(): boolean {
    if (this.#lane === undefined) return true // nothing has come yet
    const has = this.#lane.account.left >= 1
    if (!has && !this.#isExhausted) this.#lane.noteExhausted()
    this.#isExhausted = !has
    return has
  }

  /** Returns a promise where something has to be waited for. */
  #answer(payload: Buffer): Promise<void> | undefined {
    this.#outbox.hold()
    const answer = this.#replyTo(payload)
    if (answer instanceof Promise || this.#outbox.isSending) return this.#sayLater(answer)
    return this.#say(answer)
  }

  async #sayLater(coming: Answer | Promise<Answer>): Promise<void> {
    const answer = await coming
    while (this.#outbox.isSending && !this.#isOver) await this.#changed() // a long push is under way
    await this.#say(answer)
  }

  #say({ reply, closes }: Answer): Promise<void> | undefined {
    const done = () => {
      if (closes) this.#finish()
      this.#outbox.release()
    }
    const sending = reply && this.#outbox.send(reply)
    if (sending) return sending.finally(done)
    done()
    return undefined
  }

  #replyTo(payload: Buffer): Answer | Promise<Answer> {
    const handling: Handling = { type: 'unknown', isRequest: false, closesOnFault: false, startMs: this.#activeAtMs }
    this.#isHandling = true
    try {
      const bytesPrice = priceOfBytes(payload.length)
      this.lane.charge(bytesPrice)
      const outcome = this.lane.begin(() => {
        const parsed = parseRequest(payload)
        handling.type = parsed.ok ? parsed.request.type : (parsed.type ?? 'unknown')
        handling.isRequest = parsed.ok
        if (parsed.ok) return this.#begin(parsed.request, bytesPrice)
        handling.closesOnFault = parsed.closes
        throw new PeerFault(parsed.code, parsed.message)
      })
      if (!(outcome instanceof Promise)) return this.#handled(handling, outcome)
      return outcome.then(
        (late) => this.#handled(handling, late),
        (error) => this.#failed(handling, error),
      )
    } catch (error) {
      return this.#failed(handling, error)
    }
  }

  #handled(handling: Handling, outcome: Outcome): Answer {
    this.#noteHandled(handling)
    const came = outcome === 'nothing' ? 'ignored' : outcome === 'close' ? 'closed' : 'ok'
    this.#world.count(handling.type, came)
    const { log } = this.#world
    if (log.isLevelEnabled('debug')) {
      const bytes = typeof outcome === 'object' ? outcome.send.length : 0
      const tookMs = Math.round(10 * (this.#activeAtMs - handling.startMs)) / 10
      log.debug({ kind: handling.type, ...this.#who(), outcome: came, bytes, tookMs }, 'request answered')
    }
    return typeof outcome === 'object' ? { reply: outcome.send, closes: false } : { closes: outcome === 'close' }
  }

  #failed(handling: Handling, error: unknown): Answer {
    this.#noteHandled(handling)
    const { log, count, signal } = this.#world
    const { type, closesOnFault } = handling
    if (error instanceof PeerFault) {
      return { reply: this.#refusal(type, error.code, error.message), closes: closesOnFault }
    }
    if (isAbort(error, signal)) {
      count(type, 'closed')
      return { closes: true }
    }
    if (this.#gone.signal.aborted || (this.#isStopping && this.#isOver)) {
      // Its client has gone, or a stop could wait no longer: what it worked with is closed.
      log.debug({ err: error, request: type }, 'a request was cut off')
      return { closes: true }
    }
    log.error({ err: error, request: type }, 'a request failed')
    const message = 'this tracker failed to answer; its log says why'
    return { reply: this.#refusal(type, 'internal', message), closes: true }
  }

  #noteHandled({ type, isRequest, startMs }: Handling): void {
    this.#isHandling = false
    this.#activeAtMs = this.#world.clock.monotonicMs()
    if (isRequest) this.#world.onHandled(type as Request['type'], this.#activeAtMs - startMs)
  }

  /** Charges what the request costs, and has it answered: at once, or when there is room for one so large. */
  #begin(request: Request, paid: number): Promise<Outcome> | Outcome {
    const { handle } = this.#world
    const price = priceOf(request)
    this.lane.charge(Math.max(0, price - paid))
    return price > WORK_LIMITS.largeUnits ? this.lane.large(async () => handle(request, this)) : handle(request, this)
  }

  /** An Error, counted. */
  #refusal(kind: Request['type'] | 'unknown', code: WireErrorCode, message: string): Buffer {
    this.#world.count(kind, code)
    const { log } = this.#world
    if (log.isLevelEnabled('debug')) log.debug({ kind, ...this.#who(), code, detail: message }, 'request refused')
    return encodeError(code, message)
  }

  /** Whom the log names: its number, and its circuit where Tor tells it. */
  #who(): { client: number; circuit?: string } {
    const { circuit } = this.#inbox
    return circuit === undefined ? { client: this.id } : { client: this.id, circuit }
  }

  /** What came is no request. In the middle of a long push there is no place for an Error: then the end must do. */
  #refuse(code: WireErrorCode, message: string): void {
    const refusal = this.#refusal('unknown', code, message)
    if (!this.#outbox.isSending) void this.#outbox.send(refusal) // shorter than a piece: written at once
    this.#finish()
  }

  /** Some of what waited has been taken, or a long payload is with the socket. */
  #onMoved(): void {
    const nowMs = this.#world.clock.monotonicMs()
    this.#activeAtMs = nowMs
    if (this.#lingerSinceMs !== undefined) this.#lingerSinceMs = nowMs
    this.#wake()
  }

  /** Says no more than what is already written, and reads only to throw away. */
  #finish(): void {
    this.#isOver = true
    this.#outbox.close()
    if (this.#isStopping) this.#socket.destroySoon()
    else if (this.#lingerSinceMs === undefined) {
      this.#lingerSinceMs = this.#world.clock.monotonicMs()
      this.#socket.resume().end()
    }
    this.#wake()
  }

  /** Resolves at the next event. */
  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    if (this.#waiting.length > 0) for (const resolve of this.#waiting.splice(0)) resolve()
    this.#converse()
  }
}
