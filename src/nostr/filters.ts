/**
 * Filters of a REQ (NIP-01). Shapes are ours to check: nostr-tools takes a wrong one for one that matches everything, or
 * throws, and for it a bound of 0 is none. Pure.
 */
import { matchFilter } from 'nostr-tools/filter'
import { z } from 'zod'
import { printable } from '../format.ts'
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import type { NostrEvent } from './event.ts'

/** As nostr-tools takes it, and checked. `limit` is not its affair: it counts stored events only. */
export interface NostrFilter {
  ids?: string[]
  authors?: string[]
  kinds?: number[]
  since?: number
  until?: number
  limit?: number
  [tag: `#${string}`]: string[]
}

export type ReadFilters = { ok: true; filters: readonly NostrFilter[] } | { ok: false; fault: string }

const hash = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')
const whole = z.int().min(0)
const fields = z.object({
  ids: z.array(hash).optional(),
  authors: z.array(hash).optional(),
  kinds: z.array(z.int().min(0).max(65_535)).optional(),
  since: whole.optional(),
  until: whole.optional(),
  limit: whole.optional(),
})
const values = z.array(z.string())

/** What stands behind the id in a REQ. `fault` names the field; unknown keys are ignored. */
export function readFilters(raw: readonly unknown[]): ReadFilters {
  if (raw.length === 0) return { ok: false, fault: 'a filter was expected behind the subscription id' }
  if (raw.length > LIMITS.filters) return { ok: false, fault: `${raw.length} filters, ${LIMITS.filters} are allowed` }
  const filters: NostrFilter[] = []
  let count = 0
  for (const [i, one] of raw.entries()) {
    const read = readFilter(one)
    if (typeof read === 'string') return { ok: false, fault: printable(`filter ${i + 1}: ${read}`, 120) }
    for (const part of Object.values(read)) if (Array.isArray(part)) count += part.length
    if (count > LIMITS.filterValues) {
      return { ok: false, fault: `more than ${LIMITS.filterValues} values in the filters` }
    }
    filters.push(read)
  }
  return { ok: true, filters }
}

function readFilter(raw: unknown): NostrFilter | string {
  const parsed = fields.safeParse(raw)
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!
    return `${path.length > 0 ? path.join('.') : 'an object'}: ${message}`
  }
  const filter = { ...parsed.data } as NostrFilter // what is absent there has no key either
  if (filter.until === 0) filter.until = -1 // a bound all the same
  for (const [key, value] of Object.entries(raw as object)) {
    if (!/^#[a-zA-Z]$/.test(key)) continue
    const tags = values.safeParse(value)
    if (!tags.success) return `${key}: a list of texts was expected`
    filter[key as `#${string}`] = tags.data
  }
  return filter
}

export function isMatch(filter: NostrFilter, event: NostrEvent): boolean {
  return matchFilter(filter, event)
}
