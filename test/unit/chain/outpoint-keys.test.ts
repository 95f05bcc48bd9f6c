/** Keys of outpoints: the published keyed hash, and that nobody without the salt can make two outpoints share one. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { asTxid, fromInternal, type Outpoint, toInternal } from '../../../src/chain/types.ts'

const outpoint = (bytes: Buffer): Outpoint => ({
  txid: asTxid(fromInternal(bytes.subarray(0, 32))),
  vout: bytes.readUInt32LE(32),
})

test('HalfSipHash-2-4, 8 bytes of output: the vector of its authors for 36 bytes', () => {
  const keys = new OutpointKeys(Buffer.from([...Array(16).keys()]))
  const message = Buffer.from([...Array(36).keys()])
  const { hi, lo } = keys.of(outpoint(message))
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(lo, 0)
  bytes.writeUInt32LE(hi, 4)
  // vectors.h of the reference implementation, vectors_hsip64[36].
  assert.equal(bytes.toString('hex'), '86d67a40ec4276dc')
})

test('as the specification has it, by another way: for any bytes, under any salt', () => {
  for (let times = 0; times < 500; times++) {
    const salt = randomBytes(16)
    const message = randomBytes(36)
    const { hi, lo } = new OutpointKeys(salt).of(outpoint(message))
    assert.equal((BigInt(hi) << 32n) | BigInt(lo), halfSipHash24(salt, message))
  }
})

/** Straight from the paper, on words of any size. */
function halfSipHash24(key: Buffer, message: Buffer): bigint {
  const mask = 0xffffffffn
  const k0 = BigInt(key.readUInt32LE(0))
  const k1 = BigInt(key.readUInt32LE(4))
  const rotate = (x: bigint, by: bigint) => ((x << by) | (x >> (32n - by))) & mask
  const v = [k0, k1 ^ 0xeen, k0 ^ 0x6c796765n, k1 ^ 0x74656462n] as [bigint, bigint, bigint, bigint]
  const rounds = (count: number) => {
    for (; count > 0; count--) {
      v[0] = (v[0] + v[1]) & mask
      v[1] = rotate(v[1], 5n) ^ v[0]
      v[0] = rotate(v[0], 16n)
      v[2] = (v[2] + v[3]) & mask
      v[3] = rotate(v[3], 8n) ^ v[2]
      v[0] = (v[0] + v[3]) & mask
      v[3] = rotate(v[3], 7n) ^ v[0]
      v[2] = (v[2] + v[1]) & mask
      v[1] = rotate(v[1], 13n) ^ v[2]
      v[2] = rotate(v[2], 16n)
    }
  }
  const words = Array.from({ length: message.length / 4 }, (_, i) => BigInt(message.readUInt32LE(4 * i)))
  for (const word of [...words, BigInt(message.length % 256) << 24n]) {
    v[3] ^= word
    rounds(2)
    v[0] ^= word
  }
  v[2] ^= 0xeen
  rounds(4)
  const low = v[1] ^ v[3]
  v[1] ^= 0xddn
  rounds(4)
  return ((v[1] ^ v[3]) << 32n) | low
}

test('no difference between two outpoints makes them share a key under every salt', () => {
  // Those that did so under a mix of multiplications: high bits of words that are two apart, found without the salt.
  const flips: [number, number][][] = []
  for (let word = 0; word < 6; word++)
    for (const next of [1, 2])
      flips.push(
        [
          [word, 0x80000000],
          [word + next, 0x80010000],
        ],
        [
          [word, 0x80000000],
          [word + next, 0x80000000],
        ],
      )
  for (const flip of flips) {
    let shared = 0
    for (let times = 0; times < 20; times++) {
      const keys = new OutpointKeys(randomBytes(16))
      const bytes = randomBytes(36)
      const other = Buffer.from(bytes)
      for (const [word, bits] of flip) other.writeUInt32LE((other.readUInt32LE(4 * word) ^ bits) >>> 0, 4 * word)
      assert.deepEqual(toInternal(outpoint(bytes).txid), bytes.subarray(0, 32))
      const [a, b] = [keys.of(outpoint(bytes)), keys.of(outpoint(other))]
      if (a.hi === b.hi || a.lo === b.lo) shared++
    }
    assert.equal(shared, 0, JSON.stringify(flip))
  }
})
