/** The trackers verb: who else answers takers, and whether their lists are ours. Read from the store. */
import { formatOutpoint } from '../chain/types.ts'
import { utc } from '../format.ts'
import type { Db } from '../store/open.ts'
import { readTrackers } from '../store/trackers.ts'
import { table } from './text.ts'

/** As JSON. Times in Unix seconds. */
interface TrackerRow {
  address: string
  source: 'configured' | 'learnt'
  version: string | null
  last_seen: number | null
  height: number | null
  digest: string | null
  agrees: boolean | null
  compared_height: number | null
  only_ours: string[]
  only_theirs: string[]
  failures: number
  failure: string | null
}

export function readTrackerRows(db: Db): TrackerRow[] {
  return readTrackers(db).map(({ compared, digest, ...record }) => ({
    address: record.address,
    source: record.source,
    version: record.version ?? null,
    last_seen: record.seenS ?? null,
    height: record.height ?? null,
    digest: digest === undefined ? null : Buffer.from(digest).toString('hex'),
    agrees: compared?.agrees ?? null,
    compared_height: compared?.height ?? null,
    only_ours: (compared?.onlyOurs ?? []).map(formatOutpoint),
    only_theirs: (compared?.onlyTheirs ?? []).map(formatOutpoint),
    failures: record.failures,
    failure: record.failure ?? null,
  }))
}

export function describeTrackers(rows: readonly TrackerRow[]): string {
  if (rows.length === 0) return 'no other tracker is known: name some with --trackers'
  const head = ['ADDRESS', 'FROM', 'VERSION', 'LAST SEEN', 'BLOCK', 'LIST']
  const body = rows.map((row) => [
    row.address,
    row.source,
    row.version ?? '-',
    row.last_seen === null ? `never (${row.failure ?? 'not asked yet'})` : utc(row.last_seen * 1000),
    String(row.height ?? '-'),
    describeAgreement(row),
  ])
  const differing = rows.flatMap(({ address, only_ours, only_theirs }) => [
    ...only_ours.map((outpoint) => `${address} lacks ${outpoint}`),
    ...only_theirs.map((outpoint) => `${address} has ${outpoint}, we don't`),
  ])
  return [table([head, ...body]), ...differing].join('\n')
}

function describeAgreement({ agrees, compared_height, failures }: TrackerRow): string {
  const silence = failures > 0 ? `, silent ${failures} times since` : ''
  if (agrees === null) return `not compared${silence}`
  return `${agrees ? 'agrees' : 'DIFFERS'} at block ${compared_height}${silence}`
}
