/**
 * When an onion service that is published, and that nobody reaches, is taken down and published again: with new
 * introduction points and a newer descriptor.
 */
import { Bell } from '../concurrency.ts'
import type { Clock } from '../world.ts'

const LIMITS = {
  /** Runs of the canary in a row that met silence: one may have lost its circuit. */
  redRuns: 3,
  /** The same where somebody else's descriptor has replaced ours: it does not come right by itself. */
  replacedRuns: 2,
  /** The pause doubles with each try, up to so many times the first: where it does not help it is not the cure. */
  pauseGrowthMax: 30,
}

/** A run of the canary met silence. */
export interface RedRun {
  /** How many in a row. */
  runs: number
  /** The descriptor that strangers find is not ours, and who made it does not answer: only a newer one of ours helps. */
  isReplaced: boolean
  detail: string
}

export class Healing {
  readonly #firstMs: number
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #bell = new Bell()
  #order: string | undefined
  #tries = 0
  #lastMs = Number.NEGATIVE_INFINITY
  #pauseMs = 0

  /** `firstMs`: the pause after the first try; a descriptor has to reach its directories and be asked for. */
  constructor(firstMs: number, clock: Pick<Clock, 'monotonicMs'>) {
    this.#firstMs = firstMs
    this.#clock = clock
  }

  /** Orders a try, if one is due. */
  note({ runs, isReplaced, detail }: RedRun): void {
    if (runs < (isReplaced ? LIMITS.replacedRuns : LIMITS.redRuns)) return
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#lastMs < this.#pauseMs) return
    this.#pauseMs = this.#firstMs * Math.min(2 ** this.#tries, LIMITS.pauseGrowthMax)
    this.#tries++
    this.#lastMs = nowMs
    this.#order = detail
    this.#bell.ring()
  }

  /** The service was reached: forgotten once that has lasted as long as the pause, so that flapping does not begin anew. */
  reached(): void {
    this.#order = undefined
    if (this.#clock.monotonicMs() - this.#lastMs < this.#pauseMs) return
    this.#tries = 0
    this.#pauseMs = 0
  }

  /** Why a try was ordered; each order once. */
  take(): string | undefined {
    const order = this.#order
    this.#order = undefined
    return order
  }

  /** Resolves with the reason when a try was ordered, with undefined after `maxMs`. */
  async ordered(maxMs: number): Promise<string | undefined> {
    if (this.#order === undefined) await this.#bell.wait(maxMs)
    return this.take()
  }
}
