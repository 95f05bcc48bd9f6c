/** Registered outpoints (table `watches`): each is watched until a height, whatever happens to us meanwhile. */
import type { Height, Outpoint, Txid } from '../../chain/types.ts'
import { columnTxid, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'

const LIMITS = {
  /** Rows read at once where all are. */
  slice: 1_000,
}

/** Until when an outpoint is watched. */
export interface Registration {
  outpoint: Outpoint
  /** What was asked for, the most of all that was. */
  untilHeight: Height
  /** As long as no transaction has made it: until when it is kept without one. */
  unfundedUntil?: Height
}
const DELETE = sql.deleteFrom('watches').where('txid', '=', Buffer.alloc(32)).where('vout', '=', 0).compile().sql

export function countRegistrations(db: Db): number {
  return db.first(sql.selectFrom('watches').select(({ fn }) => fn.countAll<number>().as('count')))?.count ?? 0
}

/** Those that have not come to their end at `tipHeight`, by whichever of their two heights comes first. */
export function countLastingRegistrations(db: Db, tipHeight: Height): number {
  const lasting = sql
    .selectFrom('watches')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('until_height', '>=', tipHeight)
    .where((eb) => eb.or([eb('unfunded_until', 'is', null), eb('unfunded_until', '>=', tipHeight)]))
  return db.first(lasting)!.count
}

/** When the next place is free: the lowest height at which a registration ends. */
export function firstRegistrationEnd(db: Db): Height | undefined {
  const ends = [
    db.first(sql.selectFrom('watches').select('until_height as end').orderBy('until_height').limit(1)),
    db.first(unfunded().select('unfunded_until as end').orderBy('unfunded_until').limit(1)),
  ].flatMap((row) => (row?.end == null ? [] : [row.end]))
  return ends.length > 0 ? Math.min(...ends) : undefined
}

const UPSERT = sql
  .insertInto('watches')
  .values({ txid: Buffer.alloc(32), vout: 0, until_height: 0, unfunded_until: 0 })
  .onConflict((conflict) =>
    conflict.columns(['txid', 'vout']).doUpdateSet({
      until_height: (eb) => eb.fn('max', ['watches.until_height', 'excluded.until_height']),
      // max() of SQLite's with a null is null: what was funded once stays so.
      unfunded_until: (eb) => eb.fn('max', ['watches.unfunded_until', 'excluded.unfunded_until']),
    }),
  )
  .compile().sql

/** Adds one or prolongs it; never shortens one. */
export function upsertRegistration(db: Db, { outpoint, untilHeight, unfundedUntil }: Registration): void {
  const statement = db.prepare(UPSERT)
  db.guard(() => statement.run(hashColumn(outpoint.txid), outpoint.vout, untilHeight, unfundedUntil ?? null))
}

const OF_OUTPOINT = sql
  .selectFrom('watches')
  .select(['until_height', 'unfunded_until'])
  .where('txid', '=', Buffer.alloc(32))
  .where('vout', '=', 0)
  .compile().sql

export function readRegistration(db: Db, outpoint: Outpoint): Registration | undefined {
  const row = db.guard(() => db.prepare(OF_OUTPOINT).get(hashColumn(outpoint.txid), outpoint.vout)) as
    | { until_height: number; unfunded_until: number | null }
    | undefined
  return row && registrationOf({ ...row, txid: hashColumn(outpoint.txid), vout: outpoint.vout })
}

/** At most `limit` of those that were asked for until below `tipHeight`. */
export function readEndedRegistrations(db: Db, tipHeight: Height, limit: number): Outpoint[] {
  const ended = sql.selectFrom('watches').select(['txid', 'vout']).where('until_height', '<', tipHeight)
  return db.all(ended.orderBy('until_height').limit(limit)).map(outpointOf)
}

export function deleteRegistration(db: Db, { txid, vout }: Outpoint): boolean {
  return db.guard(() => db.prepare(DELETE).run(hashColumn(txid), vout)).changes > 0
}

/** A transaction has made the outpoint: it is watched until what was asked for. */
export function markFunded(db: Db, { txid, vout }: Outpoint): void {
  const one = sql.updateTable('watches').where('txid', '=', hashColumn(txid)).where('vout', '=', vout)
  db.run(one.set({ unfunded_until: null }))
}

function unfunded() {
  return sql.selectFrom('watches').where('unfunded_until', 'is not', null)
}

/** At most `limit` of those that no transaction has made and that are kept until below `tipHeight`, the longest due first. */
export function readOverdueRegistrations(db: Db, tipHeight: Height, limit: number): Outpoint[] {
  const overdue = unfunded().select(['txid', 'vout']).where('unfunded_until', '<', tipHeight)
  return db.all(overdue.orderBy('unfunded_until').limit(limit)).map(outpointOf)
}

/** Of the outputs of a transaction, at most `limit` that no transaction has made, above output `after`. */
export function readUnfundedOf(db: Db, txid: Txid, after: number, limit: number): Outpoint[] {
  const own = unfunded().select(['txid', 'vout']).where('txid', '=', hashColumn(txid)).where('vout', '>', after)
  return db.all(own.orderBy('vout').limit(limit)).map(outpointOf)
}

/** The place of an unfunded registration among all: those that are due first come first. */
export interface UnfundedPlace {
  /** 64 hex digits, in upper case. */
  txid: string
  vout: number
  unfundedUntil: Height
}

const UNFUNDED_SLICE = unfunded()
  .select(({ fn }) => [fn<string>('hex', ['txid']).as('txid'), 'vout', 'unfunded_until as unfundedUntil'])
  .where(({ eb, refTuple, tuple }) =>
    eb(refTuple('unfunded_until', 'txid', 'vout'), '>', tuple<number, Buffer, number>(0, Buffer.alloc(0), 0)),
  )
  .orderBy('unfunded_until')
  .orderBy('watches.txid')
  .orderBy('vout')
  .limit(LIMITS.slice)
  .compile().sql

/**
 * At most `limit` of those that no transaction has made, behind `after`. One that is prolonged meanwhile moves back:
 * whoever reads on to the end has seen all.
 */
export function readUnfundedAfter(db: Db, after: UnfundedPlace | undefined, limit: number): UnfundedPlace[] {
  const { txid, vout, unfundedUntil } = after ?? { txid: '', vout: 0, unfundedUntil: -1 }
  const values = [unfundedUntil, Buffer.from(txid, 'hex'), vout, limit]
  return db.guard(() => db.prepare(UNFUNDED_SLICE).all(...values)) as UnfundedPlace[]
}

/** Those that were asked for until after `height`. */
export function readRegistrationsAfter(db: Db, height: Height): Outpoint[] {
  return db.all(sql.selectFrom('watches').select(['txid', 'vout']).where('until_height', '>', height)).map(outpointOf)
}

/** At most `limit` of all, in the order of outpoints as they are stored, above `after`. */
export function readRegistrationPage(db: Db, after: Outpoint | undefined, limit: number): Registration[] {
  let query = sql.selectFrom('watches').selectAll()
  if (after) {
    const { txid, vout } = after
    query = query.where(({ eb, refTuple, tuple }) => eb(refTuple('txid', 'vout'), '>', tuple(hashColumn(txid), vout)))
  }
  return db.all(query.orderBy('txid').orderBy('vout').limit(limit)).map(registrationOf)
}

export function readRegistrations(db: Db): Outpoint[] {
  return db.all(sql.selectFrom('watches').select(['txid', 'vout'])).map(outpointOf)
}

/** As hex: millions of small buffers take three times as long, and leave hundreds of megabytes behind. */
const SLICE = sql
  .selectFrom('watches')
  .select(({ fn }) => [fn<string>('hex', ['txid']).as('txid'), 'vout'])
  .where(({ eb, refTuple, tuple }) => eb(refTuple('txid', 'vout'), '>', tuple(Buffer.alloc(0), 0)))
  .orderBy('watches.txid')
  .orderBy('vout')
  .limit(LIMITS.slice)
  .compile().sql

/** All of them, read in slices: `txid` are 64 hex digits, in upper case. */
export function eachRegistration(db: Db, onRow: (txid: string, vout: number) => void): void {
  let last: { txid: string; vout: number } | undefined = { txid: '', vout: 0 }
  while (last) {
    const after = Buffer.from(last.txid, 'hex')
    const { vout }: { vout: number } = last
    const rows = db.guard(() => db.prepare(SLICE).all(after, vout, LIMITS.slice)) as (typeof last)[]
    for (const row of rows) onRow(row.txid, row.vout)
    last = rows.at(-1)
  }
}

/** How many registrations there are and when they end. */
export interface RegistrationCounts {
  count: number
  /** Of them, those that no transaction has made yet. */
  unfunded: number
  /** Grouped by `blocks` heights: [from, from + blocks), ascending. */
  ends: { from: Height; count: number }[]
}

/** `blocks`: width of a group. An unfunded one ends where it does without a funding. */
export function readRegistrationEnds(db: Db, blocks: number): RegistrationCounts {
  const rows = db.all(
    sql
      .selectFrom('watches')
      .select(({ eb, fn, ref }) => {
        const end = fn<number>('min', [ref('until_height'), fn.coalesce('unfunded_until', 'until_height')])
        return [
          eb(eb(end, '/', blocks), '*', blocks).as('from'),
          fn.countAll<number>().as('count'),
          fn.count<number>('unfunded_until').as('unfunded'),
        ]
      })
      .groupBy('from')
      .orderBy('from'),
  )
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)
  return {
    count: sum(rows.map(({ count }) => count)),
    unfunded: sum(rows.map(({ unfunded }) => unfunded)),
    ends: rows.map(({ from, count }) => ({ from: Number(from), count })),
  }
}

function outpointOf(row: { txid: Buffer; vout: number }): Outpoint {
  return { txid: columnTxid(row.txid), vout: row.vout }
}

/** Of a row of either database. */
export function registrationOf(row: {
  txid: Buffer
  vout: number
  until_height: number
  unfunded_until: number | null
}): Registration {
  return {
    outpoint: outpointOf(row),
    untilHeight: row.until_height,
    ...(row.unfunded_until !== null && { unfundedUntil: row.unfunded_until }),
  }
}
