/** The tables of migrations/shared/0002-shared.sql as Kysely sees them, and what it compiles for PostgreSQL. */
import {
  type Compilable,
  DummyDriver,
  type InferResult,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import type { Ask } from './session.ts'

interface OutpointColumns {
  /** 32 bytes in display order. */
  txid: Buffer
  vout: number
  change: number
}

export interface SharedTables {
  clock: { id: number; change: number; registrations: number; makers: number; place: string }
  watches: OutpointColumns & { until_height: number; unfunded_until: number | null }
  dropped: OutpointColumns & { until_height: number }
  makers: {
    address: string
    last_probe_ms: number
    offer_asked_ms: number | null
    tie: number
    /** JSON, as it was parsed. */
    record: unknown
    offer: unknown
    change: number
  }
  proofs: OutpointColumns & { at_ms: number; conf_hash: Buffer | null; era: string | null; source: string | null }
  probes: {
    address: string
    at_ms: number
    source: number
    outcome: string
    failure: string | null
    failure_text: string | null
    dialect: string | null
    latency_ms: number
    change: number
  }
  probe_hours: {
    address: string
    hour: number
    source: number
    answered: number
    failed: number
    unjudged: number
    change: number
  }
  turns: { host: string; free_at: string; holder: string | null; lease_until: string | null }
  leases: { name: string; holder: string; until: string }
}

/** Builds queries, never runs them. */
export const pgSql = new Kysely<SharedTables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

/** Runs what `pgSql` has built. */
export async function rowsOf<Q extends Compilable>(ask: Ask, query: Q): Promise<InferResult<Q>> {
  const { sql: text, parameters } = query.compile()
  return (await ask(text, parameters)) as InferResult<Q>
}
