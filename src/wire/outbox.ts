/**
 * What is said to one client: the replies to its requests, and pushes between them. A reply longer than a piece is handed
 * to the socket piece by piece, as the client takes it. Each push is made when its turn comes, in the fair order of
 * `work.ts`: what a stranger is subscribed to holds up nobody else's news.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../world.ts'
import type { Backlog, Unsent } from './backlog.ts'
import { frameHead } from './frame.ts'
import type { WireLimits } from './limits.ts'
import { priceOfBytes } from './prices.ts'
import type { Lane } from './work.ts'

export interface OutboxWorld {
  limits: Pick<WireLimits, 'unsentBytesMax'>
  clock: Clock
  /** Of all clients. */
  backlog: Backlog
  /** Who the client is to the accounting. */
  lane: () => Lane
  /** The client is cut off: others need the room that its reply takes. */
  onCut: () => void
  /** A push went out. */
  onPushed: () => void
  /** Some of what waited has been taken, or a long payload has been handed over. */
  onMoved: () => void
}

export class Outbox {
  readonly #socket: Socket
  readonly #world: OutboxWorld
  /** What is to be said unasked, in the order it came up. */
  readonly #pushes = new Map<string, () => Buffer | undefined>()
  #isPushing = false
  /** A request is being answered: nothing is pushed before its reply. */
  #isHeld = false
  /** Pieces of a payload are still to be handed over. */
  #isSending = false
  #isClosed = false
  #unsentSinceMs: number | undefined
  readonly #waiting: (() => void)[] = []

  constructor(socket: Socket, world: OutboxWorld) {
    this.#socket = socket
    this.#world = world
  }

  get isSending(): boolean {
    return this.#isSending
  }

  /** The client leaves so much unread that it is told, and asked, nothing more. */
  get isFull(): boolean {
    return this.#socket.writableLength > this.#world.limits.unsentBytesMax
  }

  /** Since when the client has taken nothing of what waits for it; undefined when nothing waits. */
  get unsentSinceMs(): number | undefined {
    return this.#unsentSinceMs
  }

  /** Says nothing more: what is already with the socket still goes out. */
  close(): void {
    this.#isClosed = true
    this.#pushes.clear()
    this.#wake()
  }

  /** Keeps pushes back while a request is being answered. */
  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    if (this.#pushes.size > 0) void this.#sayPushes()
  }

  push(key: string, encode: () => Buffer | undefined): void {
    if (this.#isClosed) return
    this.#pushes.set(key, encode)
    void this.#sayPushes()
  }

  unpush(key: string): void {
    this.#pushes.delete(key)
  }

  /** Says what waits, one after the other, as long as the client takes it. */
  async #sayPushes(): Promise<void> {
    if (this.#isPushing) return
    this.#isPushing = true
    try {
      while (this.#mayPush()) {
        let sent: Promise<void> | undefined
        await this.#world.lane().piece(() => {
          sent = this.#sayNext()
        })
        await sent
      }
    } catch (error) {
      if (!this.#isClosed) throw error // else the client has gone while this waited
    } finally {
      this.#isPushing = false
    }
  }

  #mayPush(): boolean {
    return this.#pushes.size > 0 && !(this.#isClosed || this.#isHeld || this.#isSending || this.isFull)
  }

  /** Made and written in one go: nothing that is told later may go out before it. */
  #sayNext(): Promise<void> | undefined {
    if (!this.#mayPush()) return undefined
    const [next] = this.#pushes
    if (!next) return undefined
    const [key, encode] = next
    this.#pushes.delete(key)
    const payload = encode()
    if (!payload) return undefined
    this.#world.onPushed()
    return this.send(payload)
  }

  /** Hands a payload over. A long one goes piece by piece: resolves when the last is handed over or nobody wants it. */
  send(payload: Buffer): Promise<void> | undefined {
    if (this.#isClosed) return undefined
    const { limits, lane } = this.#world
    const pieceBytes = limits.unsentBytesMax
    lane().charge(priceOfBytes(payload.length))
    this.#socket.cork()
    this.#socket.write(frameHead(payload.length))
    this.#write(payload.length <= pieceBytes ? payload : payload.subarray(0, pieceBytes))
    this.#socket.uncork()
    return payload.length <= pieceBytes ? undefined : this.#sendRest(payload, pieceBytes)
  }

  async #sendRest(payload: Buffer, pieceBytes: number): Promise<void> {
    const { clock, backlog, onCut, onMoved } = this.#world
    this.#isSending = true
    const unsent: Unsent = { payload, takenAtMs: clock.monotonicMs(), cut: onCut }
    backlog.add(unsent)
    for (let at = pieceBytes; at < payload.length; at += pieceBytes) {
      while (this.#socket.writableLength > 0 && !this.#isClosed) await this.#moved()
      if (this.#isClosed) break
      unsent.takenAtMs = clock.monotonicMs()
      this.#write(payload.subarray(at, at + pieceBytes))
    }
    backlog.remove(unsent)
    this.#isSending = false
    onMoved()
  }

  #write(bytes: Buffer): void {
    this.#socket.write(bytes, this.#onTaken)
    if (this.#socket.writableLength > 0) this.#unsentSinceMs ??= this.#world.clock.monotonicMs()
  }

  /** Some of what waited has been taken: the kernel has it. */
  readonly #onTaken = (): void => {
    this.#unsentSinceMs = this.#socket.writableLength > 0 ? this.#world.clock.monotonicMs() : undefined
    this.#wake()
    this.#world.onMoved()
    if (this.#pushes.size > 0) void this.#sayPushes()
  }

  #moved(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    if (this.#waiting.length > 0) for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
