/**
 * The compact spent-outpoint index: for every block of the retention, the 8-byte keys of what it spent, in 64 rows by
 * the keys' top bits. A look-up reads one such row per block, about 0.8 kB each, and names CANDIDATE heights: the
 * caller confirms in the block.
 */
import { type RawBuilder, sql as raw } from 'kysely'
import { BUCKETS, type BucketedKeys, bucketOf, type OutpointKey } from '../chain/outpoint-keys.ts'
import type { Height, HeightRange } from '../chain/types.ts'
import { type Db, sql } from './open.ts'

const KEY_BYTES = 8

const INSERT = sql
  .insertInto('spent_keys')
  .values({ id: 0, keys: Buffer.alloc(0) })
  .compile().sql
/** One seek per block: the rows of a bucket don't lie together. */
const OF_BUCKET = sql
  .selectFrom('blocks as b')
  .innerJoin('spent_keys as s', (join) => join.on('s.id', '=', rowId('b.height', 0)))
  .select(['b.height', 's.keys'])
  .where('b.height', '>=', 0)
  .where('b.height', '<=', 0)
  .orderBy('b.height', 'desc')
  .compile().sql

interface KeysRow {
  height: Height
  keys: Buffer
}

/** The row of a bucket, as SQL. */
function rowId(height: 'b.height', bucket: number): RawBuilder<number> {
  return raw<number>`${raw.ref(height)} * ${raw.lit(BUCKETS)} + ${bucket}`
}

/** Only inside the transaction that connects the block. */
export function insertSpentKeys(db: Db, height: Height, { words, counts }: BucketedKeys): void {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength)
  bytes.swap32() // stored big-endian; these words were made for this call
  const insert = db.prepare(INSERT)
  let at = 0
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const length = KEY_BYTES * counts[bucket]!
    // The first row always: it says that the block is indexed, whatever it spent.
    if (length > 0 || bucket === 0) insert.run(BUCKETS * height + bucket, bytes.subarray(at, at + length))
    at += length
  }
}

export function deleteSpentKeysAt(db: Db, height: Height): void {
  db.run(
    sql
      .deleteFrom('spent_keys')
      .where('id', '>=', BUCKETS * height)
      .where('id', '<', BUCKETS * (height + 1)),
  )
}

/** Drops what lies below the retention. */
export function pruneSpentKeys(db: Db, belowHeight: Height): void {
  db.run(sql.deleteFrom('spent_keys').where('id', '<', BUCKETS * belowHeight))
}

/**
 * Which blocks of `heights` may have spent the outpoints of `keys`, all of one bucket: calls `onCandidate` with the key's
 * index and the height, newest block first. The same work whatever the number of keys: some 7 µs a block.
 */
export function findCandidates(
  db: Db,
  keys: readonly OutpointKey[],
  heights: HeightRange,
  onCandidate: (index: number, height: Height) => void,
): void {
  const wanted = new Map<number, number[]>()
  for (const [index, { lo }] of keys.entries()) {
    const others = wanted.get(lo)
    if (others) others.push(index)
    else wanted.set(lo, [index])
  }
  const { from, to } = heights
  const rows = db.guard(() => db.prepare(OF_BUCKET).all(bucketOf(keys[0]!.hi), from, to)) as KeysRow[]
  for (const row of rows) {
    for (let at = 4; at < row.keys.length; at += KEY_BYTES) {
      const same = wanted.get(row.keys.readUInt32BE(at))
      if (!same) continue
      const hi = row.keys.readUInt32BE(at - 4)
      for (const index of same) if (keys[index]!.hi === hi) onCandidate(index, row.height)
    }
  }
}

/** Whether the spends of the block at `height` are indexed. */
export function hasSpentKeysAt(db: Db, height: Height): boolean {
  return (
    db.first(
      sql
        .selectFrom('spent_keys')
        .select('id')
        .where('id', '=', BUCKETS * height),
    ) !== undefined
  )
}

/** The lowest height whose spends are indexed. */
export function readIndexedFrom(db: Db): Height | undefined {
  const first = db.first(sql.selectFrom('spent_keys').select('id').orderBy('id', 'asc').limit(1))
  return first && Math.floor(first.id / BUCKETS)
}
