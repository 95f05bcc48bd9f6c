/** Other trackers as rows. */
import { formatOutpoint } from '../chain/types.ts'
import type { Facts } from './facts.ts'
import type { TrackerRow } from './schemas/trackers.ts'

/** All that are known, by address. */
export function trackerRows({ trackers }: Pick<Facts, 'trackers'>): TrackerRow[] {
  return trackers.list().map(({ compared, digest, ...record }) => ({
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
