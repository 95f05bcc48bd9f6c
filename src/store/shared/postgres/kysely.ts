/** Kysely over connections of ours: it compiles the statements, and lends a connection for each. */
import { Kysely, PostgresDialect, type PostgresPoolClient, type PostgresQueryResult } from 'kysely'
import type { QueryAnswer } from './connection.ts'
import type { SharedSchema } from './schema.ts'

interface Lent {
  query(text: string, values: readonly unknown[]): Promise<QueryAnswer<unknown>>
  giveBack(): void
}

export function kyselyOver(lend: () => Promise<Lent>): Kysely<SharedSchema> {
  const connect = async (): Promise<PostgresPoolClient> => {
    const lent = await lend()
    const query = async (text: string, values: readonly unknown[]) =>
      (await lent.query(text, values)) as PostgresQueryResult<unknown>
    return { query: query as PostgresPoolClient['query'], release: () => lent.giveBack() }
  }
  return new Kysely<SharedSchema>({
    dialect: new PostgresDialect({ pool: { connect, end: async () => {}, options: {} } }),
  })
}
