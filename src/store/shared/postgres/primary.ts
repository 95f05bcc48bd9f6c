/**
 * Which of the hosts is the primary: all are asked at once, and the first that takes writes is it. One that is frozen or
 * away so holds nobody up. A former primary that came back beside the new one is told by its timeline, and refused.
 */
import { TransientError } from '../../../errors.ts'
import { formatPostgresHost, type PostgresAddress, type PostgresHost } from './address.ts'
import { PostgresConnection } from './connection.ts'
import { PostgresTrouble } from './errors.ts'

/** What a server says of itself. */
export interface ServerRole {
  /** As 150018 of 15.18. */
  version: number
  isStandby: boolean
  isReadOnly: boolean
  /** Of the whole cluster: the same on a primary and its standbys. */
  system: string
  /** Counts up with each promotion; 0 on a standby. */
  timeline: number
}

/** What of SQL is used came with it at the latest, and whatever is older gets no mends any more. */
export const POSTGRES_VERSION_MIN = 130_000

export interface Primary {
  connection: PostgresConnection
  host: PostgresHost
  role: ServerRole
}

export async function readServerRole(connection: PostgresConnection): Promise<ServerRole> {
  const { rows } = await connection.query<ServerRole>(
    `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS "isStandby",
      current_setting('transaction_read_only') = 'on' AS "isReadOnly",
      (SELECT system_identifier::text FROM pg_control_system()) AS system,
      CASE WHEN pg_is_in_recovery() THEN 0
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END AS timeline`,
  )
  return rows[0]!
}

/** `last`: the primary before, whose successor it must be. The signal ends it early. Throws PostgresTrouble that says of each host why not. */
export async function dialPrimary(
  address: PostgresAddress,
  last: ServerRole | undefined,
  signal: AbortSignal,
): Promise<Primary> {
  const found = new AbortController()
  const either = AbortSignal.any([signal, found.signal])
  const asked = address.hosts.map(async (host): Promise<Primary> => {
    const connection = await PostgresConnection.open(address, host, either)
    try {
      const role = await readServerRole(connection)
      const why = unfitness(role, last)
      if (why) throw new PostgresTrouble(why[0], `PostgreSQL at ${formatPostgresHost(host)} ${why[1]}`, why[2])
      if (found.signal.aborted) throw new TransientError('another was faster')
      found.abort()
      return { connection, host, role }
    } catch (error) {
      connection.destroy()
      throw error
    }
  })
  try {
    return await Promise.any(asked)
  } catch (error) {
    const failures: unknown[] = error instanceof AggregateError ? error.errors : [error]
    throw together(failures)
  }
}

type Unfitness = [kind: 'down' | 'refused', what: string, advice: string]

/** Why it can't be used; undefined for a primary. */
export function unfitness(role: ServerRole, last?: ServerRole): Unfitness | undefined {
  if (role.version < POSTGRES_VERSION_MIN) return ['refused', 'is older than version 13', 'upgrade it']
  if (role.isStandby) {
    return ['down', 'is a standby', 'promote it (SELECT pg_promote()), or name the primary in shared-store']
  }
  if (role.isReadOnly) {
    const advice = 'ALTER SYSTEM RESET default_transaction_read_only there, or of the user or database'
    return ['down', 'is read-only', advice]
  }
  if (last && last.system === role.system && role.timeline < last.timeline) {
    const advice = 'stop it, and make it a standby of that one'
    return ['refused', 'was the primary before another one was promoted', advice]
  }
  return undefined
}

/** What isn't weather is ours, and goes first. */
function together(failures: readonly unknown[]): unknown {
  const foreign = failures.find((failure) => !(failure instanceof PostgresTrouble))
  if (foreign !== undefined) return foreign
  const troubles = failures as readonly PostgresTrouble[]
  if (troubles.length === 1) return troubles[0]
  const kind = troubles.some((trouble) => trouble.kind === 'refused') ? 'refused' : 'down'
  const [last, ...others] = troubles.toReversed()
  const what = [...others.reverse().map(({ message }) => message), last!.what].join('; ')
  return new PostgresTrouble(kind, what, last!.advice, { cause: troubles[0] })
}
