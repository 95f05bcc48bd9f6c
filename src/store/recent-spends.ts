/** Recorded spends that may still change, for whoever tells about changes. */
import { formatOutpoint, type Height } from '../chain/types.ts'
import { txidOf } from './columns.ts'
import { type Db, sql } from './open.ts'

export interface RecentSpend {
  /** `txid:vout`. */
  outpoint: string
  txid: string
  state: 'confirmed' | 'mempool' | 'evicted'
  height: Height | null
}

/** Unconfirmed spends and those confirmed at `minHeight` or above; at most `limit`, the confirmed first. */
export function readRecentSpends(db: Db, minHeight: Height, limit: number): RecentSpend[] {
  const rows = db.all(
    sql
      .selectFrom('spends as s')
      .innerJoin('spenders as t', 't.txid', 's.spender_txid')
      .select(['s.txid', 's.vout', 's.spender_txid', 't.height', 't.in_mempool'])
      .where(({ or, eb }) => or([eb('t.height', '>=', minHeight), eb('t.height', 'is', null)]))
      .orderBy('t.height', (order) => order.desc().nullsLast())
      .limit(limit),
  )
  return rows.map((row) => ({
    outpoint: formatOutpoint({ txid: txidOf(row.txid), vout: row.vout }),
    txid: txidOf(row.spender_txid),
    state: row.height !== null ? 'confirmed' : row.in_mempool ? 'mempool' : 'evicted',
    height: row.height,
  }))
}
