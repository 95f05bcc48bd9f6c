/** How the keys of what blocks spent are packed: whatever goes in comes out, and bytes that nobody packed are refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BUCKETS,
  bucketOf,
  keysOf,
  MalformedKeys,
  packBlock,
  packSegment,
  SEGMENT_BLOCKS,
  unpackBlock,
  unpackBucket,
  unpackSegment,
} from '../../../src/store/local/packed-keys.ts'

const key = fc.integer({ min: 0, max: 0xffffffff })
/** Few buckets, so that rows have many entries; close together, far apart and equal ones. */
const crowded = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0xffffffff - 300, max: 0xffffffff }),
  fc.constantFrom(0, 7, 0x3fffff, 0x400000, 0xffffffff),
)
const keys = fc.array(fc.oneof(key, crowded), { maxLength: 60 }).map((list) => Uint32Array.from(list))
const blocks = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 0, max: SEGMENT_BLOCKS - 1 }), keys), { selector: ([offset]) => offset })
  .map((list) => list.map(([offset, own]) => ({ height: 7 * SEGMENT_BLOCKS + offset, keys: own })))

const rowsOf = (segment: Parameters<typeof packSegment>[0]) =>
  [...packSegment(segment)].flatMap((row, bucket) => (row ? [{ bucket, row }] : []))

test('a segment comes out as it went in: any keys, the same ones twice, none, every offset', () => {
  fc.assert(
    fc.property(blocks, (segment) => {
      const rows = [...packSegment(segment)]
      assert.equal(rows.length, BUCKETS)
      const unpacked = unpackSegment(rows.flatMap((row, bucket) => (row ? [{ bucket, row }] : [])))
      const expected = Array.from({ length: SEGMENT_BLOCKS }, () => new Uint32Array())
      for (const { height, keys: own } of segment) expected[height % SEGMENT_BLOCKS] = own.toSorted()
      assert.deepEqual(unpacked, expected)
    }),
    { numRuns: 300 },
  )
})

test('a row names each key of its bucket with its block, ascending', () => {
  const segment = [
    { height: 64, keys: Uint32Array.of(0x00400001, 5, 0xffffffff) },
    { height: 95, keys: Uint32Array.of(5, 0x00400000) },
  ]
  const seen = rowsOf(segment).flatMap(({ bucket, row }) => {
    const own: [number, number][] = []
    unpackBucket(row, bucket, (one, offset) => own.push([one, offset]))
    return own
  })
  assert.deepEqual(seen, [
    [5, 0],
    [5, 31],
    [0x00400000, 31],
    [0x00400001, 0],
    [0xffffffff, 0],
  ])
  assert.deepEqual([0, 0x003fffff, 0x00400000, 0xffffffff].map(bucketOf), [0, 0, 1, 1_023])
})

test('the bytes of a row are what is documented', () => {
  const [row] = packSegment([{ height: 1, keys: Uint32Array.of(0, 0x300000) }])
  // k = 24 and two entries: 1, which is offset 1, then 0x300000 × 32 + 1, which is 6 × 2^24 more.
  const bits = `${'1'}${'1'.padStart(24, '0')}${'0000001'}${''.padStart(24, '0')}`
  const body = BigInt(`0b${bits}`)
    .toString(16)
    .padStart(bits.length / 4, '0')
  assert.equal(row!.toString('hex'), `18000002${body}`)
})

test('blocks of today take 2.7 bytes a key', () => {
  let seed = 1
  const next = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed
  }
  const segment = Array.from({ length: SEGMENT_BLOCKS }, (_, height) => ({
    height,
    keys: Uint32Array.from({ length: 6_500 }, next),
  }))
  const bytes = rowsOf(segment).reduce((sum, { row }) => sum + row.length, 0)
  assert.ok(bytes / (SEGMENT_BLOCKS * 6_500) < 2.7, `${bytes} bytes`)
})

test('of the words of a block the high ones are kept', () => {
  assert.deepEqual(keysOf(Uint32Array.of(9, 1, 0xffffffff, 2, 3, 3)), Uint32Array.of(9, 0xffffffff, 3))
  fc.assert(
    fc.property(keys, (own) => assert.deepEqual(unpackBlock(packBlock(own)), own.toSorted())),
    { numRuns: 100 },
  )
})

test('bytes that are no row are refused, whatever they are, and soon', () => {
  const whole = rowsOf([{ height: 0, keys: Uint32Array.from({ length: 200 }, (_, i) => 20_000 * i) }])[0]!.row
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => unpackBucket(whole.subarray(0, length), 0, () => {}), MalformedKeys, `${length} bytes`)
  }
  assert.throws(() => unpackBucket(Buffer.concat([whole, Buffer.alloc(1)]), 0, () => {}), MalformedKeys)
  assert.throws(() => unpackBlock(Buffer.of(1)), /cut off/)
  assert.throws(() => unpackBlock(Buffer.of(0, 0, 0, 2, 0, 0, 0, 1)), /out of order/)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, isLikely) => {
      const row = Buffer.from(bytes)
      if (isLikely && row.length >= 4) Buffer.of(1 + (row[0]! % 24), 0, 0).copy(row)
      let before = -1
      try {
        unpackBucket(row, 3, (one, offset) => {
          const entry = 32 * one + offset
          assert.ok(bucketOf(one) === 3 && entry >= before)
          before = entry
        })
      } catch (error) {
        if (!(error instanceof MalformedKeys)) throw error
      }
    }),
    { numRuns: 3_000 },
  )
})
