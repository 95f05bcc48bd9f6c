/** Fidelity proofs as bytes: the published ones of each layout, both ways, and the shapes they need. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CborMap, type CborValue, decode, type Encodable, encode, Float } from '../../../src/wire/cbor.ts'
import { fidelityProof } from '../../../src/wire/fidelity-proof.ts'
import { bytesUpTo, f64, Refused } from '../../../src/wire/shape.ts'
import { hex, publishedProof, wireVector } from '../../support/vectors.ts'

/** The value at a path of keys in a published message. */
function inside(name: string, ...path: string[]): CborValue {
  let value = decode(hex(wireVector(name).cbor))
  for (const key of path) {
    assert(value instanceof CborMap)
    value = value.entries.find(([k]) => k === key)![1]
  }
  return value
}

const POST = ['Post', 'metadata', 'proof']
const OLD = publishedProof('expiry')
const TODAY = publishedProof('tweak-point')

test('the proof of 0.1.3, both ways', () => {
  const value = inside('post_as_coinswap_0_1_3_would_send', ...POST)
  assert.deepEqual(fidelityProof.read(value, 'proof'), OLD)
  const whole = wireVector('post_as_coinswap_0_1_3_would_send').cbor
  const ours = encode({ Post: { metadata: { url: '127.0.0.1:6102', proof: fidelityProof.write(OLD) } } })
  assert.equal(ours.toString('hex'), whole)
})

test('the proofs of 0.2.2 and of today, which has a field more', () => {
  assert.deepEqual(fidelityProof.read(inside('maker_0_2_2_offer', 'Offer', 'fidelity'), 'proof'), TODAY)
  assert.deepEqual(fidelityProof.read(inside('maker_now_offer', 'Offer', 'fidelity'), 'proof'), TODAY)
  const whole = wireVector('maker_0_2_2_offer').cbor
  assert.ok(whole.includes(encode(fidelityProof.write(TODAY)).toString('hex')))
})

test("the reference tracker's own declaration, with a hash of 20 bytes, is no proof any maker makes", () => {
  const value = inside('post_as_tracker_expects', ...POST)
  assert.throws(() => fidelityProof.read(value, 'proof'), {
    name: 'Refused',
    message: 'proof.cert_hash: expected a byte string of 32 bytes, got a byte string of 20 bytes',
  })
})

const roundTrip = (value: Encodable) => decode(encode(value))
/** Today's proof with other fields, those of the bond or its signature. */
function written({ cert_sig, ...bondChange }: Record<string, Encodable | undefined>): CborValue {
  const { bond, ...cert } = fidelityProof.write(TODAY) as { bond: object; cert_sig: Encodable }
  return roundTrip({ ...cert, bond: { ...bond, ...bondChange }, cert_sig: cert_sig ?? cert.cert_sig })
}

test('what may be missing and what may not', () => {
  const read = (change: Record<string, Encodable | undefined>) => fidelityProof.read(written(change), 'proof')
  const { confHeight: _, ...unconfirmed } = TODAY
  assert.deepEqual(read({ conf_height: null }), unconfirmed)
  assert.deepEqual(read({ conf_height: undefined }), unconfirmed)
  assert.deepEqual(read({ is_spent: true }), TODAY, "the maker's own note")
  assert.deepEqual(read({ is_spent: undefined }), TODAY, 'as the reference tracker declares it')
  assert.deepEqual(read({ another: 'field' }), TODAY)
  const refused: [Record<string, Encodable>, RegExp][] = [
    [{ outpoint: {} }, /proof\.bond\.outpoint\.txid: this field is missing/],
    [{ lock_time: null }, /lock_time: expected a whole number/],
    [{ lock_time: 0x1_0000_0000 }, /lock_time: expected a whole number from 0 to 4294967295/],
    [{ amount: -1 }, /amount: expected a whole number/],
    [{ amount: 2n ** 63n }, /amount: expected a whole number/],
    [{ pubkey: Buffer.alloc(65) }, /pubkey: expected a byte string of 33 bytes, got a byte string of 65/],
    [{ pubkey: 'text' }, /pubkey: expected a byte string/],
    [{ bond_index: -1 }, /bond_index/],
    [{ cert_sig: Buffer.alloc(73) }, /cert_sig: expected a byte string of at most 72 bytes, got a byte string of 73/],
    [{ cert_sig: [48, 68] }, /cert_sig: expected a byte string/],
  ]
  for (const [change, message] of refused) {
    assert.throws(
      () => read(change),
      (error) => error instanceof Refused && message.test(error.message),
      String(message),
    )
  }
  assert.equal(read({ cert_sig: Buffer.alloc(72) }).certSig.length, 72)
})

test('floats: any finite number is read, and the shortest exact form is written', () => {
  for (const [value, bytes] of [
    [0.1, 'fb3fb999999999999a'],
    [0.005, 'fb3f747ae147ae147b'],
    [2.5, 'f94100'],
    [0, 'f90000'],
    [100, 'f95640'],
  ] as const) {
    assert.equal(encode(f64.write(value)).toString('hex'), bytes)
    assert.equal(f64.read(decode(hex(bytes)), 'fee'), value)
  }
  assert.equal(f64.read(3, 'fee'), 3, 'a whole number where a float is expected')
  for (const value of [new Float(NaN), new Float(Infinity), 'text', null, 2n ** 60n]) {
    assert.throws(() => f64.read(value, 'fee'), /^Refused: fee: expected a finite number, got /)
  }
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (n) => {
      assert.equal(f64.read(decode(encode(f64.write(n))), 'fee'), n)
    }),
  )
})

test('byte strings up to a length', () => {
  const shape = bytesUpTo(4)
  assert.deepEqual(shape.read(hex('01020304'), 'at'), hex('01020304'))
  assert.deepEqual(shape.read(hex(''), 'at'), hex(''))
  assert.throws(
    () => shape.read(hex('0102030405'), 'at'),
    /at: expected a byte string of at most 4 bytes, got .* 5 bytes/,
  )
  assert.throws(() => shape.read('text', 'at'), /expected a byte string/)
})
