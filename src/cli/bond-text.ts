/** Bonds as text for people, in the order in which every verb shows them. */
import { compareOutpoints } from '../bonds/digest.ts'
import { BOND_STATES } from '../bonds/types.ts'
import { type HeightRange, parseOutpoint } from '../chain/types.ts'
import { blockSpan, utc } from '../format.ts'
import type { BondRow } from '../views/schemas/bonds.ts'
import { type Column, orDash, type TableLook, table } from './table.ts'

const COLUMNS: readonly Column<BondRow>[] = [
  { head: 'STATE', rank: 1, cell: ({ state, refusal }) => (refusal ? `${state} (${refusal})` : state) },
  { head: 'ADDRESS', rank: 0, cell: ({ address }) => address },
  { head: 'FMT', rank: 6, cell: ({ format }) => format },
  { head: 'SATS', rank: 3, isNumber: true, cell: ({ amount }) => orDash(amount) },
  { head: 'VALUE', rank: 1, isNumber: true, cell: describeValue },
  { head: 'CONFIRMED', rank: 7, isNumber: true, cell: describeConfirmed },
  { head: 'LOCK', rank: 5, isNumber: true, cell: ({ lock_height }) => orDash(lock_height) },
  { head: 'LEFT', rank: 1, isNumber: true, cell: ({ blocks_left }) => describeLeft(blocks_left) },
  { head: 'TODAY', rank: 8, cell: describeToday },
  { head: 'MAKER', rank: 4, cell: describeMaker },
  { head: 'OUTPOINT', rank: 9, cell: ({ outpoint }) => outpoint },
]

export function describeBonds(
  rows: readonly BondRow[],
  look: TableLook,
  height: number | null,
  unseen?: HeightRange,
): string {
  const shown = table(COLUMNS, rows, look)
  if (height === null) return 'nothing scanned yet'
  if (rows.length === 0) return `no bonds at block ${height}${describeUnseen(unseen)}`
  return `${shown}\n${rows.length} bonds at block ${height}${describeUnseen(unseen)}`
}

/** Live ones first by value, then the others, the youngest first; equals in the order of lists on the wire. */
export function sortBonds(rows: readonly BondRow[]): BondRow[] {
  const order = ({ state }: BondRow) => STATE_ORDER.indexOf(state)
  const place = (row: BondRow) => parseOutpoint(row.outpoint)!
  return rows.toSorted(
    (a, b) =>
      order(a) - order(b) ||
      b.value - a.value ||
      (b.conf_height ?? 0) - (a.conf_height ?? 0) ||
      compareOutpoints(place(a), place(b)),
  )
}

const STATE_ORDER: readonly BondRow['state'][] = ['live', ...BOND_STATES.filter((state) => state !== 'live')]

/** What has no value because no lock was announced is not worth nothing: nobody knows. */
export function describeValue({ value, lock_height }: Pick<BondRow, 'value' | 'lock_height'>): string {
  return lock_height === null ? '-' : String(value)
}

/** `34 days (4960)`: about how long, and the blocks. */
export function describeLeft(blocks: number | null): string {
  return blocks === null ? '-' : `${blockSpan(blocks)} (${blocks})`
}

function describeConfirmed({ conf_height, block_time }: BondRow): string {
  if (conf_height === null) return '-'
  return block_time === null ? String(conf_height) : `${conf_height} (${utc(block_time * 1000).slice(0, 10)})`
}

/** Whether takers of today accept the announcement, or what they hold against it. */
export function describeToday({
  today,
  today_refusals,
  format,
}: Pick<BondRow, 'today' | 'today_refusals' | 'format'>): string {
  if (today === null) return '-'
  const isOld = format !== 'D'
  const words = (today_refusals ?? []).map((code) => (isOld && code === 'text-format' ? `old format ${format}` : code))
  return today ? 'yes' : `no: ${words.join(', ') || 'no reason given'}`
}

/** The line under a list that is not whole; nothing under one that is. */
export function describeUnseen(unseen: HeightRange | undefined): string {
  if (!unseen) return ''
  return `\nPARTIAL: blocks ${unseen.from} to ${unseen.to} were never read, bonds confirmed there are missing`
}

function describeMaker({ reach, proven, probes, uptime_ppm }: BondRow): string {
  const parts: string[] = [reach]
  if (uptime_ppm !== null) parts.push(`${percentOf(uptime_ppm)} of ${probes}`)
  if (proven) parts.push('proven')
  return parts.join(', ')
}

export function percentOf(ppm: number): string {
  return `${(Math.floor(ppm / 1000) / 10).toFixed(1)} %`
}
