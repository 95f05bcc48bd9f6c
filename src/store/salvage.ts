/**
 * Saves from a damaged database what the chain can't give again (registrations and their spends, makers and their
 * history, other trackers) into a new one that takes its place. Rows are read page by page (pages.ts) and taken where a
 * table's rules let them in, so whatever the damage, what is intact is saved. The damaged file is kept; everything else
 * is scanned again at the next start.
 */
import { existsSync, linkSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { NETWORKS, type Network } from '../chain/types.ts'
import { ConfigError, describeError, StoreError } from '../errors.ts'
import { syncFile } from '../files.ts'
import { parseHostPort } from '../tor/address.ts'
import { checkDatabase, deleteWrongSpends } from './check.ts'
import { assertNotNewer, migrate } from './migrate.ts'
import { claimIdentity, Db, STORE_LIMITS } from './open.ts'
import { type PageRecord, type PagesRead, readPages, type SqlValue } from './pages.ts'

/** What the chain can't give again: parents before those that refer to them. */
const SALVAGED = [
  'identity',
  'watches',
  'spenders',
  'spends',
  'makers',
  'offers',
  'proofs',
  'probes',
  'probe_hours',
  'trackers',
  'relays',
  'relay_hours',
] as const
type Salvaged = (typeof SALVAGED)[number]

const LIMITS = {
  /** Names under which damaged databases are kept. */
  keptMax: 1_000,
}

export interface Salvage {
  /** Where the damaged database is now. */
  keptAs: string
  tables: {
    table: Salvaged
    saved: number
    /** Null where the damaged database can't even be asked how many there were. */
    lost: number | null
  }[]
  pages: PagesRead
}

/**
 * Puts a new database, with what could be saved, in the place of the damaged one. Only with the lock held. Throws
 * ConfigError (of another network, written by a newer version) or StoreError, and has then changed nothing.
 */
export function salvageDatabase(path: string, network: Network): Salvage {
  const had = countRows(path)
  const fresh = `${path}.salvaged`
  removeAll(fresh)
  try {
    const db = new Database(fresh)
    let pages: PagesRead
    try {
      db.pragma('journal_mode = WAL')
      db.pragma('foreign_keys = OFF')
      migrate(db)
      db.exec('BEGIN')
      pages = takeRecords(path, db)
      takeFormer(db)
      dropWhatMakesNoSense(db)
      db.exec('COMMIT')
      claimIdentity(new Db(db), network)
      const saved = countsOf(db)
      db.pragma('wal_checkpoint(TRUNCATE)')
      db.close()
      const complaints = checkDatabase(fresh)
      if (complaints.length > 0) throw new StoreError(`what was saved makes no sound database: ${complaints[0]}`)
      removeAll(fresh, ['-wal', '-shm']) // of the check: empty, and named after a file that is about to have another name
      syncFile(fresh)
      const keptAs = putInPlaceOf(path, fresh)
      const tables = SALVAGED.filter((table) => table !== 'identity').map((table) => {
        const before = had.get(table)
        return {
          table,
          saved: saved.get(table)!,
          lost: before === undefined ? null : Math.max(0, before - saved.get(table)!),
        }
      })
      return { keptAs, tables, pages }
    } finally {
      db.close()
    }
  } catch (error) {
    removeAll(fresh)
    if (error instanceof ConfigError || error instanceof StoreError) throw error
    throw new StoreError(`${path} can't be salvaged: ${describeError(error)}`, { cause: error })
  }
}

/** How many rows there were, as far as the damaged database can be asked. Throws ConfigError when it is a newer one. */
function countRows(path: string): Map<Salvaged, number> {
  const counts = new Map<Salvaged, number>()
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: STORE_LIMITS.busyMs })
    assertNotNewer(path, db.pragma('user_version', { simple: true }) as number)
    for (const table of SALVAGED) {
      try {
        counts.set(table, db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number)
      } catch {
        // not known
      }
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error // else not even to be opened
  } finally {
    db?.close()
  }
  return counts
}

interface Shape {
  table: Salvaged
  kind: PageRecord['kind']
  /** As they stand in a record. */
  columns: Column[]
  insert: Database.Statement
}

interface Column {
  name: string
  type: string
  isRequired: boolean
  isRowid: boolean
  /** What it is in a record that was written before the column was added. */
  byDefault: SqlValue
}

interface Former {
  table: Salvaged
  /** Of their records, and what stands in the others (SQL). */
  columns: readonly string[]
  rest: Readonly<Record<string, string>>
  key: readonly string[]
}

/** Tables that were made anew with another key. */
const FORMER: readonly Former[] = [
  {
    table: 'probe_hours',
    columns: ['maker_id', 'hour', 'answered', 'failed', 'unjudged'],
    rest: { source: "'0'" },
    key: ['maker_id', 'hour'],
  },
]

/** What a record of each table looks like, and how it gets into `db`, which has the newest schema. */
function shapesOf(db: Database.Database): Shape[] {
  const shapes = SALVAGED.map((table): Shape => {
    const { wr } = db.prepare('SELECT wr FROM pragma_table_list WHERE schema = ? AND name = ?').get('main', table) as {
      wr: number
    }
    const declared = db
      .prepare('SELECT name, type, "notnull", pk, dflt_value AS dflt FROM pragma_table_info(?)')
      .all(table) as {
      name: string
      type: string
      notnull: number
      pk: number
      dflt: string | null
    }[]
    const key = declared.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk)
    const ordered = wr ? [...key, ...declared.filter(({ pk }) => pk === 0)] : declared
    const columns = ordered.map(({ name, type, notnull, pk, dflt }): Column => {
      const isRowid = !wr && key.length === 1 && pk === 1 && type === 'INTEGER'
      const byDefault = dflt === null ? null : Number(dflt)
      return { name, type, isRequired: (notnull === 1 || pk > 0) && !isRowid, isRowid, byDefault }
    })
    const names = columns.map(({ name }) => name)
    // OR IGNORE: what breaks a rule of the table, or is there already, is left out.
    const insert = db.prepare(`INSERT OR IGNORE INTO ${table} (${names}) VALUES (${names.map(() => '?')})`)
    return { table, kind: wr ? 'index' : 'table', columns, insert }
  })
  return [...shapes, ...FORMER.map((former) => formerShape(db, former, shapes))]
}

/** Kept apart until all is read: pages of the table as it was may lie about beside those of the one made from it. */
function formerShape(db: Database.Database, { table, columns: names, key }: Former, shapes: readonly Shape[]): Shape {
  const { kind, columns } = shapes.find((shape) => shape.table === table)!
  db.exec(`CREATE TEMP TABLE former_${table} (${names}, PRIMARY KEY (${key}))`)
  const insert = db.prepare(`INSERT OR IGNORE INTO former_${table} VALUES (${names.map(() => '?')})`)
  return { table, kind, columns: names.map((name) => columns.find((column) => column.name === name)!), insert }
}

/** What the table as it was had, and the one made from it hasn't. */
function takeFormer(db: Database.Database): void {
  for (const { table, columns, key, rest } of FORMER) {
    const same = key.map((name) => `t.${name} = f.${name}`).join(' AND ')
    db.exec(
      `INSERT OR IGNORE INTO ${table} (${[...columns, ...Object.keys(rest)]})
       SELECT ${[...columns, ...Object.values(rest)]} FROM former_${table} f
       WHERE NOT EXISTS (SELECT 1 FROM ${table} t WHERE ${same})`,
    )
  }
}

/** Takes every record that has the shape of one of our tables and that the table lets in. */
function takeRecords(path: string, db: Database.Database): PagesRead {
  const shapes = shapesOf(db)
  return readPages(path, (record) => {
    for (const shape of shapes) {
      const row = rowOf(record, shape)
      if (row && shape.insert.run(...row).changes > 0) return
    }
  })
}

function rowOf({ kind, rowid, values }: PageRecord, shape: Shape): SqlValue[] | undefined {
  if (kind !== shape.kind || values.length > shape.columns.length) return undefined
  const row: SqlValue[] = []
  for (const [i, { name, type, isRequired, isRowid, byDefault }] of shape.columns.entries()) {
    // A record that was written before a migration lacks the columns which that one has added.
    const value = isRowid ? rowid! : i < values.length ? values[i]! : byDefault
    if (value === null ? isRequired : !isOfType(value, type)) return undefined
    // Its block will be scanned again.
    const isPlace = shape.table === 'spenders' && (name === 'height' || name === 'in_mempool')
    row.push(isPlace ? (name === 'height' ? null : 0) : value)
  }
  return row
}

function isOfType(value: SqlValue, type: string): boolean {
  switch (type) {
    case 'INTEGER':
      return typeof value === 'bigint' || Number.isInteger(value)
    case 'REAL':
      return typeof value === 'number'
    case 'TEXT':
      return typeof value === 'string'
    default:
      return Buffer.isBuffer(value)
  }
}

/** Rows that refer to lost ones, or whose contents were hit. What two trackers differed in is found again. */
function dropWhatMakesNoSense(db: Database.Database): void {
  db.prepare(`DELETE FROM identity WHERE network NOT IN (${NETWORKS.map(() => '?')})`).run(...NETWORKS)
  for (const table of ['makers', 'trackers'] as const) {
    const addresses = db.prepare(`SELECT address FROM ${table}`).pluck().all() as string[]
    const remove = db.prepare(`DELETE FROM ${table} WHERE address = ?`)
    for (const address of addresses) if (!parseHostPort(address)) remove.run(address)
  }
  db.exec(`
    UPDATE makers SET protocols = NULL WHERE protocols IS NOT NULL AND NOT json_valid(protocols);
    UPDATE offers SET lightning = NULL WHERE lightning IS NOT NULL AND NOT coalesce(
      json_type(lightning, '$.swapIn') IN ('true', 'false') AND json_type(lightning, '$.swapOut') IN ('true', 'false'), 0);
    UPDATE trackers SET agrees = NULL, compared_height = NULL, only_ours = '[]', only_theirs = '[]';
    DELETE FROM offers WHERE maker_id NOT IN (SELECT id FROM makers);
    DELETE FROM probes WHERE maker_id NOT IN (SELECT id FROM makers);
    DELETE FROM probe_hours WHERE maker_id NOT IN (SELECT id FROM makers);
    DELETE FROM spends WHERE spender_txid NOT IN (SELECT txid FROM spenders);`)
  deleteWrongSpends(db)
  db.exec('DELETE FROM spenders WHERE txid NOT IN (SELECT spender_txid FROM spends)')
}

function countsOf(db: Database.Database): Map<Salvaged, number> {
  return new Map(SALVAGED.map((table) => [table, db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number]))
}

/** Returns where the old one is now. A name that is taken is left alone. */
function putInPlaceOf(path: string, fresh: string): string {
  const keptAs = freeName(path)
  try {
    linkSync(path, keptAs)
  } catch {
    renameSync(path, keptAs) // a file system without links
  }
  for (const suffix of ['-wal', '-shm']) if (existsSync(path + suffix)) renameSync(path + suffix, keptAs + suffix)
  renameSync(fresh, path)
  syncFile(dirname(path))
  return keptAs
}

function freeName(path: string): string {
  for (let i = 1; i <= LIMITS.keptMax; i++) {
    const name = i === 1 ? `${path}.damaged` : `${path}.damaged-${i}`
    if (!existsSync(name)) return name
  }
  throw new ConfigError(`${LIMITS.keptMax} damaged databases are kept beside ${path}: move them away`)
}

function removeAll(path: string, suffixes = ['', '-wal', '-shm']): void {
  for (const suffix of suffixes) rmSync(path + suffix, { force: true })
}
