/**
 * One client's connection: bytes → frames → one request at a time → its reply → the next. Whatever the client does
 * costs at most this connection. Knows no other connection, no chain and no bonds.
 *
 * `#converse` is the only one that takes requests and writes replies; pushes go out between them. Whoever has nothing to
 * do sleeps in `#changed`. The socket's events and the sweep only change a field and wake it. The socket is paused unless `#converse`
 * waits for bytes, so that the pressure of a client that is over its rate, or that leaves its replies unread, ends up in
 * its own TCP window.
 */
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isAbort, PeerFault, type WireErrorCode } from '../errors.ts'
import type { Clock } from '../world.ts'
import { FrameReader, FrameTooLarge, frameHead } from './frame.ts'
import type { WireLimits } from './limits.ts'
import { encodeError, parseRequest, type Request } from './messages.ts'

/**
 * `send`: a CBOR payload, unframed; the buffer may be shared between connections, and must not change afterwards.
 * `close`: close without a reply. `nothing`: no reply. For an `Error` reply throw a PeerFault; the connection stays open.
 */
export type Outcome = { send: Buffer } | 'close' | 'nothing'
export type Handle = (request: Request, peer: Peer) => Promise<Outcome> | Outcome

/** The client, for what it is told unasked. */
export interface Peer {
  /**
   * Says what `encode` gives, a CBOR payload, between two replies, and not before the reply to a request that is being
   * answered. One that still waits under the same key is replaced; `encode` is called when its turn comes, and nothing is
   * said when it gives undefined.
   */
  push(key: string, encode: () => Buffer | undefined): void
  /** Takes back what waits under `key`. */
  unpush(key: string): void
  /** A client with subscriptions is not idle. */
  isSubscribed: boolean
  /** Called once, when the connection has ended; at once if it has. */
  onEnd(listener: () => void): void
}

export interface ConnectionWorld {
  limits: WireLimits
  handle: Handle
  clock: Clock
  log: Logger
  /** Fires when the daemon stops: requests that wait for something are given up. */
  signal: AbortSignal
  /** A request was handled in so many milliseconds, whatever came of it. */
  onHandled(kind: Request['type'], tookMs: number): void
  /** `kind`: the request's type, or `unknown`. `outcome`: `ok`, `closed`, `ignored`, `pushed`, or the code of its Error. */
  count(kind: Request['type'] | 'unknown', outcome: 'ok' | 'closed' | 'ignored' | 'pushed' | WireErrorCode): void
}

export class Connection implements Peer {
  /** Settles when no request is taken or answered any more, the socket possibly still saying goodbye. Never rejects. */
  readonly conversation: Promise<void>
  readonly #socket: Socket
  readonly #world: ConnectionWorld
  readonly #frames: FrameReader
  readonly #tokens: TokenBucket
  isSubscribed = false
  #waiting: (() => void)[] = []
  /** What is to be said unasked, in the order it came up. */
  readonly #pushes = new Map<string, () => Buffer | undefined>()
  readonly #endListeners: (() => void)[] = []
  #hasEnded = false
  /** A request is being answered: from its handler to the last piece of its reply. */
  #isAnswering = false
  /** The handler has a request of ours. */
  #isHandling = false
  /** Pieces of a reply are still to be handed over. */
  #isSending = false
  /** The client has said all it will say; it may still be listening. */
  #isHalfClosed = false
  /** Nothing is answered any more. */
  #isOver = false
  #isStopping = false
  /** No whole request has come yet. */
  #isSilent = true
  /** Last time a whole request came, a reply was made or some of it was taken; until then, when the connection came. */
  #activeAtMs: number
  /** Since when we wait for the rest of a frame. */
  #midFrameSinceMs: number | undefined
  /** Since when the client has taken nothing of what waits for it. */
  #unsentSinceMs: number | undefined
  /** Since when our last word is out. */
  #lingerSinceMs: number | undefined

  constructor(socket: Socket, world: ConnectionWorld) {
    this.#socket = socket
    this.#world = world
    this.#frames = new FrameReader(world.limits.frameBytesMax)
    this.#activeAtMs = world.clock.monotonicMs()
    this.#tokens = new TokenBucket(world.limits, this.#activeAtMs)
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
      socket.pause()
      this.#frames.push(chunk)
      this.#wake()
    })
    this.conversation = this.#converse().catch((error) => {
      world.log.error({ err: error }, 'a connection failed')
      this.destroy()
    })
  }

  /** True while a request is being answered: not the moment to give the slot to somebody else. */
  get isHandling(): boolean {
    return this.#isHandling
  }

  /** True until its first whole request. */
  get isSilent(): boolean {
    return this.#isSilent
  }

  push(key: string, encode: () => Buffer | undefined): void {
    if (this.#isOver) return
    this.#pushes.set(key, encode)
    void this.#sayPushes()
  }

  unpush(key: string): void {
    this.#pushes.delete(key)
  }

  onEnd(listener: () => void): void {
    if (this.#hasEnded) listener()
    else this.#endListeners.push(listener)
  }

  #end(): void {
    this.#hasEnded = true
    this.#pushes.clear()
    for (const listener of this.#endListeners.splice(0)) listener()
  }

  isIdlerThan(other: Connection): boolean {
    return this.#activeAtMs < other.#activeAtMs
  }

  destroy(): void {
    this.#isOver = true
    this.#socket.destroy()
    this.#wake()
  }

  /** Ends the conversation: now, or when the reply on its way is out. */
  stop(): void {
    this.#isStopping = true
    if (!this.#isHandling && !this.#isSending) this.#finish()
  }

  /** Looks after all deadlines, and wakes whoever waits for tokens. */
  sweep(): void {
    const { limits, clock } = this.#world
    const nowMs = clock.monotonicMs()
    const isOverdue = (sinceMs: number | undefined, maxMs: number) => sinceMs !== undefined && nowMs - sinceMs > maxMs
    if (isOverdue(this.#unsentSinceMs, limits.unsentMsMax)) return this.destroy()
    if (this.#unsentSinceMs !== undefined || this.#isHandling) return
    if (isOverdue(this.#lingerSinceMs, limits.lingerMsMax)) return this.destroy()
    if (this.#isOver) return
    if (isOverdue(this.#midFrameSinceMs, limits.frameMsMax)) {
      const message = `a frame begun must be finished within ${limits.frameMsMax / 1000} s`
      return this.#refuse('bad_frame', message)
    }
    const idleMsMax = this.isSubscribed ? limits.subscribedIdleMsMax : limits.idleMsMax
    if (isOverdue(this.#activeAtMs, idleMsMax)) return this.#finish()
    this.#wake()
  }

  async #converse(): Promise<void> {
    for (;;) {
      const payload = await this.#nextPayload()
      if (payload === undefined) return this.#finish()
      await this.#answer(payload)
      // A turn of its own: who pipelines a thousand requests must not keep the others waiting.
      await nextTurn()
    }
  }

  /** The next frame's payload once the client may be answered; undefined when there will be none. */
  async #nextPayload(): Promise<Buffer | undefined> {
    const { limits, clock } = this.#world
    for (; !this.#isOver && !this.#isStopping; await this.#changed()) {
      const nowMs = clock.monotonicMs()
      const mayAnswer = this.#socket.writableLength <= limits.unsentBytesMax && this.#tokens.has(nowMs)
      if (!mayAnswer) continue
      let payload: Buffer | undefined
      try {
        payload = this.#frames.next()
      } catch (error) {
        if (!(error instanceof FrameTooLarge)) throw error
        this.#refuse('too_large', error.message)
        return undefined
      }
      if (payload) {
        this.#tokens.take()
        this.#midFrameSinceMs = undefined
        this.#isSilent = false
        this.#activeAtMs = nowMs
        return payload
      }
      if (this.#isHalfClosed) {
        if (this.#frames.isMidFrame) this.#refuse('bad_frame', 'the bytes end in the middle of a frame')
        return undefined
      }
      if (this.#frames.isMidFrame) this.#midFrameSinceMs ??= nowMs
      this.#socket.resume()
    }
    return undefined
  }

  async #answer(payload: Buffer): Promise<void> {
    this.#isAnswering = true
    try {
      const { reply, closes } = await this.#replyTo(payload)
      while (this.#isSending && !this.#isOver) await this.#changed() // a long push is under way
      if (reply) await this.#send(reply)
      if (closes) this.#finish()
    } finally {
      this.#isAnswering = false
    }
    void this.#sayPushes()
  }

  async #replyTo(payload: Buffer): Promise<{ reply?: Buffer; closes: boolean }> {
    const { handle, log, count, clock, signal, onHandled } = this.#world
    const parsed = parseRequest(payload)
    if (!parsed.ok) {
      return { reply: this.#refusal(parsed.type ?? 'unknown', parsed.code, parsed.message), closes: parsed.closes }
    }
    const { request } = parsed
    this.#isHandling = true
    const startMs = clock.monotonicMs()
    let outcome: Outcome
    try {
      outcome = await handle(request, this)
    } catch (error) {
      if (error instanceof PeerFault) {
        return { reply: this.#refusal(request.type, error.code, error.message), closes: false }
      }
      if (isAbort(error, signal)) {
        count(request.type, 'closed')
        return { closes: true }
      }
      if (this.#isStopping && this.#isOver) {
        // Cut off by a stop that could wait no longer: what it worked with is closed.
        log.debug({ err: error, request: request.type }, 'a request was cut off')
        return { closes: true }
      }
      log.error({ err: error, request: request.type }, 'a request failed')
      const message = 'this tracker failed to answer; its log says why'
      return { reply: this.#refusal(request.type, 'internal', message), closes: true }
    } finally {
      this.#isHandling = false
      this.#activeAtMs = clock.monotonicMs()
      onHandled(request.type, this.#activeAtMs - startMs)
    }
    count(request.type, outcome === 'nothing' ? 'ignored' : outcome === 'close' ? 'closed' : 'ok')
    return typeof outcome === 'object' ? { reply: outcome.send, closes: false } : { closes: outcome === 'close' }
  }

  /** Says what waits, one after the other, as long as the client takes it. */
  async #sayPushes(): Promise<void> {
    const { limits, count } = this.#world
    for (;;) {
      if (this.#isAnswering || this.#isSending || this.#isOver) return
      if (this.#socket.writableLength > limits.unsentBytesMax) return
      const [next] = this.#pushes
      if (!next) return
      this.#pushes.delete(next[0])
      const payload = next[1]()
      if (!payload) continue
      count('Subscribe', 'pushed')
      await this.#send(payload)
    }
  }

  /** An Error, counted. */
  #refusal(kind: Request['type'] | 'unknown', code: WireErrorCode, message: string): Buffer {
    this.#world.count(kind, code)
    this.#world.log.debug({ kind, code, detail: message }, 'request refused')
    return encodeError(code, message)
  }

  /** What came is no request. In the middle of a long push there is no place for an Error: then the end must do. */
  #refuse(code: WireErrorCode, message: string): void {
    const refusal = this.#refusal('unknown', code, message)
    if (!this.#isSending) void this.#send(refusal) // shorter than a piece: written at once
    this.#finish()
  }

  /** Hands a reply to the socket piece by piece; resolves when the last piece is handed over or nobody wants it. */
  async #send(payload: Buffer): Promise<void> {
    const pieceBytes = this.#world.limits.unsentBytesMax
    if (this.#isOver) return
    this.#socket.cork()
    this.#write(frameHead(payload.length))
    this.#write(payload.subarray(0, pieceBytes))
    this.#socket.uncork()
    this.#isSending = true
    for (let at = pieceBytes; at < payload.length; at += pieceBytes) {
      while (this.#socket.writableLength > 0 && !this.#isOver) await this.#changed()
      if (this.#isOver) break
      this.#write(payload.subarray(at, at + pieceBytes))
    }
    this.#isSending = false
    this.#wake()
  }

  #write(bytes: Buffer): void {
    this.#socket.write(bytes, () => this.#onTaken())
    if (this.#socket.writableLength > 0) this.#unsentSinceMs ??= this.#world.clock.monotonicMs()
  }

  /** Some of what waited has been taken: the kernel has it. */
  #onTaken(): void {
    const nowMs = this.#world.clock.monotonicMs()
    this.#activeAtMs = nowMs
    this.#unsentSinceMs = this.#socket.writableLength > 0 ? nowMs : undefined
    if (this.#lingerSinceMs !== undefined) this.#lingerSinceMs = nowMs
    this.#wake()
    void this.#sayPushes()
  }

  /** Says no more than what is already written, and reads only to throw away. */
  #finish(): void {
    this.#isOver = true
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
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** Allows `requestsBurst` at once and `requestsPerS` in the long run. */
class TokenBucket {
  readonly #limits: WireLimits
  #tokens: number
  #filledAtMs: number

  constructor(limits: WireLimits, nowMs: number) {
    this.#limits = limits
    this.#tokens = limits.requestsBurst
    this.#filledAtMs = nowMs
  }

  has(nowMs: number): boolean {
    const gained = ((nowMs - this.#filledAtMs) / 1000) * this.#limits.requestsPerS
    this.#tokens = Math.min(this.#limits.requestsBurst, this.#tokens + gained)
    this.#filledAtMs = nowMs
    return this.#tokens >= 1
  }

  take(): void {
    this.#tokens--
  }
}
