/**
 * What a relay says of itself (NIP-11): claims, shown as such. One HTTP request on a connection of its own, bounded in time
 * and bytes; that there is no such document is no fault.
 */
import { request } from 'node:http'
import { z } from 'zod'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import { after } from '../world.ts'
import { openStream, type RelayRoute } from './relay-client.ts'

export const RELAY_INFORMATION_LIMITS = {
  /** From the connection to the last byte. */
  askMs: 60_000,
  /** Those of public relays take 1 to 5 kB. */
  bytesMax: 65_536,
  /** What it calls itself, and its program. */
  textChars: 80,
}

export interface RelayInformation {
  name?: string
  software?: string
  version?: string
  /** What it demands, as far as that concerns a reader or a writer of a few events. */
  limitation: RelayLimitation
}

export interface RelayLimitation {
  authRequired?: boolean
  paymentRequired?: boolean
  restrictedWrites?: boolean
  minPowDifficulty?: number
  /** Events in one answer. */
  maxLimit?: number
}

const word = z.string().transform((text) => printable(text, RELAY_INFORMATION_LIMITS.textChars))
const flag = z.boolean().optional().catch(undefined)
const whole = z.int().min(0).optional().catch(undefined)
const documentSchema = z.object({
  name: word.optional().catch(undefined),
  software: word.optional().catch(undefined),
  version: word.optional().catch(undefined),
  limitation: z
    .object({
      auth_required: flag,
      payment_required: flag,
      restricted_writes: flag,
      min_pow_difficulty: whole,
      max_limit: whole,
    })
    .catch({}),
})

/** Of a NIP-11 document; undefined where it is none. Fields that can't be meant are left out. */
export function readRelayInformation(text: string): RelayInformation | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const parsed = documentSchema.safeParse(value)
  if (!parsed.success) return undefined
  const { name, software, version, limitation } = parsed.data
  return {
    ...(name !== undefined && { name }),
    ...(software !== undefined && { software }),
    ...(version !== undefined && { version }),
    limitation: {
      ...(limitation.auth_required !== undefined && { authRequired: limitation.auth_required }),
      ...(limitation.payment_required !== undefined && { paymentRequired: limitation.payment_required }),
      ...(limitation.restricted_writes !== undefined && { restrictedWrites: limitation.restricted_writes }),
      ...(limitation.min_pow_difficulty !== undefined && { minPowDifficulty: limitation.min_pow_difficulty }),
      ...(limitation.max_limit !== undefined && { maxLimit: limitation.max_limit }),
    },
  }
}

/** Undefined where the relay has none, or none that is one. Throws TransientError, or the reason of the signal. */
export async function askRelayInformation(
  url: string,
  route: RelayRoute,
  signal: AbortSignal,
): Promise<RelayInformation | undefined> {
  const stream = await openStream(url, route, signal)
  const { askMs, bytesMax } = RELAY_INFORMATION_LIMITS
  const cancel = after(askMs, () => stream.destroy(new Error(`no answer within ${askMs / 1000} s`)))
  try {
    const { pathname, search, host } = new URL(url)
    const text = await new Promise<string>((resolve, reject) => {
      const asked = request(
        {
          createConnection: () => stream,
          path: pathname + search,
          headers: { host, accept: 'application/nostr+json' },
          signal,
        },
        async (response) => {
          const chunks: Buffer[] = []
          let bytes = 0
          try {
            for await (const chunk of response) {
              bytes += chunk.length
              if (bytes > bytesMax) throw new Error(`more than ${bytesMax} bytes`)
              chunks.push(chunk)
            }
            resolve(response.statusCode === 200 ? Buffer.concat(chunks).toString() : '')
          } catch (error) {
            reject(error)
          }
        },
      )
      asked.on('error', reject)
      asked.end()
      stream.resume()
    })
    return readRelayInformation(text)
  } catch (error) {
    signal.throwIfAborted()
    throw new TransientError(`it tells nothing of itself: ${describeError(error)}`, { cause: error })
  } finally {
    cancel()
    stream.destroy()
  }
}
