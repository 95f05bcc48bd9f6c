/**
 * Opens the SQLite file: pragmas, migrations, identity, a cheap check, and the one way to run a query.
 *
 * Kysely types and compiles the queries; better-sqlite3 runs them, synchronously. So a transaction can't be interleaved
 * with anything, and there is one writer by construction. Long statements would hold up serving: a block is committed
 * in about a millisecond, lists are read once per tip.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, fdatasync as fdatasyncWithCallback, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import Database from 'better-sqlite3'
import {
  type Compilable,
  DummyDriver,
  type InferResult,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import { NETWORKS, type Network } from '../chain/types.ts'
import { databasePath } from '../data-places.ts'
import { ConfigError, describeError, StoreError } from '../errors.ts'
import { refusalFor } from '../file-access.ts'
import { NO_DATABASE_ADVICE, SALVAGE_ADVICE } from './columns.ts'
import { assertDatabaseInPlace, FileInPlace } from './in-place.ts'
import { assertSchema, migrate } from './migrate.ts'
import { assertDatabase } from './no-database.ts'
import type { Schema } from './schema.ts'

const fdatasync = promisify(fdatasyncWithCallback)

export const STORE_LIMITS = {
  /** A reader of another process (status, backup) may hold the file this long before we give up. */
  busyMs: 5_000,
  /**
   * The write-ahead log is written back at every 1,000 pages (4 MB, SQLite's own measure), but never beyond what somebody
   * is still reading: beside a long backup it grows. Once it was written back it is cut to this.
   */
  walKeptBytes: 16_000_000,
  /** Somebody has been reading for so long that the log has this size: told, as it takes disk for as long as he does. */
  walToldBytes: 256_000_000,
  /** Prepared statements kept. Ours are a few dozen; a bound in case one is built from data. */
  statements: 200,
  /** What of SQLite's verdict over a damaged table is shown: it lists page after page. */
  verdictChars: 200,
}

/** Builds queries, never runs them. */
export const sql = new Kysely<Schema>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
})

export interface Identity {
  network: Network
  /** Salt of the outpoint keys, 16 bytes. */
  keySalt: Buffer
}

export class Db implements Disposable {
  readonly #sqlite: Database.Database
  readonly #statements = new Map<string, Database.Statement>()
  readonly #file: FileInPlace
  /** The WAL and its shared memory: there, and the same, for as long as a writer has the database open. */
  readonly #companions: readonly FileInPlace[]
  /** A descriptor of the WAL, which is one file for as long as the database is open. */
  #wal: number | undefined

  constructor(sqlite: Database.Database) {
    this.#sqlite = sqlite
    this.#file = new FileInPlace(sqlite.name)
    this.#companions = sqlite.readonly ? [] : ['-wal', '-shm'].map((suffix) => new FileInPlace(sqlite.name + suffix))
  }

  get path(): string {
    return this.#sqlite.name
  }

  /** The number of the last migration applied. */
  get schema(): number {
    return this.guard(() => this.#sqlite.pragma('user_version', { simple: true }) as number)
  }

  all<Q extends Compilable>(query: Q): InferResult<Q> {
    const { sql: text, parameters } = query.compile()
    return this.guard(() => this.prepare(text).all(...parameters)) as InferResult<Q>
  }

  first<Q extends Compilable>(query: Q): InferResult<Q>[number] | undefined {
    const { sql: text, parameters } = query.compile()
    return this.guard(() => this.prepare(text).get(...parameters)) as InferResult<Q>[number] | undefined
  }

  /** Runs a change; returns the number of rows changed. */
  run(query: Compilable): number {
    const { sql: text, parameters } = query.compile()
    return this.guard(() => this.prepare(text).run(...parameters).changes)
  }

  /** A statement to be run many times with other values: compiled once, its parameters in the order of the query's. */
  prepare(text: string): Database.Statement {
    let statement = this.#statements.get(text)
    if (!statement) {
      if (this.#statements.size >= STORE_LIMITS.statements) this.#statements.clear()
      statement = this.#sqlite.prepare(text)
      this.#statements.set(text, statement)
    }
    return statement
  }

  /** Rows that this connection has changed so far: equal counts mean that it has written nothing in between. */
  get writes(): number {
    return this.guard(() => (this.prepare('SELECT total_changes() AS count').get() as { count: number }).count)
  }

  /** Everything in `change` happens, or nothing. `change` is synchronous: it can't be interleaved. */
  transaction<T>(change: () => T): T {
    return this.guard(() => this.#sqlite.transaction(change).immediate())
  }

  /**
   * Resolves once all that was committed before is on the disk, in the file that the data directory names: neither a power
   * cut nor a file deleted under us takes anything of it back. The wait is libuv's, not this thread's. A commit is in the
   * WAL, which is synced here, or was moved into the database by a checkpoint, which syncs both before the WAL is used
   * anew. SQLite holds its locks on the other two files: none is lost with this descriptor. Throws StoreError.
   */
  async synced(): Promise<void> {
    this.#wal ??= openSync(`${this.path}-wal`, 'r')
    try {
      await fdatasync(this.#wal)
    } catch (error) {
      throw new StoreError(`the database ${this.path} can't be written to its disk: ${describeError(error)}`, {
        cause: error,
      })
    }
    this.assertInPlace()
  }

  /** What of it is not written back yet; as long as it ever was since it was cut last. */
  get walBytes(): number {
    return statSync(`${this.path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  }

  /** Throws StoreError when the files that are open are no longer those that the data directory names. */
  assertInPlace(): void {
    assertDatabaseInPlace(this.#file, this.#companions)
  }

  /** Reads of `look` see one moment, whatever another process writes meanwhile. */
  snapshot<T>(look: () => T): T {
    return this.guard(() => this.#sqlite.transaction(look).deferred())
  }

  /** Turns SQLite's I/O failures into StoreError, whose fate is exit code 74. */
  guard<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (error instanceof Database.SqliteError && !error.code.startsWith('SQLITE_CONSTRAINT')) {
        this.assertInPlace() // the better explanation
        const refused = this.#sqlite.readonly ? refusedAccess(this.path, error) : undefined
        if (refused) throw refused
        throw storeFailure(`the database ${this.path} can't be used`, error)
      }
      throw error
    }
  }

  [Symbol.dispose](): void {
    if (this.#companions.length > 0 && this.#file.displaced()) this.#emptyWal()
    if (this.#wal !== undefined) closeSync(this.#wal)
    this.#wal = undefined
    this.#sqlite.close()
  }

  /** Our file was moved: it takes along all that was committed, and a file in its place finds no WAL that isn't its own. */
  #emptyWal(): void {
    try {
      this.#sqlite.pragma('wal_checkpoint(TRUNCATE)')
    } catch {
      // That the file was moved is what ends us, and is told.
    }
  }
}

export interface Opened {
  db: Db
  identity: Identity
  /** Numbers of the migrations applied just now. */
  migrated: number[]
}

/** Opens for writing, creating what is missing. Throws ConfigError (folder, other network, newer) or StoreError. */
export function openStore(dataDir: string, network: Network): Opened {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new ConfigError(`--datadir ${dataDir} can't be made: ${refusalFor(dataDir, 'write') ?? describeError(error)}`)
  }
  const path = databasePath(dataDir)
  const sqlite = openFile(path, {})
  try {
    sqlite.pragma('journal_mode = WAL')
    // NORMAL: a killed process loses nothing; a power cut loses at most the last blocks, which are read again.
    sqlite.pragma('synchronous = NORMAL')
    sqlite.pragma('foreign_keys = ON')
    sqlite.pragma(`journal_size_limit = ${STORE_LIMITS.walKeptBytes}`)
    const migrated = migrate(sqlite)
    checkCheaply(sqlite)
    const db = new Db(sqlite)
    return { db, identity: claimIdentity(db, network), migrated }
  } catch (error) {
    sqlite.close()
    throw asOpenFailure(path, error)
  }
}

/** Opens the database of `dataDir` for reading. Throws ConfigError when there is none, or it is another network's or version's. */
export function openExisting(dataDir: string, network: Network): Db {
  assertDatabase(dataDir, network)
  const db = openStoreReadonly(dataDir)
  try {
    assertSchema(db.path, db.schema)
    assertNetwork(db, network)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
  return db
}

/** As `openExisting`, for one small change, beside a daemon or without one. */
export function openForChange(dataDir: string, network: Network): Db {
  openExisting(dataDir, network)[Symbol.dispose]()
  return new Db(openFile(databasePath(dataDir), { fileMustExist: true }))
}

/** Opens an existing database for reading, beside a daemon or without one. */
export function openStoreReadonly(dataDir: string): Db {
  const path = databasePath(dataDir)
  return new Db(openFile(path, { readonly: true, fileMustExist: true }))
}

function openFile(path: string, options: Database.Options): Database.Database {
  try {
    return new Database(path, { timeout: STORE_LIMITS.busyMs, ...options })
  } catch (error) {
    throw asOpenFailure(path, error)
  }
}

function asOpenFailure(path: string, error: unknown): unknown {
  if (error instanceof Database.SqliteError) {
    return refusedAccess(path, error) ?? storeFailure(`the database ${path} can't be opened`, error)
  }
  return error
}

/** The file has not SQLite's first bytes: another one, or one whose beginning is destroyed. */
export class NoDatabase extends StoreError {}

/** Where this user may not: SQLite says no more than that it can't, and even who only reads writes the WAL's index. */
function refusedAccess(path: string, { code }: InstanceType<typeof Database.SqliteError>): ConfigError | undefined {
  if (!/^SQLITE_(CANTOPEN|READONLY|PERM)/.test(code)) return undefined
  const refusal = [refusalFor(path, 'read'), ...[dirname(path), path].map((one) => refusalFor(one, 'write'))]
  const first = refusal.find((one) => one !== undefined)
  return first === undefined ? undefined : new ConfigError(`the database ${path} can't be opened: ${first}`)
}

function storeFailure(what: string, error: InstanceType<typeof Database.SqliteError>): StoreError {
  if (error.code === 'SQLITE_NOTADB') {
    return new NoDatabase(`${what} (${error.code}): ${error.message}; ${NO_DATABASE_ADVICE}`, { cause: error })
  }
  const advice = isDamage(error) ? `; ${SALVAGE_ADVICE}` : ''
  return new StoreError(`${what} (${error.code}): ${error.message}${advice}`, { cause: error })
}

/** Whether SQLite says that the file itself is damaged. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Database.SqliteError)) return false
  // A schema that makes no sense is told as a plain error of the statement that met it.
  return error.code === 'SQLITE_NOTADB' || error.code.startsWith('SQLITE_CORRUPT') || error.code === 'SQLITE_ERROR'
}

/** All that is read into memory, page by page: damage shows here without reading hundreds of megabytes of keys and probes. */
function checkCheaply(sqlite: Database.Database): void {
  for (const table of CHECKED_AT_START) {
    const verdict = String(sqlite.pragma(`quick_check('${table}')`, { simple: true }))
    if (verdict === 'ok') continue
    const detail = verdict.replace(/\s+/g, ' ').slice(0, STORE_LIMITS.verdictChars)
    throw new StoreError(`the database ${sqlite.name} is damaged (${table}: ${detail}); ${SALVAGE_ADVICE}`)
  }
}

const CHECKED_AT_START = [
  ...['identity', 'blocks', 'bonds', 'pending_bonds', 'watches', 'spenders', 'spends'],
  ...['makers', 'offers', 'proofs', 'trackers', 'relays', 'relay_bonds'],
]

/** Whose chain the database holds: of `network` from here on, if it was nobody's. Throws ConfigError for another's. */
export function claimIdentity(db: Db, network: Network): Identity {
  db.run(
    sql
      .insertInto('identity')
      .values({ id: 1, network, signet_challenge: null, key_salt: randomBytes(16) })
      .onConflict((conflict) => conflict.doNothing()),
  )
  assertNetwork(db, network)
  return { network, keySalt: db.first(sql.selectFrom('identity').select('key_salt'))!.key_salt }
}

/** Throws ConfigError when the database is another network's, StoreError when no network's. One without an identity yet is nobody's. */
export function assertNetwork(db: Db, network: Network): void {
  const row = db.first(sql.selectFrom('identity').select('network'))
  if (row && !NETWORKS.some((known) => known === row.network)) {
    throw new StoreError(`the database ${db.path} is damaged (network ${row.network}); ${SALVAGE_ADVICE}`)
  }
  if (row && row.network !== network) {
    throw new ConfigError(
      `the database ${db.path} belongs to network ${row.network}, but --network is ${network}: give --network ${row.network}, or another --datadir`,
    )
  }
}

/** Remembers which signet this is, and refuses another one (all signets share their genesis block). */
export function claimSignet(db: Db, challenge: string): void {
  const row = db.first(sql.selectFrom('identity').select('signet_challenge'))
  if (row?.signet_challenge === challenge) return
  if (row?.signet_challenge) {
    throw new ConfigError(
      `the database ${db.path} belongs to another signet than bitcoind: name the node it was made with (--rpc), or another --datadir`,
    )
  }
  db.run(sql.updateTable('identity').set({ signet_challenge: challenge }))
}
