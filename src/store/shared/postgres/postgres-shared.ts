/**
 * The shared store in PostgreSQL. Whoever writes takes the row of the clock in the same statement, so that it is locked for
 * one round trip, and tells all who listen that something has changed. Every write may be repeated: one that wasn't
 * answered may have happened.
 */
import { randomUUID } from 'node:crypto'
import type { Height, Outpoint } from '../../../chain/types.ts'
import { formatOutpoint } from '../../../chain/types.ts'
import { GroupCommit } from '../group-commit.ts'
import type { Registration } from '../registrations.ts'
import type { Claim, CommonStore, SharedNews, SharedPosition } from '../store.ts'
import { type MergedKind, WATCHES } from './merge-rules.ts'
import { type NewsPage, readNews, type UnreadLog } from './news.ts'
import { pruneShared } from './pruning.ts'
import { countLasting, registeredAmong, registrationsAfter } from './registered.ts'
import { incomingRows, storableJson } from './rows.ts'
import type { Ask, SharedDatabase } from './session.ts'
import { claimHosts, dropLease, releaseHost, takeLease } from './turns.ts'
import { dropAll, fromJson, type MergeCounts, registered, TICKED, takenTick, takeTick, write } from './writing.ts'

const LIMITS = {
  /** Registrations of one statement: some 20 ms, for which other writers wait. */
  rowsAtOnce: 1_000,
  /** A statement of a whole file: a million probes take half a minute. */
  mergeAllMs: 600_000,
}

interface PostgresSharedDeps {
  database: SharedDatabase
  log: UnreadLog
}

export class PostgresShared implements CommonStore {
  readonly #database: SharedDatabase
  readonly #ask: Ask
  readonly #log: UnreadLog
  /** Whose leases are ours: another one after each start. */
  readonly #holder = randomUUID()
  readonly #registering: GroupCommit<Registration>

  constructor({ database, log }: PostgresSharedDeps) {
    this.#database = database
    this.#ask = (text, values) => database.query(text, values)
    this.#log = log
    this.#registering = new GroupCommit(async (rows) => {
      for (let at = 0; at < rows.length; at += LIMITS.rowsAtOnce) {
        await write(this.#ask, takenTick(['registrations']), [registered(rows.slice(at, at + LIMITS.rowsAtOnce))])
      }
    })
  }

  async register(registrations: readonly Registration[]): Promise<void> {
    if (registrations.length > 0) await this.#registering.add(registrations)
  }

  async settled(): Promise<void> {
    await this.#registering.settled()
  }

  async merge(news: SharedNews): Promise<void> {
    const { dropped = [], registrations = [] } = news
    if (dropped.length + registrations.length === 0) {
      const rows = incomingRows(news).map(fromJson)
      if (rows.length > 0) await write(this.#ask, takenTick(['makers']), rows)
      return
    }
    const ended = new Set(dropped.map(formatOutpoint))
    const isAgain = ({ outpoint }: Registration) => ended.has(formatOutpoint(outpoint))
    const again = registrations.filter(isAgain)
    const rest = incomingRows({ ...news, registrations: registrations.filter((one) => !isAgain(one)) }).map(fromJson)
    await this.#database.transaction(async (ask) => {
      await takeTick(ask, rest.some(({ kind }) => kind !== WATCHES) ? ['registrations', 'makers'] : ['registrations'])
      if (dropped.length > 0) await dropAll(ask, dropped)
      if (again.length > 0) await write(ask, TICKED, [registered(again)])
      if (rest.length > 0) await write(ask, TICKED, rest)
    })
  }

  /**
   * Merges all pages in one transaction: they are laid into tables of its own first, so that others go on writing, and wait
   * for the last statements alone. Throws TransientError: then nothing of it is there.
   */
  async mergeAll(pages: AsyncIterable<SharedNews> | Iterable<SharedNews>): Promise<MergeCounts> {
    return await this.#database.transaction(async (ask) => {
      const staged = new Set<MergedKind>()
      for await (const page of pages) {
        for (const { kind, rows } of incomingRows(page)) {
          const table = `staged_${kind.table}`
          if (!staged.has(kind)) await ask(`CREATE TEMP TABLE ${table} (${kind.columns}) ON COMMIT DROP`, [])
          staged.add(kind)
          const from = `json_to_recordset($1::json) AS n (${kind.columns})`
          await ask(`INSERT INTO ${table} SELECT * FROM ${from}`, [storableJson(rows)])
        }
      }
      if (staged.size === 0) return { registrations: 0, makers: 0, proofs: 0, probes: 0, hours: 0 }
      await takeTick(ask, ['registrations', 'makers'])
      return await write(
        ask,
        TICKED,
        [...staged].map((kind) => ({ kind, from: `staged_${kind.table} AS n` })),
      )
    }, LIMITS.mergeAllMs)
  }

  /** Ends the registrations, here and with everybody who reads on. Returns how many there were. Throws TransientError. */
  async dropRegistrations(outpoints: readonly Outpoint[]): Promise<number> {
    if (outpoints.length === 0) return 0
    return await this.#database.transaction(async (ask) => {
      await takeTick(ask, ['registrations'])
      return await dropAll(ask, outpoints)
    })
  }

  /** Which of these are registered. Throws TransientError. */
  async registeredAmong(outpoints: readonly Outpoint[]): Promise<Outpoint[]> {
    return await registeredAmong(this.#ask, outpoints)
  }

  /** Those that were asked for until after `height`. Throws TransientError. */
  async registrationsAfter(height: Height): Promise<Outpoint[]> {
    return await registrationsAfter(this.#database.db, height)
  }

  /** How many have not come to their end at `tipHeight`: those that have are kept here for a while. Throws TransientError. */
  async countLasting(tipHeight: Height): Promise<number> {
    return await countLasting(this.#database.db, tipHeight)
  }

  async claim(hosts: readonly string[], leaseMs: number): Promise<Claim[]> {
    return await claimHosts(this.#ask, this.#holder, hosts, leaseMs)
  }

  async release(host: string, freeInMs: number): Promise<void> {
    await releaseHost(this.#ask, this.#holder, host, freeInMs)
  }

  async take(name: string, lengthMs: number): Promise<boolean> {
    return await takeLease(this.#ask, this.#holder, name, lengthMs)
  }

  async drop(name: string): Promise<void> {
    await dropLease(this.#ask, this.#holder, name)
  }

  /** Where all that is committed stands now. Throws TransientError. */
  async position(): Promise<SharedPosition> {
    const [position] = await this.#ask<SharedPosition>(POSITION, [])
    return position!
  }

  /** News after `change`; probes and hours of `exceptSource` are left out. The last page says how far they go. */
  newsAfter(change: number, exceptSource: number): AsyncGenerator<NewsPage> {
    return readNews(this.#database.db, this.#log, change, exceptSource)
  }

  /** Deletes what is past its time, a bounded number of rows a call. Throws TransientError. */
  async prune(tipHeight: Height, nowMs: number): Promise<void> {
    await pruneShared(this.#ask, tipHeight, nowMs)
  }

  /** Reads both tables through: for now and then. Throws TransientError. */
  async counts(): Promise<{ registrations: number; makers: number }> {
    const [counts] = await this.#ask<{ registrations: number; makers: number }>(
      'SELECT (SELECT count(*) FROM watches) AS registrations, (SELECT count(*) FROM makers) AS makers',
      [],
    )
    return counts!
  }
}

/** A start of the server, a standby that took over, a database restored or made anew. */
const POSITION = `SELECT change, concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
  left(pg_walfile_name(pg_current_wal_lsn()), 8), 'clock'::regclass::oid, pg_relation_filenode('clock'), place) AS place
FROM clock`
