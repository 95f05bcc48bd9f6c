/** Makers as text for people, and the orders in which they may stand. */
import type { HeightRange } from '../chain/types.ts'
import type { MakerRow } from '../views/schemas/makers.ts'
import { describeLeft, describeToday, describeUnseen, describeValue, percentOf } from './bond-text.ts'
import type { MakerSort } from './maker-sorts.ts'
import { bareName, OPENSWAP_HINT } from './openswap-name.ts'
import { type Column, orDash, type TableLook, table } from './table.ts'

const COLUMNS: readonly Column<MakerRow>[] = [
  { head: 'ADDRESS', rank: 0, cell: ({ address }) => address },
  { head: 'REACH', rank: 1, cell: ({ reach }) => reach },
  { head: 'PROOF', rank: 3, cell: describeProof },
  { head: 'TODAY', rank: 5, cell: (row) => (isTodayByAnother(row) ? 'by another bond' : describeToday(row)) },
  { head: 'VALUE', rank: 1, isNumber: true, cell: describeValue },
  { head: 'LEFT', rank: 4, isNumber: true, cell: ({ blocks_left }) => describeLeft(blocks_left) },
  { head: 'UP 1d', rank: 8, isNumber: true, cell: (row) => describeUptime(row.uptime_1d_ppm, row.probes_1d) },
  { head: 'UP 30d', rank: 2, isNumber: true, cell: (row) => describeUptime(row.uptime_ppm, row.probes) },
  { head: 'FEE', rank: 6, cell: describeFee },
  { head: 'SIZES', rank: 7, cell: ({ offer }) => (offer ? `${offer.min_size} to ${offer.max_size}` : '-') },
  { head: 'PROTOCOLS', rank: 9, cell: describeProtocols },
  { head: 'NAME', rank: 9, isExtra: true, cell: ({ address }) => orDash(bareName(address)) },
]

export function describeMakers(
  rows: readonly MakerRow[],
  look: TableLook,
  height: number | null,
  unseen?: HeightRange,
): string {
  const shown = table(COLUMNS, rows, look)
  if (height === null) return 'nothing scanned yet'
  if (rows.length === 0) return `no makers at block ${height}${describeUnseen(unseen)}`
  const under = `${rows.length} makers at block ${height}; uptime of so many probes in brackets${describeUnseen(unseen)}`
  return [shown, under, ...(rows.some(({ address }) => bareName(address)) ? [OPENSWAP_HINT] : [])].join('\n')
}

function isTodayByAnother({ bonds_today, today }: MakerRow): boolean {
  return bonds_today > 0 && !today
}

function describeProof({ proven, proof_failed, proof_note }: MakerRow): string {
  if (!proven) return proof_failed ?? '-'
  return proof_note === null ? 'proven' : 'proven (older takers refuse it)'
}

/** As it lists them, and Lightning from its offer: `in` is from the chain to Lightning. */
function describeProtocols({ protocols, offer }: MakerRow): string {
  const { swap_in = false, swap_out = false } = offer?.lightning ?? {}
  const ways = [swap_in && 'in', swap_out && 'out'].filter(Boolean).join(' and ')
  const all = [...(protocols ?? []), ...(ways ? [`Lightning ${ways}`] : [])]
  return all.join(', ') || '-'
}

function describeFee({ offer, offer_fault }: MakerRow): string {
  if (!offer) return offer_fault === null ? '-' : `broken: ${offer_fault}`
  const { base_fee, amount_relative_fee_pct, time_relative_fee_pct } = offer
  return `${base_fee} sat + ${amount_relative_fee_pct} % + ${time_relative_fee_pct} %/block`
}

function describeUptime(ppm: number | null, probes: number): string {
  return ppm === null ? '-' : `${percentOf(ppm)} (${probes})`
}

/** Best first; equals stay in the order of the list; what is not known comes last. */
export function sortMakers(rows: readonly MakerRow[], by: MakerSort): MakerRow[] {
  const fee = ({ offer }: MakerRow) => offer?.swap_fee ?? Number.MAX_SAFE_INTEGER
  const better: Record<MakerSort, (a: MakerRow, b: MakerRow) => number> = {
    value: (a, b) => b.value - a.value,
    uptime: (a, b) => (b.uptime_ppm ?? -1) - (a.uptime_ppm ?? -1) || b.probes - a.probes,
    fee: (a, b) => fee(a) - fee(b),
    left: (a, b) => b.blocks_left - a.blocks_left,
  }
  return rows.toSorted(better[by])
}
