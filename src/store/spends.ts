/**
 * Spends of tracked outpoints (bond outputs and watched ones), in full. Rules kept here: a confirmed spend is never
 * lowered by anything but a reorg, and the spend of a watched outpoint is never thrown away.
 */
import type { Height, Outpoint, Spender, Txid } from '../chain/types.ts'
import { hashColumn, txidOf } from './columns.ts'
import { type Db, sql } from './open.ts'

export type SpendState = { kind: 'confirmed'; height: Height } | { kind: 'mempool' } | { kind: 'evicted' }

export interface RecordedSpend extends Spender {
  outpoint: Outpoint
  state: SpendState
  /** When we first saw the transaction, Unix seconds. */
  firstSeenS: number
}

export function upsertConfirmedSpend(db: Db, outpoint: Outpoint, by: Spender, height: Height, nowS: number): void {
  db.run(
    sql
      .insertInto('spends')
      .values({ ...spendColumns(outpoint, by), first_seen_s: nowS, height, in_mempool: 0 })
      .onConflict((conflict) =>
        conflict.columns(['txid', 'vout', 'spender_txid']).doUpdateSet({ height, in_mempool: 0, raw_tx: by.rawTx }),
      ),
  )
}

/** Notes a spend in the mempool. One that is recorded as confirmed stays so. */
export function upsertMempoolSpend(db: Db, outpoint: Outpoint, by: Spender, nowS: number): void {
  db.run(
    sql
      .insertInto('spends')
      .values({ ...spendColumns(outpoint, by), first_seen_s: nowS, height: null, in_mempool: 1 })
      .onConflict((conflict) =>
        conflict
          .columns(['txid', 'vout', 'spender_txid'])
          .doUpdateSet({ in_mempool: 1 })
          .where('spends.height', 'is', null),
      ),
  )
}

/** A transaction left the mempool. Its unconfirmed spends are kept as evicted where watched, else forgotten. */
export function removeMempoolSpends(db: Db, spender: Txid): void {
  db.run(
    sql
      .updateTable('spends')
      .set({ in_mempool: 0 })
      .where('spender_txid', '=', hashColumn(spender))
      .where('height', 'is', null),
  )
  forgetUnwatchedEvicted(db)
}

/** Before the mempool is read anew (start): nothing is known to be in it. */
export function clearMempoolSpends(db: Db): void {
  db.run(sql.updateTable('spends').set({ in_mempool: 0 }).where('height', 'is', null).where('in_mempool', '=', 1))
  forgetUnwatchedEvicted(db)
}

/** A block was taken back: its spends are unconfirmed again (the mempool may bring them back at once). */
export function unconfirmSpendsAt(db: Db, height: Height): void {
  db.run(sql.updateTable('spends').set({ height: null, in_mempool: 0 }).where('height', '=', height))
  forgetUnwatchedEvicted(db)
}

function forgetUnwatchedEvicted(db: Db): void {
  db.run(
    sql
      .deleteFrom('spends')
      .where('height', 'is', null)
      .where('in_mempool', '=', 0)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('watches as w')
              .select('w.vout')
              .whereRef('w.txid', '=', 'spends.txid')
              .whereRef('w.vout', '=', 'spends.vout'),
          ),
        ),
      ),
  )
}

/** Every known spend of `outpoint`, the one that counts first: confirmed, then mempool newest first, then evicted. */
export function readSpends(db: Db, outpoint: Outpoint): RecordedSpend[] {
  const rows = db.all(
    sql
      .selectFrom('spends')
      .selectAll()
      .where('txid', '=', hashColumn(outpoint.txid))
      .where('vout', '=', outpoint.vout)
      .orderBy('height', (order) => order.desc().nullsLast())
      .orderBy('in_mempool', 'desc')
      .orderBy('first_seen_s', 'desc')
      .orderBy('spender_txid'),
  )
  return rows.map((row) => ({
    outpoint,
    txid: txidOf(row.spender_txid),
    vin: row.vin,
    rawTx: row.raw_tx,
    firstSeenS: row.first_seen_s,
    state:
      row.height !== null
        ? { kind: 'confirmed', height: row.height }
        : row.in_mempool
          ? { kind: 'mempool' }
          : { kind: 'evicted' },
  }))
}

function spendColumns(outpoint: Outpoint, by: Spender) {
  return {
    txid: hashColumn(outpoint.txid),
    vout: outpoint.vout,
    spender_txid: hashColumn(by.txid),
    vin: by.vin,
    raw_tx: by.rawTx,
  }
}
