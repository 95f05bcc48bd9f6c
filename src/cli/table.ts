/**
 * Tables for people: as many columns as the terminal has room for, all of them where there is none (a pipe, a file). What
 * can be pasted somewhere is never cut: where it leaves no room beside it, it has a line of its own. Pure.
 */
import { ConfigError } from '../errors.ts'
import { printable } from '../format.ts'

export interface Column<R> {
  /** The head; in lower case, with hyphens for spaces, the name that --columns takes. */
  head: string
  /** 0: what the row is about, exactly one column. 1: always wanted. Above: the highest goes first where room is short. */
  rank: number
  /** Numbers stand to the right. */
  isNumber?: true
  /** Shown only where --columns names it. */
  isExtra?: true
  cell(row: R): string
}

/** How and when somebody looks. */
export interface TableLook {
  /** Of the terminal, in characters; undefined: nothing is left out. */
  width: number | undefined
  /** Those that --columns names, in this order. */
  columns?: readonly string[] | undefined
  nowMs: number
}

/** Between two columns. */
const GAP = '  '
/** Before the second line of a row. */
const INDENT = '  '

/** What is not known is a dash. */
export function orDash(value: string | number | null | undefined): string {
  return String(value ?? '-')
}

/** The rows with their head; the last line says what was left out, if anything was. Throws ConfigError for a column there isn't. */
export function table<R>(columns: readonly Column<R>[], rows: readonly R[], look: TableLook): string {
  const fitting = (some: readonly Column<R>[]): Laid<R> => layOut(some, rows)
  if (look.columns) return lines(fitting(named(columns, look.columns))).join('\n')
  const all = columns.filter(({ isExtra }) => !isExtra)
  const room = look.width ?? Number.MAX_SAFE_INTEGER
  const whole = narrowed(fitting(all), room, 1)
  if (whole.width <= room) return [...lines(whole), ...leftOut(all, whole.columns)].join('\n')
  const subject = fitting(all.filter(({ rank }) => rank === 0))
  const rest = narrowed(fitting(all.filter(({ rank }) => rank > 0)), room - INDENT.length, 0)
  const above = lines(subject)
  const below = lines(rest)
  const pairs = above.flatMap((line, i) => [line, INDENT + below[i]!])
  return [...pairs, ...leftOut(all, [...subject.columns, ...rest.columns])].join('\n')
}

/** Columns with their texts, the head first. */
interface Laid<R> {
  columns: readonly Column<R>[]
  cells: readonly (readonly string[])[]
  widths: readonly number[]
  width: number
}

function layOut<R>(columns: readonly Column<R>[], rows: readonly R[]): Laid<R> {
  const cells = columns.map(({ head, cell }) => [head, ...rows.map(cell)])
  const widths = cells.map((texts) => texts.reduce((widest, text) => Math.max(widest, text.length), 0))
  const width = widths.reduce((sum, one) => sum + one, 0) + GAP.length * Math.max(0, columns.length - 1)
  return { columns, cells, widths, width }
}

/** Without the columns of the highest ranks, as many as it takes; those of `rankKept` and below, and one at the least, stay. */
function narrowed<R>(laid: Laid<R>, room: number, rankKept: number): Laid<R> {
  let { columns, cells, widths, width } = laid
  while (width > room && columns.length > 1) {
    const ranks = columns.map(({ rank }) => rank)
    const highest = Math.max(...ranks)
    if (highest <= rankKept) break
    const at = ranks.lastIndexOf(highest)
    width -= widths[at]! + GAP.length
    const without = <T>(list: readonly T[]) => list.filter((_, i) => i !== at)
    columns = without(columns)
    cells = without(cells)
    widths = without(widths)
  }
  return { columns, cells, widths, width }
}

function lines<R>({ columns, cells, widths }: Laid<R>): string[] {
  return cells[0]!.map((_, line) =>
    columns
      .map(({ isNumber }, i) => {
        const text = cells[i]![line]!
        return isNumber ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)
      })
      .join(GAP)
      .trimEnd(),
  )
}

function leftOut<R>(all: readonly Column<R>[], shown: readonly Column<R>[]): string[] {
  const names = all.filter((column) => !shown.includes(column)).map(nameOf)
  return names.length === 0 ? [] : [`(no room for ${names.join(', ')}: --wide shows all)`]
}

function nameOf({ head }: Pick<Column<never>, 'head'>): string {
  return head.toLowerCase().replaceAll(' ', '-')
}

function named<R>(columns: readonly Column<R>[], names: readonly string[]): Column<R>[] {
  return names.map((name) => {
    const column = columns.find((one) => nameOf(one) === name.trim().toLowerCase())
    if (column) return column
    throw new ConfigError(
      `--columns: there is no column ${JSON.stringify(printable(name.trim(), 40))} here; there are ${columns.map(nameOf).join(', ')}`,
    )
  })
}
