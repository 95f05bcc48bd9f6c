/** Relays that are watched: where reading goes on, what they showed, and how that was hour by hour. */
import { z } from 'zod'
import type { Txid } from '../../chain/types.ts'
import { EVENT_FAULTS, type FaultCounts, type HeldBond, noFaults } from '../../nostr/relay-view.ts'
import { columnObject, columnTxid, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'

export const RELAY_HISTORY_LIMITS = {
  /** Hours kept: a quarter, 2,160 narrow rows a relay. */
  hours: 2_160,
  /** Rows of bonds written in one transaction: a few milliseconds. */
  bondsAtOnce: 250,
}

/** What goes on where it was left. */
export interface RelayPast {
  id: number
  url: string
  /** The newest event read, Unix seconds; absent before the first. */
  cursorS?: number
  /** When everything was read last. */
  readS?: number
  /** When it was told last where this tracker is. */
  newsS?: number
  /** Seconds until new bonds were seen there, the last ones. */
  delaysS: readonly number[]
  faults: FaultCounts
}

export interface RelayHour {
  url: string
  /** Unix time ÷ 3,600 s. */
  hour: number
  announced: number
  missing: number
  dead: number
  invalid: number
}

const delaysColumn = z.array(z.number().min(0))
const faultsColumn = z.partialRecord(z.enum(EVENT_FAULTS), z.int().min(0))

/** Those of `urls`, in their order. Of others only their hours are kept, until they are over. */
export function claimRelays(db: Db, urls: readonly string[]): RelayPast[] {
  db.transaction(() => {
    const others = sql
      .selectFrom('relays')
      .select('id')
      .$if(urls.length > 0, (query) => query.where('url', 'not in', urls))
    db.run(sql.deleteFrom('relay_bonds').where('relay_id', 'in', others))
    db.run(sql.updateTable('relays').set({ cursor_s: null, read_s: null, report: null }).where('id', 'in', others))
    db.run(
      sql
        .deleteFrom('relays')
        .where('id', 'in', others)
        .where('id', 'not in', sql.selectFrom('relay_hours').select('relay_id')),
    )
    for (const url of urls) {
      db.run(
        sql
          .insertInto('relays')
          .values({ url, delays: '[]', faults: '{}' })
          .onConflict((conflict) => conflict.doNothing()),
      )
    }
  })
  const rows = new Map(db.all(sql.selectFrom('relays').selectAll()).map((row) => [row.url, row]))
  return urls.map((url) => {
    const row = rows.get(url)!
    const past: RelayPast = {
      id: row.id,
      url,
      delaysS: columnObject(row.delays, 'relays', (value) => delaysColumn.parse(value)),
      faults: { ...noFaults(), ...columnObject(row.faults, 'relays', (value) => faultsColumn.parse(value)) },
    }
    if (row.cursor_s !== null) past.cursorS = row.cursor_s
    if (row.read_s !== null) past.readS = row.read_s
    if (row.news_s !== null) past.newsS = row.news_s
    return past
  })
}

/** `report`: the relay's row as it is told. */
export function updateRelay(db: Db, past: RelayPast, report: unknown): void {
  const { id, cursorS, readS, newsS, delaysS, faults } = past
  db.run(
    sql
      .updateTable('relays')
      .set({
        cursor_s: cursorS ?? null,
        read_s: readS ?? null,
        news_s: newsS ?? null,
        delays: JSON.stringify(delaysS),
        faults: JSON.stringify(faults),
        report: JSON.stringify(report),
      })
      .where('id', '=', id),
  )
}

/** What `updateRelay` was given last, of each relay that told anything, by URL. Not judged. */
export function readRelayReports(db: Db): { url: string; report: unknown }[] {
  const rows = db.all(sql.selectFrom('relays').select(['url', 'report']).where('report', 'is not', null).orderBy('url'))
  return rows.flatMap(({ url, report }) => {
    try {
      return [{ url, report: JSON.parse(report!) as unknown }]
    } catch {
      return [] // the next report takes its place
    }
  })
}

export function readRelayBonds(db: Db, relayId: number): [Txid, HeldBond][] {
  const rows = db.all(sql.selectFrom('relay_bonds').selectAll().where('relay_id', '=', relayId))
  return rows.map((row) => [columnTxid(row.txid), { untilS: row.until_s, isOwn: row.is_own === 1 }])
}

/** Undefined takes a bond out. At most `bondsAtOnce`. */
export function writeRelayBonds(db: Db, relayId: number, changes: readonly (readonly [Txid, HeldBond?])[]): void {
  db.transaction(() => {
    for (const [txid, held] of changes) {
      const key = { relay_id: relayId, txid: hashColumn(txid) }
      if (!held) {
        db.run(sql.deleteFrom('relay_bonds').where('relay_id', '=', key.relay_id).where('txid', '=', key.txid))
        continue
      }
      const columns = { until_s: held.untilS, is_own: held.isOwn ? 1 : 0 }
      db.run(
        sql
          .insertInto('relay_bonds')
          .values({ ...key, ...columns })
          .onConflict((conflict) => conflict.columns(['relay_id', 'txid']).doUpdateSet(columns)),
      )
    }
  })
}

/** URLs of relays where no event that is valid at `nowS` announces the bond. */
export function readRelaysWithout(db: Db, txid: Txid, nowS: number): Set<string> {
  const rows = db.all(
    sql
      .selectFrom('relays as r')
      .leftJoin('relay_bonds as b', (join) =>
        join.onRef('b.relay_id', '=', 'r.id').on('b.txid', '=', hashColumn(txid)).on('b.until_s', '>=', nowS),
      )
      .select('r.url')
      .where('b.txid', 'is', null),
  )
  return new Set(rows.map(({ url }) => url))
}

/** The counts of an hour, in place of those that were written for it before. */
export function upsertRelayHour(db: Db, relayId: number, { hour, ...columns }: Omit<RelayHour, 'url'>): void {
  db.run(
    sql
      .insertInto('relay_hours')
      .values({ relay_id: relayId, hour, ...columns })
      .onConflict((conflict) => conflict.columns(['relay_id', 'hour']).doUpdateSet(columns)),
  )
}

export function deleteRelayHoursBefore(db: Db, hour: number): void {
  db.run(sql.deleteFrom('relay_hours').where('hour', '<', hour))
}

/** Since hour `fromHour`, oldest first, within an hour by URL; at most `limit`, the newest. */
export function readRelayHours(db: Db, fromHour: number, limit: number): RelayHour[] {
  const newestFirst = db.all(
    sql
      .selectFrom('relay_hours as h')
      .innerJoin('relays as r', 'r.id', 'h.relay_id')
      .select(['r.url', 'h.hour', 'h.announced', 'h.missing', 'h.dead', 'h.invalid'])
      .where('h.hour', '>=', fromHour)
      .orderBy('h.hour', 'desc')
      .orderBy('r.url', 'desc')
      .limit(limit),
  )
  return newestFirst.reverse()
}
