/** A backup that takes several steps, while somebody else commits between any two of them. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import { databasePath } from '../../src/data-places.ts'
import { BACKUP_LIMITS, backupDatabase } from '../../src/store/backup.ts'
import { checkDatabase } from '../../src/store/check.ts'
import { packBlock } from '../../src/store/local/packed-keys.ts'
import { openStore, STORE_LIMITS } from '../../src/store/open.ts'
import { tempDir } from '../support/temp-dir.ts'

const PAGE_BYTES = 4_096

/** A database of more pages than one step copies; `connect` writes one more block, as the daemon does. */
function aDatabase(dataDir: string): Disposable & { connect: () => void } {
  openStore(dataDir, 'main').db[Symbol.dispose]()
  const db = new Database(databasePath(dataDir))
  const block = db.prepare('INSERT INTO blocks VALUES (?, ?, 1)')
  const keys = db.prepare('INSERT INTO indexed_blocks VALUES (?, ?)')
  let height = 0
  const connect = db.transaction(() => {
    height++
    block.run(height, randomBytes(32))
    keys.run(height, packBlock(new Uint32Array(1_000).fill(height)))
  })
  db.transaction(() => {
    for (let pages = 0; pages < 3 * BACKUP_LIMITS.pagesAtOnce; pages++) connect()
  })()
  return { connect, [Symbol.dispose]: () => db.close() }
}

test('the copy is of the moment at which it was asked for, and starts only once', async () => {
  using dir = tempDir()
  using database = aDatabase(dir.path)
  const file = join(dir.path, 'copy.sqlite')
  let isDone = false
  const copying = backupDatabase(databasePath(dir.path), file, new AbortController().signal)
  const writing = (async () => {
    let commits = 0
    for (; !isDone; commits++) {
      database.connect()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return commits
  })()
  const bytes = await copying
  isDone = true
  assert.ok((await writing) >= 3, 'somebody wrote between the steps')
  assert.ok(bytes > 3 * BACKUP_LIMITS.pagesAtOnce * PAGE_BYTES)
  assert.deepEqual(checkDatabase(file), [])
  const copy = new Database(file, { readonly: true })
  const { blocks, top } = copy.prepare('SELECT count(*) AS blocks, max(height) AS top FROM blocks').get() as {
    blocks: number
    top: number
  }
  copy.close()
  assert.equal(blocks, top)
  assert.equal(top, 3 * BACKUP_LIMITS.pagesAtOnce, 'what was committed meanwhile is not in it')
})

test('stopped in the middle, it leaves nothing', async () => {
  using dir = tempDir()
  using _database = aDatabase(dir.path)
  const file = join(dir.path, 'copy.sqlite')
  const stop = new AbortController()
  const copying = backupDatabase(databasePath(dir.path), file, stop.signal)
  setImmediate(() => stop.abort(new Error('stopped by the operator')))
  await assert.rejects(copying, /stopped by the operator/)
  assert.ok(!existsSync(file))
  assert.deepEqual(
    readdirSync(dir.path).filter((name) => name.startsWith('copy')),
    [],
  )
})

test('the write-ahead log grows while somebody reads, and is cut once he is gone', () => {
  using dir = tempDir()
  const { db } = openStore(dir.path, 'main')
  using _ = db
  let height = 0
  const write = (bytes: number) =>
    db.transaction(() => {
      height++
      db.prepare('INSERT INTO blocks VALUES (?, ?, 1)').run(height, randomBytes(32))
      db.prepare('INSERT INTO indexed_blocks VALUES (?, ?)').run(height, Buffer.alloc(bytes))
    })
  const reader = new Database(databasePath(dir.path), { readonly: true })
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM blocks').get()
  while (db.walBytes < 3 * STORE_LIMITS.walKeptBytes) write(1_000_000)
  reader.close()
  for (let i = 0; i < 3; i++) write(8)
  assert.ok(db.walBytes <= STORE_LIMITS.walKeptBytes, `${db.walBytes} bytes`)
  for (let i = 0; i < 40; i++) write(1_000_000)
  assert.ok(db.walBytes <= STORE_LIMITS.walKeptBytes, `${db.walBytes} bytes with nobody reading`)
})
