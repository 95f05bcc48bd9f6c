/**
 * Pure: what comes and goes is told at once, until it has done so too often; from then on only now and then, as what it is
 * by then, and not at all if that is what was told last.
 */

export interface FlapLimits {
  /** Told at once, one after the other. */
  atOnce: number
  /** One more may be told after this. */
  everyMs: number
}

/** Of one thing with two states; `T` is what is told of a change. Times are monotonic. */
export class Flaps<T> {
  readonly #limits: FlapLimits
  /** When all of `atOnce` may be told again: each that is told makes it `everyMs` later. */
  #restedMs = Number.NEGATIVE_INFINITY
  #told: boolean | undefined
  #held: { isOn: boolean; news: T } | undefined

  constructor(limits: FlapLimits) {
    this.#limits = limits
  }

  /** It has changed: what is to be told now, if anything. */
  change(isOn: boolean, news: T, nowMs: number): T | undefined {
    this.#held = isOn === this.#told ? undefined : { isOn, news }
    return this.due(nowMs)
  }

  /** What was held back and is to be told now. */
  due(nowMs: number): T | undefined {
    if (!this.#held || this.dueInMs(nowMs) !== 0) return undefined
    const { isOn, news } = this.#held
    this.#held = undefined
    this.#told = isOn
    this.#restedMs = Math.max(this.#restedMs, nowMs) + this.#limits.everyMs
    return news
  }

  /** How long until something is due; undefined where nothing is held back. */
  dueInMs(nowMs: number): number | undefined {
    const { atOnce, everyMs } = this.#limits
    return this.#held && Math.max(0, this.#restedMs - (atOnce - 1) * everyMs - nowMs)
  }
}
