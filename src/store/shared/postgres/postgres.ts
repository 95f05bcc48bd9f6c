/**
 * The shared database as everybody else sees it: statements and transactions at the primary, notices, and whether it is
 * there. It is dialled, lost and dialled again in `run`, for ever; what is asked meanwhile fails at once as weather. What
 * is in its tables it doesn't know.
 */
import type { Kysely } from 'kysely'
import type { Network } from '../../../chain/types.ts'
import { BrokenInvariant, TransientError } from '../../../errors.ts'
import { Backoff, sleep, type World } from '../../../world.ts'
import { formatPostgresAddress, type PostgresAddress } from './address.ts'
import { PostgresConnection } from './connection.ts'
import { judgePostgres, PostgresTrouble } from './errors.ts'
import { kyselyOver } from './kysely.ts'
import { migrateShared, readSharedMigrations } from './migrate.ts'
import { ConnectionPool } from './pool.ts'
import { dialPrimary, type Primary, type ServerRole } from './primary.ts'
import type { SharedSchema } from './schema.ts'

const LIMITS = {
  /** Pauses between dials: a restart takes a second, and fifty trackers must not keep it from ending. */
  redialMs: { firstMs: 250, maxMs: 5_000 },
  /** The connection that listens is asked this often: a frozen server, or a cut cable, says nothing by itself. */
  heartbeatMs: 2_000,
  /** And has to answer within this: it waits for no disk and no lock. */
  heartbeatAnswerMs: 3_000,
}

export interface PostgresState {
  /** `refused`: there, but somebody has to change something; it is tried again all the same. */
  kind: 'starting' | 'up' | 'down' | 'refused'
  /** One sentence for people, without the password. */
  detail: string
}

export type Query = <R>(text: string, values: readonly unknown[]) => Promise<R[]>

interface Session {
  primary: Primary
  pool: ConnectionPool
  /** Rejects when it is over. */
  lost: Promise<never>
  lose(error: Error): void
}

export class Postgres {
  /** PostgresDialect over the pool; its statements throw what `query` throws. */
  readonly db: Kysely<SharedSchema>
  readonly #address: PostgresAddress
  readonly #network: Network
  readonly #world: World
  readonly #migrations = readSharedMigrations()
  readonly #channels = new Map<string, ((payload: string) => void)[]>()
  readonly #onReady: (() => void)[] = []
  readonly #onLost: ((why: string) => void)[] = []
  #session: Session | undefined
  #last: ServerRole | undefined
  #state: PostgresState

  constructor(address: PostgresAddress, network: Network, world: World) {
    this.#address = address
    this.#network = network
    this.#world = world
    this.#state = { kind: 'starting', detail: `${formatPostgresAddress(address)} is being dialled` }
    this.db = kyselyOver(async () => {
      const [session, connection] = await this.#lend()
      return {
        query: (text, values) => ask(session, connection, text, values),
        giveBack: () => session.pool.giveBack(connection),
      }
    })
  }

  get state(): PostgresState {
    return this.#state
  }

  /** One statement, in a transaction of its own. Throws TransientError where it is weather, else pg's error. */
  async query<R>(text: string, values: readonly unknown[]): Promise<R[]> {
    const [session, connection] = await this.#lend()
    try {
      return (await ask<R>(session, connection, text, values)).rows
    } finally {
      session.pool.giveBack(connection)
    }
  }

  /**
   * Committed when the promise resolves. After a TransientError it may have been committed all the same, when only the
   * answer was lost: what is written must be such that it can be written again. `work` waits for nothing but its queries.
   * `ms`: for statements that take longer by their nature.
   */
  async transaction<T>(work: (query: Query) => Promise<T>, ms?: number): Promise<T> {
    const [session, connection] = await this.#lend()
    try {
      await ask(session, connection, 'BEGIN', [])
      if (ms !== undefined) await ask(session, connection, `SET LOCAL statement_timeout = ${Math.round(ms)}`, [])
      const result = await work(async (text, values) => (await ask<never>(session, connection, text, values, ms)).rows)
      const { command } = await ask(session, connection, 'COMMIT', [])
      if (command !== 'COMMIT')
        throw new BrokenInvariant('a transaction went on after one of its statements had failed')
      return result
    } catch (error) {
      if (!connection.isClean && !connection.settled) await connection.query('ROLLBACK').catch(() => {}) // else it is closed
      throw error
    } finally {
      session.pool.giveBack(connection)
    }
  }

  /** Before `run`. Notices that come while it is lost are lost: read again in `onReady`, which is called after LISTEN. */
  listen(channel: string, onNotice: (payload: string) => void): void {
    if (!/^[a-z_]{1,63}$/.test(channel)) throw new BrokenInvariant(`${channel} is no channel`)
    this.#channels.set(channel, [...(this.#channels.get(channel) ?? []), onNotice])
  }

  /** Called whenever it has become usable: the primary, its schema checked, listened to. */
  onReady(tell: () => void): void {
    this.#onReady.push(tell)
  }

  /** Called when it isn't usable any more. */
  onLost(tell: (why: string) => void): void {
    this.#onLost.push(tell)
  }

  /** Keeps it connected until the signal. Throws ConfigError where the database is another's: newer, or of another network. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(LIMITS.redialMs, this.#world.random)
    while (!signal.aborted) {
      try {
        const session = await this.#open(signal)
        backoff.reset()
        await this.#live(session, signal)
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof TransientError)) throw error
        this.#tellState(error)
      }
      await sleep(backoff.nextMs(), signal).catch(() => {}) // the signal ends the loop
    }
  }

  async #open(signal: AbortSignal): Promise<Session> {
    const primary = await dialPrimary(this.#address, this.#last, signal)
    const { connection, host } = primary
    const stop = () => connection.destroy()
    signal.addEventListener('abort', stop)
    try {
      signal.throwIfAborted()
      const { promise: lost, reject } = Promise.withResolvers<never>()
      lost.catch(() => {}) // whoever awaits it is told besides
      connection.onLost(reject)
      connection.onNotice((channel, payload) => {
        for (const tell of this.#channels.get(channel) ?? []) tell(payload)
      })
      const applied = await migrateShared(connection, this.#network, this.#migrations)
      if (applied.length > 0) this.#world.log.info({ applied, postgres: connection.where }, 'shared database migrated')
      for (const channel of this.#channels.keys()) await connection.query(`LISTEN ${channel}`)
      const pool = new ConnectionPool(() => PostgresConnection.open(this.#address, host, signal))
      return { primary, pool, lost, lose: reject }
    } catch (error) {
      connection.destroy()
      throw judgePostgres(error, connection.where)
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  /** Until it is lost, or the signal. */
  async #live(session: Session, signal: AbortSignal): Promise<void> {
    const { connection, role } = session.primary
    this.#session = session
    this.#last = role
    const tls = connection.isEncrypted ? 'with' : 'without'
    this.#state = { kind: 'up', detail: `the primary at ${connection.where} answers, ${tls} TLS` }
    this.#world.log.info(
      { postgres: connection.where, isEncrypted: connection.isEncrypted },
      'shared database is there',
    )
    let why = new TransientError('the shared database is being left, as the tracker stops')
    try {
      for (const tell of this.#onReady) tell()
      await Promise.race([session.lost, this.#watch(connection, signal)])
    } catch (error) {
      if (error instanceof TransientError) why = error
      throw error
    } finally {
      this.#session = undefined
      for (const tell of this.#onLost) tell(why.message)
      if (signal.aborted) await Promise.all([session.pool.closeGently(why), connection.close()])
      else session.pool.close(why)
      connection.destroy()
    }
  }

  async #watch(connection: PostgresConnection, signal: AbortSignal): Promise<never> {
    for (;;) {
      await sleep(LIMITS.heartbeatMs, signal)
      const { rows } = await connection.query<{ isReadOnly: boolean }>(
        `SELECT current_setting('transaction_read_only') = 'on' AS "isReadOnly"`,
        [],
        LIMITS.heartbeatAnswerMs,
      )
      if (rows[0]!.isReadOnly) {
        throw new PostgresTrouble(
          'down',
          `PostgreSQL at ${connection.where} has become read-only`,
          'let one be a primary',
        )
      }
    }
  }

  #tellState(error: TransientError): void {
    const kind = error instanceof PostgresTrouble && error.kind === 'refused' ? 'refused' : 'down'
    if (this.#state.kind !== kind || this.#state.detail !== error.message) {
      this.#world.log.warn({ why: error.message }, 'shared database is not usable')
    }
    this.#state = { kind, detail: error.message }
  }

  async #lend(): Promise<[Session, PostgresConnection]> {
    const session = this.#session
    if (!session) throw new TransientError(`the shared database is not usable: ${this.#state.detail}`)
    try {
      return [session, await session.pool.lend()]
    } catch (error) {
      throw judged(error, session)
    }
  }
}

async function ask<R>(
  session: Session,
  connection: PostgresConnection,
  text: string,
  values: readonly unknown[],
  ms?: number,
) {
  try {
    return await connection.query<R>(text, values, ms)
  } catch (error) {
    throw judged(error, session)
  }
}

/** Where one connection finds that this is no primary any more, or gone, all are made anew. */
function judged(error: unknown, session: Session): unknown {
  if (error instanceof PostgresTrouble && error.kind === 'down') session.lose(error)
  return error
}
