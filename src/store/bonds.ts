/** Bonds, confirmed and pending. A bond's spend stands in `spends`; its block's hash and time in `blocks`. */
import type { InferResult } from 'kysely'
import type { AnnouncedOutput, AnnouncementFormat, ConfirmedBond, Refusal } from '../bonds/types.ts'
import { asSats, type BlockRef, type Height, type Outpoint, type Txid } from '../chain/types.ts'
import { columnBlockHash, columnTxid, hashColumn } from './columns.ts'
import { type Db, sql } from './open.ts'
import type { AnnouncementColumns } from './schema.ts'
import { readSpends } from './spends.ts'

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

/** All confirmed announcements whose block is at `minConfHeight` or above, by outpoint in the database's order. */
export function readBonds(db: Db, minConfHeight: Height = 0): ConfirmedBond[] {
  const rows = db.all(
    inBlocks()
      .leftJoin(
        (query) =>
          query
            .selectFrom('spends')
            .innerJoin('spenders', 'spenders.txid', 'spends.spender_txid')
            .innerJoin('blocks', 'blocks.height', 'spenders.height')
            .select(['spends.txid', 'spends.vout', 'spends.vin', 'spends.spender_txid'])
            .select(['spenders.height', 'blocks.hash'])
            .as('s'),
        (join) => join.onRef('s.txid', '=', 'b.txid').onRef('s.vout', '=', 'b.vout'),
      )
      .select(['s.spender_txid', 's.vin', 's.height as spent_height', 's.hash as spent_hash'])
      .where('b.conf_height', '>=', minConfHeight),
  )
  return rows.map((row) => {
    const bond = confirmedBond(row)
    if (row.spender_txid && row.vin !== null && row.spent_height !== null && row.spent_hash) {
      bond.spentBy = {
        txid: columnTxid(row.spender_txid),
        vin: row.vin,
        height: row.spent_height,
        blockHash: columnBlockHash(row.spent_hash),
      }
    }
    return bond
  })
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
  return row && withSpend(db, confirmedBond(row))
}

/** A maker's announcements that are read at most, the youngest: each costs its maker a transaction. */
const BONDS_OF_MAX = 200

/** Confirmed announcements of `address` (`host:port`), or of `host` with whatever port, youngest first. */
export function readBondsOf(db: Db, maker: { address: string } | { host: string }): ConfirmedBond[] {
  const bonds = inBlocks().orderBy('b.conf_height', 'desc').limit(BONDS_OF_MAX)
  const found =
    'address' in maker
      ? bonds.where('b.address', '=', maker.address)
      : bonds.where('b.address', '>', `${maker.host}:`).where('b.address', '<', `${maker.host};`)
  return db.all(found).map((row) => withSpend(db, confirmedBond(row)))
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

/** For single bonds: one seek instead of a join over all recorded spends. */
function withSpend(db: Db, bond: ConfirmedBond): ConfirmedBond {
  const spend = readSpends(db, bond.outpoint).find(({ state }) => state.kind === 'confirmed')
  if (spend?.state.kind !== 'confirmed') return bond
  const { height, blockHash } = spend.state
  return { ...bond, spentBy: { txid: spend.txid, vin: spend.vin, height, blockHash } }
}

/** Outpoints of every bond that qualified, alive or not: their spends are recorded for ever. */
export function readBondOutpoints(db: Db): Outpoint[] {
  const rows = db.all(sql.selectFrom('bonds').select(['txid', 'vout']).where('refusal', 'is', null))
  return rows.map((row) => ({ txid: columnTxid(row.txid), vout: row.vout }))
}

/** Outpoints of all bonds of one block, qualified or not. */
export function readBondOutpointsAt(db: Db, confHeight: Height): Outpoint[] {
  const rows = db.all(sql.selectFrom('bonds').select(['txid', 'vout']).where('conf_height', '=', confHeight))
  return rows.map((row) => ({ txid: columnTxid(row.txid), vout: row.vout }))
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

/** Those of `address` (`host:port`), or of `host` with whatever port; few are pending, so no index. */
export function readPendingBondsOf(db: Db, maker: { address: string } | { host: string }): AnnouncedOutput[] {
  const isOf = (address: string) =>
    'address' in maker ? address === maker.address : address.startsWith(`${maker.host}:`)
  return readPendingBonds(db).filter(({ address }) => isOf(address))
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

function announcementColumns(bond: AnnouncedOutput): AnnouncementColumns {
  return {
    txid: hashColumn(bond.outpoint.txid),
    vout: bond.outpoint.vout,
    address: bond.address,
    format: bond.format,
    amount_sats: bond.amountSats,
    is_p2wsh: bond.isP2wsh ? 1 : 0,
    lock_height: bond.lockHeight ?? null,
  }
}

function announcedOutput(row: AnnouncementColumns): AnnouncedOutput {
  const output: AnnouncedOutput = {
    outpoint: { txid: columnTxid(row.txid), vout: row.vout },
    address: row.address,
    format: row.format as AnnouncementFormat,
    amountSats: asSats(row.amount_sats),
    isP2wsh: row.is_p2wsh === 1,
  }
  if (row.lock_height !== null) output.lockHeight = row.lock_height
  return output
}
