/**
 * The shared store for one piece of work, as a verb does it: dialled once, asked, left. Whoever finds it away is told so
 * at once; nothing is tried again.
 */
import type { Network } from '../../../chain/types.ts'
import { BrokenInvariant, ConfigError, TransientError, UnreachableError } from '../../../errors.ts'
import type { Secret } from '../../../secret.ts'
import { parsePostgresAddress } from './address.ts'
import type { PostgresConnection } from './connection.ts'
import { kyselyOver } from './kysely.ts'
import { migrateShared, readSchemaVersion, readSharedMigrations, readSharedNetwork } from './migrate.ts'
import { PostgresShared } from './postgres-shared.ts'
import { dialPrimary } from './primary.ts'
import type { SharedDatabase } from './session.ts'

export interface SharedVisit {
  store: PostgresShared
  /** For people: host and port. */
  where: string
  /** Rows that this version can't read, and that were therefore passed over. */
  unread(): number
}

/**
 * `toRead`: all of it is of one moment, nothing can be changed, and the schema has to be this program's; `toChange`: it is
 * brought up to date first. Throws ConfigError, or UnreachableError when it is away or goes away.
 */
export async function visitShared<T>(
  url: Secret,
  network: Network,
  purpose: 'toRead' | 'toChange',
  signal: AbortSignal,
  work: (visit: SharedVisit) => Promise<T>,
): Promise<T> {
  let connection: PostgresConnection | undefined
  const stop = () => connection?.destroy()
  signal.addEventListener('abort', stop)
  try {
    connection = (await dialPrimary(parsePostgresAddress(url.reveal()), undefined, signal)).connection
    signal.throwIfAborted()
    if (purpose === 'toChange') await migrateShared(connection, network)
    else await openToRead(connection, network)
    let unread = 0
    const log = {
      warn({ rows }: { rows: number }) {
        unread += rows
      },
    }
    const store = new PostgresShared({ database: overOne(connection), log })
    const result = await work({ store, where: connection.where, unread: () => unread })
    await connection.close()
    return result
  } catch (error) {
    connection?.destroy() // whatever was begun is taken back there
    signal.throwIfAborted()
    if (error instanceof TransientError) throw new UnreachableError(error.message, { cause: error })
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** From here on until the connection is closed all that is read is of this moment. */
async function openToRead(connection: PostgresConnection, network: Network): Promise<void> {
  const known = readSharedMigrations().length
  const version = await readSchemaVersion(connection, known)
  if (version < known) {
    const has = version === 0 ? 'has no tables yet' : `has schema ${version}, and this program reads ${known}`
    throw new ConfigError(
      `the shared database at ${connection.where} ${has}: start a tracker of this version with it first`,
    )
  }
  const claimed = await readSharedNetwork(connection)
  if (claimed !== network) {
    throw new ConfigError(
      `the shared database at ${connection.where} is about network ${claimed}, and --network is ${network}: name the database of ${network} in shared-store`,
    )
  }
  await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
}

function overOne(connection: PostgresConnection): SharedDatabase {
  return {
    db: kyselyOver(async () => ({ query: (text, values) => connection.query(text, values), giveBack() {} })),
    query: async <Row>(text: string, values: readonly unknown[]) => (await connection.query<Row>(text, values)).rows,
    async transaction(work, ms) {
      await connection.query('BEGIN')
      if (ms !== undefined) await connection.query(`SET LOCAL statement_timeout = ${Math.round(ms)}`)
      const result = await work(
        async <Row>(text: string, values: readonly unknown[]) => (await connection.query<Row>(text, values, ms)).rows,
      )
      const { command } = await connection.query('COMMIT')
      if (command !== 'COMMIT')
        throw new BrokenInvariant('a transaction went on after one of its statements had failed')
      return result
    },
  }
}
