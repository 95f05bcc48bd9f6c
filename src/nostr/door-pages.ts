/** What the Nostr door says to who comes by HTTP alone: the relay information document (NIP-11), or one sentence. Pure. */
import type { Network } from '../chain/types.ts'
import { VERSION } from '../version.ts'
import { DOOR_LIMITS } from './door-limits.ts'
import { BOND_KINDS, EVENT_LIMITS } from './event.ts'

export interface DoorPage {
  status: number
  headers: Readonly<Record<string, string>>
  body: string
}

const SENTENCE = {
  'content-type': 'text/plain; charset=utf-8',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'",
}

/** NIP-11 asks for these: what is here is the same for everybody. */
const FOR_EVERYBODY = {
  'access-control-allow-origin': '*',
  'access-control-allow-headers': '*',
  'access-control-allow-methods': 'GET, HEAD, OPTIONS',
}

export interface DoorRequest {
  method: string | undefined
  accept: string | undefined
}

/** `about`: the relay document. */
export function doorPage({ method, accept }: DoorRequest, about: Buffer): DoorPage {
  if (method === 'OPTIONS') return { status: 204, headers: FOR_EVERYBODY, body: '' }
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, headers: { ...SENTENCE, allow: 'GET, HEAD, OPTIONS' }, body: 'Read only: GET or HEAD.\n' }
  }
  if (wantsDocument(accept)) {
    const headers = { ...FOR_EVERYBODY, 'content-type': 'application/nostr+json' }
    return { status: 200, headers, body: about.toString() }
  }
  return {
    status: 200,
    headers: SENTENCE,
    body: 'This is a Nostr relay with the fidelity bonds of one tracker: give this address, with ws://, to a program that speaks Nostr.\n',
  }
}

/** A list with weights, of which the document is one. */
function wantsDocument(accept = ''): boolean {
  return accept.split(',').some((part) => part.split(';')[0]!.trim().toLowerCase() === 'application/nostr+json')
}

export function relayDocument(network: Network, pubkey: string, frameBytesMax: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      name: 'fidelity-tracker',
      description: `Fidelity bonds of the maker market, checked against the chain: one event of kind ${BOND_KINDS[network]} for each that is live. Events that others bring are answered and not kept.`,
      self: pubkey,
      supported_nips: [1, 11, 40],
      software: 'fidelity-tracker',
      version: VERSION,
      limitation: {
        max_message_length: frameBytesMax,
        max_subscriptions: DOOR_LIMITS.subscriptions,
        max_subid_length: DOOR_LIMITS.subscriptionIdChars,
        max_filters: DOOR_LIMITS.filters,
        max_event_tags: EVENT_LIMITS.tags,
        max_content_length: EVENT_LIMITS.textChars,
        created_at_lower_limit: EVENT_LIMITS.lifeS,
        created_at_upper_limit: EVENT_LIMITS.aheadS,
        auth_required: false,
        payment_required: false,
        restricted_writes: true,
      },
    }),
  )
}
