/** Of two makers' records of the same moment one has to count, the same one wherever and in whatever order they meet. */
import { createHash } from 'node:crypto'
import type { MakerNews } from './store.ts'

/** A number below 2^48 that depends on nothing but what the news say; of two with the same times the greater one counts. */
export function tieOf({ record, offer }: MakerNews): number {
  return createHash('sha256').update(ordered({ record, offer })).digest().readUIntBE(0, 6)
}

/** JSON with the fields of objects by name. */
function ordered(value: unknown): string {
  return JSON.stringify(value, (_, field: unknown) =>
    typeof field === 'object' && field !== null && !Array.isArray(field)
      ? Object.fromEntries(Object.entries(field).sort(([a], [b]) => (a < b ? -1 : 1)))
      : field,
  )
}
