/** The shared database, host by host as the daemon will dial them, and then the primary: may we, is it ours, will it last. */
import type { Network } from '../chain/types.ts'
import { ConfigError } from '../errors.ts'
import {
  formatPostgresHost,
  isSocket,
  type PostgresAddress,
  type PostgresHost,
} from '../store/shared/postgres/address.ts'
import { PostgresConnection } from '../store/shared/postgres/connection.ts'
import { PostgresTrouble } from '../store/shared/postgres/errors.ts'
import { readSchemaVersion, readSharedMigrations, readSharedNetwork } from '../store/shared/postgres/migrate.ts'
import { POOL_LIMITS } from '../store/shared/postgres/pool.ts'
import { readServerRole, type ServerRole, unfitness } from '../store/shared/postgres/primary.ts'
import { isLoopback } from '../tor/address.ts'
import type { Clock } from '../world.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const LIMITS = {
  /** Between PostgreSQL's clock and ours: times of registrations and probes are shown from both. */
  clockMs: 5_000,
}

/** At once: what is lent, and one that listens; one more while a lost one is made anew. */
const CONNECTIONS = POOL_LIMITS.connections + 2

interface Asked {
  host: PostgresHost
  where: string
  connection?: PostgresConnection
  role?: ServerRole
  trouble?: PostgresTrouble
}

export async function postgresFindings(address: PostgresAddress, network: Network, clock: Clock): Promise<Finding[]> {
  const asked = await Promise.all(address.hosts.map((host) => ask(address, host)))
  try {
    const primary = asked.find(({ role }) => role && !unfitness(role))
    const isServed = primary !== undefined
    const hosts = asked.map((one) => hostFinding(one, address, isServed))
    if (!primary?.connection) return hosts
    const { connection } = primary
    return [
      ...hosts,
      tlsFinding(address, primary.host, connection),
      await rightsFinding(connection, address),
      ...(await schemaFindings(connection, network)),
      await connectionsFinding(connection),
      await durabilityFinding(connection),
      await clockFindingOf(connection, clock),
    ]
  } catch (error) {
    if (!(error instanceof PostgresTrouble)) throw error
    return [broken('postgres', error.what, error.advice)]
  } finally {
    await Promise.all(asked.map(({ connection }) => connection?.close()))
  }
}

async function ask(address: PostgresAddress, host: PostgresHost): Promise<Asked> {
  const where = formatPostgresHost(host)
  let connection: PostgresConnection | undefined
  try {
    connection = await PostgresConnection.open(address, host, new AbortController().signal)
    return { host, where, connection, role: await readServerRole(connection) }
  } catch (error) {
    if (!(error instanceof PostgresTrouble)) throw error
    return { host, where, trouble: error, ...(connection && { connection }) }
  }
}

/** `isServed`: another one is the primary, so that the daemon works without this. */
function hostFinding({ where, role, trouble }: Asked, address: PostgresAddress, isServed: boolean): Finding {
  const check = 'postgres'
  const bad = isServed ? worth : broken
  if (trouble) return bad(check, trouble.what, fixOf(trouble, address))
  const why = unfitness(role!)
  const version = `version ${Math.floor(role!.version / 10_000)}.${role!.version % 10_000}`
  if (!why) return well(check, `the primary at ${where} answers (${version})`)
  if (role!.isStandby && isServed) return well(check, `a standby at ${where} answers (${version})`)
  return bad(check, `PostgreSQL at ${where} ${why[1]}`, why[2])
}

/** The same as `advice`, with the names in it, where there is something to type. */
function fixOf({ code, advice }: PostgresTrouble, { user, database }: PostgresAddress): string {
  const asAdmin = (sql: string) => `on its machine: sudo -u postgres psql -c '${sql}'`
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'on its machine: sudo systemctl start postgresql; or correct the host and port in shared-store'
    case '28P01':
      return `correct the password in shared-store; or on its machine: sudo -u postgres psql -c '\\password ${user}'`
    case '28000':
      return `on its machine, in pg_hba.conf: host ${database} ${user} <address of this machine>/32 scram-sha-256; then: sudo systemctl reload postgresql`
    case '3D000':
      return `on its machine: sudo -u postgres createdb -O ${user} ${database}; or name another one in shared-store`
    case '53300':
      return `${asAdmin('ALTER SYSTEM SET max_connections = 200')}; then: sudo systemctl restart postgresql`
    default:
      return advice
  }
}

function tlsFinding(
  { sslmode, sslrootcert }: PostgresAddress,
  host: PostgresHost,
  connection: PostgresConnection,
): Finding {
  const check = 'postgres-tls'
  if (isSocket(host)) return well(check, 'not needed: it is a socket of this machine')
  const isNear = isLoopback(host.host)
  const fix = 'sslmode=verify-full in shared-store, and sslrootcert=<file> with who signed its certificate'
  if (!connection.isEncrypted) {
    if (isNear) return well(check, 'none, and none needed: it is on this machine')
    return worth(
      check,
      `what goes to ${connection.where} is not encrypted: whoever is on the way reads and changes it`,
      `ssl = on in postgresql.conf there, then ${fix}`,
    )
  }
  if (sslmode === 'verify-full') return well(check, 'encrypted, its certificate and name verified')
  if (sslmode === 'verify-ca' || (sslmode === 'require' && sslrootcert !== undefined)) {
    return well(check, 'encrypted, its certificate verified, whatever name it has')
  }
  if (isNear) return well(check, 'encrypted, not verified; it is on this machine')
  return worth(check, `encrypted, but it is not verified who ${connection.where} is (sslmode=${sslmode})`, fix)
}

async function rightsFinding(connection: PostgresConnection, { user, database }: PostgresAddress): Promise<Finding> {
  const check = 'postgres-rights'
  const { rows } = await connection.query<{ schema: string | null; may: boolean | null; closed: string | null }>(
    `SELECT current_schema() AS schema, has_schema_privilege(current_schema(), 'CREATE') AS may,
      (SELECT string_agg(relname, ', ') FROM pg_class WHERE relnamespace = current_schema()::regnamespace
        AND relkind = 'r' AND NOT pg_has_role(relowner, 'MEMBER')) AS closed`,
  )
  const { schema, may, closed } = rows[0]!
  const owner = `on its machine: sudo -u postgres psql -c 'ALTER DATABASE ${database} OWNER TO ${user}'`
  if (schema === null)
    return broken(check, `${user} has no schema to make tables in`, `${owner}; and in it: CREATE SCHEMA public`)
  if (!may) return broken(check, `${user} may not make tables in the schema ${schema} of ${database}`, owner)
  if (closed !== null) {
    const fix = `on its machine: sudo -u postgres psql -d ${database} -c 'ALTER TABLE … OWNER TO ${user}', for each of them`
    return broken(check, `tables there are somebody else's: ${closed}`, fix)
  }
  return well(check, `${user} may do all that is needed in ${database}`)
}

async function schemaFindings(connection: PostgresConnection, network: Network): Promise<Finding[]> {
  const check = 'postgres-schema'
  const known = readSharedMigrations().length
  let version: number
  try {
    version = await readSchemaVersion(connection, known)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [what = '', fix = ''] = error.message.split(/: (?=upgrade|make one)/)
    return [broken(check, what, fix)]
  }
  if (version === 0) return [well(check, 'has no tables yet: they are made at the first start')]
  const schema =
    version < known
      ? well(check, `has schema ${version}, which the next start brings to ${known}`)
      : well(check, `has schema ${version}, as this program`)
  const claimed = await readSharedNetwork(connection)
  if (claimed === undefined || claimed === network) return [schema, well('postgres-network', `is for ${network}`)]
  const fix = `name the database of ${network} in shared-store, one for each network; or give --network ${claimed}`
  return [schema, broken('postgres-network', `is about network ${claimed}, but --network is ${network}`, fix)]
}

async function connectionsFinding(connection: PostgresConnection): Promise<Finding> {
  const { rows } = await connection.query<{ max: number; free: number }>(
    `SELECT current_setting('max_connections')::int AS max,
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT sum(numbackends)::int FROM pg_stat_database) AS free`,
  )
  const { max, free } = rows[0]!
  const text = `${Math.max(free, 0)} of ${max} connections are free; a tracker takes ${CONNECTIONS} at most`
  if (free >= CONNECTIONS) return well('postgres-connections', text)
  const more = `on its machine: sudo -u postgres psql -c 'ALTER SYSTEM SET max_connections = ${2 * max}'; then: sudo systemctl restart postgresql`
  return worth('postgres-connections', text, more)
}

/** What a failover, or a power cut, may lose. */
async function durabilityFinding(connection: PostgresConnection): Promise<Finding> {
  const check = 'postgres-durability'
  const { rows } = await connection.query<{ fsync: string; commit: string; names: string; standbys: number }>(
    `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
      current_setting('synchronous_standby_names') AS names, (SELECT count(*)::int FROM pg_stat_replication) AS standbys`,
  )
  const { fsync, commit, names, standbys } = rows[0]!
  const set = (name: string) =>
    `on its machine: sudo -u postgres psql -c 'ALTER SYSTEM RESET ${name}' -c 'SELECT pg_reload_conf()'`
  if (fsync !== 'on') return broken(check, 'fsync is off: a power cut may lose or damage everything', set('fsync'))
  if (commit === 'off') {
    return worth(
      check,
      'synchronous_commit is off: a crash loses registrations that were confirmed',
      set('synchronous_commit'),
    )
  }
  if (names !== '' && commit !== 'local') return well(check, 'a commit waits for a standby: a failover loses nothing')
  if (standbys === 0) return well(check, 'no standby follows: what its disk loses is lost, but for backups (pg_dump)')
  const how = `synchronous_standby_names there makes a commit wait for one`
  return well(check, `a commit waits for no standby: a failover may lose the last registrations (${how})`)
}

async function clockFindingOf(connection: PostgresConnection, clock: Clock): Promise<Finding> {
  const before = clock.nowMs()
  const { rows } = await connection.query<{ nowMs: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "nowMs"',
  )
  const offMs = rows[0]!.nowMs - (before + clock.nowMs()) / 2
  const text = `its clock is ${(Math.abs(offMs) / 1000).toFixed(1)} s ${offMs < 0 ? 'behind' : 'ahead of'} ours`
  if (Math.abs(offMs) <= LIMITS.clockMs) return well('postgres-clock', text)
  return worth('postgres-clock', text, 'timedatectl on both machines: one of them is not synchronized')
}
