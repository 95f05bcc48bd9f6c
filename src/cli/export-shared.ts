/** `export --shared`: the way out of a shared store, as the database of a tracker that goes on alone. */
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import type { SharedVisit } from '../store/shared/postgres/visit.ts'
import { type Standalone, writeStandalone } from '../store/shared/standalone.ts'
import type { SharedNews } from '../store/shared/store.ts'

export interface SharedExport extends Standalone {
  file: string
  /** Rows that this version can't read, which are not in it. */
  unread: number
}

/** What PostgreSQL has at one moment. Asks neither the data directory nor its daemon. Throws ConfigError, StoreError or UnreachableError. */
export async function exportShared(
  { sharedStore, network }: Config,
  file: string | undefined,
  signal: AbortSignal,
): Promise<SharedExport> {
  if (file === undefined) throw new ConfigError('export --shared makes a database: name it by --output <file>')
  if (!sharedStore) {
    throw new ConfigError(
      'export --shared reads the shared store, and shared-store names none: without one this data directory has everything (backup)',
    )
  }
  const { visitShared } = await import('../store/shared/postgres/visit.ts')
  return await visitShared(sharedStore, network, 'toRead', signal, async (visit) => {
    const made = await writeStandalone(file, network, pagesOf(visit), signal)
    return { file, ...made, unread: visit.unread() }
  })
}

async function* pagesOf({ store }: SharedVisit): AsyncGenerator<SharedNews> {
  for await (const { news } of store.newsAfter(0, -1)) yield news
}

export function describeSharedExport(made: SharedExport, { dataDir }: Config): string {
  const { file, bytes, registrations, makers, probes, hours, unread } = made
  return [
    `${file}: ${(bytes / 1e6).toFixed(1)} MB, checked; ${registrations} registrations, ${makers} makers, ${probes} probes, ${hours} hours of their history`,
    ...(unread > 0 ? [`${unread} rows are of a newer version and NOT in it: export them by that version`] : []),
    'A tracker that goes on alone with it: put it into an empty data directory as tracker.sqlite, leave shared-store out,',
    'and start. It reads the chain anew. For the same addresses it needs the same onion.key and tracker.key:',
    `they are in ${dataDir}, not in the shared store.`,
  ].join('\n')
}
