/** The same chain indexed from nothing, for comparison row by row. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { openStore } from '../../src/store/open.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import { chainRows, Tracker } from '../sandbox/tracker.ts'

/** Rows of a fresh index of `node`'s chain, with the key salt of `like`, so that its keys can be compared. */
export async function freshRows(node: Regtest, like: Tracker, args?: string[]): Promise<Record<string, unknown[]>> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-fresh-'))
  try {
    openStore(dataDir, 'regtest').db[Symbol.dispose]()
    const db = new Database(join(dataDir, 'tracker.sqlite'))
    db.prepare('ATTACH ? AS other').run(join(like.dataDir, 'tracker.sqlite'))
    db.exec('UPDATE identity SET key_salt = (SELECT key_salt FROM other.identity)')
    db.close()
    await using tracker = await Tracker.start(node, args ? { dataDir, args } : { dataDir })
    await tracker.caughtUp(node)
    return chainRows(dataDir)
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}
