/**
 * Trackers that the events of one relay name: places to dial, nothing more, told one at a time, each again and again while
 * its event stands. Who has been dialled lately, or is known, is for others to say (peers/trackers.ts).
 */
import type { Network } from '../chain/types.ts'
import type { HostPort } from '../tor/address.ts'
import { expirationS, type NostrEvent, readEvent } from './event.ts'
import { isSigned } from './signatures.ts'
import { TRACKER_KIND, trackerNamed } from './tracker-event.ts'

export const NAMED_TRACKER_LIMITS = {
  /** Of one relay: anybody can sign such events, so the place of any is taken when it is full. */
  kept: 64,
  /** One is told so often, and with every event that comes: only one hint of a relay waits at a time. */
  everyMs: 60_000,
}

interface Named {
  at: HostPort
  createdAtS: number
  untilS: number
}

export class NamedTrackers {
  readonly #network: Network
  readonly #random: () => number
  /** By author. */
  readonly #named = new Map<string, Named>()

  constructor(network: Network, random: () => number) {
    this.#network = network
    this.#random = random
  }

  get size(): number {
    return this.#named.size
  }

  /** `value`: an event as it came. True where it is of this kind, whatever it is worth. */
  take(value: unknown, nowS: number): boolean {
    if (kindOf(value) !== TRACKER_KIND) return false
    const read = readEvent(value)
    const at = read.ok ? trackerNamed(read.event, this.#network, nowS) : undefined
    if (read.ok && at && this.#isNews(read.event) && isSigned(read.event)) this.#keep(read.event, at)
    return true
  }

  #isNews({ pubkey, created_at }: NostrEvent): boolean {
    return created_at > (this.#named.get(pubkey)?.createdAtS ?? -1)
  }

  #keep(event: NostrEvent, at: HostPort): void {
    const { pubkey } = event
    this.#named.delete(pubkey)
    if (this.#named.size >= NAMED_TRACKER_LIMITS.kept) {
      this.#named.delete([...this.#named.keys()][Math.floor(this.#random() * this.#named.size)]!)
    }
    this.#named.set(pubkey, { at, createdAtS: event.created_at, untilS: expirationS(event)! })
  }

  /** Each in its turn; undefined when there is none. */
  next(nowS: number): HostPort | undefined {
    for (const [pubkey, named] of this.#named) {
      this.#named.delete(pubkey)
      if (named.untilS < nowS) continue
      this.#named.set(pubkey, named)
      return named.at
    }
    return undefined
  }
}

function kindOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
}
