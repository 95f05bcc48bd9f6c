/**
 * 8-byte keys of outpoints: what the spent-outpoint index keeps of each input, and how tracked outpoints are found
 * among a block's thousands of inputs without allocating.
 *
 * A key is a CANDIDATE, never an answer: two outpoints may share one (by chance about 1 in 2^64 pairs). Whoever finds
 * a key looks at the transaction before telling anybody. It is HalfSipHash-2-4 with 8 bytes of output over the outpoint's
 * 36 bytes, under this database's own salt: who doesn't know the salt can't make outpoints that share a key, however many
 * transactions they try. (SipHash proper needs words of 64 bits: three times as slow here.) Byte order: the txid is read in
 * internal order, as it stands in raw transactions. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF"; the
 * half-size words are of the same authors' reference implementation.
 */
import type { Outpoint } from './types.ts'

/** Of an outpoint. */
const BYTES = 36
const WORDS = BYTES / 4

/** Room for one outpoint and its key, used anew for each. */
const scratch = new DataView(new ArrayBuffer(BYTES))
const scratchTxid = Buffer.from(scratch.buffer, 0, 32)
const scratchWords = new Uint32Array(2)

export class OutpointKeys {
  /** An array of its own: numbers read from it are known to be 32-bit integers. */
  readonly #key: Int32Array

  /** `salt`: random bytes, the same for the life of a database; the first eight are the key. */
  constructor(salt: Uint8Array) {
    const bytes = new DataView(salt.buffer, salt.byteOffset, salt.byteLength)
    this.#key = Int32Array.of(bytes.getInt32(0, true), bytes.getInt32(4, true))
  }

  /** Writes the key (high word, then low word) of the 36 bytes at `offset` to `out[at]`, `out[at + 1]`. */
  write(raw: DataView, offset: number, out: Uint32Array, at: number): void {
    const k0 = this.#key[0]!
    const k1 = this.#key[1]!
    let v0 = k0
    let v1 = k1 ^ 0xee
    let v2 = k0 ^ 0x6c796765
    let v3 = k1 ^ 0x74656462
    // Two rounds a word, written out: a loop of two takes three times as long.
    for (let i = 0; i <= WORDS; i++) {
      const word = i < WORDS ? raw.getInt32(offset + 4 * i, true) : BYTES << 24
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
    }
    v2 ^= 0xee
    for (let round = 0; round < 8; round++) {
      if (round === 4) {
        out[at + 1] = v1 ^ v3
        v1 ^= 0xdd
      }
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    out[at] = v1 ^ v3
  }

  /** The key of one outpoint. */
  of(outpoint: Outpoint): OutpointKey {
    return this.ofHex(outpoint.txid, outpoint.vout)
  }

  /** `txid`: 64 hex digits, in whatever case. */
  ofHex(txid: string, vout: number): OutpointKey {
    scratchTxid.write(txid, 'hex')
    scratchTxid.reverse()
    scratch.setUint32(32, vout, true)
    this.write(scratch, 0, scratchWords, 0)
    return { hi: scratchWords[0]!, lo: scratchWords[1]! }
  }
}

export interface OutpointKey {
  /** u32 */
  hi: number
  /** u32 */
  lo: number
}

/** 53 of the key's 64 bits as an exact number, for Map and Set. */
export function mapKey(hi: number, lo: number): number {
  return hi * 0x200000 + (lo >>> 11)
}

/** The high word of what `mapKey` has made. */
export function highOf(key: number): number {
  return Math.floor(key / 0x200000)
}

/** The 8 bytes as written: high word, then low word, both big-endian. */
export function keyBytes({ hi, lo }: OutpointKey): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32BE(hi, 0)
  bytes.writeUInt32BE(lo, 4)
  return bytes
}
