/**
 * The index of what the blocks of the retention spent, on the disk: of every block its keys by themselves (`indexed_blocks`),
 * until the last block of its segment comes, and all of a segment is packed (`spent_keys`, packed-keys.ts). A look-up reads
 * one row a segment and the few blocks that are not packed yet, and names CANDIDATE heights: the caller confirms in the block.
 */
import type { OutpointKey } from '../../chain/outpoint-keys.ts'
import type { Height } from '../../chain/types.ts'
import { breathe } from '../../world.ts'
import { damagedRow } from '../columns.ts'
import { type Db, sql } from '../open.ts'
import {
  type BlockKeys,
  BUCKETS,
  bucketOf,
  keysOf,
  MalformedKeys,
  packBlock,
  packSegment,
  SEGMENT_BLOCKS,
  segmentOf,
  unpackBlock,
  unpackBucket,
  unpackSegment,
} from './packed-keys.ts'

const LIMITS = {
  /** Buckets packed in one go: a millisecond or two. */
  bucketsAtOnce: 64,
  /** Segments below the retention that are dropped with one commit, 2 ms each: more lie there after a long absence. */
  segmentsPruned: 2,
}

const UPDATE_BLOCK = sql
  .updateTable('indexed_blocks')
  .set({ keys: Buffer.alloc(0) })
  .where('height', '=', 0)
  .compile().sql
const INSERT_BLOCK = sql
  .insertInto('indexed_blocks')
  .values({ height: 0, keys: Buffer.alloc(0) })
  .compile().sql
const INSERT_ROW = sql
  .insertInto('spent_keys')
  .values({ id: 0, keys: Buffer.alloc(0) })
  .compile().sql
const ROW = sql.selectFrom('spent_keys').select('keys').where('id', '=', 0).compile().sql

/** What is to be written of some blocks. */
export interface SpentRows {
  blocks: readonly { height: Height; keys: Buffer | null }[]
  segments: readonly { segment: number; rows: readonly (Buffer | undefined)[] }[]
}

/**
 * Packs what `blocks`, which come next and follow each other, spend (words, two a key): those that are the last of their
 * segment with all that is there of it. In pieces of a millisecond or two: nothing else may write the index meanwhile.
 */
export async function packSpentKeys(
  db: Db,
  blocks: readonly { height: Height; words: Uint32Array }[],
): Promise<SpentRows> {
  const packed: SpentRows['blocks'][number][] = []
  const segments: SpentRows['segments'][number][] = []
  let open: BlockKeys[] = []
  for (const { height, words } of blocks) {
    open.push({ height, keys: keysOf(words) })
    if (height % SEGMENT_BLOCKS !== SEGMENT_BLOCKS - 1) continue
    segments.push({
      segment: segmentOf(height),
      rows: await packRows([...asRead(() => readUnpacked(db, segmentOf(height))), ...open]),
    })
    packed.push(...open.map((block) => ({ height: block.height, keys: null })))
    open = []
  }
  return { blocks: [...packed, ...open.map(({ height, keys }) => ({ height, keys: packBlock(keys) }))], segments }
}

async function packRows(blocks: readonly BlockKeys[]): Promise<(Buffer | undefined)[]> {
  const rows: (Buffer | undefined)[] = []
  for (const row of packSegment(blocks)) {
    rows.push(row)
    if (rows.length % LIMITS.bucketsAtOnce === 0) await breathe()
  }
  return rows
}

/** Only inside the transaction that connects the blocks. */
export function insertSpentKeys(db: Db, { blocks, segments }: SpentRows): void {
  const insertRow = db.prepare(INSERT_ROW)
  for (const { segment, rows } of segments) {
    const from = SEGMENT_BLOCKS * segment
    const own = sql.updateTable('indexed_blocks').set({ keys: null }).where('height', '>=', from)
    db.run(own.where('height', '<', from + SEGMENT_BLOCKS).where('keys', 'is not', null))
    for (const [bucket, row] of rows.entries()) if (row) insertRow.run(BUCKETS * segment + bucket, row)
  }
  const insertBlock = db.prepare(INSERT_BLOCK)
  for (const { height, keys } of blocks) insertBlock.run(height, keys)
}

/** Takes the keys of the tip back. Where they are packed already, the blocks below are kept by themselves again. */
export function deleteSpentKeysAt(db: Db, height: Height): void {
  const tip = db.first(sql.selectFrom('indexed_blocks').select('keys').where('height', '=', height))
  if (!tip) return
  db.run(sql.deleteFrom('indexed_blocks').where('height', '=', height))
  if (tip.keys) return
  const segment = segmentOf(height)
  const own = asRead(() => unpackSegment(readRows(db, segment)))
  const update = db.prepare(UPDATE_BLOCK)
  for (const below of readIndexed(db, segment)) update.run(packBlock(own[below.height % SEGMENT_BLOCKS]!), below.height)
  deleteSegment(db, segment)
}

/**
 * Drops what lies below the retention: of a segment all at once, when all of it does, and after a long absence not all
 * segments with one block.
 */
export function pruneSpentKeys(db: Db, belowHeight: Height): void {
  db.run(sql.deleteFrom('indexed_blocks').where('height', '<', belowHeight))
  for (let i = 0; i < LIMITS.segmentsPruned; i++) {
    const first = db.first(sql.selectFrom('spent_keys').select('id').orderBy('id', 'asc').limit(1))
    const segment = first && Math.floor(first.id / BUCKETS)
    if (segment === undefined || segment >= segmentOf(belowHeight)) return
    deleteSegment(db, segment)
  }
}

/** Which blocks may have spent the outpoints of `keys`, all of one bucket: calls `onCandidate` with the key's index and the height. */
export function findCandidates(
  db: Db,
  keys: readonly OutpointKey[],
  onCandidate: (index: number, height: Height) => void,
): void {
  const from = readIndexedFrom(db)
  const top = db.first(sql.selectFrom('indexed_blocks').select('height').orderBy('height', 'desc').limit(1))
  if (from === undefined || !top) return
  const wanted = new Map<number, number[]>()
  for (const [index, { hi }] of keys.entries()) {
    const others = wanted.get(hi)
    if (others) others.push(index)
    else wanted.set(hi, [index])
  }
  const tell = (key: number, height: Height) => {
    for (const index of wanted.get(key) ?? []) onCandidate(index, height)
  }
  asRead(() => {
    // Others than those of the last segment are never left as they came.
    for (const { height, keys: own } of readIndexed(db, segmentOf(top.height))) {
      if (own) for (const key of wanted.keys()) if (has(own, key)) tell(key, height)
    }
    const bucket = bucketOf(keys[0]!.hi)
    const row = db.prepare(ROW)
    for (let segment = segmentOf(top.height); segment >= segmentOf(from); segment--) {
      const packed = db.guard(() => row.get(BUCKETS * segment + bucket)) as { keys: Buffer } | undefined
      if (!packed) continue
      unpackBucket(packed.keys, bucket, (key, offset) => {
        const height = SEGMENT_BLOCKS * segment + offset
        if (wanted.has(key) && height >= from) tell(key, height)
      })
    }
  })
}

/** Whether the spends of the block at `height` are indexed. */
export function hasSpentKeysAt(db: Db, height: Height): boolean {
  return db.first(sql.selectFrom('indexed_blocks').select('height').where('height', '=', height)) !== undefined
}

/** The lowest height whose spends are indexed. */
export function readIndexedFrom(db: Db): Height | undefined {
  return db.first(sql.selectFrom('indexed_blocks').select('height').orderBy('height', 'asc').limit(1))?.height
}

function readIndexed(db: Db, segment: number): { height: Height; keys: Buffer | null }[] {
  const from = SEGMENT_BLOCKS * segment
  return db.all(
    sql
      .selectFrom('indexed_blocks')
      .selectAll()
      .where('height', '>=', from)
      .where('height', '<', from + SEGMENT_BLOCKS),
  )
}

/** Blocks of the segment that are kept by themselves, their keys ascending. */
function readUnpacked(db: Db, segment: number): BlockKeys[] {
  return readIndexed(db, segment).flatMap(({ height, keys }) => (keys ? [{ height, keys: unpackBlock(keys) }] : []))
}

function readRows(db: Db, segment: number): { bucket: number; row: Buffer }[] {
  const rows = db.all(
    sql
      .selectFrom('spent_keys')
      .selectAll()
      .where('id', '>=', BUCKETS * segment)
      .where('id', '<', BUCKETS * (segment + 1))
      .orderBy('id'),
  )
  return rows.map(({ id, keys }) => ({ bucket: id % BUCKETS, row: keys }))
}

function deleteSegment(db: Db, segment: number): void {
  db.run(
    sql
      .deleteFrom('spent_keys')
      .where('id', '>=', BUCKETS * segment)
      .where('id', '<', BUCKETS * (segment + 1)),
  )
}

/** Whether `key` is among those of a packed block. */
function has(block: Buffer, key: number): boolean {
  const keys = Math.floor(block.length / 4)
  let low = 0
  let high = keys
  while (low < high) {
    const middle = (low + high) >>> 1
    if (block.readUInt32BE(4 * middle) < key) low = middle + 1
    else high = middle
  }
  return low < keys && block.readUInt32BE(4 * low) === key
}

/** What was written whole and is no more is damage. */
function asRead<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof MalformedKeys)) throw error
    throw damagedRow('spent_keys', error)
  }
}
