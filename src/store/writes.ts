/** Whether anything was written at all, for whoever keeps what it has read. */
import type { Db } from './open.ts'

const COUNT = 'SELECT total_changes() AS count'

/** Rows that this connection, the only one that writes, has changed so far. Equal counts: nothing has changed in between. */
export function countWrites(db: Db): number {
  return db.guard(() => (db.prepare(COUNT).get() as { count: number }).count)
}
