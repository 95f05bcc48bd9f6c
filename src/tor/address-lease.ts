/**
 * The lease of the onion address: of several trackers with one onion.key, who holds it publishes the address, and nobody
 * else. This is the loop that takes it, renews it, gives it back while this tracker isn't fit to serve, and takes over as
 * soon as it is free. What is published meanwhile is somebody else's matter (`hold`).
 */
import { raceAbort, runAll } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import type { Leases } from '../store/shared/leases.ts'
import { sleep, type World } from '../world.ts'
import { type LeaseTimes, rightUntilMs, Tenure, TenureEnd } from './tenure.ts'

/** Its name in the store: trackers with other keys have other addresses, and leases of their own. */
const leaseOf = (onionHost: string) => `onion-address ${onionHost}`

const LIMITS = {
  /** A holder that dies is missed for so long at the most. */
  lengthMs: 2_500,
  /** Tor sees a closed connection within milliseconds; a busy machine takes longer. */
  marginMs: 400,
  /** A quarter of the length: a store that takes a second for every answer costs nobody the lease. */
  renewMs: 600,
  /** A standby asks as often as this, by chance up to twice: so long the address is free before it is taken. */
  standbyMs: 200,
  /** While the store can't be asked: it has other worries. */
  retryMs: 400,
  /** A holder that isn't fit keeps the address so long: bitcoind may only be restarting. */
  unfitMs: 1_500,
  /** For giving it back when we stop: a store that is away must not keep us. */
  dropMs: 1_000,
}

export const LEASE_TIMES: AddressLeaseTimes = LIMITS

/** As LIMITS has them; shorter in tests. */
export type AddressLeaseTimes = LeaseTimes & Record<'renewMs' | 'standbyMs' | 'retryMs' | 'unfitMs' | 'dropMs', number>

export type LeaseState =
  | { kind: 'holder' }
  /** `isHeld`: another tracker has it, for all that is known. */
  | { kind: 'standby'; isHeld: boolean; why: string }

export const HELD_BY_ANOTHER = 'held by another tracker'

interface AddressLeaseDeps extends World {
  onionHost: string
  leases: Leases
  /** Why this tracker must not hold the address just now; undefined when it may. Not for want of being published. */
  unfit: () => string | undefined
  /** Called on every change. */
  report: (state: LeaseState) => void
}

export class AddressLease {
  readonly #deps: AddressLeaseDeps
  readonly #times: AddressLeaseTimes
  readonly #name: string
  #said = ''
  /** The store's last fault, so that it is told once. */
  #fault: string | undefined

  constructor(deps: AddressLeaseDeps, times: AddressLeaseTimes = LEASE_TIMES) {
    this.#deps = deps
    this.#times = times
    this.#name = leaseOf(deps.onionHost)
  }

  /** Runs until the signal. `hold` runs as long as a tenure, and ends soon after its signal; what it throws is thrown. */
  async run(hold: (tenure: Tenure) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      const askedMs = await this.#obtain(signal)
      const why = await this.#hold(askedMs, hold, signal)
      this.#become({ kind: 'standby', isHeld: false, why: why.message })
      if (why.mayGiveBack) await this.#giveBack()
      signal.throwIfAborted()
    }
  }

  /** Resolves once the lease is ours, with the moment at which it was asked for. */
  async #obtain(signal: AbortSignal): Promise<number> {
    const { leases, unfit, clock, random } = this.#deps
    const { lengthMs, standbyMs, retryMs } = this.#times
    for (;;) {
      const why = unfit()
      let pauseMs = standbyMs
      if (why !== undefined) this.#become({ kind: 'standby', isHeld: false, why })
      else {
        try {
          const askedMs = clock.monotonicMs()
          const isOurs = await raceAbort(leases.take(this.#name, lengthMs), signal)
          this.#noteAnswer()
          if (isOurs && clock.monotonicMs() < rightUntilMs(askedMs, this.#times)) return askedMs
          this.#become({ kind: 'standby', isHeld: !isOurs, why: isOurs ? 'the store is too slow' : HELD_BY_ANOTHER })
        } catch (error) {
          this.#become({ kind: 'standby', isHeld: false, why: this.#noteFault(error) })
          pauseMs = retryMs
        }
      }
      await sleep(pauseMs * (1 + random()), signal)
    }
  }

  /** From then on until the tenure is over and all that was published in it is closed. */
  async #hold(askedMs: number, hold: (tenure: Tenure) => Promise<void>, signal: AbortSignal): Promise<TenureEnd> {
    await using tenure = new Tenure(rightUntilMs(askedMs, this.#times), this.#deps.clock, signal)
    this.#become({ kind: 'holder' })
    await runAll(tenure.signal, {
      renew: (s) => this.#renew(tenure, askedMs, s),
      hold: () => hold(tenure),
    })
    const { reason } = tenure.signal
    return reason instanceof TenureEnd ? reason : new TenureEnd('this tracker stops', { mayGiveBack: true })
  }

  async #renew(tenure: Tenure, firstMs: number, signal: AbortSignal): Promise<void> {
    const { leases, unfit, clock } = this.#deps
    const { lengthMs, renewMs, retryMs, unfitMs } = this.#times
    let unfitSinceMs: number | undefined
    let nextMs = firstMs + renewMs
    for (;;) {
      await sleep(Math.max(0, nextMs - clock.monotonicMs()), signal)
      const askedMs = clock.monotonicMs()
      const why = unfit()
      unfitSinceMs = why === undefined ? undefined : (unfitSinceMs ?? askedMs)
      if (why !== undefined && askedMs - unfitSinceMs! >= unfitMs) {
        return tenure.end(new TenureEnd(why, { mayGiveBack: true }))
      }
      try {
        const isOurs = await raceAbort(leases.take(this.#name, lengthMs), signal)
        this.#noteAnswer()
        if (!isOurs) return tenure.end(new TenureEnd(HELD_BY_ANOTHER, { mayGiveBack: false }))
        tenure.extend(rightUntilMs(askedMs, this.#times))
        nextMs = askedMs + renewMs
      } catch (error) {
        if (signal.aborted) throw error
        this.#noteFault(error)
        nextMs = clock.monotonicMs() + retryMs / 2
      }
    }
  }

  /** Once Tor has seen that the connection is closed. The signal may have fired: nothing else waits for this. */
  async #giveBack(): Promise<void> {
    const { marginMs, dropMs } = this.#times
    await sleep(marginMs, new AbortController().signal)
    try {
      await raceAbort(this.#deps.leases.drop(this.#name), AbortSignal.timeout(dropMs))
    } catch (error) {
      if (!(error instanceof TransientError || error instanceof DOMException)) throw error
      this.#deps.log.info(
        { detail: describeError(error) },
        'the lease of the address could not be given back: it ends by itself',
      )
    }
  }

  /** Weather is told once; everything else is thrown. */
  #noteFault(error: unknown): string {
    if (!(error instanceof TransientError)) throw error
    const why = `the lease can't be asked for: ${describeError(error)}`
    if (why !== this.#fault) this.#deps.log.warn({ detail: why }, 'the shared store does not answer about the address')
    this.#fault = why
    return why
  }

  #noteAnswer(): void {
    this.#fault = undefined
  }

  #become(state: LeaseState): void {
    const said = JSON.stringify(state)
    if (said === this.#said) return
    this.#said = said
    const { log, report } = this.#deps
    if (state.kind === 'holder') log.info({ lease: this.#name }, 'this tracker holds the onion address')
    else log.info({ detail: state.why }, 'this tracker stands by for the onion address')
    report(state)
  }
}
