/** Registered outpoints (table `watches`): each is watched until a height, whatever happens to us meanwhile. */
import type { Height, Outpoint } from '../chain/types.ts'
import { columnTxid, hashColumn } from './columns.ts'
import { type Db, sql } from './open.ts'

const DELETE = sql.deleteFrom('watches').where('txid', '=', Buffer.alloc(32)).where('vout', '=', 0).compile().sql

export function countRegistrations(db: Db): number {
  return db.first(sql.selectFrom('watches').select(({ fn }) => fn.countAll<number>().as('count')))?.count ?? 0
}

/** When the next one ends: the lowest height until which one was asked for. */
export function firstRegistrationEnd(db: Db): Height | undefined {
  const first = sql.selectFrom('watches').select('until_height').orderBy('until_height', 'asc').limit(1)
  return db.first(first)?.until_height
}

/** Adds one or prolongs it; never shortens one. Returns until when it is watched. */
export function upsertRegistration(db: Db, outpoint: Outpoint, untilHeight: Height): Height {
  const row = db.first(
    sql
      .insertInto('watches')
      .values({ txid: hashColumn(outpoint.txid), vout: outpoint.vout, until_height: untilHeight })
      .onConflict((conflict) =>
        conflict
          .columns(['txid', 'vout'])
          .doUpdateSet({ until_height: (eb) => eb.fn('max', ['watches.until_height', eb.val(untilHeight)]) }),
      )
      .returning('until_height'),
  )
  return row!.until_height
}

/** Ends up to `count` of those that were asked for until below `tipHeight`. Returns them. */
export function expireRegistrations(db: Db, tipHeight: Height, count: number): Outpoint[] {
  const due = sql.selectFrom('watches').select(['txid', 'vout', 'until_height']).where('until_height', '<', tipHeight)
  const ended = db.all(due.orderBy('until_height').limit(count))
  const remove = db.prepare(DELETE)
  db.guard(() => {
    for (const { txid, vout } of ended) remove.run(txid, vout)
  })
  return ended.map((row) => ({ txid: columnTxid(row.txid), vout: row.vout }))
}

export function readRegistrations(db: Db): Outpoint[] {
  return db
    .all(sql.selectFrom('watches').select(['txid', 'vout']))
    .map((row) => ({ txid: columnTxid(row.txid), vout: row.vout }))
}
