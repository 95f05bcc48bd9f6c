/**
 * What a relay says to a client (NIP-01, NIP-42), read from one text frame; and what its refusals mean. Shapes of events are
 * event.ts's. Pure.
 */
import { printable } from '../format.ts'

export const RELAY_MESSAGE_LIMITS = {
  /** A bond's event takes 600 bytes in its frame, one with every tag that `EVENT_LIMITS` allows would take more than this. */
  frameChars: 16_384,
  /** Of what a relay says in words. */
  textChars: 200,
}

export type RelayMessage =
  | { type: 'EVENT'; subscription: string; event: unknown }
  | { type: 'EOSE'; subscription: string }
  | { type: 'OK'; id: string; isAccepted: boolean; text: string }
  | { type: 'NOTICE'; text: string }
  | { type: 'CLOSED'; subscription: string; text: string }
  | { type: 'AUTH' }
  /** An event's frame that is too long, and that was not read. */
  | { type: 'too-long' }

/** Undefined for whatever else it may be: a client passes over it. Texts are printable and short. */
export function readRelayMessage(text: string): RelayMessage | undefined {
  if (text.length > RELAY_MESSAGE_LIMITS.frameChars) return { type: 'too-long' }
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(message)) return undefined
  const [type, first, second, third] = message as unknown[]
  switch (type) {
    case 'EVENT':
      return typeof first === 'string' ? { type, subscription: first, event: second } : undefined
    case 'EOSE':
      return typeof first === 'string' ? { type, subscription: first } : undefined
    case 'OK':
      if (typeof first !== 'string' || typeof second !== 'boolean') return undefined
      return { type, id: first, isAccepted: second, text: words(third) }
    case 'NOTICE':
      return { type, text: words(first) }
    case 'CLOSED':
      return typeof first === 'string' ? { type, subscription: first, text: words(second) } : undefined
    case 'AUTH':
      return { type }
    default:
      return undefined
  }
}

function words(value: unknown): string {
  return typeof value === 'string' ? printable(value, RELAY_MESSAGE_LIMITS.textChars) : ''
}

/** How an event that was sent to a relay is answered. */
export type Acceptance =
  | { kind: 'accepted' }
  /** The relay has it, whatever else it says. */
  | { kind: 'duplicate' }
  /** `text` in the relay's words. `isLasting`: asked again soon it would say the same. */
  | { kind: 'refused'; text: string; isLasting: boolean }

/** Machine-readable prefixes of NIP-01 after which the same event is refused again, whoever waits how long. */
const LASTING = /^(blocked|restricted|auth-required|pow|invalid)\b/i

/** Of an `OK`. Some relays say `duplicate:` with true, others with false. */
export function acceptanceOf({ isAccepted, text }: { isAccepted: boolean; text: string }): Acceptance {
  if (/^duplicate\b/i.test(text)) return { kind: 'duplicate' }
  if (isAccepted) return { kind: 'accepted' }
  return { kind: 'refused', text: text === '' ? 'refused without a reason' : text, isLasting: LASTING.test(text) }
}
