/** The best chain as scanned: block rows, the tip, the move of one block down; and what the daemon says of itself. */
import type { Tip } from '../../bonds/types.ts'
import type { BlockHash, BlockHeaderRef, Height } from '../../chain/types.ts'
import { columnBlockHash, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'

export function readTip(db: Db): Tip | undefined {
  const row = db.first(sql.selectFrom('blocks').selectAll().orderBy('height', 'desc').limit(1))
  return row && { height: row.height, hash: columnBlockHash(row.hash), timeS: row.time_s }
}

/** The lowest height we have scanned. */
export function readScannedFrom(db: Db): Height | undefined {
  return db.first(sql.selectFrom('blocks').select('height').orderBy('height', 'asc').limit(1))?.height
}

export function readBlockHash(db: Db, height: Height): BlockHash | undefined {
  const row = db.first(sql.selectFrom('blocks').select('hash').where('height', '=', height))
  return row && columnBlockHash(row.hash)
}

/** Header time of the block of our chain at `height`, Unix seconds. */
export function readBlockTimeS(db: Db, height: Height): number | undefined {
  return db.first(sql.selectFrom('blocks').select('time_s').where('height', '=', height))?.time_s
}

/** The newest `count` blocks, tip first. */
export function readRecentBlocks(db: Db, count: number): Tip[] {
  const rows = db.all(sql.selectFrom('blocks').selectAll().orderBy('height', 'desc').limit(count))
  return rows.map((row) => ({ height: row.height, hash: columnBlockHash(row.hash), timeS: row.time_s }))
}

/** Header times of the blocks at these heights, as far as they were scanned. Unix seconds. */
export function readBlockTimes(db: Db, heights: readonly Height[]): Map<Height, number> {
  const rows = db.all(sql.selectFrom('blocks').select(['height', 'time_s']).where('height', 'in', heights))
  return new Map(rows.map((row) => [row.height, row.time_s]))
}

// Prepared: of a batch there are many.
const INSERT_BLOCK = sql
  .insertInto('blocks')
  .values({ height: 0, hash: Buffer.alloc(32), time_s: 0 })
  .compile().sql

/** Only inside the transaction that writes the block's other rows. */
export function insertBlock(db: Db, { height, hash, timeS }: BlockHeaderRef): void {
  db.guard(() => db.prepare(INSERT_BLOCK).run(height, hashColumn(hash), timeS))
}

/** Only after every row that refers to the block is gone. */
export function deleteBlock(db: Db, height: Height): void {
  db.run(sql.deleteFrom('blocks').where('height', '=', height))
}

/** Keeps what the running daemon says of itself, for the verbs of another process. */
export function storeStatus(db: Db, status: unknown): void {
  const text = JSON.stringify(status)
  db.run(
    sql
      .insertInto('daemon')
      .values({ id: 1, report: text })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ report: text })),
  )
}

/** The last status as it was stored, unchecked; undefined where there is none, or it is damaged (a second later it is new). */
export function readStoredStatus(db: Db): unknown {
  const row = db.first(sql.selectFrom('daemon').select('report'))
  try {
    return row && JSON.parse(row.report)
  } catch {
    return undefined
  }
}
