/** What the version before kept of the blocks' spends still answers look-ups once it was brought up to date. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import type { Height, Outpoint } from '../../../src/chain/types.ts'
import { databasePath } from '../../../src/data-places.ts'
import { checkDatabase } from '../../../src/store/check.ts'
import { SEGMENT_BLOCKS } from '../../../src/store/local/packed-keys.ts'
import { findCandidates, hasSpentKeysAt, readIndexedFrom } from '../../../src/store/local/spent-keys.ts'
import { migrate, readMigrations } from '../../../src/store/migrate.ts'
import { openStore } from '../../../src/store/open.ts'
import { outpointOf } from '../../support/bonds.ts'
import { tempDir } from '../../support/temp-dir.ts'

const FROM = 3 * SEGMENT_BLOCKS + 5
const BLOCKS = 2 * SEGMENT_BLOCKS
const salt = Buffer.alloc(16, 3)
const keys = new OutpointKeys(salt)
const spentAt = (height: Height): Outpoint[] =>
  Array.from({ length: height % 7 }, (_, i) => outpointOf(10 * height + i))

/** As version 11 left it: of each block 64 rows of 8-byte keys, by their first 6 bits; the first is there whatever it has. */
function writeOld(file: string): void {
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  migrate(db, readMigrations().slice(0, 11))
  db.pragma('foreign_keys = ON')
  db.prepare("INSERT INTO identity VALUES (1, 'regtest', NULL, ?)").run(salt)
  db.prepare('INSERT INTO blocks VALUES (?, ?, 1)').run(FROM - 1, randomBytes(32)) // not indexed
  for (let height = FROM; height < FROM + BLOCKS; height++) {
    db.prepare('INSERT INTO blocks VALUES (?, ?, 1)').run(height, randomBytes(32))
    const rows = new Map<number, Buffer[]>([[0, []]])
    for (const { hi, lo } of spentAt(height).map((outpoint) => keys.of(outpoint))) {
      const bytes = Buffer.alloc(8)
      bytes.writeUInt32BE(hi, 0)
      bytes.writeUInt32BE(lo, 4)
      rows.set(hi >>> 26, [...(rows.get(hi >>> 26) ?? []), bytes])
    }
    for (const [bucket, own] of rows) {
      db.prepare('INSERT INTO spent_keys VALUES (?, ?)').run(64 * height + bucket, Buffer.concat(own))
    }
  }
  db.prepare("INSERT INTO bonds VALUES (?, 0, 'x', 'A', 1, 1, NULL, ?, NULL, NULL)").run(randomBytes(32), FROM)
  db.prepare('INSERT INTO spenders VALUES (?, ?, 1, ?, 0)').run(randomBytes(32), Buffer.of(1), FROM + 1)
  db.close()
}

test('every block that was indexed is, and each key names its block', () => {
  using dir = tempDir()
  writeOld(databasePath(dir.path))
  const { db, migrated } = openStore(dir.path, 'regtest')
  using _ = db
  assert.ok(migrated.includes(12))
  assert.equal(readIndexedFrom(db), FROM)
  for (let height = FROM - 1; height <= FROM + BLOCKS; height++) {
    assert.equal(hasSpentKeysAt(db, height), height >= FROM && height < FROM + BLOCKS)
    for (const outpoint of spentAt(height)) {
      const found: Height[] = []
      findCandidates(db, [keys.of(outpoint)], (_index, candidate) => found.push(candidate))
      assert.deepEqual(found, height >= FROM && height < FROM + BLOCKS ? [height] : [], `${height}`)
    }
  }
  const of = (text: string) => db.prepare(text).pluck().get()
  assert.equal(of('SELECT count(*) FROM indexed_blocks WHERE keys IS NOT NULL'), (FROM + BLOCKS) % SEGMENT_BLOCKS)
  assert.equal(of('SELECT count(*) FROM blocks'), BLOCKS + 1)
  assert.equal(of('SELECT count(*) FROM spenders WHERE height = (SELECT conf_height + 1 FROM bonds)'), 1)
  assert.deepEqual(
    checkDatabase(db.path).filter((complaint) => !/address|spends nothing/.test(complaint)),
    [],
  )
})
