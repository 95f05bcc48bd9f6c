/**
 * One stretch of holding the lease of the onion address, and the connections to Tor's control port that end with it. The
 * holder's right is judged by its own monotonic clock alone: from before it asked for the lease, which is before the store
 * began to count, and with a margin. So it has withdrawn before anybody else may take the lease.
 */
import { ScopedAbort } from '../concurrency.ts'
import { TransientError } from '../errors.ts'
import { after, type Clock, machineMs } from '../world.ts'
import type { TorPort } from './address.ts'
import type { ControlLine } from './control.ts'
import { Fuse } from './fuse.ts'

/** Milliseconds. */
export interface LeaseTimes {
  /** For how long the lease is taken each time, by the store's clock. */
  lengthMs: number
  /** The holder withdraws so long before: for Tor to see it, and for two clocks that don't run alike. */
  marginMs: number
}

/** Until when who asked at `askedMs` may act on a yes, on the same clock. */
export function rightUntilMs(askedMs: number, { lengthMs, marginMs }: LeaseTimes): number {
  return askedMs + lengthMs - marginMs
}

/** Why a tenure is over. `mayGiveBack`: the lease is still ours. */
export class TenureEnd extends Error {
  override readonly name = 'TenureEnd'
  readonly mayGiveBack: boolean
  constructor(message: string, { mayGiveBack }: { mayGiveBack: boolean }) {
    super(message)
    this.mayGiveBack = mayGiveBack
  }
}

export class Tenure implements AsyncDisposable {
  readonly #clock: Clock
  readonly #life: ScopedAbort
  readonly #fuses = new Set<Fuse>()
  #untilMs: number
  #disarm: () => void

  /** `untilMs`: on the monotonic clock. Over when `parent` fires, too. */
  constructor(untilMs: number, clock: Clock, parent: AbortSignal) {
    this.#clock = clock
    this.#life = new ScopedAbort(parent)
    this.#untilMs = untilMs
    this.#disarm = after(untilMs - clock.monotonicMs(), () => this.#look())
  }

  /** Fires when it is over, with TenureEnd or the parent's reason. */
  get signal(): AbortSignal {
    return this.#life.signal
  }

  /** The lease was renewed. Without effect once the tenure is over: what comes after a freeze comes too late. */
  extend(untilMs: number): void {
    this.#look()
    if (this.signal.aborted || untilMs <= this.#untilMs) return
    this.#untilMs = untilMs
    this.#disarm()
    this.#look()
    const machineUntilMs = this.#machineUntilMs()
    for (const fuse of this.#fuses) fuse.renew(machineUntilMs)
  }

  end(why: TenureEnd): void {
    this.#life.abort(why)
  }

  /** A connection to Tor that is cut when the tenure is over. For `ControlOptions`. */
  async openLine(control: TorPort, signal: AbortSignal): Promise<ControlLine> {
    this.#look()
    if (this.signal.aborted) throw new TransientError('the lease is over')
    const fuse = new Fuse()
    this.#fuses.add(fuse)
    void fuse.ended.then(() => this.#fuses.delete(fuse))
    try {
      return await fuse.open(control, this.#machineUntilMs(), signal)
    } catch (error) {
      await fuse[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Ends it: every connection is closed when this resolves. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disarm()
    this.end(new TenureEnd('over', { mayGiveBack: true }))
    this.#life[Symbol.dispose]()
    await Promise.all([...this.#fuses].map((fuse) => fuse[Symbol.asyncDispose]()))
  }

  #look(): void {
    if (this.signal.aborted) return
    this.#disarm()
    const leftMs = this.#untilMs - this.#clock.monotonicMs()
    if (leftMs <= 0) this.end(new TenureEnd('the lease was not renewed in time', { mayGiveBack: false }))
    else this.#disarm = after(leftMs, () => this.#look())
  }

  /** The end on the clock of the machine. That clock is read first: if we are frozen in between, the end is earlier. */
  #machineUntilMs(): number {
    const nowMs = machineMs()
    return nowMs + this.#untilMs - this.#clock.monotonicMs()
  }
}
