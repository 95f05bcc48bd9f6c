/** The shared store as the daemon takes it: what is asked of it, and the connection behind it, which somebody has to run. */
import type { Network } from '../../../chain/types.ts'
import type { Secret } from '../../../secret.ts'
import type { World } from '../../../world.ts'
import type { CommonStore } from '../store.ts'
import { parsePostgresAddress } from './address.ts'
import { Postgres, type PostgresState } from './postgres.ts'
import { PostgresShared } from './postgres-shared.ts'
import { NEWS_CHANNEL } from './writing.ts'

export interface SharedLink {
  readonly state: PostgresState
  /** Called when there may be news: some were told, or it can be asked again. */
  onNews(tell: () => void): void
  /** Keeps it connected until the signal. Throws ConfigError where the database is another's. */
  run(signal: AbortSignal): Promise<void>
}

/** Asks nothing yet. Throws ConfigError for an address that is none. */
export function openPostgresShared(
  url: Secret,
  network: Network,
  world: World,
): { common: CommonStore; link: SharedLink } {
  const postgres = new Postgres(parsePostgresAddress(url.reveal()), network, world)
  const link: SharedLink = {
    get state() {
      return postgres.state
    },
    onNews(tell) {
      postgres.listen(NEWS_CHANNEL, tell)
      postgres.onReady(tell)
      postgres.onLost(tell)
    },
    run: (signal) => postgres.run(signal),
  }
  return { common: new PostgresShared({ database: postgres, log: world.log }), link }
}
