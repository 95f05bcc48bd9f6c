/**
 * A database damaged in many ways, and the daemon started on each: within seconds it serves, or it ends with the exit code
 * of a database that can't be used (74; 2 where it looks like another's) and one line that says what to do.
 */
import assert from 'node:assert/strict'
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { copyDatabase, damage, flip, overwritePages, PAGE_BYTES, pagesOf } from '../support/damage.ts'
import { killed } from '../support/lived-in.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
/** Stopped by kill -9: it has a WAL. */
let tracker: Tracker
let file: string

before(async () => {
  node = await Regtest.start({ blocks: 110 })
  const bond = { key: bondKey('one'), format: 'D' as const, address: `${onionHost('one')}:21` }
  const spent = await node.fundBond({ ...bond, lockBlocks: 2 })
  await node.mine(4)
  await node.spendBond(spent)
  await node.mine(1)
  tracker = await killed(node)
  file = join(tracker.dataDir, 'tracker.sqlite')
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** Names of all tables and indexes. */
function trees(): string[] {
  const db = new Database(file, { readonly: true })
  try {
    return db.prepare('SELECT name FROM sqlite_schema WHERE rootpage > 0').pluck().all() as string[]
  } finally {
    db.close()
  }
}

/** Starts on a copy that `change` has damaged; true when it serves, else its end is checked. */
async function start(what: string, change: (file: string) => void, keepsWal: boolean): Promise<boolean> {
  using dir = tempDir()
  const copy = join(dir.path, 'tracker.sqlite')
  copyDatabase(file, copy)
  if (!keepsWal) {
    const db = new Database(copy)
    db.pragma('wal_checkpoint(TRUNCATE)')
    db.close()
  }
  change(copy)
  await using started = await Tracker.start(node, { dataDir: dir.path })
  let code: unknown
  void started.exited().then((ended) => {
    code = ended
  })
  const serves = async () => {
    const status = await started.ask({ type: 'Status' }, 'Status').catch(() => undefined)
    return status !== undefined && (status.synced || status.unseen !== undefined) // or says what it lacks
  }
  await waitUntil(`it serves, or ends: ${what}`, async () => code !== undefined || (await serves()), {
    timeoutMs: 60_000,
  })
  if (code === undefined) return true
  assert.ok(code === 74 || code === 2, `${what}: ${code} ${started.stderr}`)
  assert.equal(started.stderr.trim().split('\n').length, 1, started.stderr)
  if (code === 74 && !/SQLITE_(CANTOPEN|IOERR)/.test(started.stderr)) {
    assert.match(started.stderr, /run check-db --salvage with the same settings/, what)
  }
  return false
}

test('the root of every table and index destroyed', async () => {
  let ended = 0
  for (const name of trees()) {
    if (!(await start(name, (copy) => overwritePages(copy, pagesOf(copy, name).slice(0, 1)), false))) ended++
  }
  assert.ok(ended > 10, `${ended}`)
})

test('bytes changed in the header, in the schema, in single pages, everywhere, in the WAL', async () => {
  const all = Number.POSITIVE_INFINITY
  for (let seed = 1; seed <= 2; seed++) {
    await start(`header ${seed}`, (copy) => flip(copy, 0, 100, 4, seed), false)
    await start(`schema ${seed}`, (copy) => flip(copy, 100, PAGE_BYTES, 12, seed), false)
    await start(`page ${seed + 1}`, (copy) => flip(copy, seed * PAGE_BYTES, (seed + 1) * PAGE_BYTES, 30, seed), false)
    await start(`everywhere ${seed}`, (copy) => flip(copy, PAGE_BYTES, all, 100 * seed, seed), true)
    await start(`WAL ${seed}`, (copy) => flip(`${copy}-wal`, 0, all, 20, seed), true)
    await start(`WAL header ${seed}`, (copy) => flip(`${copy}-wal`, 0, 32, 2, seed), true)
  }
})

test('cut off, empty, another file, a folder', async () => {
  await start('cut in a page', (copy) => truncateSync(copy, 10 * PAGE_BYTES + 100), false)
  await start('cut after the first page', (copy) => truncateSync(copy, PAGE_BYTES), false)
  await start('cut WAL', (copy) => truncateSync(`${copy}-wal`, 3_000), true)
  assert.equal(await start('empty', (copy) => truncateSync(copy, 0), false), true, 'as on the first day')
  const text = 'this was never a database. '.repeat(1_000)
  assert.equal(await start('text', (copy) => writeFileSync(copy, text), false), false)
  assert.equal(await start('zeros', (copy) => damage(copy, (bytes) => bytes.fill(0)), false), false)
  const folder = (copy: string) => {
    rmSync(copy)
    mkdirSync(copy)
  }
  assert.equal(await start('a folder', folder, false), false)
})

test('rows of the wrong kind, indexes of other tables: told as soon as they are read', async () => {
  for (const change of [
    "UPDATE makers SET protocols = '[\"a' WHERE id = 1",
    "INSERT INTO trackers VALUES ('x', 'learnt', 1, 1, 1, 0, NULL, NULL, NULL, NULL, NULL, 1, 1, '[\"nothing\"]', '[]')",
    "UPDATE identity SET network = 'regtesu'",
    'DELETE FROM identity',
    'DELETE FROM blocks WHERE height < 100',
    indexTakenFrom('spenders_unconfirmed', 'blocks'),
    indexTakenFrom('spends_by_spender', 'watches_by_until_height'),
  ]) {
    const alter = (copy: string) => {
      const db = new Database(copy)
      db.pragma('foreign_keys = OFF')
      db.unsafeMode(true)
      db.exec(change)
      db.close()
    }
    await start(change, alter, false)
  }
})

/** SQL that gives an index the pages of another. Both stay well formed, so that no cheap check sees it. */
function indexTakenFrom(index: string, other: string): string {
  return `PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = '${other}') WHERE name = '${index}'`
}
