/**
 * Judges the events that relays send, as takers of today's market do: shape, kind, times, bond, id, signature, what is
 * cheap first. One that was found right is not verified again when it comes again, from whichever relay.
 */
import { createHash } from 'node:crypto'
import type { Network, Txid } from '../chain/types.ts'
import { BOND_KINDS, bondNamed, type NostrEvent, readEvent, whySkipped } from './event.ts'
import { type EventFault, type HeldBond, validUntilS } from './relay-view.ts'
import { eventId, isSigned } from './signatures.ts'

export const RELAY_EVENT_LIMITS = {
  /** Ids of events that were found right: two days of a market of 200 makers, some 120 bytes each. */
  idsRemembered: 20_000,
}

export type JudgedEvent =
  | { ok: true; txid: Txid; held: HeldBond; createdAtS: number }
  /** `key`: of this event, whenever it comes. */
  | { ok: false; key: string; fault: EventFault }

export class EventJudge {
  readonly #kind: number
  readonly #ownPubkey: string | undefined
  /** Found right, the oldest first. */
  readonly #right = new Set<string>()

  /** `ownPubkey`: whose events are our own. */
  constructor(network: Network, ownPubkey: string | undefined) {
    this.#kind = BOND_KINDS[network]
    this.#ownPubkey = ownPubkey
  }

  /** `value`: of the JSON in `frame`. About 0.4 ms where a signature is to be checked. */
  judge(value: unknown, frame: string, nowS: number): JudgedEvent {
    const read = readEvent(value)
    if (!read.ok) return { ok: false, key: keyOfFrame(frame), fault: 'shape' }
    const { event } = read
    const fault = this.#faultOf(event, nowS)
    if (fault !== undefined) return { ok: false, key: `${event.id}${event.sig.slice(0, 16)}`, fault }
    const held = { untilS: validUntilS(event), isOwn: event.pubkey === this.#ownPubkey }
    return { ok: true, txid: bondNamed(event)!.txid, held, createdAtS: event.created_at }
  }

  #faultOf(event: NostrEvent, nowS: number): EventFault | undefined {
    if (event.kind !== this.#kind) return 'kind'
    const skipped = whySkipped(event, nowS)
    if (skipped !== undefined) return skipped
    // An id stands for all that is signed: only when it is right, it can have been seen before.
    if (eventId(event) !== event.id) return 'id'
    if (this.#right.has(event.id)) return undefined
    if (!isSigned(event)) return 'signature'
    this.#right.add(event.id)
    if (this.#right.size > RELAY_EVENT_LIMITS.idsRemembered) this.#right.delete(this.#right.values().next().value!)
    return undefined
  }
}

/** Of what a frame brings as an event, and is none: the same in whichever subscription it comes. */
export function keyOfFrame(frame: string): string {
  const event = frame.replace(/^\s*\[\s*"EVENT"\s*,\s*"(?:[^"\\]|\\.)*"/, '')
  return createHash('sha256').update(event).digest('base64')
}
