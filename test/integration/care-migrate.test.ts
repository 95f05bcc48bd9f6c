/** A database of the first schema, with rows in every table, is brought up to date: nothing of it is lost on the way. */
import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import type { Txid } from '../../src/chain/types.ts'
import { copyBeforeMigration } from '../../src/store/before-migration.ts'
import { checkDatabase } from '../../src/store/check.ts'
import { readSpenderTx, readSpends } from '../../src/store/local/spends.ts'
import { migrate, readMigrations } from '../../src/store/migrate.ts'
import { openStore, openStoreReadonly } from '../../src/store/open.ts'
import { readRegistrations } from '../../src/store/shared/registrations.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { type Coin, makeCoins, type Signed, sign } from '../support/coins.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

const blob = (hex: Txid | string) => Buffer.from(hex, 'hex')
const BLOCK_HASH = 'cd'.repeat(32)

/** As the first version left it: two coins taken by one transaction of a block, a third by one that was evicted. */
function writeFirstSchema(file: string, coins: readonly Coin[], confirmed: Signed, evicted: Signed): void {
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  assert.deepEqual(migrate(db, readMigrations().slice(0, 1)), [1])
  db.prepare("INSERT INTO identity VALUES (1, 'regtest', NULL, ?)").run(Buffer.alloc(16, 5))
  db.prepare('INSERT INTO blocks VALUES (7, ?, 1700000000)').run(blob(BLOCK_HASH))
  db.prepare('INSERT INTO spent_keys VALUES (?, ?)').run(64 * 7, Buffer.alloc(16, 1))
  const bond = [blob('ab'.repeat(32)), 1, `${onionHost('old')}:6102`, 'A', 50_000, 1, 15_000]
  db.prepare('INSERT INTO bonds VALUES (?, ?, ?, ?, ?, ?, ?, 7, NULL)').run(...bond)
  db.prepare('INSERT INTO pending_bonds VALUES (?, ?, ?, ?, ?, ?, ?)').run(...bond)
  const watch = db.prepare('INSERT INTO watches VALUES (?, ?, 9000)')
  for (const { txid, vout } of coins) watch.run(blob(txid), vout)
  const spend = db.prepare('INSERT INTO spends VALUES (?, ?, ?, ?, ?, ?, ?, 0)')
  for (const [vin, { txid, vout }] of coins.slice(0, 2).entries()) {
    // The times at which each was first seen differed: the transaction's is the first.
    spend.run(blob(txid), vout, blob(confirmed.txid), vin, blob(confirmed.hex), 1_700_000_100 + vin, 7)
  }
  const { txid, vout } = coins[2]!
  spend.run(blob(txid), vout, blob(evicted.txid), 0, blob(evicted.hex), 1_700_000_200, null)
  db.prepare("INSERT INTO daemon VALUES (1, '{}')").run()
  db.close()
}

test('from the first schema to the newest: every row is carried over, and a daemon goes on from it', async () => {
  await using node = await Regtest.start({ blocks: 110 })
  const coins = await makeCoins(node, 3)
  const confirmed = await sign(node, coins.slice(0, 2))
  const evicted = await sign(node, coins.slice(2))
  using dir = tempDir()
  const file = join(dir.path, 'tracker.sqlite')
  writeFirstSchema(file, coins, confirmed, evicted)

  const opened = openStore(dir.path, 'regtest')
  const { db } = opened
  assert.deepEqual(
    opened.migrated,
    readMigrations()
      .slice(1)
      .map(({ number }) => number),
  )
  assert.deepEqual(opened.identity.keySalt, Buffer.alloc(16, 5))
  const byName = (a: { txid: string; vout: number }, b: { txid: string; vout: number }) =>
    `${a.txid}:${a.vout}`.localeCompare(`${b.txid}:${b.vout}`)
  assert.deepEqual(readRegistrations(db).sort(byName), coins.map(({ txid, vout }) => ({ txid, vout })).sort(byName))
  for (const [vin, { txid, vout }] of coins.slice(0, 2).entries()) {
    const [spend, ...more] = readSpends(db, { txid, vout })
    assert.deepEqual(more, [])
    assert.deepEqual(spend!.state, { kind: 'confirmed', height: 7, blockHash: BLOCK_HASH })
    assert.deepEqual([spend!.txid, spend!.vin, spend!.firstSeenS], [confirmed.txid, vin, 1_700_000_100])
    assert.deepEqual(readSpenderTx(opened.db, spend!.txid), blob(confirmed.hex))
  }
  const [gone] = readSpends(db, coins[2]!)
  assert.deepEqual([gone!.txid, gone!.state.kind, gone!.firstSeenS], [evicted.txid, 'evicted', 1_700_000_200])
  const table = (name: string) => db.prepare(`SELECT count(*) FROM ${name}`).pluck().get()
  for (const name of ['blocks', 'bonds', 'pending_bonds', 'daemon']) assert.equal(table(name), 1, name)
  assert.equal(table('spent_keys'), 0, 'keys of another hash name nothing')
  assert.equal(table('spenders'), 2, 'each transaction once')
  db[Symbol.dispose]()
  assert.deepEqual(checkDatabase(file), [])

  // A daemon that meets it keeps it as it was. The block is none of this chain's: the scan begins anew, what was registered
  // and seen stays.
  using other = tempDir()
  const old = join(other.path, 'tracker.sqlite')
  writeFirstSchema(old, coins, confirmed, evicted)
  const altered = new Database(old)
  altered.exec(
    'PRAGMA foreign_keys = OFF; UPDATE spends SET height = NULL; DELETE FROM bonds; DELETE FROM spent_keys; DELETE FROM blocks',
  )
  altered.close()
  await using tracker = await Tracker.start(node, { dataDir: other.path })
  await tracker.caughtUp(node)
  using kept = openStoreReadonly(other.path)
  assert.equal(readRegistrations(kept).length, coins.length)
  const told = tracker.logged('database copied before its schema is brought up to date')
  assert.equal(told?.file, `${old}.schema-1`)
  assert.equal(schemaIn(`${old}.schema-1`), 1)
  assert.deepEqual(await tracker.stop(), 0)
})

test('before a newer schema is put on a database, it is copied: for us alone, in place of an older copy, if there is room', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'tracker.sqlite')
  const { signal } = new AbortController()
  assert.deepEqual(await copyBeforeMigration(dir.path, signal), { kind: 'not-needed' }, 'a first start')
  const before = new Database(file)
  before.pragma('journal_mode = WAL')
  migrate(before, readMigrations().slice(0, 1))
  before.prepare("INSERT INTO identity VALUES (1, 'main', NULL, ?)").run(Buffer.alloc(16, 5))
  const noRoom = await copyBeforeMigration(dir.path, signal, () => 10_000)
  assert.equal(noRoom.kind, 'no-room')
  assert.deepEqual(
    readdirSync(dir.path).filter((name) => name.includes('schema')),
    [],
  )
  assert.equal((await copyBeforeMigration(dir.path, signal)).kind, 'copied')
  before.exec('DELETE FROM watches') // an older program has gone on with it meanwhile
  before.close()
  assert.equal((await copyBeforeMigration(dir.path, signal)).kind, 'copied')
  const copy = `${file}.schema-1`
  assert.equal(statSync(copy).mode & 0o777, 0o600)
  assert.equal(schemaIn(copy), 1)
  openStore(dir.path, 'main').db[Symbol.dispose]()
  assert.deepEqual(await copyBeforeMigration(dir.path, signal), { kind: 'not-needed' }, 'it is up to date')
})

function schemaIn(file: string): unknown {
  const db = new Database(file, { readonly: true })
  try {
    return db.pragma('user_version', { simple: true })
  } finally {
    db.close()
  }
}
