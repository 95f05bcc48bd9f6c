/**
 * An EVENT that a stranger brings, from its shape to its signature, in the order of what each check costs. What passes is
 * what today's takers look up; it says nothing of the chain, and is believed in nothing.
 */
import type { Network, Outpoint } from '../chain/types.ts'
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import { BOND_KINDS, bondNamed, readEvent, SKIP_REASONS, whySkipped } from './event.ts'
import { eventId, isSigned } from './signatures.ts'

/** `id`: as it came, for the answer; empty where it is no text, or far too long. `refusal`: with a prefix of NIP-01. */
export type ArrivedEvent = { id: string } & ({ ok: true; outpoint: Outpoint } | { ok: false; refusal: string })

/** `nowS`: Unix seconds. */
export function judgeArrived(value: unknown, network: Network, nowS: number): ArrivedEvent {
  const id = idOf(value)
  const refused = (why: string): ArrivedEvent => ({ id, ok: false, refusal: `invalid: ${why}` })
  const read = readEvent(value)
  if (!read.ok) return refused(read.fault)
  const { event } = read
  if (eventId(event) !== event.id) return refused('the id is not that of the event')
  if (event.kind !== BOND_KINDS[network]) {
    return refused(`kind ${event.kind}: this relay knows ${BOND_KINDS[network]} alone`)
  }
  const skipped = whySkipped(event, nowS)
  if (skipped !== undefined) return refused(SKIP_REASONS[skipped])
  if (!isSigned(event)) return refused('the signature is wrong')
  return { id, ok: true, outpoint: bondNamed(event)! }
}

function idOf(value: unknown): string {
  const id = typeof value === 'object' && value !== null && 'id' in value ? value.id : undefined
  return typeof id === 'string' && id.length <= LIMITS.echoedIdChars ? id : ''
}
