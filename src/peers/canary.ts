/**
 * The canary: our own onion service, asked through Tor over a fresh circuit. It answers as long as our Tor can build
 * circuits, find descriptors and carry streams; while it does not, a maker's silence may be our own, and nobody is judged.
 *
 * A failed probe counts only if the canary was green before it began, is green again in a run begun after it ended, and
 * nothing went wrong in between: then our Tor worked the whole time.
 */
import { Bell } from '../concurrency.ts'
import { describeError, isAbort, TransientError } from '../errors.ts'
import type { HostPort, TorPort } from '../tor/address.ts'
import { dial } from '../tor/socks.ts'
import { ask } from '../wire/client.ts'
import type { Clock, World } from '../world.ts'

export type CanaryState =
  /** Not answered yet since the start, or since the service was lost. */
  | { kind: 'untried'; detail: string }
  | { kind: 'green'; detail: string; latencyMs: number }
  | { kind: 'red'; detail: string }

/** Our way to the makers: whether it worked while a probe went over it. */
export interface OwnNetwork {
  /** To be called before the probe begins. */
  mark(): number
  /** True when it has worked ever since `mark` gave `mark`; resolves once that is known. */
  workedSince(mark: number, signal: AbortSignal): Promise<boolean>
  /** Somebody has seen that our Tor or our service is away: what fails around now says nothing. */
  lost(detail: string): void
}

/**
 * For direct dials (--no-tor, tests): there is no network of ours between us and the maker that could fail by itself. On
 * one machine a refused connection is the maker's own doing.
 */
export const DIRECT_NETWORK: OwnNetwork = { mark: () => 0, workedSince: async () => true, lost() {} }

export interface CanaryOptions {
  socks: TorPort
  /** For the circuit; half of it for the reply. */
  timeoutMs: number
  /** Between two runs while it is green and nobody asks. */
  everyMs: number
  /** Between two runs at the least: failing makers may not make us build circuits without end. */
  gapMs: number
  /** While it isn't green. */
  retryMs: number
  /** Our onion service; undefined while it isn't published. */
  target: () => HostPort | undefined
  /** Called with every new state. */
  report: (state: CanaryState) => void
}

/** Its times, as parts of the interval at which makers are probed: at 10 minutes every 5, in trouble every 15 s. */
export function canaryTimes(intervalMs: number): Pick<CanaryOptions, 'everyMs' | 'gapMs' | 'retryMs'> {
  return { everyMs: intervalMs / 2, gapMs: intervalMs / 10, retryMs: intervalMs / 40 }
}

const NOT_HEALTHY = -1

export class Canary implements OwnNetwork {
  readonly #options: CanaryOptions
  readonly #clock: Clock
  readonly #log: World['log']
  readonly #bell = new Bell()
  #state: CanaryState = { kind: 'untried', detail: 'our onion service was not asked through Tor yet' }
  /** Counts the times at which our network was found wanting. */
  #faults = 0
  #isWanted = false
  /** One verdict a maker at the most. */
  #waiting: ((isGreen: boolean) => void)[] = []

  constructor(options: CanaryOptions, { clock, log }: Pick<World, 'clock' | 'log'>) {
    this.#options = options
    this.#clock = clock
    this.#log = log
  }

  get state(): CanaryState {
    return this.#state
  }

  mark(): number {
    return this.#state.kind === 'green' ? this.#faults : NOT_HEALTHY
  }

  async workedSince(mark: number, signal: AbortSignal): Promise<boolean> {
    if (mark === NOT_HEALTHY || mark !== this.#faults) return false
    return (await this.#nextRun(signal)) && mark === this.#faults
  }

  /** The service is published (again): see whether it answers. */
  published(): void {
    this.#isWanted = true
    this.#bell.ring()
  }

  lost(detail: string): void {
    this.#faults++
    if (this.#state.kind !== 'green') return
    this.#become({ kind: 'untried', detail })
    this.#bell.ring() // look soon
  }

  #become(state: CanaryState): void {
    this.#state = state
    this.#options.report(state)
  }

  /** Resolves with the outcome of a run that begins from now on. */
  #nextRun(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push((isGreen) => {
        signal.removeEventListener('abort', onAbort)
        resolve(isGreen)
      })
      this.#isWanted = true
      this.#bell.ring()
    })
  }

  /** Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs, gapMs, retryMs } = this.#options
    signal.addEventListener('abort', () => this.#bell.ring(), { once: true })
    let lastMs = Number.NEGATIVE_INFINITY
    for (;;) {
      signal.throwIfAborted()
      const pauseMs = this.#state.kind !== 'green' ? retryMs : this.#isWanted ? gapMs : everyMs
      const leftMs = lastMs + pauseMs - this.#clock.monotonicMs()
      if (leftMs > 0) {
        await this.#bell.wait(leftMs)
        continue
      }
      this.#isWanted = false
      const waiting = this.#waiting.splice(0)
      const isGreen = await this.#runOnce(signal)
      lastMs = this.#clock.monotonicMs()
      for (const tell of waiting) tell(isGreen)
    }
  }

  async #runOnce(signal: AbortSignal): Promise<boolean> {
    const { socks, timeoutMs, target } = this.#options
    const address = target()
    if (!address) {
      this.lost('our onion service is not published')
      return false
    }
    const startMs = this.#clock.monotonicMs()
    const faults = this.#faults
    try {
      const socket = await dial(address, { socks, timeoutMs, signal })
      try {
        const reply = await ask(socket, { type: 'Status' }, { timeoutMs: timeoutMs / 2, signal })
        if (reply.type !== 'Status') throw new TransientError(`it answered ${reply.type}`)
      } finally {
        socket.destroy()
      }
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
      const detail = `our own onion service does not answer through Tor: ${describeError(error)}`
      if (this.#state.kind !== 'red') this.#log.warn({ detail }, 'canary red')
      this.#faults++
      this.#become({ kind: 'red', detail })
      return false
    }
    if (faults !== this.#faults) return false // lost meanwhile
    const latencyMs = Math.round(this.#clock.monotonicMs() - startMs)
    if (this.#state.kind !== 'green') this.#log.info({ latencyMs }, 'canary green')
    this.#become({ kind: 'green', detail: 'our own onion service answers through Tor', latencyMs })
    return true
  }
}
