/**
 * Spends of tracked outpoints (bond outputs and watched ones), in full: which transaction takes which outpoint
 * (`spends`), and the transaction with where it is (`spenders`). Rule kept here: a confirmed transaction is never
 * lowered by anything but a reorg. Who may forget what is the indexer's to say.
 */

import type { ExpressionBuilder, InferResult, OnConflictDatabase, OnConflictTables } from 'kysely'
import { type BlockHash, formatOutpoint, type Height, type Outpoint, type Txid } from '../../chain/types.ts'
import { columnBlockHash, columnTxid, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'
import type { Schema } from '../schema.ts'

export type SpendState =
  | { kind: 'confirmed'; height: Height; blockHash: BlockHash }
  | { kind: 'mempool' }
  /** Was in the mempool or in a block, and is in neither now. */
  | { kind: 'evicted' }

/** Without the transaction itself, which may take 4 MB: see `readSpenderTx`. */
export interface RecordedSpend {
  /** The spender. */
  txid: Txid
  /** Index of the input that spends it. */
  vin: number
  /** Size of the raw transaction. */
  bytes: number
  state: SpendState
  /** When we first saw the transaction, Unix seconds; its block's time when it was found by looking back. */
  firstSeenS: number
}

/** Outpoints and the one transaction that spends them. */
export interface SpendingTx {
  txid: Txid
  /** The whole transaction with witnesses. */
  rawTx: Buffer
  spends: readonly { outpoint: Outpoint; vin: number }[]
}

type Excluded = ExpressionBuilder<OnConflictDatabase<Schema, 'spenders'>, OnConflictTables<'spenders'>>
// Prepared: a block may have thousands that spend what strangers have asked about.
const NO_TX = { txid: Buffer.alloc(32), raw_tx: Buffer.alloc(0), first_seen_s: 0, height: 0, in_mempool: 0 }
const NEW_TX = {
  raw_tx: (eb: Excluded) => eb.ref('excluded.raw_tx'),
  height: (eb: Excluded) => eb.ref('excluded.height'),
  in_mempool: (eb: Excluded) => eb.ref('excluded.in_mempool'),
}
const INSERT_CONFIRMED = sql
  .insertInto('spenders')
  .values(NO_TX)
  // With another witness it is another raw transaction under the same txid: the block's is the one that counts.
  .onConflict((conflict) => conflict.column('txid').doUpdateSet(NEW_TX))
  .compile().sql
const INSERT_UNCONFIRMED = sql
  .insertInto('spenders')
  .values(NO_TX)
  .onConflict((conflict) => conflict.column('txid').doUpdateSet(NEW_TX).where('spenders.height', 'is', null))
  .compile().sql
const DELETE_RESCANNED = sql.deleteFrom('rescanned_spenders').where('txid', '=', Buffer.alloc(32)).compile().sql
const DELETE_RESCANNED_AT = sql.deleteFrom('rescanned_spenders').where('height', '=', 0).compile().sql
const INSERT_SPEND = sql
  .insertInto('spends')
  .values({ txid: Buffer.alloc(32), vout: 0, spender_txid: Buffer.alloc(32), vin: 0 })
  .onConflict((conflict) => conflict.doNothing())
  .compile().sql

/** Notes a transaction of the block at `height`, which is ours or being connected. */
export function upsertConfirmedSpends(db: Db, tx: SpendingTx, height: Height, seenS: number): void {
  db.guard(() => {
    db.prepare(INSERT_CONFIRMED).run(hashColumn(tx.txid), tx.rawTx, seenS, height, 0)
    insertSpends(db, tx)
  })
}

/** Notes a transaction of the mempool. One that is recorded as confirmed stays so. */
export function upsertMempoolSpends(db: Db, tx: SpendingTx, nowS: number): void {
  db.guard(() => {
    db.prepare(INSERT_UNCONFIRMED).run(hashColumn(tx.txid), tx.rawTx, nowS, null, 1)
    db.prepare(DELETE_RESCANNED).run(hashColumn(tx.txid)) // it is in no block
    insertSpends(db, tx)
  })
}

function insertSpends(db: Db, { txid, spends }: SpendingTx): void {
  const insert = db.prepare(INSERT_SPEND)
  const spender = hashColumn(txid)
  for (const { outpoint, vin } of spends) insert.run(hashColumn(outpoint.txid), outpoint.vout, spender, vin)
}

/** The raw transaction of a recorded spender. */
export function readSpenderTx(db: Db, txid: Txid): Buffer | undefined {
  return db.first(sql.selectFrom('spenders').select('raw_tx').where('txid', '=', hashColumn(txid)))?.raw_tx
}

/** A block was taken back, and the mempool still has `txid`: unless it is confirmed elsewhere, that is where it is. */
export function returnToMempool(db: Db, txid: Txid): void {
  const spender = sql.updateTable('spenders').set({ in_mempool: 1 }).where('txid', '=', hashColumn(txid))
  db.run(spender.where('height', 'is', null))
}

/** A transaction left the mempool: unless confirmed it is evicted now. */
export function evictSpender(db: Db, txid: Txid): void {
  db.run(
    sql.updateTable('spenders').set({ in_mempool: 0 }).where('txid', '=', hashColumn(txid)).where('height', 'is', null),
  )
}

/** Before the mempool is read anew (start): nothing is known to be in it. */
export function evictAllSpenders(db: Db): void {
  db.run(sql.updateTable('spenders').set({ in_mempool: 0 }).where('height', 'is', null).where('in_mempool', '=', 1))
}

/**
 * A block was taken back: its transactions are evicted until the mempool brings them back; or, by a rescan, stay
 * confirmed in `rescanned`, its hash, until a block of that height is connected. Returns them and what they spend.
 */
export function unconfirmSpendersAt(
  db: Db,
  height: Height,
  rescanned?: BlockHash,
): { outpoints: Outpoint[]; spenders: Txid[] } {
  const outpoints = db.all(
    sql
      .selectFrom('spends as s')
      .innerJoin('spenders as t', 't.txid', 's.spender_txid')
      .select(['s.txid', 's.vout'])
      .where('t.height', '=', height),
  )
  if (rescanned !== undefined) {
    const hash = hashColumn(rescanned)
    for (const { txid } of db.all(sql.selectFrom('spenders').select('txid').where('height', '=', height))) {
      const kept = sql.insertInto('rescanned_spenders').values({ txid, height, hash })
      db.run(kept.onConflict((conflict) => conflict.column('txid').doUpdateSet({ height, hash })))
    }
  }
  const unconfirmed = sql.updateTable('spenders').set({ height: null, in_mempool: 0 }).where('height', '=', height)
  const spenders = db.all(unconfirmed.returning('txid'))
  return { outpoints: outpoints.map(outpointOf), spenders: spenders.map(({ txid }) => columnTxid(txid)) }
}

/** A block is being connected at `height`: whether it confirms what a rescan took back there, it says itself. */
export function forgetRescannedAt(db: Db, height: Height): void {
  db.guard(() => db.prepare(DELETE_RESCANNED_AT).run(height))
}

const SPENDER_STATES_OF = sql
  .selectFrom('spends as s')
  .innerJoin('spenders as t', 't.txid', 's.spender_txid')
  .leftJoin('rescanned_spenders as r', 'r.txid', 's.spender_txid')
  .select(['s.spender_txid', 't.height', 't.in_mempool', 'r.height as rescan_height'])
  .where('s.txid', '=', Buffer.alloc(32))
  .where('s.vout', '=', 0)
const SPENDER_STATES_OF_SQL = SPENDER_STATES_OF.compile().sql

/** Forgets the spends of `outpoint`: all, or those that are evicted. */
export function deleteSpends(db: Db, outpoint: Outpoint, which: 'all' | 'evicted'): void {
  const { txid, vout } = outpointColumns(outpoint)
  const known = db.guard(() => db.prepare(SPENDER_STATES_OF_SQL).all(txid, vout)) as InferResult<
    typeof SPENDER_STATES_OF
  >
  for (const { spender_txid, height, in_mempool, rescan_height } of known) {
    if (which === 'evicted' && (height !== null || rescan_height !== null || in_mempool === 1)) continue
    const spend = sql.deleteFrom('spends').where('txid', '=', txid).where('vout', '=', vout)
    db.run(spend.where('spender_txid', '=', spender_txid))
    deleteSpenderIfIdle(db, spender_txid)
  }
}

function deleteSpenderIfIdle(db: Db, txid: Buffer): void {
  db.run(
    sql
      .deleteFrom('spenders')
      .where('txid', '=', txid)
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('spends as s').select('s.vin').whereRef('s.spender_txid', '=', 'spenders.txid'))),
      ),
  )
}

const ANY_SPEND_SQL = sql
  .selectFrom('spends')
  .select('vin')
  .where('txid', '=', Buffer.alloc(32))
  .where('vout', '=', 0)
  .compile().sql

/** Whether a spend of `outpoint` is recorded, without reading its transaction. */
export function hasSpends(db: Db, outpoint: Outpoint): boolean {
  const { txid, vout } = outpointColumns(outpoint)
  return db.guard(() => db.prepare(ANY_SPEND_SQL).get(txid, vout)) !== undefined
}

/**
 * At the start, with nothing known to be in the mempool: forgets the spends of outpoints that are neither registered nor of
 * a bond that qualified, and of the latter those that are evicted.
 */
export function forgetUnwatchedSpends(db: Db): void {
  const unwatched = sql
    .deleteFrom('spends')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('watches as w')
            .select('w.vout')
            .whereRef('w.txid', '=', 'spends.txid')
            .whereRef('w.vout', '=', 'spends.vout'),
        ),
      ),
    )
    .where(({ or, not, exists, selectFrom }) =>
      or([
        not(
          exists(
            selectFrom('bonds as b')
              .select('b.vout')
              .whereRef('b.txid', '=', 'spends.txid')
              .whereRef('b.vout', '=', 'spends.vout')
              .where('b.refusal', 'is', null),
          ),
        ),
        exists(
          selectFrom('spenders as t')
            .leftJoin('rescanned_spenders as r', 'r.txid', 't.txid')
            .select('t.txid')
            .whereRef('t.txid', '=', 'spends.spender_txid')
            .where('t.height', 'is', null)
            .where('r.txid', 'is', null),
        ),
      ]),
    )
  if (db.run(unwatched) === 0) return
  db.run(
    sql
      .deleteFrom('spenders')
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('spends as s').select('s.vin').whereRef('s.spender_txid', '=', 'spenders.txid'))),
      ),
  )
}

const SPENDS_OF = sql
  .selectFrom('spends as s')
  .innerJoin('spenders as t', 't.txid', 's.spender_txid')
  .leftJoin('blocks as b', 'b.height', 't.height')
  .select(['s.spender_txid', 's.vin', 't.first_seen_s', 't.height', 't.in_mempool', 'b.hash'])
  .select(({ fn }) => fn<number>('length', ['t.raw_tx']).as('bytes'))
  .leftJoin('rescanned_spenders as r', 'r.txid', 's.spender_txid')
  .select(['r.height as rescan_height', 'r.hash as rescan_hash'])
  .where('s.txid', '=', Buffer.alloc(32))
  .where('s.vout', '=', 0)
  .orderBy('t.height', (order) => order.desc().nullsLast())
  .orderBy('r.height', (order) => order.desc().nullsLast())
  .orderBy('t.in_mempool', 'desc')
  .orderBy('t.first_seen_s', 'desc')
  .orderBy('s.spender_txid')
type SpendRow = InferResult<typeof SPENDS_OF>[number]
const SPENDS_OF_SQL = SPENDS_OF.compile().sql

/** Every known spend of `outpoint`, the one that counts first: confirmed, then mempool, then evicted; newest first. */
export function readSpends(db: Db, outpoint: Outpoint): RecordedSpend[] {
  const { txid, vout } = outpointColumns(outpoint)
  const rows = db.guard(() => db.prepare(SPENDS_OF_SQL).all(txid, vout)) as SpendRow[]
  return rows.map((row) => ({
    txid: columnTxid(row.spender_txid),
    vin: row.vin,
    bytes: row.bytes,
    firstSeenS: row.first_seen_s,
    state: stateOf(row),
  }))
}

function stateOf({ height, hash, in_mempool, rescan_height, rescan_hash }: SpendRow): SpendState {
  if (height !== null && hash !== null) return { kind: 'confirmed', height, blockHash: columnBlockHash(hash) }
  if (in_mempool) return { kind: 'mempool' }
  if (rescan_height !== null && rescan_hash !== null) {
    return { kind: 'confirmed', height: rescan_height, blockHash: columnBlockHash(rescan_hash) }
  }
  return { kind: 'evicted' }
}

function outpointColumns({ txid, vout }: Outpoint) {
  return { txid: hashColumn(txid), vout }
}

function outpointOf(row: { txid: Buffer; vout: number }): Outpoint {
  return { txid: columnTxid(row.txid), vout: row.vout }
}

/** A recorded spend that may still change, for whoever tells about changes. */
export interface RecentSpend {
  /** `txid:vout`. */
  outpoint: string
  txid: string
  state: 'confirmed' | 'mempool' | 'evicted'
  height: Height | null
}

/**
 * Unconfirmed spends and those confirmed at `minHeight` or above; undefined where there are more than `limit`, which is
 * found out without reading them.
 */
export function readRecentSpends(db: Db, minHeight: Height, limit: number): RecentSpend[] | undefined {
  // By the indices alone, which have all that is asked: the transactions lie beside it. As a cross join the order is kept.
  const spends = sql.selectFrom('spenders as t').crossJoin('spends as s').whereRef('s.spender_txid', '=', 't.txid')
  const confirmed = spends.where('t.height', '>=', minHeight)
  const unconfirmed = spends
    .leftJoin('rescanned_spenders as r', 'r.txid', 's.spender_txid')
    .where('t.height', 'is', null)
    .where('r.txid', 'is', null) // else confirmed, and not about to change
  const count = [confirmed, unconfirmed].reduce((sum, query) => {
    const some = sql.selectFrom(
      query
        .select('s.vin')
        .limit(limit + 1)
        .as('some'),
    )
    return sum + Number(db.first(some.select(({ fn }) => fn.countAll().as('count')))!.count)
  }, 0)
  if (count > limit) return undefined
  const columns = ['s.txid', 's.vout', 's.spender_txid', 't.height', 't.in_mempool'] as const
  return [...db.all(confirmed.select(columns).orderBy('t.height', 'desc')), ...db.all(unconfirmed.select(columns))].map(
    (row) => ({
      outpoint: formatOutpoint({ txid: columnTxid(row.txid), vout: row.vout }),
      txid: columnTxid(row.spender_txid),
      state: row.height !== null ? 'confirmed' : row.in_mempool ? 'mempool' : 'evicted',
      height: row.height,
    }),
  )
}
