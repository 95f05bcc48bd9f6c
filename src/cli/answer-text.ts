/** What is said of one maker or one outpoint, as text for people. */
import { ANNOUNCEMENT_WANTED } from '../bonds/announcement.ts'
import { utc } from '../format.ts'
import type { SpendRow } from '../views/schemas/spends.ts'
import type { WhyRow } from '../views/schemas/why.ts'
import { bareName } from './openswap-name.ts'
import type { WhyTransaction } from './why-transaction.ts'

export function describeWhy({ address, listed, reasons }: WhyRow): string {
  const lines = reasons.map(({ code, text }) => `- ${code}: ${text}.`)
  const rest = reasons.length === 0 ? ', and nothing speaks against it' : ''
  const name = bareName(address)
  const forOpenSwap = listed && name !== undefined ? [`for OpenSwap's --maker-address: ${name}`] : []
  return [`${address} is ${listed ? 'listed' : 'NOT listed'}${rest}`, ...lines, ...forOpenSwap].join('\n')
}

export function describeWhyTransaction({ txid, found, announces, height, reasons, maker }: WhyTransaction): string {
  const lines = reasons.map((reason) => `- ${reason}.`)
  if (!found) return [`${txid} can't be read`, ...lines].join('\n')
  const where = height === null ? 'in the mempool' : `in block ${height}`
  if (!announces) return [`${txid}, ${where}, announces no bond`, ...lines, `${ANNOUNCEMENT_WANTED}.`].join('\n')
  const { address, format, amount, lock_height } = announces
  const until = lock_height === null ? '' : `, locked until block ${lock_height}`
  const head = `${txid}, ${where}, announces ${address} (format ${format}) with ${amount} sats in output 0${until}`
  return [head, ...lines, ...(maker ? [describeWhy(maker)] : [])].join('\n')
}

/** One line: the outpoint, its state, and what makes it so. */
export function describeSpend(row: SpendRow): string {
  const parts = [row.outpoint, row.state.padEnd(9)]
  if (row.txid !== null) parts.push(`by ${row.txid}:${row.vin}`)
  if (row.height !== null) parts.push(`in block ${row.height} (${row.block_hash})`)
  if (row.first_seen !== null) parts.push(`first seen ${utc(row.first_seen * 1000)}`)
  if (row.conflicts.length > 0) parts.push(`rivals ${row.conflicts.join(', ')}`)
  return parts.join('  ').trimEnd()
}
