/**
 * Pure: what an HTTP answer is to somebody who asked bitcoind: replies to the very questions asked, no room, or something
 * else, described for people. bitcoin-core compares no ids and takes any body of status 200 for a reply.
 * Sources: JSON-RPC 1.1 as Bitcoin Core speaks it (httprpc.cpp, rpc/request.cpp), and its REST-interface.md.
 */
import { printable } from '../format.ts'

const LIMITS = {
  /** What is shown of a body. */
  excerptChars: 200,
}

/** One call as it was sent. */
export interface RpcQuestion {
  id: unknown
  method: string
}

interface Envelope {
  id?: unknown
  error?: unknown
}

/** bitcoind gives a single call's refusal with one of these. */
const MAY_REFUSE = new Set([400, 404, 500])

/**
 * The body as JSON whose replies stand in the order of `asked`; undefined when it is no reply. Throws when it answers
 * other questions, or refuses all at once.
 */
export function repliesIn(status: number, body: Buffer, asked: readonly RpcQuestion[]): string | undefined {
  const text = body.toString()
  const replies = envelopesIn(text)
  const isReply = status === 200 || (MAY_REFUSE.has(status) && replies?.length === 1 && replies[0]?.error)
  if (!replies || !isReply) return undefined
  if (replies.length === asked.length && replies.every(({ id }, i) => id === asked[i]?.id)) return text
  const [only] = replies
  if (replies.length === 1 && only?.error) throw new Error(`it refuses with ${describeRefusal(only.error)}`)
  const byId = new Map(replies.map((reply) => [reply.id, reply]))
  const ordered = asked.map(({ id }) => byId.get(id))
  if (replies.length !== asked.length || ordered.includes(undefined)) {
    throw new Error('its replies are to other questions')
  }
  return JSON.stringify(ordered)
}

export function isJsonBody(body: Buffer): boolean {
  try {
    JSON.parse(body.toString())
    return true
  } catch {
    return false
  }
}

function envelopesIn(text: string): Envelope[] | undefined {
  try {
    const envelopes = [JSON.parse(text) as unknown].flat()
    return envelopes.every(isEnvelope) ? envelopes : undefined
  } catch {
    return undefined
  }
}

function isEnvelope(one: unknown): one is Envelope {
  return typeof one === 'object' && one !== null && ('result' in one || 'error' in one)
}

/** bitcoind's words are "Work queue depth exceeded", with 500 in old releases; 429 is a proxy's. REST has its own 503. */
export function isNoRoom(status: number, body: Buffer): boolean {
  const text = excerpt(body)
  if (status === 500) return /work queue/i.test(text)
  return status === 429 || (status === 503 && !/temporarily unavailable: /i.test(text))
}

/** In one line that can be printed. */
export function describeAnswer(status: number, reason: string, body: Buffer): string {
  const text = excerpt(body)
  return `HTTP ${status} ${printable(reason, LIMITS.excerptChars)}${text === '' ? '' : `: “${text}”`}`
}

/** Of a refusal that names no question of ours: a proxy's, or of a request that could not be read. */
function describeRefusal(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  return printable(`code ${String(code)}: ${String(message)}`, LIMITS.excerptChars)
}

function excerpt(body: Buffer): string {
  const start = body.toString('utf8', 0, 4 * LIMITS.excerptChars)
  return printable(start.replace(/\s+/g, ' ').trim(), LIMITS.excerptChars)
}
