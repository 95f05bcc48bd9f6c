/** What the shared store asks of a connection to PostgreSQL. */

import type { Kysely } from 'kysely'
import type { SharedSchema } from './schema.ts'

/** One statement. bigint comes as a number. Throws TransientError where it is not known to have happened. */
export type Ask = <Row>(text: string, values: readonly unknown[]) => Promise<Row[]>

export interface SharedDatabase {
  /** Kysely over it; its statements throw what `query` throws. */
  readonly db: Kysely<SharedSchema>
  /** In a transaction of its own. */
  query: Ask
  /** All of `work` happens on one connection (READ COMMITTED), or nothing of it. `ms`: how long one of its statements may take. */
  transaction<T>(work: (ask: Ask) => Promise<T>, ms?: number): Promise<T>
}
