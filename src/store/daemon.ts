/** What the running daemon says of itself, for the status verb of another process. */
import { type Db, sql } from './open.ts'

export function writeReport(db: Db, report: unknown): void {
  const text = JSON.stringify(report)
  db.run(
    sql
      .insertInto('daemon')
      .values({ id: 1, report: text })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ report: text })),
  )
}

/** The last report as it was written, unchecked. */
export function readReport(db: Db): unknown {
  const row = db.first(sql.selectFrom('daemon').select('report'))
  return row && JSON.parse(row.report)
}
