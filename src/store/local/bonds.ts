/** Bonds, confirmed and pending. A bond's spend stands in `spends`; its block's hash and time in `blocks`. */
import { type InferResult, sql as raw } from 'kysely'
import {
  type AnnouncedOutput,
  type AnnouncementFormat,
  type BondEnd,
  type ConfirmedBond,
  type Refusal,
  TX_REFUSALS,
  type TxRefusal,
} from '../../bonds/types.ts'
import { asSats, type BlockRef, formatOutpoint, type Height, type Outpoint, type Txid } from '../../chain/types.ts'
import { columnBlockHash, columnList, columnTxid, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'
import type { AnnouncementColumns } from '../schema.ts'

/** A bond as a block brings it: where it confirms is the block being connected. */
export interface NewBond extends AnnouncedOutput {
  refusal?: Refusal
}

export function insertBond(db: Db, bond: NewBond, confHeight: Height): void {
  db.run(
    sql
      .insertInto('bonds')
      .values({ ...announcementColumns(bond), conf_height: confHeight, refusal: bond.refusal ?? null }),
  )
}

export function deleteBondsAt(db: Db, confHeight: Height): void {
  db.run(sql.deleteFrom('bonds').where('conf_height', '=', confHeight))
}

/**
 * Confirmed announcements whose block is at `minConfHeight` or above, in no particular order; of those that never
 * qualified the youngest `refusedMax`.
 */
export function readBonds(db: Db, minConfHeight: Height = 0, refusedMax = Number.MAX_SAFE_INTEGER): ConfirmedBond[] {
  const from = inBlocks().where('b.conf_height', '>=', minConfHeight)
  const refused = from.where('b.refusal', 'is not', null).orderBy('b.conf_height', 'desc').limit(refusedMax)
  const bonds = [...db.all(from.where('b.refusal', 'is', null)), ...db.all(refused)].map(confirmedBond)
  const ends = db.all(endsOfBonds().where('b.conf_height', '>=', minConfHeight))
  const endOf = new Map(ends.map((row) => [formatOutpoint(outpointOf(row)), bondEnd(row)]))
  for (const bond of bonds) {
    const spentBy = endOf.get(formatOutpoint(bond.outpoint))
    if (spentBy) bond.spentBy = spentBy
  }
  return bonds
}

/** Bonds that are spent in blocks at `minHeight` or above, and by what; by `txid:vout`. */
export function readBondEnds(db: Db, minHeight: Height): Map<string, BondEnd> {
  const ends = sql
    .selectFrom('spenders as t')
    .crossJoin('spends as s')
    .whereRef('s.spender_txid', '=', 't.txid')
    .crossJoin('bonds as b')
    .whereRef('b.txid', '=', 's.txid')
    .whereRef('b.vout', '=', 's.vout')
    .crossJoin('blocks as e')
    .whereRef('e.height', '=', 't.height')
    .select(['s.txid', 's.vout', 's.vin', 's.spender_txid', 'e.height', 'e.hash'])
    .where('t.height', '>=', minHeight)
  return new Map(db.all(ends).map((row) => [formatOutpoint(outpointOf(row)), bondEnd(row)]))
}

/** From the bonds to their spends and no other way: others' spends are many. In SQLite a cross join keeps its order. */
function endsOfBonds() {
  return sql
    .selectFrom('bonds as b')
    .crossJoin('spends as s')
    .whereRef('s.txid', '=', 'b.txid')
    .whereRef('s.vout', '=', 'b.vout')
    .crossJoin('spenders as t')
    .whereRef('t.txid', '=', 's.spender_txid')
    .crossJoin('blocks as e')
    .whereRef('e.height', '=', 't.height')
    .select(['s.txid', 's.vout', 's.vin', 's.spender_txid', 'e.height', 'e.hash'])
}

function bondEnd(row: { spender_txid: Buffer; vin: number; height: number; hash: Buffer }): BondEnd {
  const { vin, height } = row
  return { txid: columnTxid(row.spender_txid), vin, height, blockHash: columnBlockHash(row.hash) }
}

/** The block in which the announcement of `outpoint` is confirmed; undefined when it is none we know, or pending. */
export function readBondBlock(db: Db, { txid, vout }: Outpoint): BlockRef | undefined {
  const row = db.first(
    sql
      .selectFrom('bonds as b')
      .innerJoin('blocks as c', 'c.height', 'b.conf_height')
      .select(['c.height', 'c.hash'])
      .where('b.txid', '=', hashColumn(txid))
      .where('b.vout', '=', vout),
  )
  return row && { height: row.height, hash: columnBlockHash(row.hash) }
}

/** What the transaction announced, in a block. */
export function readBondOfTx(db: Db, txid: Txid): ConfirmedBond | undefined {
  const row = db.first(inBlocks().where('b.txid', '=', hashColumn(txid)))
  return row && withEnd(db, confirmedBond(row))
}

/** A maker's announcements that are read at most, the youngest: each costs its maker a transaction. */
const BONDS_OF_MAX = 200

/** Whose announcements: `host:port`, or a host with whatever port. */
export type Announcer = { address: string } | { host: string }

/** Confirmed announcements, youngest first. */
export function readBondsOf(db: Db, maker: Announcer): ConfirmedBond[] {
  const own = inBlocks().where(...announcedBy('b', maker))
  return db.all(own.orderBy('b.conf_height', 'desc').limit(BONDS_OF_MAX)).map((row) => withEnd(db, confirmedBond(row)))
}

/** As the indices have it: hosts are found by an expression. */
function announcedBy<T extends 'b' | 'p'>(table: T, maker: Announcer) {
  if ('address' in maker) return [raw.ref<string>(`${table}.address`), '=', maker.address] as const
  const address = raw.ref(`${table}.address`)
  return [raw<string>`substr(${address}, 1, instr(${address}, ':') - 1)`, '=', maker.host] as const
}

function inBlocks() {
  return sql
    .selectFrom('bonds as b')
    .innerJoin('blocks as c', 'c.height', 'b.conf_height')
    .selectAll('b')
    .select(['c.hash as conf_hash', 'c.time_s as conf_time_s'])
}

function confirmedBond(row: InferResult<ReturnType<typeof inBlocks>>[number]): ConfirmedBond {
  const bond: ConfirmedBond = {
    ...announcedOutput(row),
    conf: { height: row.conf_height, hash: columnBlockHash(row.conf_hash) },
    confTimeS: row.conf_time_s,
  }
  if (row.refusal !== null) bond.refusal = row.refusal as Refusal
  return bond
}

function withEnd(db: Db, bond: ConfirmedBond): ConfirmedBond {
  const { txid, vout } = bond.outpoint
  const row = db.first(endsOfBonds().where('b.txid', '=', hashColumn(txid)).where('b.vout', '=', vout))
  return row ? { ...bond, spentBy: bondEnd(row) } : bond
}

/** A bond whose transaction was stored by a version that did not look at it as today's takers do. */
export interface UnreadBond {
  outpoint: Outpoint
  conf: BlockRef
}

/** The youngest first, at most `limit`; those that come after `after` in this order. */
export function readUnreadBonds(db: Db, limit: number, after?: UnreadBond): UnreadBond[] {
  const unread = sql
    .selectFrom('bonds as b')
    .innerJoin('blocks as c', 'c.height', 'b.conf_height')
    .select(['b.txid', 'b.vout', 'c.height', 'c.hash'])
    .where('b.tx_refusals', 'is', null)
    .$if(after !== undefined, (query) =>
      query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple('b.conf_height', 'b.txid'), '<', tuple(after!.conf.height, hashColumn(after!.outpoint.txid))),
      ),
    )
    .orderBy('b.conf_height', 'desc')
    .orderBy('b.txid', 'desc')
    .limit(limit)
  return db.all(unread).map((row) => ({
    outpoint: outpointOf(row),
    conf: { height: row.height, hash: columnBlockHash(row.hash) },
  }))
}

export function updateTxRefusals(db: Db, { txid, vout }: Outpoint, refusals: readonly TxRefusal[]): void {
  db.run(
    sql
      .updateTable('bonds')
      .set({ tx_refusals: JSON.stringify(refusals) })
      .where('txid', '=', hashColumn(txid))
      .where('vout', '=', vout),
  )
}

/** Announcements that never qualified, but the youngest `kept`; at most `limit`. */
export function readRefusedBeyond(db: Db, kept: number, limit: number): Outpoint[] {
  const refused = sql.selectFrom('bonds').select(['txid', 'vout']).where('refusal', 'is not', null)
  return db.all(refused.orderBy('conf_height', 'desc').limit(limit).offset(kept)).map(outpointOf)
}

/** Only rows that nothing depends on any more: see Indexer.forgetBonds. */
export function deleteBond(db: Db, { txid, vout }: Outpoint): void {
  db.run(sql.deleteFrom('bonds').where('txid', '=', hashColumn(txid)).where('vout', '=', vout))
}

/** Outpoints of every bond that qualified, alive or not: their spends are recorded for ever. */
export function readBondOutpoints(db: Db): Outpoint[] {
  const rows = db.all(sql.selectFrom('bonds').select(['txid', 'vout']).where('refusal', 'is', null))
  return rows.map(outpointOf)
}

/** Outpoints of all bonds of one block, qualified or not. */
export function readBondOutpointsAt(db: Db, confHeight: Height): Outpoint[] {
  const rows = db.all(sql.selectFrom('bonds').select(['txid', 'vout']).where('conf_height', '=', confHeight))
  return rows.map(outpointOf)
}

export function insertPendingBond(db: Db, bond: AnnouncedOutput): void {
  db.run(
    sql
      .insertInto('pending_bonds')
      .values(announcementColumns(bond))
      .onConflict((conflict) => conflict.doNothing()),
  )
}

export function deletePendingBond(db: Db, txid: Txid): void {
  db.run(sql.deleteFrom('pending_bonds').where('txid', '=', hashColumn(txid)))
}

export function clearPendingBonds(db: Db): void {
  db.run(sql.deleteFrom('pending_bonds'))
}

/** Announcements in the mempool that no block holds yet. */
export function readPendingBonds(db: Db): AnnouncedOutput[] {
  return db.all(pendingBonds()).map(announcedOutput)
}

/** Those of one maker, as many as are read of it. */
export function readPendingBondsOf(db: Db, maker: Announcer): AnnouncedOutput[] {
  return db
    .all(
      pendingBonds()
        .where(...announcedBy('p', maker))
        .limit(BONDS_OF_MAX),
    )
    .map(announcedOutput)
}

/** What the transaction announces in the mempool. */
export function readPendingBondOfTx(db: Db, txid: Txid): AnnouncedOutput | undefined {
  const row = db.first(pendingBonds().where('p.txid', '=', hashColumn(txid)))
  return row && announcedOutput(row)
}

function pendingBonds() {
  return sql
    .selectFrom('pending_bonds as p')
    .selectAll('p')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('bonds as b').select('b.vout').whereRef('b.txid', '=', 'p.txid').whereRef('b.vout', '=', 'p.vout'),
        ),
      ),
    )
}

function outpointOf(row: { txid: Buffer; vout: number }): Outpoint {
  return { txid: columnTxid(row.txid), vout: row.vout }
}

function announcementColumns(bond: AnnouncedOutput): AnnouncementColumns {
  return {
    txid: hashColumn(bond.outpoint.txid),
    vout: bond.outpoint.vout,
    address: bond.address,
    format: bond.format,
    amount_sats: bond.amountSats,
    is_p2wsh: bond.isP2wsh ? 1 : 0,
    lock_height: bond.lockHeight ?? null,
    tx_refusals: bond.txRefusals ? JSON.stringify(bond.txRefusals) : null,
  }
}

function announcedOutput(row: AnnouncementColumns): AnnouncedOutput {
  const output: AnnouncedOutput = {
    outpoint: outpointOf(row),
    address: row.address,
    format: row.format as AnnouncementFormat,
    amountSats: asSats(row.amount_sats),
    isP2wsh: row.is_p2wsh === 1,
  }
  if (row.lock_height !== null) output.lockHeight = row.lock_height
  if (row.tx_refusals !== null) output.txRefusals = txRefusals(row.tx_refusals)
  return output
}

/** Nearly every bond has none. */
const NO_TX_REFUSALS: readonly TxRefusal[] = []

function txRefusals(column: string): readonly TxRefusal[] {
  if (column === '[]') return NO_TX_REFUSALS
  return columnList(column, 'bonds', (text) => TX_REFUSALS.find((code) => code === text))
}
