/**
 * Pure: how the keys of what blocks spent are packed. Of an outpoint's 64-bit key (chain/outpoint-keys.ts) the first 32
 * bits are kept: among the 26 million keys of 4,032 blocks of 6,500 inputs, 0.6 % of outpoints share theirs with another
 * one, and a block is looked at in vain; the salt keeps anybody from choosing which.
 *
 * A segment is 32 blocks aligned by height, cut into 1,024 buckets by the keys' first 10 bits. A bucket's entries, each a
 * key's other 22 bits and the block's offset in the segment, in ascending order, are one row: their differences, Golomb–Rice
 * coded, some 2.6 bytes each. (Of n numbers below m, in any order, log2(m·e/n) bits each are the least that can be had.)
 * A row: 1 byte k, 3 bytes the number of entries, then the differences: as many zeros as the difference holds 2^k, a one,
 * the k bits that are left; the highest bit of a byte first, the last byte filled up with zeros. Numbers big-endian.
 */
import type { Height } from '../../chain/types.ts'

export const SEGMENT_BLOCKS = 32
export const BUCKETS = 1_024

const OFFSET_BITS = 5
const BUCKET_BITS = 10
const REST_BITS = 32 - BUCKET_BITS
const REST_MASK = 2 ** REST_BITS - 1
const ENTRY_BITS = REST_BITS + OFFSET_BITS
const HEAD_BYTES = 4
/** Below 25, so that the bits of a byte begun before and k more fit into 32. */
const LARGEST_K = 24

/** Bytes that are no packed row. */
export class MalformedKeys extends Error {
  override readonly name = 'MalformedKeys'
}

/** The first 32 bits of each key that a block spends, in any order; the same one twice where two keys share it. */
export interface BlockKeys {
  height: Height
  keys: Uint32Array
}

/** From words, two a key, the high one first. */
export function keysOf(words: Uint32Array): Uint32Array {
  const keys = new Uint32Array(words.length / 2)
  for (let i = 0; i < keys.length; i++) keys[i] = words[2 * i]!
  return keys
}

export function segmentOf(height: Height): number {
  return Math.floor(height / SEGMENT_BLOCKS)
}

export function bucketOf(key: number): number {
  return key >>> REST_BITS
}

/** A block's keys by themselves, ascending: 4 bytes each, big-endian. */
export function packBlock(keys: Uint32Array): Buffer {
  const sorted = keys.toSorted()
  const bytes = Buffer.alloc(4 * keys.length)
  for (let i = 0; i < sorted.length; i++) bytes.writeUInt32BE(sorted[i]!, 4 * i)
  return bytes
}

/** Ascending. Throws MalformedKeys. */
export function unpackBlock(bytes: Buffer): Uint32Array {
  if (bytes.length % 4 !== 0) throw new MalformedKeys('a key is cut off')
  const keys = new Uint32Array(bytes.length / 4)
  for (let i = 0; i < keys.length; i++) {
    keys[i] = bytes.readUInt32BE(4 * i)
    if (i > 0 && keys[i]! < keys[i - 1]!) throw new MalformedKeys('keys are out of order')
  }
  return keys
}

/** Blocks of one segment → its rows, by bucket; undefined for an empty one. Each step takes some microseconds, the first a millisecond or two. */
export function* packSegment(blocks: readonly BlockKeys[]): Generator<Buffer | undefined> {
  const ends = new Uint32Array(BUCKETS)
  let count = 0
  for (const { keys } of blocks) {
    for (let i = 0; i < keys.length; i++) ends[bucketOf(keys[i]!)]!++
    count += keys.length
  }
  const next = new Uint32Array(BUCKETS)
  for (let b = 1; b < BUCKETS; b++) {
    next[b] = ends[b - 1]!
    ends[b]! += ends[b - 1]!
  }
  const entries = new Uint32Array(count)
  for (const { height, keys } of blocks) {
    const offset = height % SEGMENT_BLOCKS
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!
      entries[next[bucketOf(key)]!++] = ((key & REST_MASK) << OFFSET_BITS) | offset
    }
  }
  for (let b = 0, start = 0; b < BUCKETS; start = ends[b++]!) {
    yield start === ends[b] ? undefined : encode(entries.subarray(start, ends[b]).sort())
  }
}

/** Calls `each` with every key of a bucket and its block's offset, ascending. Throws MalformedKeys. */
export function unpackBucket(row: Buffer, bucket: number, each: (key: number, offset: number) => void): void {
  const high = bucket * 2 ** REST_BITS
  decode(row, (entry) => {
    each(high + (entry >>> OFFSET_BITS), entry & (SEGMENT_BLOCKS - 1))
  })
}

/** The rows of a segment, by bucket and ascending → the keys of each of its blocks, by offset. Throws MalformedKeys. */
export function unpackSegment(rows: Iterable<{ bucket: number; row: Buffer }>): Uint32Array[] {
  const keys = Array.from({ length: SEGMENT_BLOCKS }, (): number[] => [])
  for (const { bucket, row } of rows) unpackBucket(row, bucket, (key, offset) => keys[offset]!.push(key))
  return keys.map((some) => Uint32Array.from(some))
}

/** The k that makes the differences of so many entries short: 2^k is near ln 2 of the mean. */
function parameterOf(count: number): number {
  const k = Math.round(ENTRY_BITS + Math.log2(Math.LN2 / count))
  return Math.min(LARGEST_K, Math.max(1, k))
}

function encode(entries: Uint32Array): Buffer {
  const k = parameterOf(entries.length)
  // What the differences hold of 2^k makes no more zeros than the last entry does.
  const bits = entries.length * (k + 1) + (entries.at(-1)! >>> k)
  const row = Buffer.alloc(HEAD_BYTES + Math.ceil(bits / 8))
  row.writeUInt8(k, 0)
  row.writeUIntBE(entries.length, 1, 3)
  let at = HEAD_BYTES
  let waiting = 0
  let waitingBits = 0
  const write = (value: number, bits: number) => {
    waiting = (waiting << bits) | value
    waitingBits += bits
    while (waitingBits >= 8) {
      waitingBits -= 8
      row[at++] = waiting >>> waitingBits
    }
  }
  const mask = 2 ** k - 1
  let before = 0
  for (let i = 0; i < entries.length; i++) {
    const difference = entries[i]! - before
    before = entries[i]!
    let zeros = difference >>> k
    for (; zeros >= LARGEST_K; zeros -= LARGEST_K) write(0, LARGEST_K)
    write(1, zeros + 1)
    write(difference & mask, k)
  }
  if (waitingBits > 0) write(0, 8 - waitingBits)
  return row.subarray(0, at)
}

/** Room for any row and the four bytes that are looked at beyond its end, grown where a longer one comes. */
let scratch = new Uint8Array(4_096)

function decode(row: Buffer, each: (entry: number) => void): void {
  const k = row[0] ?? 0
  const bits = 8 * row.length
  if (row.length < HEAD_BYTES || k < 1 || k > LARGEST_K) throw new MalformedKeys('no such row')
  const count = row.readUIntBE(1, 3)
  let at = 8 * HEAD_BYTES
  if (count * (k + 1) > bits - at) throw new MalformedKeys('entries are cut off')
  if (scratch.length < row.length + 8) scratch = new Uint8Array(2 * row.length + 8)
  const bytes = scratch
  bytes.set(row)
  bytes.fill(0, row.length, row.length + 8)
  const step = 2 ** k
  let entry = 0
  for (let i = 0; i < count; i++) {
    let zeros = 0
    let next = windowAt(bytes, at)
    while (next === 0) {
      zeros += 32
      at += 32
      if (at >= bits) throw new MalformedKeys('entries are cut off')
      next = windowAt(bytes, at)
    }
    const some = Math.clz32(next)
    at += some + 1
    entry += (zeros + some) * step + (windowAt(bytes, at) >>> (32 - k))
    at += k
    if (entry >= 2 ** ENTRY_BITS || at > bits) throw new MalformedKeys('an entry is too large, or cut off')
    each(entry)
  }
  if (bits - at >= 8) throw new MalformedKeys('it does not end where its entries do')
}

/** The 32 bits from bit `at` on. */
function windowAt(bytes: Uint8Array, at: number): number {
  const i = at >>> 3
  const first = (bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!
  return (first << (at & 7)) | (bytes[i + 4]! >>> (8 - (at & 7)))
}
