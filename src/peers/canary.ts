/**
 * The canary: our own onion service, asked as a stranger would: its descriptor fetched afresh from a directory, where the
 * control port allows that, then a new circuit, and an answer that must be this process's. It answers as long as our Tor
 * can build circuits, find descriptors and carry streams; while it does not, a maker's silence may be our own, and nobody
 * is judged.
 *
 * A failed probe counts only if the canary was green before it began, is green again in a run begun after it ended, and
 * nothing went wrong in between: then our Tor worked the whole time.
 */
import { Bell } from '../concurrency.ts'
import { describeError, isAbort, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import { type HostPort, isOnionHost, type TorPort } from '../tor/address.ts'
import { type DescriptorLook, isOfSomebodyElse } from '../tor/descriptor.ts'
import type { RedRun } from '../tor/healing.ts'
import { dial, ProxyUnreached } from '../tor/socks.ts'
import { ask } from '../wire/client.ts'
import type { ReplyOf } from '../wire/messages.ts'
import type { Clock, World } from '../world.ts'

export type CanaryState =
  /** Not answered yet since the start, or since the service was lost. */
  | { kind: 'untried'; detail: string }
  | { kind: 'green'; detail: string; latencyMs: number }
  | { kind: 'red'; detail: string }
  /** Another process answers under our address, or has published a newer descriptor of it. */
  | { kind: 'impostor'; detail: string }

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
  /** It leads to this very process; else another tracker of the operator's answers there, and nobody is an impostor. */
  isOurs: () => boolean
  /** Fetches its descriptor afresh; undefined where there is no control port to do it by. */
  look: ((onionHost: string, signal: AbortSignal) => Promise<DescriptorLook>) | undefined
  /** What this process says of itself in its Status. */
  instance: Uint8Array
  /** Called with every new state. */
  report: (state: CanaryState) => void
  /** Called after a run that was not green for a reason of the service's, not of our way out. */
  unreached: (why: RedRun) => void
}

const LIMITS = {
  /** Whoever can't reach us is known of within minutes, however rarely makers are probed. */
  everyMsMax: 120_000,
}

/** Its times, as parts of the interval at which makers are probed: at 10 minutes every 2, in trouble every 15 s. */
export function canaryTimes(intervalMs: number): Pick<CanaryOptions, 'everyMs' | 'gapMs' | 'retryMs'> {
  const everyMs = Math.min(intervalMs / 5, LIMITS.everyMsMax)
  return { everyMs, gapMs: everyMs / 2, retryMs: everyMs / 8 }
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
  /** Of the last run that was green: its descriptor is ours. */
  #proof: DescriptorLook | undefined
  /** Runs in a row that met silence. */
  #redRuns = 0
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
    const address = this.#options.target()
    if (!address) {
      this.#redRuns = 0
      this.lost('our onion service is not published')
      return false
    }
    const faults = this.#faults
    const isOurs = this.#options.isOurs()
    const look = await this.#look(address, signal)
    const startMs = this.#clock.monotonicMs()
    const failure = look.kind === 'missing' ? missing(look) : await this.#ask(address, isOurs, signal)
    if (isOurs !== this.#options.isOurs()) return false // it changed hands meanwhile
    if (failure) {
      this.#fail(failure, look, isOurs)
      return false
    }
    if (faults !== this.#faults) return false // lost meanwhile
    this.#redRuns = 0
    this.#proof = isOurs ? look : undefined
    const latencyMs = Math.round(this.#clock.monotonicMs() - startMs)
    if (this.#state.kind !== 'green') this.#log.info({ latencyMs }, 'canary green')
    else this.#log.debug({ latencyMs, descriptor: look.kind }, 'canary is green as before')
    this.#become({ kind: 'green', detail: `our own onion service answers through Tor${howSeen(look)}`, latencyMs })
    return true
  }

  async #look({ host }: HostPort, signal: AbortSignal): Promise<DescriptorLook> {
    const { look } = this.#options
    if (!look || !isOnionHost(host)) return { kind: 'unseen', detail: 'no --control-port is given' }
    return await look(host, signal)
  }

  /** Undefined when this process has answered. */
  async #ask(address: HostPort, isOurs: boolean, signal: AbortSignal): Promise<Failure | undefined> {
    const { socks, timeoutMs, instance } = this.#options
    try {
      const socket = await dial(address, { socks, timeoutMs, signal })
      try {
        const reply = await ask(socket, { type: 'Status' }, { timeoutMs: timeoutMs / 2, signal })
        // Too busy for it, says whoever it is: that is no sign of another process.
        if (reply.type === 'Error')
          return { kind: 'no-way', detail: `our own onion service answers ${refusalOf(reply)}` }
        if (reply.type !== 'Status') return { kind: 'impostor', detail: `it answers ${reply.type} to Status` }
        if (!isOurs) return undefined
        if (reply.instance && Buffer.compare(reply.instance, instance) === 0) return undefined
        return { kind: 'impostor', detail: `it is version ${printable(reply.version, 20)} at block ${reply.height}` }
      } finally {
        socket.destroy()
      }
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
      const kind = error instanceof ProxyUnreached ? 'no-way' : 'silent'
      return { kind, detail: `our own onion service does not answer through Tor: ${describeError(error)}` }
    }
  }

  #fail({ kind, detail }: Failure, look: DescriptorLook, isOurs: boolean): void {
    this.#faults++
    const isReplaced = isOurs && kind === 'silent' && isOfSomebodyElse(look, this.#proof)
    if (kind === 'impostor') this.#tellElsewhere(answered(detail))
    else if (isReplaced) this.#tellElsewhere(replaced(detail))
    else {
      if (this.#state.kind !== 'red') this.#log.warn({ detail }, 'canary red')
      else this.#log.debug({ detail }, 'canary is red as before')
      this.#become({ kind: 'red', detail })
    }
    this.#redRuns = kind === 'silent' ? this.#redRuns + 1 : 0
    if (kind === 'silent' && isOurs) this.#options.unreached({ runs: this.#redRuns, isReplaced, detail })
  }

  #tellElsewhere(detail: string): void {
    if (this.#state.kind !== 'impostor') this.#log.error({ detail }, 'our onion key is published elsewhere')
    this.#become({ kind: 'impostor', detail })
  }
}

function refusalOf({ code, message }: ReplyOf<'Error'>): string {
  return `Error{${printable(code, 20)}}: ${printable(message, 120)}`
}

function answered(by: string): string {
  return `another process answers under our onion address (${by}): it has a copy of onion.key, and takers reach it instead of us. Stop the other one, or give one of the two a key of its own (remove its onion.key)`
}

function replaced(detail: string): string {
  return `${detail}. The descriptor that others find is not ours but a newer one: another process has published our onion.key and is gone, or this machine's clock was set back. See that no other one has a copy of onion.key`
}

interface Failure {
  /** `no-way`: nothing that publishing again could mend: our SOCKS port, directories that are silent, a busy service. */
  kind: 'silent' | 'no-way' | 'impostor'
  detail: string
}

function missing({ isDenied, detail }: Extract<DescriptorLook, { kind: 'missing' }>): Failure {
  const text = `our own onion service is not found: of the directories (HSDirs) that Tor asked none has given its descriptor (${detail}). Others may not find it either; is Tor's network well? sudo journalctl -u tor@default -n 50`
  return { kind: isDenied ? 'silent' : 'no-way', detail: text }
}

function howSeen(look: DescriptorLook): string {
  if (look.kind === 'fetched') return ', by a descriptor fetched afresh'
  if (look.kind === 'forgotten') return ', by a descriptor fetched afresh after SIGNAL NEWNYM'
  return `; by the descriptor that our own Tor has kept, as none can be fetched afresh: ${look.detail}`
}
