/**
 * 8-byte keys of outpoints: what the spent-outpoint index keeps of each input, and how tracked outpoints are found
 * among a block's thousands of inputs without allocating.
 *
 * A key is a CANDIDATE, never an answer: two outpoints may share one (by chance about 1 in 2^64 pairs). Whoever finds
 * a key looks at the transaction before telling anybody. The mix covers all 36 bytes and is keyed with this database's
 * own salt, so that nobody can prepare collisions for every tracker at once; the worst a collision costs is one block
 * read from bitcoind. Byte order: the txid is read in internal order, as it stands in raw transactions.
 */
import { createHash } from 'node:crypto'
import { type Outpoint, toInternal } from './types.ts'

/** Secret odd multipliers: one for each of the txid's eight words, two to mix the halves. */
const MULTIPLIERS = 10

/** A key's buckets are told apart by its top 6 bits: 64 rows a block, each about 100 keys of a full block. */
export const BUCKETS = 64
const BUCKET_SHIFT = 26

export class OutpointKeys {
  readonly #multipliers: Uint32Array

  /** `salt`: 16 random bytes, the same for the life of a database. */
  constructor(salt: Uint8Array) {
    this.#multipliers = new Uint32Array(MULTIPLIERS)
    for (let i = 0; i < this.#multipliers.length; i++) {
      const digest = createHash('sha256').update(salt).update(Buffer.of(i)).digest()
      this.#multipliers[i] = (digest.readUInt32LE(0) | 1) >>> 0
    }
  }

  /**
   * Writes the key (high word, then low word) of the 36 bytes at `offset` to `out[at]`, `out[at + 1]`. Each word mixes
   * half of the txid and the vout, then both mix with each other, so that every byte counts in every key.
   */
  write(raw: DataView, offset: number, out: Uint32Array, at: number): void {
    const m = this.#multipliers
    const vout = raw.getUint32(offset + 32, true)
    let hi = vout
    let lo = ~vout
    for (let i = 0; i < 4; i++) {
      hi = Math.imul(hi ^ raw.getUint32(offset + 8 * i, true), m[i]!)
      hi ^= hi >>> 15
      lo = Math.imul(lo ^ raw.getUint32(offset + 8 * i + 4, true), m[4 + i]!)
      lo ^= lo >>> 13
    }
    hi = Math.imul(hi ^ lo, m[8]!)
    out[at] = hi ^ (hi >>> 16)
    lo = Math.imul(lo ^ hi, m[9]!)
    out[at + 1] = lo ^ (lo >>> 16)
  }

  /** The key of one outpoint. */
  of(outpoint: Outpoint): OutpointKey {
    const raw = new DataView(new ArrayBuffer(36))
    toInternal(outpoint.txid).forEach((byte, i) => {
      raw.setUint8(i, byte)
    })
    raw.setUint32(32, outpoint.vout, true)
    const words = new Uint32Array(2)
    this.write(raw, 0, words, 0)
    return { hi: words[0]!, lo: words[1]! }
  }
}

export interface OutpointKey {
  /** u32 */
  hi: number
  /** u32 */
  lo: number
}

export function bucketOf(hi: number): number {
  return hi >>> BUCKET_SHIFT
}

/** 53 of the key's 64 bits as an exact number, for Map and Set. */
export function mapKey(hi: number, lo: number): number {
  return hi * 0x200000 + (lo >>> 11)
}

/** The 8 bytes as stored: high word, then low word, both big-endian. */
export function keyBytes({ hi, lo }: OutpointKey): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32BE(hi, 0)
  bytes.writeUInt32BE(lo, 4)
  return bytes
}

/** Keys of one block ordered by bucket: `counts[b]` keys of bucket b follow each other, 2 words (hi, lo) each. */
export interface BucketedKeys {
  words: Uint32Array
  counts: Uint32Array
}

/** Orders `count` keys (2 words each, in any order) by bucket. */
export function intoBuckets(keys: Uint32Array, count: number): BucketedKeys {
  const counts = new Uint32Array(BUCKETS)
  for (let i = 0; i < count; i++) counts[bucketOf(keys[2 * i]!)]!++
  const next = new Uint32Array(BUCKETS)
  for (let b = 1; b < BUCKETS; b++) next[b] = next[b - 1]! + counts[b - 1]!
  const words = new Uint32Array(2 * count)
  for (let i = 0; i < count; i++) {
    const at = 2 * next[bucketOf(keys[2 * i]!)]!++
    words[at] = keys[2 * i]!
    words[at + 1] = keys[2 * i + 1]!
  }
  return { words, counts }
}
