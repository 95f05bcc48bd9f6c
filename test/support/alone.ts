/** What a tracker that shares with nobody is made with. */
import type { OwnProbes } from '../../src/peers/liveness.ts'
import type { Db } from '../../src/store/open.ts'
import { LocalShared } from '../../src/store/shared/local.ts'
import { Untold } from '../../src/store/shared/untold.ts'

export function alone(db: Db): OwnProbes & { shared: LocalShared } {
  return { source: 1, untold: new Untold(db, false, () => 0), shared: new LocalShared(db) }
}
