/** The export verb: every row this database has, as JSON or CSV. */
import { z } from 'zod'
import { bondRows } from '../views/bonds.ts'
import type { Facts } from '../views/facts.ts'
import { makerRows } from '../views/makers.ts'
import { bondSchema } from '../views/schemas/bonds.ts'
import { makerSchema } from '../views/schemas/makers.ts'
import { relaySchema } from '../views/schemas/relays.ts'
import { trackerSchema } from '../views/schemas/trackers.ts'
import { chainStatus } from '../views/status.ts'
import { trackerRows } from '../views/trackers.ts'
import { EXPORT_NOUNS, type ExportFormat, type ExportNoun } from './export-words.ts'
import { shownRows } from './shown-rows.ts'

const NOUNS = {
  bonds: { schema: bondSchema, rows: bondRows },
  makers: { schema: makerSchema, rows: makerRows },
  trackers: { schema: trackerSchema, rows: trackerRows },
  relays: { schema: relaySchema, rows: ({ relays }: Facts) => [...relays.rows()] },
} as const satisfies Record<ExportNoun, { schema: z.ZodObject; rows: (facts: Facts) => unknown[] }>

/** The whole export as text. In JSON all nouns unless one is named; in CSV one, bonds unless another is named. */
export function exportRows(facts: Facts, format: ExportFormat, noun?: ExportNoun): string {
  if (format === 'csv') {
    const { schema } = NOUNS[noun ?? 'bonds']
    return csv(schema, rowsOf(noun ?? 'bonds', facts))
  }
  const { network, height, block_hash, scanned_from, digest } = chainStatus(facts)
  const nouns = noun ? [noun] : EXPORT_NOUNS
  const rows = Object.fromEntries(nouns.map((name) => [name, rowsOf(name, facts)]))
  return `${JSON.stringify({ network, height, block_hash, scanned_from, digest, ...rows }, null, 2)}\n`
}

function rowsOf(noun: ExportNoun, facts: Facts): object[] {
  const { schema, rows } = NOUNS[noun]
  return shownRows<z.ZodObject>(noun, schema, rows(facts))
}

/** RFC 4180; a column for each field, in the schema's order, those of an object in an object joined by `_`. */
function csv(schema: z.ZodObject, rows: readonly object[]): string {
  const columns = columnsOf(schema)
  const lines = rows.map((row) => columns.map((path) => csvCell(valueAt(row, path))).join(','))
  return [columns.map((path) => path.join('_')).join(','), ...lines, ''].join('\r\n')
}

function columnsOf(schema: z.ZodObject): string[][] {
  return Object.entries(schema.shape).flatMap(([name, field]) => {
    const inner = field instanceof z.ZodNullable ? field.unwrap() : field
    return inner instanceof z.ZodObject ? columnsOf(inner).map((path) => [name, ...path]) : [[name]]
  })
}

function valueAt(row: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, name) => (value as Record<string, unknown> | null)?.[name] ?? null, row)
}

/** A stranger's text must not become a formula in somebody's spreadsheet. */
function csvCell(value: unknown): string {
  if (value === null) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const text = (Array.isArray(value) ? value.join(' ') : String(value)).replace(/^[=+\-@\t\r\n]/, "'$&")
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
