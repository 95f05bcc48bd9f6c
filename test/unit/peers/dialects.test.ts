/** Every dialect against published bytes (test/vectors/wire-v1.json), and against what no maker would say. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { verifyProof } from '../../../src/bonds/verify-proof.ts'
import { asSats } from '../../../src/chain/types.ts'
import { DIALECT, DIALECT_LIMITS } from '../../../src/peers/dialects.ts'
import { OFFER_LIMITS } from '../../../src/peers/offer-terms.ts'
import { DIALECTS, type DialectName, type MakerReply, type Offer } from '../../../src/peers/types.ts'
import { CborMap, type CborValue, decode, type Encodable, encode, Float } from '../../../src/wire/cbor.ts'
import { encodeFrame } from '../../../src/wire/frame.ts'
import { TERMS } from '../../support/offers.ts'
import { hex, PROOFS, publishedKeys, publishedProof, wireVector } from '../../support/vectors.ts'

const ONION = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion'
const SELF = { host: ONION, port: 8080 }

function readOk(dialect: DialectName, ask: number, payload: Buffer): MakerReply {
  const read = DIALECT[dialect].asks[ask]!.read(payload)
  assert(read.ok, JSON.stringify(read))
  return read.reply
}

function faultOf(dialect: DialectName, ask: number, payload: Buffer): string {
  const read = DIALECT[dialect].asks[ask]!.read(payload)
  assert(!read.ok, JSON.stringify(read))
  return read.fault
}

// ---- requests --------------------------------------------------------------------------------------------------------

/** As frames; makers without a prefix get the same items behind a shorter length. */
const REQUESTS: Record<DialectName, string[]> = {
  unified: [wireVector('maker_now_taker_hello').frame, wireVector('maker_now_get_offer').frame],
  'legacy-prefixed': [wireVector('maker_0_1_3_taker_hello').frame, wireVector('maker_0_1_3_req_give_offer').frame],
  'taproot-prefixed': [wireVector('maker_0_1_3_taproot_get_offer').frame],
  legacy: [
    `00000039${wireVector('maker_0_1_3_taker_hello').cbor}`,
    `0000000f${wireVector('maker_0_1_3_req_give_offer').cbor}`,
  ],
  taproot: [`0000004f${wireVector('maker_0_1_3_taproot_get_offer').cbor}`],
  ping: [wireVector('ping_onion').frame],
  'ping-unit': ['00000006026450696e67'],
}

for (const name of DIALECTS) {
  test(`the requests of "${name}", byte for byte`, () => {
    const { prefix, asks } = DIALECT[name]
    const frames = asks.map((ask) => encodeFrame(ask.request(SELF), prefix).toString('hex'))
    assert.deepEqual(frames, REQUESTS[name])
    assert.equal(DIALECT[name].name, name)
  })
}

// ---- replies ---------------------------------------------------------------------------------------------------------

const today: Offer = {
  ...TERMS,
  ...publishedKeys('tweak-point'),
  proof: publishedProof('tweak-point'),
}
const legacy: Offer = {
  baseFeeSats: 100,
  amountFeePct: 0.1,
  timeFeePct: 0.005,
  requiredConfirms: 1,
  lockBlocksMin: 20,
  amountSatsMin: 10_000,
  amountSatsMax: 1_000_000,
  ...publishedKeys('expiry'),
  proof: publishedProof('expiry'),
}
const { requiredConfirms: _, ...taproot } = legacy

const REPLIES: [DialectName, number, string, MakerReply][] = [
  ['unified', 0, 'maker_now_maker_hello', { type: 'hello', protocols: ['Legacy', 'Taproot'] }],
  ['unified', 1, 'maker_now_offer', { type: 'offer', offer: today }],
  ['unified', 1, 'maker_0_2_2_offer', { type: 'offer', offer: today }],
  ['legacy', 0, 'maker_0_1_3_maker_hello', { type: 'hello' }],
  ['legacy', 1, 'maker_0_1_3_resp_offer', { type: 'offer', offer: legacy }],
  ['legacy-prefixed', 0, 'maker_0_1_3_maker_hello', { type: 'hello' }],
  ['legacy-prefixed', 1, 'maker_0_1_3_resp_offer', { type: 'offer', offer: legacy }],
  ['taproot', 0, 'maker_0_1_3_taproot_resp_offer', { type: 'offer', offer: taproot }],
  ['taproot-prefixed', 0, 'maker_0_1_3_taproot_resp_offer', { type: 'offer', offer: taproot }],
  ['ping', 0, 'pong_onion', { type: 'pong', address: `${ONION}:6102` }],
  ['ping-unit', 0, 'pong', { type: 'pong', address: '127.0.0.1:6102' }],
]

for (const [dialect, ask, name, reply] of REPLIES) {
  test(`"${dialect}" reads ${name}`, () => {
    assert.deepEqual(readOk(dialect, ask, hex(wireVector(name).cbor)), reply)
    assert.equal(DIALECT[dialect].asks[ask]!.brings, reply.type)
    assert.ok(wireVector(name).cbor.length / 2 < DIALECT_LIMITS.replyBytesMax / 10)
  })
}

/** 0.2.1: the unified protocol, the proof of the years before, no chain code. */
test('"unified" reads the offer of 0.2.1', () => {
  const bytes = wireVector('maker_0_1_3_resp_offer').cbor.replace('69526573704f66666572', '654f66666572')
  assert.deepEqual(readOk('unified', 1, hex(bytes)), { type: 'offer', offer: legacy })
})

test('a published offer, read from its bytes, passes every check of a taker', () => {
  const reply = readOk('unified', 1, hex(wireVector('maker_now_offer').cbor))
  assert(reply.type === 'offer')
  const { proof } = reply.offer
  const output = {
    amountSats: asSats(10_000),
    scriptPubKey: hex(PROOFS['tweak-point'].scriptPubKey),
    confHeight: 900_001,
    isUnspent: true,
  }
  const address = `${ONION}:21`
  const announcement = { format: 'D', address, lockHeight: 915_000 } as const
  const facts = { output, announcement, tipHeight: 900_100, lockBlocks: { min: 12_960, max: 25_920 } }
  assert.deepEqual(verifyProof(proof, reply.offer, facts, address), { ok: true, era: 'tweak-point' })
})

// ---- what tomorrow's makers say ----------------------------------------------------------------------------------------

/** The published offer with an eleventh key: `lightning` and this value, in hex. */
const withLightning = (value: string) =>
  hex(
    wireVector('maker_now_offer')
      .cbor.replace('a1654f66666572aa', 'a1654f66666572ab')
      .concat(`696c696768746e696e67${value}`),
  )
const lightningHex = (fields: Record<string, Encodable>) => encode(fields).toString('hex')
const SIZES = { min_size: 10_000, max_size: 1_000_000 }
const LIGHTNING = {
  swap_in: true,
  swap_out: false,
  base_fee: 100,
  amount_relative_fee_pct: new Float(0.1),
  ...SIZES,
}
const READ = { swapIn: true, swapOut: false, baseFeeSats: 100, amountFeePct: 0.1, amountSatsMin: 10_000 }

test('the eleventh key of an offer, byte for byte', () => {
  const bytes =
    'a667737761705f696ef568737761705f6f7574f468626173655f666565186477616d6f756e745f72656c61746976655f6665655f706374fb3fb999999999999a686d696e5f73697a65192710686d61785f73697a651a000f4240'
  assert.equal(lightningHex(LIGHTNING), bytes)
  const reply = readOk('unified', 1, withLightning(bytes))
  assert.deepEqual(reply, {
    type: 'offer',
    offer: { ...today, lightning: { terms: { ...READ, amountSatsMax: 1_000_000 } } },
  })
})

test('both sizes of its terms, null, and keys that nobody knows yet', () => {
  const part = (value: string) => {
    const reply = readOk('unified', 1, withLightning(value))
    assert(reply.type === 'offer' && reply.fault === undefined)
    const { lightning, ...rest } = reply.offer
    assert.deepEqual(rest, today)
    return lightning
  }
  assert.equal(part('f6'), undefined)
  const { max_size: _, ...both } = { ...LIGHTNING, max_swap_in: 1_000_000, max_swap_out: 0 }
  assert.deepEqual(part(lightningHex(both)), { terms: { ...READ, swapInSatsMax: 1_000_000, swapOutSatsMax: 0 } })
  const later = { ...LIGHTNING, node: 'x', channels: [1, { deep: null }] }
  assert.deepEqual(part(lightningHex(later)), { terms: { ...READ, amountSatsMax: 1_000_000 } })
})

test('Lightning terms that are broken cost the offer nothing', () => {
  const { satsMax } = OFFER_LIMITS
  const { min_size: _, ...less } = LIGHTNING
  const broken: [value: string, fault: RegExp][] = [
    ['f5', /^Offer\.lightning: expected a map with the fields swap_in, .*, got true$/],
    ['00', /lightning: expected a map/],
    ['80', /lightning: expected a map/],
    [lightningHex(less), /^Offer\.lightning\.min_size: this field is missing$/],
    [lightningHex({ ...LIGHTNING, swap_in: 1 }), /lightning\.swap_in: expected true or false, got the number 1/],
    [lightningHex({ ...LIGHTNING, base_fee: -1 }), /lightning\.base_fee: expected a whole number from 0/],
    [
      lightningHex({ ...LIGHTNING, base_fee: satsMax + 1 }),
      /^lightning\.base_fee: expected a whole number from 0 to 2100/,
    ],
    [lightningHex({ ...LIGHTNING, max_swap_in: 2n ** 64n - 1n }), /lightning\.max_swap_in: expected a whole number/],
    [
      lightningHex({ ...LIGHTNING, amount_relative_fee_pct: new Float(Number.NaN) }),
      /lightning\.amount_relative_fee_pct: expected a finite number/,
    ],
    [
      lightningHex({ ...LIGHTNING, amount_relative_fee_pct: new Float(-1) }),
      /^lightning\.amount_relative_fee_pct: expected 0 to 100, got -1$/,
    ],
  ]
  for (const [value, fault] of broken) {
    const reply = readOk('unified', 1, withLightning(value))
    assert(reply.type === 'offer' && reply.fault === undefined, value)
    const { lightning, ...rest } = reply.offer
    assert.deepEqual(rest, today)
    assert(lightning && 'fault' in lightning)
    assert.match(lightning.fault, fault)
  }
})

/** As it was written. */
function again(value: CborValue): Encodable {
  if (!(value instanceof CborMap)) return value as Encodable
  return Object.fromEntries(value.entries.map(([key, inner]) => [String(key), again(inner)]))
}

test('an offer may come as an array of its values, with the newest of them or without', () => {
  const whole = decode(hex(wireVector('maker_now_offer').cbor))
  assert(whole instanceof CborMap)
  const fields = whole.entries[0]![1]
  assert(fields instanceof CborMap)
  const values = fields.entries.map(([, value]) => again(value))
  for (const [end, isOffer] of [
    [values, true],
    [[...values, null], true],
    [values.slice(0, -1), true],
    [values.slice(0, -2), false],
    [[...values, null, null], false],
  ] as const) {
    assert.equal(DIALECT.unified.asks[1]!.read(encode({ Offer: [...end] })).ok, isOffer, `${end.length} values`)
  }
})

test('keys that nobody knows yet hurt no reply', () => {
  const hello = { supported_protocols: ['Legacy', 'Lightning'], version: 7, extras: { a: [null] } }
  assert.deepEqual(readOk('unified', 0, encode({ MakerHello: hello })), {
    type: 'hello',
    protocols: ['Legacy', 'Lightning'],
  })
  const offer = wireVector('maker_now_offer').cbor.replace('a1654f66666572aa', 'a1654f66666572ab')
  assert.deepEqual(readOk('unified', 1, hex(`${offer}6666757475726581f6`)), { type: 'offer', offer: today })
})

test('Unsupported is an answer to whatever was asked', () => {
  // {"Unsupported": {"what": "Lightning", "reason": "no lightning backend configured"}}
  const bytes = `a16b556e737570706f72746564a26477686174694c696768746e696e6766726561736f6e781f${Buffer.from('no lightning backend configured').toString('hex')}`
  const reply = { type: 'unsupported', what: 'Lightning', reason: 'no lightning backend configured' }
  for (const name of DIALECTS) {
    for (const ask of DIALECT[name].asks.keys()) assert.deepEqual(readOk(name, ask, hex(bytes)), reply)
  }
  assert.match(faultOf('unified', 0, encode({ Unsupported: { what: 5 } })), /expected MakerHello: Unsupported\.what: /)
})

// ---- what is no reply ------------------------------------------------------------------------------------------------

test('replies of another dialect, or of another step, are not taken for this one', () => {
  const fault = (dialect: DialectName, ask: number, name: string) => faultOf(dialect, ask, hex(wireVector(name).cbor))
  assert.match(
    fault('unified', 0, 'maker_0_1_3_maker_hello'),
    /expected MakerHello: .*supported_protocols: this field is missing/,
  )
  assert.match(fault('legacy', 0, 'maker_now_maker_hello'), /protocol_version_min: this field is missing/)
  assert.equal(fault('unified', 0, 'maker_now_offer'), 'expected MakerHello, got "Offer"')
  assert.equal(fault('unified', 1, 'maker_0_1_3_resp_offer'), 'expected Offer, got "RespOffer"')
  assert.match(fault('taproot', 0, 'maker_0_1_3_resp_offer'), /amount_relative_fee: this field is missing/)
  assert.match(fault('legacy', 1, 'maker_0_1_3_taproot_resp_offer'), /amount_relative_fee_pct: this field is missing/)
  assert.equal(fault('ping', 0, 'maker_now_maker_hello'), 'expected Pong, got "MakerHello"')
  assert.equal(fault('unified', 0, 'maker_now_taker_hello'), 'expected MakerHello, got "TakerHello"', 'an echo')
})

test('fields of a wrong type are named', () => {
  const hello = (protocols: never) => faultOf('unified', 0, encode({ MakerHello: { supported_protocols: protocols } }))
  assert.match(hello('Legacy' as never), /MakerHello\.supported_protocols: expected an array, got a text of 6/)
  assert.match(hello([1] as never), /supported_protocols\[0\]: expected a text, got the number 1/)
  assert.match(faultOf('ping', 0, encode({ Pong: { address: 5 } })), /Pong\.address: expected a text/)
  const withFee = (fee: string) => hex(wireVector('maker_now_offer').cbor.replace('fb3f647ae147ae147b', fee))
  assert.match(faultOf('unified', 1, withFee('f97e00')), /amount_relative_fee_pct: expected a finite number/)
  assert.equal(readOk('unified', 1, withFee(encode(new Float(2.5)).toString('hex'))).type, 'offer')
})

test('terms that can not be meant are told beside the offer: its maker lives, and its proof can be judged', () => {
  const withFee = (fee: number) => {
    const bytes = wireVector('maker_now_offer').cbor.replace(
      'fb3f647ae147ae147b',
      encode(new Float(fee)).toString('hex'),
    )
    const reply = readOk('unified', 1, hex(bytes))
    assert(reply.type === 'offer')
    assert.deepEqual(reply.offer.proof, today.proof)
    return reply.fault
  }
  assert.equal(withFee(0), undefined)
  assert.equal(withFee(-1), 'amount_relative_fee_pct: expected 0 to 100, got -1')
  assert.equal(withFee(1e300), 'amount_relative_fee_pct: expected 0 to 100, got 1e+300')
  const old = wireVector('maker_0_1_3_taproot_resp_offer').cbor.replace('fb3fb999999999999a', 'fbbfb999999999999a')
  const reply = readOk('taproot', 0, hex(old))
  assert.equal(reply.type === 'offer' && reply.fault, 'amount_relative_fee_pct: expected 0 to 100, got -0.1')
})

test('rubbish is a fault, never an exception', () => {
  const every = DIALECTS.flatMap((name) => DIALECT[name].asks)
  for (const { read } of every) {
    assert.equal(read(Buffer.alloc(0)).ok, false)
    assert.equal(read(Buffer.alloc(65_536, 0x9f)).ok, false)
    assert.equal(read(hex('f6')).ok, false)
  }
  fc.assert(
    fc.property(fc.constantFrom(...every), fc.uint8Array({ maxLength: 200 }), ({ read }, bytes) => {
      assert.equal(read(Buffer.from(bytes)).ok, false)
    }),
    { numRuns: 3_000 },
  )
})

test('an offer cut or bent at any byte is a fault or another offer, never an exception', () => {
  const whole = hex(wireVector('maker_now_offer').cbor)
  const { read } = DIALECT.unified.asks[1]!
  for (let i = 0; i < whole.length; i++) {
    assert.equal(read(whole.subarray(0, i)).ok, false, `cut at ${i}`)
    const bent = Buffer.from(whole)
    bent[i]! ^= 0x41
    read(bent)
  }
  assert.match(faultOf('unified', 1, Buffer.concat([whole, Buffer.of(0)])), /1 bytes after the value/)
})
