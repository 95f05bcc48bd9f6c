/** What clients say to the door, and what they are told: NIP-01's messages as text. Pure. */
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import { type NostrFilter, readFilters } from './filters.ts'

export type ClientMessage =
  | { type: 'EVENT'; event: unknown }
  | { type: 'REQ'; id: string; token: string; filters: readonly NostrFilter[] }
  | { type: 'CLOSE'; id: string }
  /** A REQ, or something that is answered like one, that can't be had: its subscription is told so. */
  | { type: 'REQ' | 'COUNT'; token: string; refusal: string }
  /** `fault`: in words for who sent it. */
  | { type: 'unknown'; fault: string }

/** `token`: the subscription id as it was written, quotes included, so that it can be told again byte for byte. */
export function parseClientMessage(text: string): ClientMessage {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return { type: 'unknown', fault: 'no JSON' }
  }
  if (!Array.isArray(message)) return { type: 'unknown', fault: 'no message: a JSON array was expected' }
  const [type, second, ...rest] = message as unknown[]
  switch (type) {
    case 'EVENT':
      return { type, event: second }
    case 'REQ':
    case 'COUNT':
      return typeof second === 'string'
        ? parseRequest(type, second, tokenOf(text, second), rest)
        : { type: 'unknown', fault: `${type} without a subscription id` }
    case 'CLOSE':
      return typeof second === 'string'
        ? { type, id: second }
        : { type: 'unknown', fault: 'CLOSE without a subscription id' }
    default:
      return { type: 'unknown', fault: 'this relay knows EVENT, REQ and CLOSE' }
  }
}

function parseRequest(type: 'REQ' | 'COUNT', id: string, token: string, rest: readonly unknown[]): ClientMessage {
  if (type === 'COUNT') return { type, token, refusal: 'unsupported: this relay does not count' }
  if (id === '') return { type, token, refusal: 'invalid: the subscription id is empty' }
  if (id.length > LIMITS.subscriptionIdChars) {
    const refusal = `invalid: a subscription id has at most ${LIMITS.subscriptionIdChars} characters`
    return { type, token, refusal }
  }
  const read = readFilters(rest)
  return read.ok ? { type, id, token, filters: read.filters } : { type, token, refusal: `invalid: ${read.fault}` }
}

/** The second element of a JSON array that is a string, as it stands in the text. */
function tokenOf(text: string, id: string): string {
  return /^\s*\[\s*"[A-Z]+"\s*,\s*("(?:[^"\\]|\\.)*")/.exec(text)?.[1] ?? JSON.stringify(id)
}

/** `id`: of the event. `refusal` with a prefix of NIP-01; undefined: accepted. */
export function okText(id: string, refusal: string | undefined): string {
  return JSON.stringify(['OK', id, refusal === undefined, refusal ?? ''])
}

/** What stands before an event's JSON; a bracket ends it. */
export function eventHead(token: string): string {
  return `["EVENT",${token},`
}

export function endOfStoredText(token: string): string {
  return `["EOSE",${token}]`
}

export function closedText(token: string, refusal: string): string {
  return `["CLOSED",${token},${JSON.stringify(refusal)}]`
}

export function noticeText(text: string): string {
  return JSON.stringify(['NOTICE', text])
}
