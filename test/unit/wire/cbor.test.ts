/** The codec alone: bytes serde_cbor writes, bytes it takes, and bytes that are meant to hurt. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  CBOR_LIMITS,
  CborError,
  CborMap,
  type CborValue,
  decode,
  type Encodable,
  encode,
  Float,
} from '../../../src/wire/cbor.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const hexOf = (value: Encodable) => encode(value).toString('hex')

test('floats are written in the shortest form that is exact', () => {
  const written: [number, string][] = [
    [0.5, 'f93800'],
    [2.5, 'f94100'],
    [100.0, 'f95640'],
    [0.1, 'fb3fb999999999999a'],
    [0.005, 'fb3f747ae147ae147b'],
    [0.0025, 'fb3f647ae147ae147b'],
    [0.0001, 'fb3f1a36e2eb1c432d'],
    [0.0, 'f90000'],
    [-0.0, 'f98000'],
    [100_000.0, 'fa47c35000'],
    [3.4028234663852886e38, 'fa7f7fffff'],
    [1.0e300, 'fb7e37e43c8800759c'],
    [65_504.0, 'f97bff'],
    [65_536.0, 'fa47800000'],
    [2 ** -24, 'f90001'],
    [2 ** -25, 'fa33000000'],
    [0.00006103515625, 'f90400'],
    [Number.POSITIVE_INFINITY, 'f97c00'],
    [Number.NEGATIVE_INFINITY, 'f9fc00'],
    [Number.NaN, 'f97e00'],
  ]
  for (const [value, bytes] of written) assert.equal(hexOf(new Float(value)), bytes, String(value))
  assert.equal(hexOf(0.5), 'f93800', 'a number that is not whole needs no Float')
})

test('every half-precision float comes back as the same two bytes', () => {
  for (let half = 0; half <= 0xffff; half++) {
    const bytes = Buffer.of(0xf9, half >> 8, half & 0xff)
    const value = decode(bytes)
    assert(value instanceof Float)
    const isNaNOfOtherBits = Number.isNaN(value.value)
    assert.equal(hexOf(value), isNaNOfOtherBits ? 'f97e00' : bytes.toString('hex'))
  }
})

test('heads are the shortest at every boundary', () => {
  const written: [number | bigint, string][] = [
    [0, '00'],
    [23, '17'],
    [24, '1818'],
    [255, '18ff'],
    [256, '190100'],
    [65_535, '19ffff'],
    [65_536, '1a00010000'],
    [2 ** 32 - 1, '1affffffff'],
    [2 ** 32, '1b0000000100000000'],
    [2 ** 53 - 1, '1b001fffffffffffff'],
    [2n ** 53n, '1b0020000000000000'],
    [2n ** 64n - 1n, '1bffffffffffffffff'],
    [-1, '20'],
    [-24, '37'],
    [-25, '3818'],
    [-256, '38ff'],
    [-257, '390100'],
    [-(2n ** 64n), '3bffffffffffffffff'],
  ]
  for (const [value, bytes] of written) {
    assert.equal(hexOf(value), bytes)
    assert.equal(decode(hex(bytes)), value)
  }
  assert.equal(hexOf('a'.repeat(24)).slice(0, 4), '7818')
  assert.equal(hexOf(Buffer.alloc(32)).slice(0, 4), '5820')
  assert.equal(hexOf(Array.from({ length: 24 }, () => null)).slice(0, 4), '9818')
  assert.throws(() => encode(2 ** 60), RangeError)
  assert.throws(() => encode(2n ** 64n), RangeError)
})

test('fields keep their order, null is written, undefined is left out', () => {
  assert.equal(
    hexOf({ b: 1, a: null, gone: undefined, c: [true, false] }),
    'a3616201 6161f6 616382f5f4'.replaceAll(' ', ''),
  )
  assert.throws(() => encode(undefined as unknown as Encodable))
})

test('what serde_cbor takes is taken', () => {
  const taken: [string, string, CborValue][] = [
    ['non-minimal integer', '1b0000000000000001', 1],
    ['non-minimal text head', '7a00000003476574', 'Get'],
    ['indefinite text in pieces', '7f 6147 626574 ff', 'Get'],
    ['indefinite text that splits a character', '7f 61c3 61a9 ff', 'é'],
    ['empty indefinite text', '7fff', ''],
    ['indefinite bytes', '5f 4101 420203 ff', hex('010203')],
    ['indefinite array', '9f 01 9f ff 02 ff', [1, [], 2]],
    ['tags, even many', 'c0 d82a d9d9f7 db0000000000000001 63476574', 'Get'],
    ['undefined', 'f7', undefined],
    ['a byte-order mark, kept', '64efbbbf61', '\ufeffa'],
    ['single', 'fa3fc00000', new Float(1.5)],
    ['double', 'fb3ff8000000000000', new Float(1.5)],
  ]
  for (const [what, bytes, value] of taken) assert.deepEqual(decode(hex(bytes)), value, what)
})

test('a map keeps the order of its keys, repeated ones too, and its first byte', () => {
  const map = decode(hex('bf 6161 01 6161 02 03 04 ff'))
  assert(map instanceof CborMap)
  assert.deepEqual(map.entries, [
    ['a', 1],
    ['a', 2],
    [3, 4],
  ])
  assert.equal(map.head, 0xbf)
  for (const [bytes, head] of [
    ['a10102', 0xa1],
    ['b8010102', 0xb8],
    ['c0a10102', 0xc0],
  ] as const) {
    const value = decode(hex(bytes))
    assert(value instanceof CborMap)
    assert.equal(value.head, head, bytes)
  }
})

test('what is no single well-formed value is refused', () => {
  const refused: [string, string][] = [
    ['nothing', ''],
    ['bytes after the value', '6347657400'],
    ['a cut text', '6447 6574'],
    ['a cut head', '19 01'],
    ['a length past the end', '5affffffff'],
    ['a 64-bit length past the end', '9bffffffffffffffff'],
    ['a text that is not UTF-8', '62c328'],
    ['an overlong UTF-8 form', '62c0af'],
    ['a surrogate in UTF-8', '63eda080'],
    ['an indefinite text that is not UTF-8', '7f61c3ff'],
    ['a text inside an indefinite byte string', '5f6161ff'],
    ['an indefinite piece inside an indefinite text', '7f7f6161ffff'],
    ['a break alone', 'ff'],
    ['a break in a definite array', '8201ff'],
    ['a break as a map value', 'bf01ff'],
    ['a break behind a tag', '9fc0ff'],
    ['an indefinite array without end', '9f01'],
    ['reserved lengths', '1c'],
    ['an indefinite integer', '1f'],
    ['an indefinite tag', 'df00'],
    ['simple values', 'f0'],
    ['simple values in two bytes', 'f8ff'],
    ['a tag alone', 'c0'],
  ]
  for (const [what, bytes] of refused) assert.throws(() => decode(hex(bytes)), CborError, what)
})

test('depth is bounded, whatever it is made of', () => {
  const nested = (opening: string, count: number) => Buffer.concat([Buffer.alloc(count, hex(opening)), Buffer.of(0)])
  assert.doesNotThrow(() => decode(nested('81', CBOR_LIMITS.depthMax)))
  assert.throws(() => decode(nested('81', CBOR_LIMITS.depthMax + 1)), /deeper/)
  for (const opening of ['81', '9f', 'a100', 'bf00', 'd9d9f781']) {
    const bytes = nested(opening, 1_000_000 * (opening.length / 2))
    assert.throws(() => decode(bytes), CborError, opening)
  }
  assert.throws(() => decode(Buffer.alloc(1_000_000, 0xc0)), CborError, 'a million tags')
})

test('items are bounded, and a huge length costs nothing', () => {
  const many = Buffer.concat([hex('9a00ffffff'), Buffer.alloc(0xffffff)])
  assert.throws(() => decode(many), /items/)
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 1_000; i++) assert.throws(() => decode(hex('5b00000000ffffffff')), CborError)
  assert(process.memoryUsage().arrayBuffers - before < 50_000_000)
})

/** Any value, as deep and wide as ours get. Maps as objects with fields that keep their order. */
const anyEncodable: fc.Arbitrary<Encodable> = fc.letrec<{ value: Encodable }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 8 },
    fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) - 1n }),
    fc.string({ unit: 'binary' }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.double().map((value) => new Float(value)),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value')),
    fc.dictionary(fc.stringMatching(/^[a-z_]{1,12}$/), tie('value')),
  ),
})).value

/** What decoding gives for `value`. */
function asDecoded(value: Encodable): CborValue {
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (Array.isArray(value)) return value.map(asDecoded)
  if (typeof value !== 'object' || value === null || value instanceof Float) return value as CborValue
  const entries = Object.entries(value).map(([name, inner]) => [name, asDecoded(inner as Encodable)] as const)
  const head = encode(value)[0]!
  return new CborMap(entries, head)
}

test('decode(encode(x)) is x', () => {
  fc.assert(
    fc.property(anyEncodable, (value) => {
      assert.deepEqual(decode(encode(value)), asDecoded(value))
    }),
  )
})

test('random bytes give a value or a CborError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        decode(Buffer.from(bytes))
      } catch (error) {
        assert(error instanceof CborError, String(error))
      }
    }),
    { numRuns: 20_000 },
  )
})
