/**
 * A maker of today's market at a relay, as the unmodified program was seen to announce its bond (docs/nostr.md): a new key
 * and event for every round, up to three attempts 2 s apart with that same event, for each a connection of its own, one
 * frame written, exactly one message read, TCP dropped.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Network } from '../../../src/chain/types.ts'
import { MARKET_KINDS, nowS, type SignedEvent, signEvent } from './signed-event.ts'
import { type Message, OPCODE, RelaySocket, type Route } from './wire.ts'

/** How the maker reads the one message it waits for: undefined when its event was accepted, else why not. */
export function verdict({ op, data }: Message): string | undefined {
  if (op !== OPCODE.text) return `the first message has opcode ${op} and is no text`
  let message: unknown
  try {
    message = JSON.parse(data.toString('utf8'))
  } catch {
    return 'not JSON'
  }
  if (!Array.isArray(message) || message[0] !== 'OK') return `not OK: ${JSON.stringify(message)}`
  const [, id, isAccepted, reason] = message
  if (message.length < 4) return 'OK without a fourth element'
  // Its id is not compared with the event's.
  if (!/^[0-9a-f]{64}$/i.test(String(id))) return 'OK with an id that is not 64 hex digits'
  if (typeof isAccepted !== 'boolean' || typeof reason !== 'string') return 'OK with elements of wrong types'
  return isAccepted ? undefined : `refused: ${reason}`
}

export function makerEvent(
  txid: string,
  { network = 'regtest', createdAtS = nowS() }: { network?: Network; createdAtS?: number } = {},
): SignedEvent {
  return signEvent({
    kind: MARKET_KINDS[network],
    content: `${txid}:0`,
    created_at: createdAtS,
    tags: [
      ['d', `fidelity:${txid}:0`],
      ['expiration', String(createdAtS + 86_400)],
    ],
  })
}

export interface Attempt {
  /** The message that was read: its text, or its opcode and length; undefined when none came. */
  saw: string | undefined
  /** Undefined: accepted. */
  refusal: string | undefined
}

export interface Announced {
  isAccepted: boolean
  event: SignedEvent
  attempts: Attempt[]
}

export interface AnnounceOptions extends Route {
  attemptsMax?: number
  /** Between two attempts. */
  gapMs?: number
}

/** One round. */
export async function announce(url: string, event: SignedEvent, options: AnnounceOptions = {}): Promise<Announced> {
  const { attemptsMax = 3, gapMs = 2_000, timeoutMs = 30_000, ...route } = options
  const attempts: Attempt[] = []
  for (;;) {
    const attempt = await announceOnce(url, event, { ...route, timeoutMs })
    attempts.push(attempt)
    const isAccepted = attempt.refusal === undefined
    if (isAccepted || attempts.length === attemptsMax) return { isAccepted, event, attempts }
    await pause(gapMs)
  }
}

async function announceOnce(url: string, event: SignedEvent, route: Route & { timeoutMs: number }): Promise<Attempt> {
  let socket: RelaySocket | undefined
  try {
    socket = await RelaySocket.open(url, route)
    socket.sendText(JSON.stringify(['EVENT', event]))
    const message = await socket.read(route.timeoutMs)
    const isText = message.op === OPCODE.text
    const saw = isText ? message.data.toString('utf8') : `opcode ${message.op}, ${message.data.length} bytes`
    return { saw, refusal: verdict(message) }
  } catch (error) {
    return { saw: undefined, refusal: `failed: ${error instanceof Error ? error.message : String(error)}` }
  } finally {
    socket?.drop()
  }
}
