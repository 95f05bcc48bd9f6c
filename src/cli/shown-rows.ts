/** Rows on their way to the terminal. */
import type { z } from 'zod'
import { soundRows } from '../views/broken.ts'

/** Rows that can be shown. The others cost them nothing, but are not passed over in silence. */
export function shownRows<S extends z.ZodType>(list: string, schema: S, rows: readonly z.input<S>[]): z.output<S>[] {
  const { rows: whole, broken } = soundRows(list, schema, rows)
  for (const { row, fault } of broken) process.stderr.write(`${list}: ${row} can't be shown: ${fault}\n`)
  return whole
}
