/** All that is shared of a tracker's own file, in pages: for a shared store that has never seen it, or may have lost some of it. */
import type { Outpoint } from '../../chain/types.ts'
import { slicesOf } from '../../slices.ts'
import type { Db } from '../open.ts'
import { makerNews, readMakers, readOffers, readProofs, readProofsTakenBack } from './makers.ts'
import { type HourKey, readHoursAfter, readProbesAfter } from './probes.ts'
import { readRegistrationPage } from './registrations.ts'
import type { SharedNews } from './store.ts'
import { provenNews, withoutMakerId } from './untold.ts'

const LIMITS = {
  /** Rows of a page: some milliseconds to read. */
  rows: 1_000,
}

/** Each page is read when it is asked for: what is written meanwhile may be in it or not. */
export function* wholeFile(db: Db): Generator<SharedNews> {
  for (let after: Outpoint | undefined; ; ) {
    const registrations = readRegistrationPage(db, after, LIMITS.rows)
    if (registrations.length === 0) break
    yield { registrations }
    after = registrations.at(-1)!.outpoint
  }
  const offers = readOffers(db)
  const makers = readMakers(db).map((record) => makerNews(record, offers.get(record.address)))
  for (const some of slicesOf(makers, LIMITS.rows)) yield { makers: some }
  const proofs = [...[...readProofs(db).values()].map(provenNews), ...readProofsTakenBack(db)]
  for (const some of slicesOf(proofs, LIMITS.rows)) yield { proofs: some }
  for (let afterId = 0; ; ) {
    const probes = readProbesAfter(db, afterId, LIMITS.rows)
    if (probes.length === 0) break
    yield { probes: probes.map(({ id: _, ...probe }) => probe) }
    afterId = probes.at(-1)!.id
  }
  for (let after: HourKey | undefined; ; ) {
    const hours = readHoursAfter(db, after, LIMITS.rows)
    if (hours.length === 0) break
    yield { hours: hours.map((row) => withoutMakerId(row)!) }
    after = hours.at(-1)!
  }
}
