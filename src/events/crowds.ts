/**
 * Pure: of what happens often the first are told one by one, and the rest as a number, once the time is over in which they
 * came. Each kind by itself: a thousand bonds hide no maker.
 */

export const CROWD_LIMITS = {
  /** Told one by one: as many as are read. The day of a market of 150 makers brings fewer. */
  oneByOne: 20,
  /** In this time, from the first on; then begins another. */
  windowMs: 600_000,
}

interface Crowd {
  sinceMs: number
  count: number
}

/** Times are monotonic. */
export class Crowds {
  readonly #crowds = new Map<string, Crowd>()

  /** One more of a kind: whether it is told by itself. */
  add(kind: string, nowMs: number): boolean {
    const crowd = this.#crowds.get(kind) ?? { sinceMs: nowMs, count: 0 }
    this.#crowds.set(kind, crowd)
    return ++crowd.count <= CROWD_LIMITS.oneByOne
  }

  /** By kind, how many were not told by themselves, where their time is over; `isEnd`: of all. They are told, then. */
  due(nowMs: number, isEnd = false): Record<string, number> | undefined {
    const over = [...this.#crowds].filter(([, { sinceMs }]) => isEnd || nowMs - sinceMs >= CROWD_LIMITS.windowMs)
    for (const [kind] of over) this.#crowds.delete(kind)
    const untold = over
      .map(([kind, { count }]) => [kind, count - CROWD_LIMITS.oneByOne] as const)
      .filter(([, count]) => count > 0)
    return untold.length > 0 ? Object.fromEntries(untold) : undefined
  }
}
