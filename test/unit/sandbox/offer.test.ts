/** The simulated maker against published certificates and offers: what it says must pass a taker's checks. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { bondKeyOf } from '../../../scripts/sandbox/bond-key.ts'
import {
  certificateHash,
  certificateText,
  certificateTextOfEraA,
  offerMessage,
} from '../../../scripts/sandbox/offer.ts'
import { asTxid } from '../../../src/chain/types.ts'
import { encode } from '../../../src/wire/cbor.ts'

const TXID = '00112233445566778899aabbccddeeff0123456789abcdef0011223344556677'
const ONION = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion'
const today = {
  outpoint: { txid: asTxid(TXID), vout: 0 },
  amountSats: 10_000,
  lockHeight: 915_000,
  confHeight: 900_001,
  key: bondKeyOf(Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')),
  certAddress: ONION,
}
const eraA = {
  outpoint: { txid: asTxid(TXID), vout: 0 },
  amountSats: 50_000,
  lockHeight: 15_000,
  confHeight: 1_896,
  key: { publicKey: Buffer.from('031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f', 'hex') },
  certAddress: '127.0.0.1:6102',
}

test('the keys of a seed', () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const { key } = today
  assert.equal(hex(key.tweakablePoint), '0378f4c1ca747613136f9a59ea33bbb34a0ca7445a4866ee43cf25d559acf05bde')
  assert.equal(hex(key.chainCode), '35df15408661b6eb5128b2a19a243af94bd5a8705462625df2ce3a2b34ec10d6')
  assert.equal(hex(key.secretKey), '2843d0104c80e037813c8f2800183832fd18db7ca9b1cc33cb224e6c3e69024b')
  assert.equal(hex(key.publicKey), '02e113787d35173626dd7d32538f172bdc05e960d1fe38ecd84b8843bf371a0957')
})

test('certificates of both eras', () => {
  const text = certificateText(today)
  assert.equal(text.length, 304)
  assert.equal(
    text,
    `fidelity-bond-cert|${TXID}:0|02e113787d35173626dd7d32538f172bdc05e960d1fe38ecd84b8843bf371a0957|915000|` +
      `0.00010000 BTC|${ONION}|0378f4c1ca747613136f9a59ea33bbb34a0ca7445a4866ee43cf25d559acf05bde`,
  )
  assert.equal(
    certificateHash(text).toString('hex'),
    'e20d4c1053d57ab76939a29aeff4678f4c053ddc4a65af6fc6daae66fad5047c',
  )
  const old = certificateTextOfEraA(eraA)
  assert.equal(
    old,
    `fidelity-bond-cert|${TXID}:0|031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f|5|15000|` +
      '0.00050000 BTC|127.0.0.1:6102',
  )
  const hash = certificateHash(old)
  assert.equal(hash.toString('hex'), '037e2177f572da03149f7fb55b7aa1ad73b97fd778f2777b03fe178138b6af90')
  const signature = Buffer.from(
    '304402201eeb11a78c8b7bde3629834a9d3efdbd52d02a327d0d20eeaf6f80a865eb64b202206faa51ab3ef7b514b44c8fd98a513f40b1708ba0d64682dee333fd48c66bd7c8',
    'hex',
  )
  assert.ok(secp256k1.verify(signature, hash, eraA.key.publicKey, { prehash: false, format: 'der' }))
})

test('amounts as certificates write them', () => {
  const amount = (amountSats: number) => certificateText({ ...today, amountSats }).split('|')[4]
  assert.equal(amount(50_000), '0.00050000 BTC')
  assert.equal(amount(150_000_000), '1.50000000 BTC')
  assert.equal(amount(100_000_000), '1 BTC')
  assert.equal(amount(2_100_000_000_000_000), '21000000 BTC')
})

test('the offer, byte for byte', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../vectors/wire-v1.json', import.meta.url), 'utf8')) as {
    name: string
    cbor: string
  }[]
  const published = vectors.find(({ name }) => name === 'maker_now_offer')!.cbor
  assert.equal(Buffer.from(encode(offerMessage(today))).toString('hex'), published)
})
