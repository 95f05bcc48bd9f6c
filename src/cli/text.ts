/** Rows as text for people: what the verbs print without --json. */
import type { HeightRange } from '../chain/types.ts'
import type { Finding } from '../doctor/finding.ts'
import { utc } from '../format.ts'
import type {
  BondRow,
  ClientRow,
  MakerRow,
  RelayRow,
  SpendRow,
  StatusRow,
  TrackerRow,
  WhyRow,
} from '../views/schemas.ts'
import type { Watches } from './watches.ts'

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

/** What is not known is a dash. */
function cell(value: string | number | null | undefined): string {
  return String(value ?? '-')
}

// ---- this tracker ----------------------------------------------------------------------------------------------------

export function describeStatus(status: StatusRow): string {
  const lines: [string, string][] = []
  if (status.running) lines.push(...describeRunning(status))
  else {
    const seen = status.pid === null && status.started_at === null ? status.time : undefined
    lines.push(['daemon', `not running${seen === undefined ? '' : ` (last seen ${utc(seen * 1000)})`}`])
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
  return lines.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')
}

function describeRunning(status: StatusRow): [string, string][] {
  const { onion, bitcoind, mempool, nostr, progress, checks } = status
  const since = status.started_at === null ? '' : `, pid ${status.pid}, since ${utc(status.started_at * 1000)}`
  const blocksBy = bitcoind.blocks_by === null ? '' : `, blocks by ${bitcoind.blocks_by}`
  return [
    ['daemon', `${status.ready ? 'ready' : 'NOT READY'}${since}`],
    ...status.not_ready.map((reason): [string, string] => ['', `- ${reason}`]),
    ['address', status.address],
    ['onion', `${onion.state}: ${onion.detail}`],
    ...(onion.canary ? [['canary', describeCanary(onion.canary)] as [string, string]] : []),
    ...(nostr
      ? [['nostr', `${nostr.url}: ${nostr.events} events, ${nostr.connections} connections`] as [string, string]]
      : []),
    ...(checks.shared_store ? [['shared', checks.shared_store.detail] as [string, string]] : []),
    ['bitcoind', `${bitcoind.state}${blocksBy}`],
    ...bitcoind.warnings.map((warning): [string, string] => ['', `- ${warning}`]),
    ...(progress ? [['catching up', describeProgress(progress)] as [string, string]] : []),
    ['mempool', `${mempool.transactions} transactions${mempool.complete ? '' : ' (still reading)'}`],
    ['makers', `${status.makers_up} up, ${status.makers_down} down, ${status.makers_unknown} unknown`],
    ['watching', `${status.registrations} outpoints registered, ${status.subscriptions} subscriptions`],
    ['reorgs', `${status.reorgs}${status.reorgs ? `, deepest ${status.reorg_depth_max}` : ''}`],
  ]
}

function describeCanary({ state, detail, last_green: lastGreen }: NonNullable<StatusRow['onion']['canary']>): string {
  return `${state}: ${detail}${state === 'green' || lastGreen === null ? '' : `; last reached ${utc(lastGreen * 1000)}`}`
}

function describeProgress({ from, at, to, blocks_per_s, mb_per_s, eta_s }: NonNullable<StatusRow['progress']>): string {
  const percent = ((100 * (at - from + 1)) / Math.max(1, to - from + 1)).toFixed(1)
  const eta = eta_s === null ? '' : `, ${eta_s} s left`
  return `block ${at} of ${to} (${percent} %), ${blocks_per_s} blocks/s, ${mb_per_s} MB/s${eta}`
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

// ---- bonds and makers ------------------------------------------------------------------------------------------------

export function describeBonds(rows: readonly BondRow[], height: number | null, unseen?: HeightRange): string {
  if (height === null) return 'nothing scanned yet'
  if (rows.length === 0) return `no bonds at block ${height}${describeUnseen(unseen)}`
  const head = ['STATE', 'ADDRESS', 'FMT', 'SATS', 'VALUE', 'CONFIRMED', 'LOCK', 'LEFT', 'TODAY', 'MAKER', 'OUTPOINT']
  const body = rows.map((row) => [
    row.refusal ? `${row.state} (${row.refusal})` : row.state,
    row.address,
    row.format,
    cell(row.amount),
    cell(row.value),
    cell(row.conf_height),
    cell(row.lock_height),
    cell(row.blocks_left),
    describeToday(row),
    describeMaker(row),
    row.outpoint,
  ])
  return `${table([head, ...body])}\n${rows.length} bonds at block ${height}${describeUnseen(unseen)}`
}

/** Whether takers of today accept the announcement, or what they hold against it. */
function describeToday({ today, today_refusals }: Pick<BondRow, 'today' | 'today_refusals'>): string {
  if (today === null) return '-'
  return today ? 'yes' : `no: ${today_refusals?.join(', ') || 'no reason given'}`
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

function percentOf(ppm: number): string {
  return `${(Math.floor(ppm / 1000) / 10).toFixed(1)} %`
}

export function describeMakers(rows: readonly MakerRow[], height: number | null, unseen?: HeightRange): string {
  if (height === null) return 'nothing scanned yet'
  if (rows.length === 0) return `no makers at block ${height}${describeUnseen(unseen)}`
  const head = ['ADDRESS', 'REACH', 'PROOF', 'TODAY', 'VALUE', 'LEFT', 'UP 1d', 'UP 30d', 'FEE', 'SIZES', 'PROTOCOLS']
  const body = rows.map((row) => [
    row.address,
    row.reach,
    describeProof(row),
    row.bonds_today > 0 && !row.today ? 'by another bond' : describeToday(row),
    cell(row.value),
    cell(row.blocks_left),
    describeUptime(row.uptime_1d_ppm, row.probes_1d),
    describeUptime(row.uptime_ppm, row.probes),
    row.offer ? describeFee(row.offer) : row.offer_fault === null ? '-' : `broken: ${row.offer_fault}`,
    row.offer ? `${row.offer.min_size} to ${row.offer.max_size}` : '-',
    describeProtocols(row),
  ])
  return `${table([head, ...body])}\n${rows.length} makers at block ${height}; uptime of so many probes in brackets${describeUnseen(unseen)}`
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

function describeFee({
  base_fee,
  amount_relative_fee_pct,
  time_relative_fee_pct,
}: NonNullable<MakerRow['offer']>): string {
  return `${base_fee} sat + ${amount_relative_fee_pct} % + ${time_relative_fee_pct} %/block`
}

function describeUptime(ppm: number | null, probes: number): string {
  return ppm === null ? '-' : `${percentOf(ppm)} (${probes})`
}

export const MAKER_SORTS = ['value', 'uptime', 'fee', 'left'] as const
export type MakerSort = (typeof MAKER_SORTS)[number]

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

/** Live ones first by value, then the others, the youngest first. */
export function sortBonds(rows: readonly BondRow[]): BondRow[] {
  const order = (row: BondRow) => ['live', 'pending', 'expired', 'spent', 'refused'].indexOf(row.state)
  return rows.toSorted(
    (a, b) => order(a) - order(b) || b.value - a.value || (b.conf_height ?? 0) - (a.conf_height ?? 0),
  )
}

export function describeWhy({ address, listed, reasons }: WhyRow): string {
  const lines = reasons.map(({ code, text }) => `- ${code}: ${text}.`)
  const rest = reasons.length === 0 ? ', and nothing speaks against it' : ''
  return [`${address} is ${listed ? 'listed' : 'NOT listed'}${rest}`, ...lines].join('\n')
}

// ---- spends and trackers ---------------------------------------------------------------------------------------------

/** One line: the outpoint, its state, and what makes it so. */
export function describeSpend(row: SpendRow): string {
  const parts = [row.outpoint, row.state.padEnd(9)]
  if (row.txid !== null) parts.push(`by ${row.txid}:${row.vin}`)
  if (row.height !== null) parts.push(`in block ${row.height} (${row.block_hash})`)
  if (row.first_seen !== null) parts.push(`first seen ${utc(row.first_seen * 1000)}`)
  if (row.conflicts.length > 0) parts.push(`rivals ${row.conflicts.join(', ')}`)
  return parts.join('  ').trimEnd()
}

/** Of our own daemon's trackers; of somebody else's only what the wire tells. */
export function describeTrackers(
  rows: readonly (Partial<TrackerRow> & Pick<TrackerRow, 'address' | 'last_seen' | 'height' | 'agrees'>)[],
): string {
  if (rows.length === 0) return 'no other tracker is known: --trackers names some'
  const head = ['ADDRESS', 'FROM', 'VERSION', 'LAST SEEN', 'BLOCK', 'LIST']
  const body = rows.map((row) => [
    row.address,
    cell(row.source),
    cell(row.version),
    row.last_seen === null ? `never (${row.failure ?? 'not asked yet'})` : utc(row.last_seen * 1000),
    cell(row.height),
    describeAgreement(row),
  ])
  const differing = rows.flatMap(({ address, only_ours = [], only_theirs = [] }) => [
    ...only_ours.map((outpoint) => `${address} lacks ${outpoint}`),
    ...only_theirs.map((outpoint) => `${address} has ${outpoint}, we don't`),
  ])
  return [table([head, ...body]), ...differing].join('\n')
}

function describeAgreement({ agrees, compared_height, failures = 0 }: Partial<TrackerRow>): string {
  const silence = failures > 0 ? `, silent ${failures} times since` : ''
  if (agrees === null || agrees === undefined) return `not compared${silence}`
  const at = compared_height === undefined ? '' : ` at block ${compared_height}`
  return `${agrees ? 'agrees' : 'DIFFERS'}${at}${silence}`
}

// ---- relays ----------------------------------------------------------------------------------------------------------

export function describeRelays(rows: readonly RelayRow[]): string {
  if (rows.length === 0) return 'no relay is watched: --nostr-relays names some'
  const head = ['RELAY', 'STATE', 'ANNOUNCED', 'MISSING', 'DEAD', 'INVALID', 'DELAY', 'LAST READ']
  const body = rows.map((row) => [
    row.url,
    row.state,
    cell(row.announced),
    cell(row.missing),
    cell(row.dead),
    cell(row.invalid),
    row.delay_s === null ? '-' : `${row.delay_s} s (${row.delays})`,
    row.last_read === null ? 'never' : utc(row.last_read * 1000),
  ])
  return [table([head, ...body]), ...rows.flatMap(describeRelay)].join('\n')
}

/** What is to be said of one relay beside its counts, a line each. */
function describeRelay({ url, ...row }: RelayRow): string[] {
  const lines: string[] = []
  if (row.failure !== null) lines.push(`not read, ${row.failures} times in a row: ${row.failure}`)
  if (row.slowed) lines.push('it sends faster than it is read')
  const faults = Object.entries(row.invalid_by ?? {}).filter(([, events]) => events > 0)
  if (faults.length > 0) lines.push(`not valid: ${faults.map(([fault, events]) => `${events} ${fault}`).join(', ')}`)
  for (const outpoint of row.missing_bonds) lines.push(`lacks ${outpoint}`)
  for (const notice of row.notices) lines.push(`said ${notice}`)
  if (row.publishing) lines.push(describePublishing(row.publishing))
  return lines.map((line) => `${url} ${line}`)
}

function describePublishing({ refusal, resumes_at, ...outcomes }: NonNullable<RelayRow['publishing']>): string {
  const sent = Object.entries(outcomes).filter(([, events]) => events > 0)
  const counts = sent.length > 0 ? sent.map(([outcome, events]) => `${events} ${outcome}`).join(', ') : 'nothing yet'
  if (refusal === null || resumes_at === null) return `published: ${counts}`
  return `published: ${counts}; nothing until ${utc(resumes_at * 1000)}: ${refusal}`
}

// ---- who is connected ------------------------------------------------------------------------------------------------

/** Of many connections these are told one by one. */
const CLIENTS_SHOWN = 50

/** `rows`: those that cost most first. */
export function describeClients(rows: readonly ClientRow[]): string {
  if (rows.length === 0) return 'nobody is connected'
  const head = [
    'ID',
    'DOOR',
    'SINCE',
    'GROUP',
    'REQUESTS',
    'SUBSCRIBED',
    'UNITS',
    'LATELY',
    'LEFT',
    'UNSENT',
    'CIRCUIT',
  ]
  const body = rows
    .slice(0, CLIENTS_SHOWN)
    .map((row) => [
      cell(row.id),
      row.door,
      utc(row.since * 1000),
      row.group,
      cell(row.requests),
      cell(row.subscriptions),
      cell(row.units),
      cell(row.units_lately),
      cell(row.units_left),
      cell(row.unsent_bytes),
      cell(row.circuit),
    ])
  const sum = (of: (row: ClientRow) => number) => rows.reduce((total, row) => total + of(row), 0)
  const spent = rows.filter(({ units_left }) => units_left < 1).length
  const rest = rows.length > CLIENTS_SHOWN ? `, of which the ${CLIENTS_SHOWN} that cost most are shown` : ''
  return `${table([head, ...body])}\n${rows.length} connections${rest}; ${sum((row) => row.subscriptions)} subscriptions; ${spent} have spent their allowance`
}

export function describeWatches({ count, places, unfunded, height, ends }: Watches): string {
  const lines = [
    `${count} of ${places} places taken${height === null ? '' : `, at block ${height}`}`,
    `${unfunded} of them wait for their funding`,
  ]
  for (const { from, to, count } of ends) lines.push(`${String(count).padStart(8)}  end at block ${from} to ${to}`)
  return lines.join('\n')
}
