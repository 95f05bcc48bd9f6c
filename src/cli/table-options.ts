/** The options of every verb that prints a table, and how this terminal looks at one. */
import { type Command, Option } from 'commander'
import type { Clock } from '../world.ts'
import type { TableLook } from './table.ts'

/** Narrower ones are as good as none. */
const WIDTH_MIN = 20

export const WIDE = new Option('--wide', 'all columns, however wide; so it is by itself where no terminal reads them')
export const COLUMNS = new Option('--columns <names>', 'these columns, in this order, separated by commas')
  .argParser((value: string) => value.split(','))
  .conflicts(['wide', 'json'])

/** COLUMNS in the environment goes before what the terminal says of itself, as with other programs. */
export function lookOf(command: Command, clock: Pick<Clock, 'nowMs'>): TableLook {
  const { wide, columns } = command.opts<{ wide?: boolean; columns?: readonly string[] }>()
  const { isTTY, columns: ofTerminal } = process.stdout
  const said = Number(process.env.COLUMNS)
  const width = Number.isInteger(said) && said >= WIDTH_MIN ? said : ofTerminal
  return { width: isTTY && !wide && width >= WIDTH_MIN ? width : undefined, columns, nowMs: clock.nowMs() }
}
