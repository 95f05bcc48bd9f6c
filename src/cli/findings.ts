/** What `verify` has found out about a tracker, as values, text and JSON. */
import type { Difference } from '../bonds/check-row.ts'
import { type BlockRef, formatOutpoint, type Outpoint } from '../chain/types.ts'
import { printable } from '../format.ts'

export interface Invention {
  outpoint?: Outpoint
  address: string
  /** The fields that differ from what our node says; none where only the address is known (v1). */
  differences: Difference[]
}

export interface Omission {
  outpoint: Outpoint
  address: string
  value: number
}

export interface Findings {
  tracker: string
  protocol: 1 | 2
  /** Where both were; v1 doesn't say. */
  block?: BlockRef
  rows: number
  invents: Invention[]
  omits: Omission[]
  /** Why `omits` may lack something. */
  omitsUnjudged?: string
  /** Rows that hold as far as they can be judged: our node has pruned the block that has their announcement. */
  unchecked: Outpoint[]
  /** What the list says of itself and is not so. */
  list: Difference[]
  agrees: boolean
}

export function describeFindings(findings: Findings): string {
  const { tracker, protocol, block, rows, invents, omits, omitsUnjudged, unchecked, list, agrees } = findings
  const at = block ? ` at block ${block.height} (${block.hash})` : ''
  const lines = [`${tracker}, protocol v${protocol}${at}: ${rows} ${protocol === 2 ? 'live bonds' : 'makers'}`]
  const show = ({ field, says, is }: Difference) => `${field}: says ${printable(String(says))}, is ${is}`
  for (const { outpoint, address, differences } of invents) {
    lines.push(`INVENTS  ${outpoint ? `${formatOutpoint(outpoint)}  ` : ''}${printable(address)}`)
    for (const difference of differences) lines.push(`         ${show(difference)}`)
  }
  for (const { outpoint, address, value } of omits) {
    lines.push(`OMITS    ${formatOutpoint(outpoint)}  ${address}  value ${value}`)
  }
  for (const difference of list) lines.push(`DIFFERS  ${show(difference)}`)
  for (const outpoint of unchecked)
    lines.push(`UNSURE   ${formatOutpoint(outpoint)}: its announcement is in a block that bitcoind has pruned`)
  if (omitsUnjudged !== undefined) {
    lines.push(protocol === 2 ? `What it omits can't be judged in full: ${omitsUnjudged}.` : `${omitsUnjudged}.`)
  }
  lines.push(agrees ? 'agrees' : `differs: ${invents.length} invented, ${omits.length} omitted`)
  return lines.join('\n')
}

export function jsonOfFindings(findings: Findings): Record<string, unknown> {
  const { tracker, protocol, block, rows, invents, omits, omitsUnjudged, unchecked, list, agrees } = findings
  const outpointText = (outpoint: Outpoint | undefined) => (outpoint ? formatOutpoint(outpoint) : null)
  return {
    tracker,
    protocol,
    height: block?.height ?? null,
    block_hash: block?.hash ?? null,
    agrees,
    rows,
    invents: invents.map(({ outpoint, ...rest }) => ({ outpoint: outpointText(outpoint), ...rest })),
    omits: omits.map(({ outpoint, ...rest }) => ({ outpoint: outpointText(outpoint), ...rest })),
    omits_unjudged: omitsUnjudged ?? null,
    unchecked: unchecked.map(formatOutpoint),
    list,
  }
}
