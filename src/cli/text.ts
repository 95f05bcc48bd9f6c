/** Text for people: tables, spends. */
import { formatOutpoint } from '../chain/types.ts'
import { utc } from '../format.ts'
import type { SpendFields } from '../wire/messages.ts'

/** Columns padded to their widest cell; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** One line: the outpoint, its state, and what makes it so. */
export function describeSpend(spend: SpendFields): string {
  const { outpoint, state, txid, vin, height, blockHash, firstSeenS, conflicts } = spend
  const parts = [formatOutpoint(outpoint), state.padEnd(9)]
  if (txid !== undefined) parts.push(`by ${txid}:${vin}`)
  if (height !== undefined) parts.push(`in block ${height} (${blockHash})`)
  if (firstSeenS !== undefined) parts.push(`first seen ${utc(firstSeenS * 1000)}`)
  if (conflicts && conflicts.length > 0) parts.push(`rivals ${conflicts.join(', ')}`)
  return parts.join('  ').trimEnd()
}
