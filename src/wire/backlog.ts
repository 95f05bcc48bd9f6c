/**
 * What clients have asked for and not taken yet, all of them together. One reply may have megabytes, and a thousand clients
 * that don't read would hold gigabytes: beyond the limit the one that has taken nothing for longest is cut off. A client
 * that reads, however slowly, is cut last. The same buffer counts once, whoever waits for it.
 */

/** A payload that is being handed over. */
export interface Unsent {
  readonly payload: Buffer
  /** When its client last took some of it, on the monotonic clock. */
  takenAtMs: number
  /** Gives it up, and its client. */
  cut(): void
}

export class Backlog {
  readonly #bytesMax: number
  readonly #all = new Set<Unsent>()
  readonly #holders = new Map<Buffer, number>()
  #bytes = 0
  #cut = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Clients cut off for it so far. */
  get cut(): number {
    return this.#cut
  }

  add(unsent: Unsent): void {
    const { payload } = unsent
    const holders = this.#holders.get(payload) ?? 0
    this.#holders.set(payload, holders + 1)
    if (holders === 0) this.#bytes += payload.length
    this.#all.add(unsent)
    while (this.#bytes > this.#bytesMax && this.#all.size > 1) {
      const others = [...this.#all].filter((other) => other !== unsent)
      const slowest = others.reduce((a, b) => (b.takenAtMs < a.takenAtMs ? b : a))
      this.#cut++
      this.remove(slowest)
      slowest.cut()
    }
  }

  remove(unsent: Unsent): void {
    if (!this.#all.delete(unsent)) return
    const { payload } = unsent
    const holders = this.#holders.get(payload)! - 1
    if (holders > 0) this.#holders.set(payload, holders)
    else {
      this.#holders.delete(payload)
      this.#bytes -= payload.length
    }
  }
}
