/**
 * One client's connection: bytes → frames → one request at a time → its reply → the next. Whatever the client does
 * costs at most this connection. Knows no other connection, no chain and no bonds.
 *
 * `#converse` is the only one that takes requests and writes replies; it sleeps in `#changed` whenever there is nothing
 * to do. The socket's events and the sweep only change a field and wake it. The socket is paused unless `#converse`
 * waits for bytes, so that the pressure of a client that is over its rate, or that leaves its replies unread, ends up in
 * its own TCP window.
 */
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import { PeerFault, type WireErrorCode } from '../errors.ts'
import type { Clock } from '../world.ts'
import { FrameReader, FrameTooLarge, frameHead } from './frame.ts'
import type { WireLimits } from './limits.ts'
import { encodeError, parseRequest, type Request } from './messages.ts'

/**
 * `send`: a CBOR payload, unframed; the buffer may be shared between connections, and must not change afterwards.
 * `close`: close without a reply. `nothing`: no reply. For an `Error` reply throw a PeerFault; the connection stays open.
 */
export type Outcome = { send: Buffer } | 'close' | 'nothing'
export type Handle = (request: Request) => Promise<Outcome> | Outcome

export interface ConnectionWorld {
  limits: WireLimits
  handle: Handle
  clock: Clock
  log: Logger
  /** `kind`: the request's type, or `unknown`. `outcome`: `ok`, `closed`, `ignored`, or the code of its Error. */
  count(kind: Request['type'] | 'unknown', outcome: 'ok' | 'closed' | 'ignored' | WireErrorCode): void
}

export class Connection {
  /** Settles when no request is taken or answered any more, the socket possibly still saying goodbye. Never rejects. */
  readonly conversation: Promise<void>
  readonly #socket: Socket
  readonly #world: ConnectionWorld
  readonly #frames: FrameReader
  readonly #tokens: TokenBucket
  #wake: () => void = () => {}
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
      return this.#refuse('unknown', 'bad_frame', message, true)
    }
    if (isOverdue(this.#activeAtMs, limits.idleMsMax)) return this.#finish()
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
        this.#refuse('unknown', 'too_large', error.message, true)
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
        if (this.#frames.isMidFrame)
          this.#refuse('unknown', 'bad_frame', 'the bytes end in the middle of a frame', true)
        return undefined
      }
      if (this.#frames.isMidFrame) this.#midFrameSinceMs ??= nowMs
      this.#socket.resume()
    }
    return undefined
  }

  async #answer(payload: Buffer): Promise<void> {
    const { handle, log, count, clock } = this.#world
    const parsed = parseRequest(payload)
    if (!parsed.ok) return this.#refuse(parsed.type ?? 'unknown', parsed.code, parsed.message, parsed.closes)
    const { request } = parsed
    this.#isHandling = true
    let outcome: Outcome
    try {
      outcome = await handle(request)
    } catch (error) {
      if (error instanceof PeerFault) return this.#refuse(request.type, error.code, error.message, false)
      log.error({ err: error, request: request.type }, 'a request failed')
      return this.#refuse(request.type, 'internal', 'this tracker failed to answer; its log says why', true)
    } finally {
      this.#isHandling = false
      this.#activeAtMs = clock.monotonicMs()
    }
    if (outcome === 'nothing') return count(request.type, 'ignored')
    if (outcome === 'close') {
      count(request.type, 'closed')
      return this.#finish()
    }
    count(request.type, 'ok')
    await this.#send(outcome.send)
  }

  #refuse(kind: Request['type'] | 'unknown', code: WireErrorCode, message: string, closes: boolean): void {
    this.#world.count(kind, code)
    this.#world.log.debug({ kind, code, detail: message }, 'request refused')
    void this.#send(encodeError(code, message)) // shorter than a piece: written at once
    if (closes) this.#finish()
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
      if (this.#isOver) return
      this.#write(payload.subarray(at, at + pieceBytes))
    }
    this.#isSending = false
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

  /** Resolves at the next event. Only `#converse` waits here, so one waiter is all there is. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
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
