/** A few connections to one primary, each lent to one user at a time, made when they are needed. */
import { TransientError } from '../../../errors.ts'
import type { PostgresConnection } from './connection.ts'

export const POOL_LIMITS = {
  /** Statements at once. Ours take milliseconds; fifty trackers together stay below PostgreSQL's usual 100 connections less than twice. */
  connections: 3,
  /** Users that wait for one of them; more than a second's worth, and each is told that we are busy. */
  waiting: 1_000,
}

interface Waiting {
  lend(connection: PostgresConnection): void
  fail(error: unknown): void
}

export class ConnectionPool {
  readonly #open: () => Promise<PostgresConnection>
  readonly #all = new Set<PostgresConnection>()
  readonly #idle: PostgresConnection[] = []
  readonly #waiting: Waiting[] = []
  #opening = 0
  #closed: Error | undefined

  constructor(open: () => Promise<PostgresConnection>) {
    this.#open = open
  }

  /** To be given back. Throws PostgresTrouble when none can be made, TransientError when too many wait. */
  lend(): Promise<PostgresConnection> {
    if (this.#closed) return Promise.reject(this.#closed)
    const idle = this.#idle.pop()
    if (idle) return Promise.resolve(idle)
    if (this.#waiting.length >= POOL_LIMITS.waiting) {
      return Promise.reject(new TransientError('PostgreSQL is asked more than it answers: too many wait already'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<PostgresConnection>()
    this.#waiting.push({ lend: resolve, fail: reject })
    this.#serve()
    return promise
  }

  /** One that is in the middle of something is closed; one whose answer is late keeps its place until that has come. */
  giveBack(connection: PostgresConnection): void {
    if (!this.#all.has(connection)) return
    if (connection.isClean && !this.#closed) {
      const next = this.#waiting.shift()
      if (next) next.lend(connection)
      else this.#idle.push(connection)
      return
    }
    const settled = connection.settled
    if (settled && !this.#closed) settled.then(() => this.#drop(connection))
    else this.#drop(connection)
  }

  /** Everything ends now; who waits, or asks from now on, gets `why`. */
  close(why: Error): void {
    if (this.#closed) return
    this.#closed = why
    for (const { fail } of this.#waiting.splice(0)) fail(why)
    for (const connection of this.#all) connection.destroy()
    this.#idle.length = 0
  }

  /** As `close`, with a goodbye to PostgreSQL on those that are idle. */
  async closeGently(why: Error): Promise<void> {
    const idle = this.#idle.splice(0)
    for (const connection of idle) this.#all.delete(connection)
    this.close(why)
    await Promise.all(idle.map((connection) => connection.close()))
  }

  #serve(): void {
    if (this.#closed || this.#waiting.length <= this.#opening) return
    if (this.#all.size + this.#opening >= POOL_LIMITS.connections) return
    this.#opening++
    this.#open().then(
      (connection) => this.#welcome(connection),
      (error) => {
        this.#opening--
        this.#waiting.shift()?.fail(error)
        this.#serve()
      },
    )
  }

  #welcome(connection: PostgresConnection): void {
    this.#opening--
    if (this.#closed) return connection.destroy()
    this.#all.add(connection)
    connection.onLost(() => this.#drop(connection))
    this.giveBack(connection)
  }

  #drop(connection: PostgresConnection): void {
    if (!this.#all.delete(connection)) return
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    connection.destroy()
    this.#serve()
  }
}
