/** Rows that are on this tracker's disk before anybody is answered, without a wait for the disk on the serving thread. */
import { breathe } from '../../world.ts'
import type { Db } from '../open.ts'
import { GroupCommit } from './group-commit.ts'

/** `rowsAtOnce`: rows of one transaction, which the serving thread writes in one go. Rows added to it: throws StoreError. */
export function diskCommit<Row>(db: Db, rowsAtOnce: number, write: (row: Row) => void): GroupCommit<Row> {
  return new GroupCommit(async (rows) => {
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      if (at > 0) await breathe()
      db.transaction(() => {
        for (const row of rows.slice(at, at + rowsAtOnce)) write(row)
      })
    }
    await db.synced()
  })
}
