/**
 * Which Tors of the private network have an onion service of ours, as each of them says itself, looked at all the time: never
 * two at once, if only one tracker holds the address. `onions/current` tells of the connection that asks alone; the
 * descriptor that a service has made is told to everybody, and only by the Tor that has the service.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { LEASE_TIMES } from '../../src/tor/address-lease.ts'
import { TorControl } from '../../src/tor/control.ts'
import type { TorClient } from '../sandbox/tor-network.ts'
import { waitUntil } from '../sandbox/wait.ts'

const LIMITS = {
  everyMs: 10,
  /** A look that took longer is none of one moment: half of the margin between two holders. */
  lookMsMax: LEASE_TIMES.marginMs / 2,
}

export class Publications implements AsyncDisposable {
  /** Looks that were of one moment. */
  looks = 0
  /** Those among them that found more than one, with the Tors that had it. */
  readonly doubles: number[][] = []
  /** As the last look found it. */
  listed: readonly number[] = []
  readonly #tors: readonly TorClient[]
  readonly #serviceId: string
  readonly #lines: (TorControl | undefined)[] = []
  readonly #watching: Promise<void>
  #isOver = false

  constructor(tors: readonly TorClient[], onionHost: string) {
    this.#tors = tors
    this.#serviceId = onionHost.replace('.onion', '')
    this.#watching = this.#watch()
  }

  /** Resolves when the Tor `i` has no service of ours. */
  async withdrawn(i: number): Promise<void> {
    await waitUntil(`Tor ${i} has no service`, () => !this.listed.includes(i), { timeoutMs: 60_000, everyMs: 5 })
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      const atMs = performance.now()
      const found = await Promise.all(this.#tors.map((_, i) => this.#has(i)))
      this.listed = found.flatMap((isThere, i) => (isThere ? [i] : []))
      if (performance.now() - atMs < LIMITS.lookMsMax) {
        this.looks++
        if (this.listed.length > 1) this.doubles.push([...this.listed])
      }
      await pause(LIMITS.everyMs)
    }
  }

  /** A Tor that is not there has nothing. */
  async #has(i: number): Promise<boolean> {
    try {
      const line = this.#lines[i] ?? (await this.#open(i))
      const { type } = await line.sendCommand(`GETINFO hs/service/desc/id/${this.#serviceId}`)
      return type === 250 // 551: it has no such service
    } catch {
      this.#lines[i]?.[Symbol.dispose]()
      this.#lines[i] = undefined
      return false
    }
  }

  async #open(i: number): Promise<TorControl> {
    const { control, cookieFile } = this.#tors[i]!
    const line = new TorControl({ control, cookieFile, password: undefined })
    this.#lines[i] = line
    await line.connect()
    return line
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await this.#watching
    for (const line of this.#lines) line?.[Symbol.dispose]()
  }
}
