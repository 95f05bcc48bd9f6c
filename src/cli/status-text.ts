/** How a tracker is doing, ours or another one, and what doctor has found, as text for people. */
import type { Finding } from '../doctor/finding.ts'
import { ago, span, utc, utcMinute } from '../format.ts'
import type { StatusRow } from '../views/schemas/status.ts'

type Line = [name: string, value: string]

function aligned(lines: readonly Line[]): string {
  const width = Math.max(12, ...lines.map(([name]) => name.length + 2))
  return lines.map(([name, value]) => name.padEnd(width) + value).join('\n')
}

export function describeStatus(status: StatusRow, nowMs: number): string {
  const lines: Line[] = []
  if (status.running) lines.push(...describeRunning(status, nowMs))
  else {
    const seen = status.pid === null && status.started_at === null ? status.time : undefined
    const when = seen === undefined ? '' : ` (last seen ${utcMinute(seen * 1000)}, ${ago(seen, nowMs)})`
    lines.push(['daemon', `not running${when}`])
    if (status.onion.address !== null) lines.push(['address', status.address])
  }
  lines.push(['network', status.network])
  if (status.height === null) lines.push(['chain', 'nothing scanned yet'])
  else {
    lines.push(['chain', `block ${status.height} (${status.block_hash}), scanned from ${status.scanned_from}`])
    if (status.unseen) {
      const { from, to } = status.unseen
      lines.push(['NOT SEEN', `blocks ${from} to ${to} were never read: bonds confirmed there are not known`])
    }
    const soFar = status.running && !status.synced ? ' so far' : ''
    lines.push(['live bonds', `${status.bonds}${soFar}, digest ${status.digest}`])
  }
  return aligned(lines)
}

function describeRunning(status: StatusRow, nowMs: number): Line[] {
  const { onion, bitcoind, mempool, nostr, progress, checks, started_at: started } = status
  const since =
    started === null ? '' : `, pid ${status.pid}, since ${utcMinute(started * 1000)} (${ago(started, nowMs)})`
  const blocksBy = bitcoind.blocks_by === null ? '' : `, blocks by ${bitcoind.blocks_by}`
  return [
    ['daemon', `${status.ready ? 'ready' : 'NOT READY'}${since}`],
    ...status.not_ready.map((reason): Line => ['', `- ${reason}`]),
    ['address', status.address],
    ['onion', `${onion.state}: ${onion.detail}`],
    ...(onion.canary ? [['canary', describeCanary(onion.canary)] as Line] : []),
    ...(nostr ? [['nostr', `${nostr.url}: ${nostr.events} events, ${nostr.connections} connections`] as Line] : []),
    ...(checks.shared_store ? [['shared', checks.shared_store.detail] as Line] : []),
    ['bitcoind', `${bitcoind.state}${blocksBy}`],
    ...bitcoind.warnings.map((warning): Line => ['', `- ${warning}`]),
    ...(progress ? [['catching up', describeProgress(progress)] as Line] : []),
    ['mempool', `${mempool.transactions} transactions${mempool.complete ? '' : ' (still reading)'}`],
    ['makers', `${status.makers_up} up, ${status.makers_down} down, ${status.makers_unknown} unknown`],
    ['watching', `${status.registrations} outpoints registered, ${status.subscriptions} subscriptions`],
    ['reorgs', `${status.reorgs}${status.reorgs ? `, deepest ${status.reorg_depth_max}` : ''}`],
  ]
}

function describeCanary({ state, detail, last_green: lastGreen }: NonNullable<StatusRow['onion']['canary']>): string {
  return `${state}: ${detail}${state === 'green' || lastGreen === null ? '' : `; last reached ${utcMinute(lastGreen * 1000)}`}`
}

function describeProgress({ from, at, to, blocks_per_s, mb_per_s, eta_s }: NonNullable<StatusRow['progress']>): string {
  const percent = ((100 * (at - from + 1)) / Math.max(1, to - from + 1)).toFixed(1)
  const eta = eta_s === null ? '' : `, ${span(eta_s)} left`
  return `block ${at} of ${to} (${percent} %), ${blocks_per_s} blocks/s, ${mb_per_s} MB/s${eta}`
}

/** What another tracker says of itself, by the names that its JSON has; what it doesn't say is left out. */
export function describeFields(fields: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(fields).flatMap(([name, value]): Line[] =>
    value === null ? [] : [[name.replaceAll('_', ' ').replace(/ s$/, ''), describeField(name, value)]],
  )
  return aligned(lines)
}

function describeField(name: string, value: unknown): string {
  if (name === 'uptime_s') return span(Number(value))
  if (name === 'block_time') return utc(Number(value) * 1000)
  if (name === 'unseen') {
    const { from, to } = value as { from: number; to: number }
    return `blocks ${from} to ${to} were never read: bonds confirmed there are missing`
  }
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value)
}

/** Doctor's findings: a line each, and under it what to type. */
export function describeDoctor(findings: readonly Finding[]): string {
  const marks = { ok: '✓', warning: '!', failure: '✗' } as const
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, level, text, fix }) => [
    `${marks[level]} ${check.padEnd(width)}  ${text}`,
    ...(fix === undefined ? [] : [`  ${' '.repeat(width)}  → ${fix}`]),
  ])
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length
  lines.push('', `${count('ok')} fine, ${count('warning')} to look at, ${count('failure')} to repair`)
  return lines.join('\n')
}
