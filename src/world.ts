/**
 * Whatever is not a function of its inputs: time, chance, sleeping. Nobody else calls Date.now, Math.random or
 * setTimeout, so that tests may turn the hands themselves.
 */
import type { Logger } from 'pino'

export interface Clock {
  /** Unix time in milliseconds, for records. */
  nowMs(): number
  /** Milliseconds since an arbitrary moment, never going back, for durations and deadlines. */
  monotonicMs(): number
}

export interface World {
  clock: Clock
  /** Uniform in [0, 1); for jitter only, never for keys. */
  random(): number
  log: Logger
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/**
 * Milliseconds on the machine's own monotonic clock, the same for all processes of it: for what one tells another. It
 * stands still while the machine sleeps.
 */
export function machineMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}

/** Resolves after `ms`; rejects with the signal's reason when it fires first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Lets everything else that is waiting (sockets above all) have its turn. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Calls `fire` after `ms` unless the returned function is called first. */
export function after(ms: number, fire: () => void): () => void {
  const timer = setTimeout(fire, ms)
  timer.unref()
  return () => clearTimeout(timer)
}

/** Calls `fire` every `ms` until the returned function is called. Doesn't keep the process alive. */
export function every(ms: number, fire: () => void): () => void {
  const timer = setInterval(fire, ms)
  timer.unref()
  return () => clearInterval(timer)
}

/** Exponential backoff with full jitter in the upper half: firstMs, 2×, 4× … up to maxMs. */
export class Backoff {
  readonly #firstMs: number
  readonly #maxMs: number
  readonly #random: () => number
  #failures = 0
  constructor(limits: { firstMs: number; maxMs: number }, random: () => number) {
    this.#firstMs = limits.firstMs
    this.#maxMs = limits.maxMs
    this.#random = random
  }
  get failures(): number {
    return this.#failures
  }
  /** The pause before the next try. */
  nextMs(): number {
    const fullMs = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 20))
    this.#failures++
    return fullMs * (0.5 + this.#random() / 2)
  }
  reset(): void {
    this.#failures = 0
  }
}
