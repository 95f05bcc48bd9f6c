/** Other trackers and public relays, as text for people. */
import { ago, span, utcMinute } from '../format.ts'
import type { RelayRow } from '../views/schemas/relays.ts'
import type { TrackerRow } from '../views/schemas/trackers.ts'
import { type Column, orDash, type TableLook, table } from './table.ts'

/** Of our own daemon's trackers; of somebody else's only what the wire tells. */
type ToldTracker = Partial<TrackerRow> & Pick<TrackerRow, 'address' | 'last_seen' | 'height' | 'agrees'>

function trackerColumns({ nowMs }: TableLook): readonly Column<ToldTracker>[] {
  return [
    { head: 'ADDRESS', rank: 0, cell: ({ address }) => address },
    { head: 'FROM', rank: 4, cell: ({ source }) => orDash(source) },
    { head: 'VERSION', rank: 5, cell: ({ version }) => orDash(version) },
    {
      head: 'LAST SEEN',
      rank: 2,
      cell: ({ last_seen, failure }) =>
        last_seen === null ? `never (${failure ?? 'not asked yet'})` : ago(last_seen, nowMs),
    },
    { head: 'BLOCK', rank: 3, isNumber: true, cell: ({ height }) => orDash(height) },
    { head: 'LIST', rank: 1, cell: describeAgreement },
  ]
}

export function describeTrackers(rows: readonly ToldTracker[], look: TableLook): string {
  const shown = table(trackerColumns(look), rows, look)
  if (rows.length === 0) return 'no other tracker is known: --trackers names some'
  const differing = rows.flatMap(({ address, only_ours = [], only_theirs = [] }) => [
    ...only_ours.map((outpoint) => `${address} lacks ${outpoint}`),
    ...only_theirs.map((outpoint) => `${address} has ${outpoint}, we don't`),
  ])
  return [shown, ...differing].join('\n')
}

function describeAgreement({ agrees, compared_height, failures = 0 }: Partial<TrackerRow>): string {
  const silence = failures > 0 ? `, silent ${failures} times since` : ''
  if (agrees === null || agrees === undefined) return `not compared${silence}`
  const at = compared_height === undefined ? '' : ` at block ${compared_height}`
  return `${agrees ? 'agrees' : 'DIFFERS'}${at}${silence}`
}

function relayColumns({ nowMs }: TableLook): readonly Column<RelayRow>[] {
  return [
    { head: 'RELAY', rank: 0, cell: ({ url }) => url },
    { head: 'STATE', rank: 1, cell: ({ state }) => state },
    { head: 'ANNOUNCED', rank: 1, isNumber: true, cell: ({ announced }) => orDash(announced) },
    { head: 'MISSING', rank: 1, isNumber: true, cell: ({ missing }) => orDash(missing) },
    { head: 'DEAD', rank: 4, isNumber: true, cell: ({ dead }) => orDash(dead) },
    { head: 'INVALID', rank: 5, isNumber: true, cell: ({ invalid }) => orDash(invalid) },
    {
      head: 'DELAY',
      rank: 3,
      isNumber: true,
      cell: ({ delay_s, delays }) => (delay_s === null ? '-' : `${span(delay_s)} (${delays})`),
    },
    {
      head: 'LAST READ',
      rank: 2,
      cell: ({ last_read }) => (last_read === null ? 'never' : ago(last_read, nowMs)),
    },
  ]
}

export function describeRelays(rows: readonly RelayRow[], look: TableLook): string {
  const shown = table(relayColumns(look), rows, look)
  if (rows.length === 0) return 'no relay is watched: --nostr-relays names some'
  return [shown, ...rows.flatMap(describeRelay)].join('\n')
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
  return `published: ${counts}; nothing until ${utcMinute(resumes_at * 1000)}: ${refusal}`
}
