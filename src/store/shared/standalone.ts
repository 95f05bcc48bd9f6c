/**
 * A database of its own, made of all that is shared: for a tracker that goes on alone. It holds nothing of the chain, which
 * the tracker reads anew, so that spends of registered outpoints are found as in any first scan.
 */
import { closeSync, lstatSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Network } from '../../chain/types.ts'
import { databasePath } from '../../data-places.ts'
import { Draft, syncFile } from '../../files.ts'
import { assertSound, isThere, putInPlace } from '../backup.ts'
import { openStore, sql } from '../open.ts'
import { mergeNews } from './local.ts'
import type { MovedIn, SharedNews } from './store.ts'

/** The database as it was made: its rows, and its size in bytes. */
export interface Standalone extends MovedIn {
  bytes: number
}

/**
 * Writes `file`, which appears whole or not at all and is never overwritten. Throws ConfigError (the target), StoreError,
 * or what `pages` throw.
 */
export async function writeStandalone(
  file: string,
  network: Network,
  pages: AsyncIterable<SharedNews>,
  signal: AbortSignal,
): Promise<Standalone> {
  if (lstatSync(file, { throwIfNoEntry: false })) throw isThere(file)
  using draft = new Draft(file)
  const folder = dirname(draft.path)
  const path = databasePath(folder)
  closeSync(openSync(path, 'wx', 0o600))
  const rows = await fill(folder, network, pages, signal)
  assertSound(path)
  syncFile(path)
  putInPlace(path, file)
  return { ...rows, bytes: statSync(file).size }
}

async function fill(
  folder: string,
  network: Network,
  pages: AsyncIterable<SharedNews>,
  signal: AbortSignal,
): Promise<MovedIn> {
  const { db } = openStore(folder, network)
  using _db = db
  for await (const page of pages) {
    signal.throwIfAborted()
    db.transaction(() => mergeNews(db, page))
  }
  const count = (table: 'watches' | 'makers' | 'probes' | 'probe_hours') =>
    db.first(sql.selectFrom(table).select(({ fn }) => fn.countAll<number>().as('count')))!.count
  return {
    registrations: count('watches'),
    makers: count('makers'),
    probes: count('probes'),
    hours: count('probe_hours'),
  }
}
