/**
 * What an older version kept of the blocks' spends, packed as today: 8-byte keys, in rows with id = 64 × height + bucket.
 * Part of migration 0012: 4,032 blocks of 6,500 inputs take some seconds, once.
 */
import type Database from 'better-sqlite3'
import type { Height } from '../../chain/types.ts'
import { type BlockKeys, BUCKETS, packBlock, packSegment, SEGMENT_BLOCKS, segmentOf } from './packed-keys.ts'

const OLD_BUCKETS = 64
const OLD_KEY_BYTES = 8

/** Inside the migration's transaction: `old_spent_keys` goes. */
export function convertSpentKeys(db: Database.Database): void {
  const insertBlock = db.prepare('INSERT INTO indexed_blocks (height, keys) VALUES (?, ?)')
  const insertRow = db.prepare('INSERT INTO spent_keys (id, keys) VALUES (?, ?)')
  const isLast = (height: Height) => height % SEGMENT_BLOCKS === SEGMENT_BLOCKS - 1
  let open: BlockKeys[] = []
  const write = () => {
    const last = open.at(-1)
    const isWhole = last !== undefined && isLast(last.height)
    for (const { height, keys } of open) insertBlock.run(height, isWhole ? null : packBlock(keys))
    const rows = isWhole ? packSegment(open) : []
    let bucket = 0
    for (const row of rows) {
      if (row) insertRow.run(BUCKETS * segmentOf(last!.height) + bucket, row)
      bucket++
    }
    open = []
  }
  // One query after the other: while a result is read this connection can write nothing.
  const heights = db
    .prepare(
      `SELECT height FROM blocks b WHERE EXISTS (SELECT 1 FROM old_spent_keys WHERE id = ${OLD_BUCKETS} * b.height)`,
    )
    .pluck()
    .all() as Height[]
  const ofBlock = db.prepare('SELECT keys FROM old_spent_keys WHERE id >= ? AND id < ? ORDER BY id').pluck()
  for (const height of heights) {
    if (open.length > 0 && segmentOf(open[0]!.height) !== segmentOf(height)) write()
    const rows = ofBlock.all(OLD_BUCKETS * height, OLD_BUCKETS * (height + 1)) as Buffer[]
    open.push({ height, keys: firstHalves(Buffer.concat(rows)) })
  }
  write()
  db.exec('DROP TABLE old_spent_keys')
}

/** Of keys of 8 bytes, big-endian. */
function firstHalves(bytes: Buffer): Uint32Array {
  const keys = new Uint32Array(Math.floor(bytes.length / OLD_KEY_BYTES))
  for (let i = 0; i < keys.length; i++) keys[i] = bytes.readUInt32BE(OLD_KEY_BYTES * i)
  return keys
}
