/**
 * A real PostgreSQL in a folder of the test's own, on a free port of 127.0.0.1, run as the user postgres where the test is
 * root's (it refuses to run as root). Never the system's: nothing outside the folder is touched.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tempDir } from '../support/temp-dir.ts'
import { freePorts } from './ports.ts'
import { waitUntil } from './wait.ts'

const run = promisify(execFile)
/** Debian keeps several versions side by side, none of them on the PATH; elsewhere they are. */
const BIN = existsSync('/usr/lib/postgresql')
  ? readdirSync('/usr/lib/postgresql')
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => `/usr/lib/postgresql/${version}/bin`)
      .find((bin) => existsSync(join(bin, 'initdb')))
  : undefined
const ENV = {
  ...process.env,
  PATH: BIN === undefined ? process.env.PATH : `${BIN}:${process.env.PATH}`,
  LC_ALL: 'C.UTF-8',
}
/** With capital letters and signs, so that encoding is always tried. */
export const PASSWORD = 'p@ss:w/ö%rd'
export const USER = 'tracker'
export const DATABASE = 'market'

export interface PostgresOptions {
  /** `password` (scram) also for the user postgres over TCP; `trust`: nobody is asked. */
  auth?: 'trust' | 'password'
  /** For this name or IP address, signed by an authority of the test's own; without it there is no TLS. */
  tlsName?: string
  /** Further lines of postgresql.conf. */
  settings?: readonly string[]
}

/** Whoever ends what was started: a test, or a script of its own. */
export interface Ending {
  after(end: () => Promise<void>): void
}

export class PostgresServer {
  readonly port: number
  readonly #home: string
  readonly #auth: 'trust' | 'password'
  #pid: number | undefined

  private constructor(home: string, port: number, auth: 'trust' | 'password') {
    this.#home = home
    this.port = port
    this.#auth = auth
  }

  /** Started, with an empty database `market` of the user `tracker`. Ends with the test. */
  static async start(
    t: Ending,
    { auth = 'password', tlsName, settings = [] }: PostgresOptions = {},
  ): Promise<PostgresServer> {
    const server = await PostgresServer.#at(t, auth)
    writeFileSync(join(server.#home, 'password'), PASSWORD)
    own(server.#home)
    const how = auth === 'password' ? 'scram-sha-256' : 'trust'
    await server.#program('initdb', [
      '-D',
      server.dataDir,
      '-U',
      'postgres',
      '-A',
      how,
      '--pwfile',
      join(server.#home, 'password'),
      '--no-sync',
      '--no-instructions',
    ])
    appendFileSync(join(server.dataDir, 'pg_hba.conf'), `host replication all 127.0.0.1/32 ${how}\n`)
    const tls = tlsName === undefined ? [] : await server.#makeCertificate(tlsName)
    server.#configure(['wal_level = replica', 'max_wal_senders = 10', 'wal_log_hints = on', ...tls, ...settings])
    await server.launch()
    await server.psql(`CREATE ROLE ${USER} LOGIN PASSWORD '${PASSWORD}'`)
    await server.psql(`CREATE DATABASE ${DATABASE} OWNER ${USER}`)
    return server
  }

  static async #at(t: Ending, auth: 'trust' | 'password'): Promise<PostgresServer> {
    const dir = tempDir()
    chmodSync(dir.path, 0o700)
    own(dir.path)
    const [port] = await freePorts(1)
    const server = new PostgresServer(dir.path, port!, auth)
    t.after(async () => {
      await server.kill()
      dir[Symbol.dispose]()
    })
    return server
  }

  get dataDir(): string {
    return join(this.#home, 'data')
  }

  /** Folder of its Unix socket, where the user postgres is let in without a password by `trust` alone. */
  get socketDir(): string {
    return this.#home
  }

  /** Of the authority that signed its certificate. */
  get rootCertificate(): string {
    return join(this.#home, 'root.crt')
  }

  get log(): string {
    return existsSync(join(this.#home, 'log')) ? readFileSync(join(this.#home, 'log'), 'utf8') : ''
  }

  /** As shared-store has it; `others`: hosts behind this one. */
  url({
    user = USER,
    password = PASSWORD,
    host = '127.0.0.1',
    port = this.port,
    database = DATABASE,
    query = '',
    others = [],
  }: {
    user?: string
    password?: string
    host?: string
    /** Of what stands before it. */
    port?: number
    database?: string
    query?: string
    others?: readonly PostgresServer[]
  } = {}): string {
    const hosts = [`${host}:${port}`, ...others.map(({ port }) => `127.0.0.1:${port}`)]
    return `postgres://${user}:${encodeURIComponent(password)}@${hosts.join(',')}/${database}${query && `?${query}`}`
  }

  /** Waits until it takes connections. */
  async launch(): Promise<void> {
    await this.launchUnready()
    let refusal: unknown
    try {
      await waitUntil(
        'PostgreSQL takes connections',
        async () => {
          if (!this.isRunning) throw new Error(`PostgreSQL ended: ${this.log}`)
          return await this.psql('SELECT 1').catch((error) => {
            refusal = error
          })
        },
        { timeoutMs: 90_000 },
      )
    } catch (cause) {
      throw new Error(`${refusal}; its log: ${this.log}`, { cause })
    }
  }

  /** Returns as soon as it runs. */
  async launchUnready(): Promise<void> {
    const [program, ...args] = asPostgres([
      ...['setpriv', '--pdeathsig', 'KILL', join(BIN ?? '', 'postgres'), '-D', this.dataDir],
    ])
    const out = join(this.#home, 'log')
    const child = spawn('sh', ['-c', `exec "$@" >>'${out}' 2>&1`, 'sh', program!, ...args], {
      stdio: 'ignore',
      env: ENV,
      cwd: this.#home,
    })
    child.on('error', () => {}) // seen as one that doesn't run
    this.#pid = child.pid
  }

  get isRunning(): boolean {
    if (this.#pid === undefined) return false
    return stateOf(this.#pid) !== undefined
  }

  /** As an operator stops it: connections are ended, everything is written. */
  async stop(): Promise<void> {
    await this.#end('SIGINT')
  }

  /** All its processes at once, as if the power had failed. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.launch()
  }

  freeze(): void {
    this.#signal('SIGSTOP')
  }

  thaw(): void {
    this.#signal('SIGCONT')
  }

  /** As the superuser; one value of a row, rows by lines. */
  async psql(sql: string, database = 'postgres'): Promise<string> {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(this.port),
      '-U',
      'postgres',
      '-d',
      database,
      '-XAtq',
      '-v',
      'ON_ERROR_STOP=1',
      '-c',
      sql,
    ]
    const env = { ...ENV, PGPASSWORD: PASSWORD, PGCONNECT_TIMEOUT: '5' }
    const { stdout } = await run(join(BIN ?? '', 'psql'), args, { env })
    return stdout.trim()
  }

  /** The path of a dump of the whole database; it goes with the server. */
  async dump(database: string): Promise<string> {
    const file = join(this.#home, `dump-${database}`)
    await this.#program('pg_dump', [...this.#asSuperuser, '-d', database, '-Fc', '-f', file])
    return file
  }

  /** The database is as it was when the dump was made. Whoever is connected is cut off first. */
  async restore(database: string, dump: string): Promise<void> {
    await this.psql(`DROP DATABASE ${database} WITH (FORCE)`)
    await this.#program('pg_restore', [...this.#asSuperuser, '-d', 'postgres', '-C', dump])
  }

  get #asSuperuser(): string[] {
    return ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'postgres']
  }

  /** A standby that follows this server; it is promoted by `promote`. Ends with the test. */
  async standby(t: Ending): Promise<PostgresServer> {
    const standby = await PostgresServer.#at(t, this.#auth)
    const source = `host=127.0.0.1 port=${this.port} user=postgres application_name=standby`
    await standby.#program('pg_basebackup', [
      '-d',
      source,
      '-D',
      standby.dataDir,
      '-R',
      '-X',
      'stream',
      '-c',
      'fast',
      '--no-sync',
    ])
    standby.#configure([])
    await standby.launch()
    await waitUntil('the standby follows', async () => {
      const state = await this.psql("SELECT state FROM pg_stat_replication WHERE application_name = 'standby'")
      return state.split('\n').includes('streaming')
    })
    return standby
  }

  async promote(): Promise<void> {
    await this.psql('SELECT pg_promote(true, 30)')
  }

  /** `'*'`: a commit waits for a standby; `''`: it waits for none. */
  async setSynchronous(names: string): Promise<void> {
    await this.set('synchronous_standby_names', names)
  }

  /** ALTER SYSTEM, and read. */
  async set(name: string, value: string): Promise<void> {
    await this.psql(`ALTER SYSTEM SET ${name} = '${value}'`)
    await this.psql('SELECT pg_reload_conf()')
    await waitUntil(`${name} is read`, async () => (await this.psql(`SHOW ${name}`)) === value)
  }

  /** Connections of the user `tracker`, by their last statement. */
  async connections(): Promise<string[]> {
    const rows = await this.psql(`SELECT state FROM pg_stat_activity WHERE usename = '${USER}'`)
    return rows === '' ? [] : rows.split('\n')
  }

  #configure(lines: readonly string[]): void {
    const own = [
      ...["listen_addresses = '127.0.0.1'", `port = ${this.port}`, `unix_socket_directories = '${this.#home}'`],
      ...['fsync = on', 'logging_collector = off', 'shared_buffers = 16MB', 'log_connections = off'],
    ]
    appendFileSync(join(this.dataDir, 'postgresql.conf'), `${[...own, ...lines].join('\n')}\n`)
  }

  async #makeCertificate(name: string): Promise<string[]> {
    const kind = /^[\d.]+$|:/.test(name) ? 'IP' : 'DNS'
    writeFileSync(join(this.#home, 'names'), `subjectAltName=${kind}:${name}\n`)
    const openssl = (...args: string[]) => run('openssl', args, { cwd: this.#home })
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    await openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      'root.key',
      '-out',
      'root.crt',
      '-days',
      '2',
      '-subj',
      '/CN=the test',
    )
    await openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', `/CN=${name}`)
    const signed = ['-CA', 'root.crt', '-CAkey', 'root.key', '-CAcreateserial', '-extfile', 'names', '-days', '2']
    await openssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.crt')
    for (const file of ['server.key', 'server.crt']) own(join(this.#home, file))
    chmodSync(join(this.#home, 'server.key'), 0o600)
    return ['ssl = on', `ssl_cert_file = '${this.#home}/server.crt'`, `ssl_key_file = '${this.#home}/server.key'`]
  }

  async #program(name: string, args: readonly string[]): Promise<void> {
    const [program, ...rest] = asPostgres([join(BIN ?? '', name), ...args])
    await run(program!, rest, { env: { ...ENV, PGPASSWORD: PASSWORD }, cwd: this.#home })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const pid = this.#pid
    if (pid === undefined || !this.isRunning) return
    const children = childrenOf(pid)
    this.#signal(signal)
    if (signal !== 'SIGKILL') this.thaw()
    // Also reaped, and its children gone: the next one looks whether a process of that number is there.
    const isGone = () => !existsSync(`/proc/${pid}`) && children.every((child) => stateOf(child) === undefined)
    await waitUntil('PostgreSQL has ended', isGone)
    this.#pid = undefined
  }

  /** To the postmaster and its children; an orderly stop is the postmaster's to pass on. */
  #signal(signal: NodeJS.Signals): void {
    const pid = this.#pid
    if (pid === undefined) return
    const children = signal === 'SIGINT' ? [] : childrenOf(pid)
    for (const one of [pid, ...children]) {
      try {
        process.kill(one, signal)
      } catch {
        // has ended meanwhile
      }
    }
  }
}

/** The command, as the user postgres where this is root. */
function asPostgres(command: readonly string[]): string[] {
  if (process.getuid?.() !== 0) return [...command]
  return ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', ...command]
}

/** Root's gifts to the user postgres. */
function own(path: string): void {
  if (process.getuid?.() !== 0) return
  const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)
  chownSync(path, id('-u'), id('-g'))
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.split(' ').filter(Boolean).map(Number)
}

/** The letter of the process's state; undefined when it is gone, or only waits to be counted. */
function stateOf(pid: number): string | undefined {
  try {
    const state = /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return state === 'Z' || state === 'X' ? undefined : state
  } catch {
    return undefined
  }
}
