/**
 * Applies migrations/shared/NNNN-name.sql in order, each in one transaction together with its row in schema_version, under
 * a lock: several trackers may start at once. A file that was applied is never edited. A database that is newer than this
 * program, or about another network, is refused.
 */
import { fileURLToPath } from 'node:url'
import type { Network } from '../../../chain/types.ts'
import { ConfigError } from '../../../errors.ts'
import { type Migration, readMigrations } from '../../migrate.ts'
import type { PostgresConnection } from './connection.ts'

const SHARED_MIGRATIONS = fileURLToPath(new URL('../../../../migrations/shared/', import.meta.url))

const LIMITS = {
  /** One migration, and the wait for another tracker that is at it: tables of ten million rows may be rewritten. */
  migrationMs: 900_000,
}

/** Any number that no other program is likely to lock in this database: "fidelity" as bytes, cut to what bigint holds. */
const LOCK = 0x6669_6465_6c69

export function readSharedMigrations(): Migration[] {
  return readMigrations(SHARED_MIGRATIONS)
}

/** Brings the database to the newest schema, and makes it `network`'s; returns the numbers applied. Throws ConfigError, PostgresTrouble. */
export async function migrateShared(
  connection: PostgresConnection,
  network: Network,
  migrations: readonly Migration[] = readSharedMigrations(),
): Promise<number[]> {
  const applied: number[] = []
  while ((await readSchemaVersion(connection, migrations.length)) < migrations.length) {
    const number = await applyNext(connection, migrations)
    if (number !== undefined) applied.push(number)
  }
  await claimNetwork(connection, network)
  return applied
}

/** Numbers up to `known` are understood; 0 for a database without our tables. Throws ConfigError for a newer one. */
export async function readSchemaVersion(connection: PostgresConnection, known: number): Promise<number> {
  const version = await storedSchemaVersion(connection)
  if (version > known) {
    throw new ConfigError(
      `the shared database at ${connection.where} has schema ${version}, this program knows ${known}: upgrade fidelity-tracker here as well`,
    )
  }
  return version
}

/** The newest migration that was applied; 0 for a database without our tables. Throws ConfigError where they are another program's. */
export async function storedSchemaVersion(connection: PostgresConnection): Promise<number> {
  const { rows: columns } = await connection.query<{ name: string }>(
    "SELECT attname AS name FROM pg_attribute WHERE attrelid = to_regclass('schema_version') AND attnum > 0 AND NOT attisdropped",
  )
  if (columns.length === 0) return 0
  const names = columns.map(({ name }) => name)
  if (!['version', 'name', 'applied_at'].every((name) => names.includes(name))) {
    throw new ConfigError(
      `the database at ${connection.where} belongs to another program, which has a table schema_version of its own: make one for the trackers alone (createdb), and name it in shared-store`,
    )
  }
  const { rows } = await connection.query<{ version: number }>(
    'SELECT coalesce(max(version), 0) AS version FROM schema_version',
  )
  return rows[0]!.version
}

/** The network that the database is about; undefined before its first claim. Only where the schema is there. */
export async function readSharedNetwork(connection: PostgresConnection): Promise<string | undefined> {
  const { rows } = await connection.query<{ network: string }>('SELECT network FROM identity WHERE id = 1')
  return rows[0]?.network
}

/** Undefined when another tracker has applied it meanwhile. */
async function applyNext(
  connection: PostgresConnection,
  migrations: readonly Migration[],
): Promise<number | undefined> {
  await connection.query('BEGIN')
  try {
    await connection.query(`SET LOCAL statement_timeout = ${LIMITS.migrationMs}`)
    await connection.query('SELECT pg_advisory_xact_lock($1)', [LOCK], LIMITS.migrationMs)
    const next = migrations[await readSchemaVersion(connection, migrations.length)]
    if (next) {
      await connection.query(next.sql, [], LIMITS.migrationMs)
      await connection.query('INSERT INTO schema_version (version, name) VALUES ($1, $2)', [next.number, next.name])
    }
    await connection.query('COMMIT', [], LIMITS.migrationMs)
    return next?.number
  } catch (error) {
    await connection.query('ROLLBACK').catch(() => {}) // the first error tells more
    throw error
  }
}

async function claimNetwork(connection: PostgresConnection, network: Network): Promise<void> {
  let claimed = await readSharedNetwork(connection)
  if (claimed === undefined) {
    await connection.query('INSERT INTO identity (id, network) VALUES (1, $1) ON CONFLICT (id) DO NOTHING', [network])
    claimed = await readSharedNetwork(connection)
  }
  if (claimed === network) return
  throw new ConfigError(
    `the shared database at ${connection.where} is about network ${claimed}, and --network is ${network}: name the database of ${network} in shared-store, one for each network`,
  )
}
