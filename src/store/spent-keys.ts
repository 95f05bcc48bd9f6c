/**
 * The compact spent-outpoint index: for every block of the retention, the 8-byte keys of what it spent, in 64 rows by
 * the keys' top bits. A look-up reads one such row per block, about 0.8 kB each, and names CANDIDATE heights: the
 * caller confirms in the block.
 */
import { type RawBuilder, sql as raw } from 'kysely'
import { BUCKETS, type BucketedKeys, bucketOf, keyBytes, type OutpointKey } from '../chain/outpoint-keys.ts'
import type { Height } from '../chain/types.ts'
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
  .orderBy('b.height', 'desc')
  .compile().sql

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
 * Which blocks may have spent the outpoints of `keys`, all of one bucket: calls `onCandidate` with the key's index and
 * the height, newest block first. One pass over the bucket, whatever the number of keys.
 */
export function findCandidates(
  db: Db,
  keys: readonly OutpointKey[],
  onCandidate: (index: number, height: Height) => void,
): void {
  const wanted = keys.map(keyBytes)
  const rows = db.prepare(OF_BUCKET).iterate(bucketOf(keys[0]!.hi)) as Iterable<{ height: number; keys: Buffer }>
  for (const row of rows) {
    for (const [index, key] of wanted.entries()) {
      if (holds(row.keys, key)) onCandidate(index, row.height)
    }
  }
}

function holds(keys: Buffer, key: Buffer): boolean {
  for (let at = keys.indexOf(key); at >= 0; at = keys.indexOf(key, at + 1)) if (at % KEY_BYTES === 0) return true
  return false
}

/** The lowest height whose spends are indexed. */
export function readIndexedFrom(db: Db): Height | undefined {
  const first = db.first(sql.selectFrom('spent_keys').select('id').orderBy('id', 'asc').limit(1))
  return first && Math.floor(first.id / BUCKETS)
}
