/**
 * One connection to one PostgreSQL: how it is made (TLS as asked for), asked, and lost. Whatever fails is told as errors.ts
 * judges it. It knows nothing of primaries, pools and schemas. pg's client is seen nowhere else.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { type ConnectionOptions, checkServerIdentity } from 'node:tls'
import pg from 'pg'
import { BrokenInvariant, describeError } from '../../../errors.ts'
import { after } from '../../../world.ts'
import { formatPostgresHost, isSocket, type PostgresAddress, type PostgresHost } from './address.ts'
import { judgePostgres, PostgresTrouble } from './errors.ts'

const LIMITS = {
  /** From the first packet to the first prompt, TLS and password included; another host may be waiting to be tried. */
  connectMs: 4_000,
  /** PostgreSQL itself gives a statement up: ours take milliseconds, and somebody may be waiting for the answer. */
  statementMs: 4_000,
  /** No answer at all, though PostgreSQL should have given up: it is frozen, or nobody brings its packets. */
  queryMs: 5_000,
  /** How long a farewell may take before the socket is simply closed. */
  goodbyeMs: 1_000,
}

/** A commit is on the disk before it is answered; what waits for a standby besides is left as it is. */
const DURABLE =
  "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

export interface QueryAnswer<R> {
  command: string
  rowCount: number
  rows: R[]
}

export class PostgresConnection {
  /** For people. */
  readonly where: string
  readonly isEncrypted: boolean
  readonly #client: pg.Client
  readonly #socket: Socket
  #lost: Error | undefined
  #tellLost: (error: Error) => void = () => {}
  #settled: Promise<void> | undefined

  private constructor(client: pg.Client, socket: Socket, where: string, isEncrypted: boolean) {
    this.#client = client
    this.#socket = socket
    this.where = where
    this.isEncrypted = isEncrypted
    // Without a listener a lost connection is an uncaught exception.
    client.on('error', (error) => this.#lose(error))
    client.on('end', () => this.#lose(new Error('Connection terminated')))
  }

  /** Throws PostgresTrouble when PostgreSQL isn't reached or doesn't let us in, or the signal ends it. */
  static async open(address: PostgresAddress, host: PostgresHost, signal: AbortSignal): Promise<PostgresConnection> {
    const { sslmode } = address
    if (sslmode === 'disable' || isSocket(host)) return await PostgresConnection.#connect(address, host, false, signal)
    try {
      return await PostgresConnection.#connect(address, host, tlsOf(address, host), signal)
    } catch (error) {
      const saysNoTls = error instanceof PostgresTrouble && isNoTls(error.cause)
      if (sslmode !== 'prefer' || !saysNoTls) throw error
      return await PostgresConnection.#connect(address, host, false, signal)
    }
  }

  static async #connect(
    address: PostgresAddress,
    host: PostgresHost,
    ssl: false | ConnectionOptions,
    signal: AbortSignal,
  ): Promise<PostgresConnection> {
    const where = formatPostgresHost(host)
    const socket = new Socket()
    const client = new pg.Client({
      host: host.host,
      port: host.port,
      user: address.user,
      database: address.database,
      // As a function, so that neither PGPASSWORD nor ~/.pgpass is read instead.
      password: () => address.password?.reveal() ?? '',
      ssl,
      stream: () => socket,
      application_name: 'fidelity-tracker',
      connectionTimeoutMillis: LIMITS.connectMs,
      statement_timeout: LIMITS.statementMs,
      // What the clock's order rests on (migrations/shared), whatever is the default there.
      options: '-c default_transaction_isolation=read\\ committed',
      keepAlive: true,
      types: { getTypeParser: parserOf as typeof pg.types.getTypeParser },
    })
    client.on('error', () => {}) // told by connect() itself
    const stop = () => socket.destroy()
    signal.addEventListener('abort', stop)
    try {
      signal.throwIfAborted()
      await client.connect()
      await client.query(DURABLE)
    } catch (error) {
      socket.destroy()
      throw judgePostgres(error, where)
    } finally {
      signal.removeEventListener('abort', stop)
    }
    return new PostgresConnection(client, socket, where, ssl !== false)
  }

  /** Says once, also to who comes late, that the connection is lost; not when it was closed here. */
  onLost(tell: (error: Error) => void): void {
    this.#tellLost = tell
    if (this.#lost) tell(this.#lost)
  }

  /** Every notice of a channel that this connection listens to. */
  onNotice(tell: (channel: string, payload: string) => void): void {
    this.#client.on('notification', ({ channel, payload }) => tell(channel, payload ?? ''))
  }

  /** `ms`: for what takes longer by its nature; PostgreSQL's own limit has to be lifted besides. Throws PostgresTrouble, else pg's error. */
  async query<R>(text: string, values: readonly unknown[] = [], ms = LIMITS.queryMs): Promise<QueryAnswer<R>> {
    if (this.#lost) throw this.#lost
    try {
      const config = { text, values: [...values], query_timeout: ms }
      const answer = await this.#client.query<R & pg.QueryResultRow>(config)
      return { command: answer.command, rowCount: answer.rowCount ?? 0, rows: answer.rows }
    } catch (error) {
      const judged = judgePostgres(error, this.where)
      if (judged instanceof PostgresTrouble && judged.isLate) {
        this.#settled ??= new Promise((resolve) => {
          this.#client.once('drain', resolve)
          this.#client.once('end', resolve)
        })
      }
      throw judged
    }
  }

  /** While an answer is late: resolves when it has come, or never will. */
  get settled(): Promise<void> | undefined {
    return this.#settled
  }

  /** True when the next statement would start from nothing: no transaction is open, no answer is awaited. */
  get isClean(): boolean {
    return !this.#lost && !this.#settled && this.#client.getTransactionStatus() === 'I'
  }

  /** Says goodbye, so that PostgreSQL's log has nothing to tell; never takes longer than a second. */
  async close(): Promise<void> {
    this.#tellLost = () => {}
    const cancel = after(LIMITS.goodbyeMs, () => this.#socket.destroy())
    await this.#client.end().finally(cancel)
  }

  /** Closes at once, whatever is under way; who waits for an answer gets PostgresTrouble. */
  destroy(): void {
    this.#tellLost = () => {}
    this.#socket.destroy()
  }

  #lose(error: Error): void {
    if (this.#lost) return
    const judged = judgePostgres(error, this.where)
    this.#lost = judged instanceof Error ? judged : new Error(String(judged))
    this.#socket.destroy()
    this.#tellLost(this.#lost)
  }
}

/** bigint as a number: ours are milliseconds, heights and counts. */
function parserOf(oid: number, format?: 'text' | 'binary'): unknown {
  return oid === pg.types.builtins.INT8 && format !== 'binary' ? wholeOf : pg.types.getTypeParser(oid, format)
}

function wholeOf(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new BrokenInvariant(`PostgreSQL gave ${text}, which no number here can hold`)
  return value
}

function tlsOf({ sslmode, sslrootcert }: PostgresAddress, { host }: PostgresHost): ConnectionOptions {
  // As libpq: who names the root certificate wants it to be looked at.
  const isVerified = sslmode.startsWith('verify') || (sslmode === 'require' && sslrootcert !== undefined)
  if (!isVerified) return { rejectUnauthorized: false }
  return {
    rejectUnauthorized: true,
    ...(sslrootcert !== undefined && { ca: readRoot(sslrootcert) }),
    checkServerIdentity: (_, certificate) =>
      sslmode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined,
  }
}

function readRoot(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new PostgresTrouble(
      'refused',
      `the certificates ${file} (sslrootcert) can't be read (${describeError(cause)})`,
      'let this user read them, or name another file',
      { cause },
    )
  }
}

function isNoTls(error: unknown): boolean {
  return error instanceof Error && error.message === 'The server does not support SSL connections'
}
