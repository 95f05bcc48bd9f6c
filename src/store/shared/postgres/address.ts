/**
 * Where PostgreSQL is, as libpq writes it: `postgres://user:password@host1:port1,host2:port2/database?sslmode=…`. Pure: no
 * name is looked up and no file read. Source: https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.1.
 * Of libpq's parameters only those that mean something here are taken; `pg` knows neither several hosts nor all of sslmode.
 */
import { ConfigError } from '../../../errors.ts'
import { Secret } from '../../../secret.ts'

export const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
/** As libpq: `require` encrypts and believes anybody, `verify-ca` checks who signed, `verify-full` also the name. */
export type SslMode = (typeof SSL_MODES)[number]

export interface PostgresHost {
  /** A name, an IP address without brackets, or the folder of a Unix socket, which begins with a slash. */
  host: string
  port: number
}

export interface PostgresAddress {
  /** At least one, in the order given. */
  hosts: readonly PostgresHost[]
  user: string
  password: Secret | undefined
  database: string
  sslmode: SslMode
  /** A file of certificates in PEM; undefined: those that Node trusts. */
  sslrootcert: string | undefined
}

const PORT = 5432
const EXAMPLE = 'postgres://user:password@host:5432/database'
const PARAMETERS = ['host', 'port', 'sslmode', 'sslrootcert', 'target_session_attrs']

/** Throws ConfigError that says what is wrong, without the setting's name; the password is in none of these. */
export function parsePostgresAddress(text: string): PostgresAddress {
  const parts = /^postgres(?:ql)?:\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text.trim())
  if (!parts) throw fault(`expected ${EXAMPLE}`)
  const [, authority = '', path = '', query = ''] = parts
  const at = authority.lastIndexOf('@')
  if (at < 0 && text.includes('@')) {
    throw fault('what stands before the @ is not understood: write / and ? in a password as %2F and %3F')
  }
  const [user, password] = userOf(authority.slice(0, Math.max(at, 0)))
  const parameters = parametersOf(query)
  const database = decoded(path, 'the database') || user
  if (database.includes('/')) throw fault(`the database's name holds a slash: write / in a password or name as %2F`)
  const address: PostgresAddress = {
    hosts: hostsOf(authority.slice(at + 1), parameters),
    user,
    password,
    database,
    sslmode: sslModeOf(parameters.get('sslmode')),
    sslrootcert: parameters.get('sslrootcert'),
  }
  if (address.sslrootcert !== undefined && !address.sslrootcert.startsWith('/')) {
    throw fault('sslrootcert is no absolute path: name the file of certificates as /path/to/root.crt')
  }
  const role = parameters.get('target_session_attrs') ?? 'primary'
  if (!['primary', 'read-write'].includes(role)) {
    throw fault('target_session_attrs can only be read-write or primary: leave it out, a primary is always looked for')
  }
  return address
}

/** Without the password, for people. */
export function formatPostgresAddress({ hosts, user, database }: PostgresAddress): string {
  return `postgres://${encodeURIComponent(user)}@${hosts.map(formatPostgresHost).join(',')}/${encodeURIComponent(database)}`
}

export function formatPostgresHost({ host, port }: PostgresHost): string {
  if (isSocket({ host })) return `${host}/.s.PGSQL.${port}`
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** True for the folder of a Unix socket, where there is no TLS. */
export function isSocket({ host }: Pick<PostgresHost, 'host'>): boolean {
  return host.startsWith('/')
}

function userOf(text: string): [string, Secret | undefined] {
  const colon = text.indexOf(':')
  const user = decoded(colon < 0 ? text : text.slice(0, colon), 'the user')
  if (user === '') throw fault(`no user is named: expected ${EXAMPLE}`)
  const password = colon < 0 ? '' : decoded(text.slice(colon + 1), 'the password')
  return [user, password === '' ? undefined : new Secret(password)]
}

function hostsOf(text: string, parameters: ReadonlyMap<string, string>): PostgresHost[] {
  const asParameter = parameters.get('host')
  if (asParameter === undefined) {
    if (text === '') throw fault(`no host is named: expected ${EXAMPLE}, or ?host=/var/run/postgresql for a socket`)
    if (parameters.has('port')) throw fault('port goes with the host: write host:port')
    return text.split(',').map(hostOf)
  }
  if (text !== '') throw fault('hosts are named twice: before the database, and as the parameter host')
  const hosts = asParameter.split(',')
  const ports = (parameters.get('port') ?? String(PORT)).split(',')
  if (ports.length !== 1 && ports.length !== hosts.length) throw fault('give one port, or one for each host')
  return hosts.map((host, i) => ({ host: checkedHost(host), port: portOf(ports[i] ?? ports[0]!) }))
}

function hostOf(text: string): PostgresHost {
  const parts = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(text)
  if (!parts) throw fault('a host is not understood: expected host:port; an IPv6 address stands in brackets')
  const [, bracketed, plain, port] = parts
  return { host: checkedHost(bracketed ?? decoded(plain!, 'a host')), port: portOf(port || String(PORT)) }
}

function checkedHost(host: string): string {
  const isHost = /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/i.test(host) || /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(host)
  // What stands here may be the rest of a password with a bare @, / or ? in it.
  if (!isHost && !/^\/[^\0]*$/.test(host))
    throw fault('a host is not understood: write @ : / ? in a password as %40 %3A %2F %3F')
  return host
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw fault('a port is not understood: write @ : / ? in a password as %40 %3A %2F %3F')
  return port
}

function parametersOf(query: string): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const pair of query === '' ? [] : query.split('&')) {
    const equals = pair.indexOf('=')
    const name = equals < 0 ? pair : pair.slice(0, equals)
    if (!PARAMETERS.includes(name)) {
      const shown = /^[a-z_]{1,40}$/i.test(name) ? name : 'what stands behind the question mark'
      throw fault(`${shown} is no parameter here; known are ${PARAMETERS.join(', ')}`)
    }
    if (parameters.has(name)) throw fault(`${name} is given twice`)
    parameters.set(name, decoded(pair.slice(equals + 1), name))
  }
  return parameters
}

function sslModeOf(text = 'prefer'): SslMode {
  const mode = SSL_MODES.find((known) => known === text)
  if (!mode) throw fault(`sslmode is none of ${SSL_MODES.join(', ')}`)
  return mode
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw fault(`${what} holds a % that begins no code: write it as %25`)
  }
}

function fault(what: string): ConfigError {
  return new ConfigError(what)
}
