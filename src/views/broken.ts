/**
 * The last safety of every list: a row that breaks its own schema (a database that a newer version wrote, a bug of ours) is
 * told as broken, and costs the other rows nothing.
 */
import { z } from 'zod'
import { printable } from '../format.ts'
import { component } from './schemas/words.ts'

export const brokenSchema = component(
  'Broken',
  z.strictObject({
    list: z.string(),
    row: z.string().describe('its address or outpoint, or what else names it'),
    fault: z.string().describe('its first field that is wrong, and what was expected'),
  }),
)
export type BrokenRow = z.infer<typeof brokenSchema>

/** A field of every reply with lists. */
export const brokenRows = z.array(brokenSchema).default([]).describe("rows of its lists that can't be shown")

/**
 * `body` as `schema` has it, rows of its lists that break it moved to `broken`. Throws ZodError when anything else is wrong.
 */
export function withBroken<S extends z.ZodType>(schema: S, body: z.input<S>): z.output<S> {
  const { success, data, error } = schema.safeParse(body)
  if (success) return data
  const lists = { ...(body as Record<string, unknown>) }
  const faults = new Map<string, BrokenRow>()
  for (const { path, message } of error.issues) {
    const [list, at, ...field] = path
    const rows = typeof list === 'string' ? lists[list] : undefined
    if (typeof list !== 'string' || typeof at !== 'number' || !Array.isArray(rows)) throw error
    const fault = printable([field.join('.'), message].filter(Boolean).join(': '))
    if (!faults.has(`${list} ${at}`)) faults.set(`${list} ${at}`, { list, row: nameOf(rows[at]), fault })
  }
  for (const list of new Set([...faults.values()].map((fault) => fault.list))) {
    lists[list] = (lists[list] as unknown[]).filter((_, at) => !faults.has(`${list} ${at}`))
  }
  return schema.parse({ ...lists, broken: [...faults.values()] })
}

function nameOf(row: unknown): string {
  const { address, outpoint, height, time } = (row ?? {}) as Record<string, unknown>
  return printable([address, outpoint, height ?? time].filter((word) => word !== undefined).join(' '))
}

/** Rows that keep to their schema, and the others as broken. */
export function soundRows<S extends z.ZodType>(
  list: string,
  schema: S,
  rows: readonly z.input<S>[],
): { rows: z.output<S>[]; broken: BrokenRow[] } {
  const reply = withBroken(z.object({ [list]: z.array(schema), broken: brokenRows }), { [list]: [...rows] } as never)
  return { rows: reply[list] as z.output<S>[], broken: reply.broken as BrokenRow[] }
}
