/** The shared store in a real PostgreSQL, as a tracker has it; and what several of them have seen of it. */
import type { TestContext } from 'node:test'
import { type Logger, pino } from 'pino'
import { parsePostgresAddress } from '../../src/store/shared/postgres/address.ts'
import { Postgres } from '../../src/store/shared/postgres/postgres.ts'
import { PostgresShared } from '../../src/store/shared/postgres/postgres-shared.ts'
import type { SharedNews } from '../../src/store/shared/store.ts'
import { systemClock } from '../../src/world.ts'
import type { PostgresServer } from '../sandbox/postgres.ts'
import { waitUntil } from '../sandbox/wait.ts'

export interface SharedClient {
  postgres: Postgres
  store: PostgresShared
}

/** Connected; ends with the test. `before`: what is to be listened to. */
export async function joinShared(
  t: TestContext,
  server: PostgresServer,
  { log = pino({ level: 'silent' }), before }: { log?: Logger; before?: (postgres: Postgres) => void } = {},
): Promise<SharedClient> {
  const postgres = new Postgres(parsePostgresAddress(server.url()), 'regtest', {
    clock: systemClock,
    random: Math.random,
    log,
  })
  before?.(postgres)
  const stop = new AbortController()
  const running = postgres.run(stop.signal)
  t.after(async () => {
    stop.abort()
    await running
  })
  await Promise.race([running, waitUntil('the shared database is there', () => postgres.state.kind === 'up')])
  return { postgres, store: new PostgresShared({ database: postgres, log }) }
}

/** All that there is, by pages put together. */
export async function readShared(store: PostgresShared, after = 0): Promise<Required<SharedNews>> {
  const all = { registrations: [], dropped: [], makers: [], proofs: [], probes: [], hours: [] }
  for await (const { news } of store.newsAfter(after, -1)) append(all, news)
  return all
}

function append(all: Record<string, unknown[]>, news: SharedNews): void {
  for (const [kind, rows] of Object.entries(news)) all[kind]!.push(...rows)
}
