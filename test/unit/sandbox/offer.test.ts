/** The simulated maker against published certificates and offers: what it says must pass a taker's checks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import type { CertificateEra, ProofFacts, ProofVerdict } from '../../../src/bonds/proof.ts'
import { buildRedeemScript, p2wshScriptPubKey } from '../../../src/bonds/script.ts'
import type { AnnouncementFormat } from '../../../src/bonds/types.ts'
import { verifyProof } from '../../../src/bonds/verify-proof.ts'
import { asSats, asTxid, formatOutpoint } from '../../../src/chain/types.ts'
import { DIALECT } from '../../../src/peers/dialects.ts'
import type { DialectName, Offer } from '../../../src/peers/types.ts'
import { encode } from '../../../src/wire/cbor.ts'
import { bondKeyOf } from '../../sandbox/bond-key.ts'
import { LIES, type LieName } from '../../sandbox/lies.ts'
import {
  certificateHash,
  certificateText,
  certificateTextOfEraA,
  type OfferedBond,
  offerMessage,
  type Release,
} from '../../sandbox/offer.ts'
import { wireVector } from '../../support/vectors.ts'

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

const published = (name: string) => wireVector(name).cbor

test('the offers of today and of 0.2.2, byte for byte', () => {
  const offer = (release: Release) => encode(offerMessage(today, { release })).toString('hex')
  assert.equal(encode(offerMessage(today)).toString('hex'), published('maker_now_offer'))
  assert.equal(offer('today'), published('maker_now_offer'))
  assert.equal(offer('0.2.2'), published('maker_0_2_2_offer'))
})

test('the offers of 0.1.3, byte for byte but for the signature, whose nonce is free', () => {
  const secretKey = Buffer.alloc(32, 1)
  const publicKey = Buffer.from(secp256k1.getPublicKey(secretKey))
  const key = { secretKey, publicKey, tweakablePoint: publicKey, chainCode: Buffer.alloc(32), index: 0 }
  const offer = (release: Release) => encode(offerMessage({ ...eraA, key }, { release })).toString('hex')
  const unsigned = (hex: string) =>
    hex.replace(/(68636572745f736967)58[0-9a-f]{2}30(4[45])(?:[0-9a-f]{2}){68,69}/, '$1')
  for (const [release, name] of [
    ['0.1.3', 'maker_0_1_3_resp_offer'],
    ['0.1.3-taproot', 'maker_0_1_3_taproot_resp_offer'],
  ] as const) {
    assert.ok(unsigned(published(name)).length < published(name).length - 130, 'the signature is out')
    assert.equal(unsigned(offer(release)), unsigned(published(name)))
  }
})

// ---- offers as a prober sees them ------------------------------------------------------------------------------------

const WALLET = Buffer.alloc(32, 9)
const bond: OfferedBond = { ...today, key: bondKeyOf(WALLET) }
const otherKey = bondKeyOf(WALLET, 1)

function probe(message: ReturnType<typeof offerMessage>, dialect: DialectName): Offer {
  const read = DIALECT[dialect].asks.at(-1)!.read(encode(message))
  assert(read.ok && read.reply.type === 'offer', JSON.stringify(read))
  return read.reply.offer
}

/** What the chain says about the true bond, and nothing about any other outpoint. */
function judge(
  offer: Offer,
  address: string,
  { tipHeight = 900_010, min = 12_960, format = 'D' as AnnouncementFormat } = {},
): ProofVerdict {
  const { amountSats, lockHeight, confHeight, key } = bond
  const scriptPubKey = p2wshScriptPubKey(buildRedeemScript({ publicKey: key.publicKey, lockHeight }))
  const isOurs = formatOutpoint(offer.proof.outpoint) === formatOutpoint(bond.outpoint)
  const facts: ProofFacts = {
    output: isOurs ? { amountSats: asSats(amountSats), scriptPubKey, confHeight, isUnspent: true } : undefined,
    announcement: { format, address, lockHeight },
    tipHeight,
    lockBlocks: { min, max: 25_920 },
  }
  return verifyProof(offer.proof, offer, facts, address)
}

const RELEASES: [Release, DialectName, CertificateEra][] = [
  ['0.1.2', 'legacy-prefixed', 'expiry'],
  ['0.1.3', 'legacy-prefixed', 'expiry'],
  ['0.1.3-taproot', 'taproot-prefixed', 'expiry'],
  ['0.2.0', 'legacy', 'expiry'],
  ['0.2.0-taproot', 'taproot', 'expiry'],
  ['0.2.1', 'unified', 'expiry'],
  ['0.2.2', 'unified', 'tweak-point'],
  ['today', 'unified', 'tweak-point'],
]

for (const [release, dialect, era] of RELEASES) {
  test(`an honest offer of ${release} is read in its dialect and passes every check of its era`, () => {
    const format = era === 'expiry' ? 'B' : 'D'
    const offer = probe(offerMessage(bond, { release }), dialect)
    assert.deepEqual(judge(offer, `${ONION}:21`, { format }), { ok: true, era })
  })
}

for (const [release, dialect] of RELEASES.filter(([release]) => ['0.1.3', 'today'].includes(release))) {
  for (const name of Object.keys(LIES) as LieName[]) {
    const lie = LIES[name]
    if (release === '0.1.3' && 'needsChainCode' in lie) continue
    test(`a maker of ${release} that lies about its ${name} is caught by ${lie.breaks ?? 'a note'}`, () => {
      const offer = probe(offerMessage(bond, { release, lie: { name, otherKey } }), dialect)
      const min = name === 'passed-lock' ? 1 : 12_960
      const verdict = judge(offer, `${ONION}:21`, { min, format: release === 'today' ? 'D' : 'B' })
      assert.equal(verdict.ok ? undefined : verdict.failed, lie.breaks, JSON.stringify(verdict))
      if (verdict.ok) assert.match(verdict.note!, /the proof says/)
    })
  }
}

test('an offer without a chain code can not lie about it', () => {
  const lying = () => offerMessage(bond, { release: '0.2.1', lie: { name: 'chain-code', otherKey } })
  assert.throws(lying, /can't lie about its chain-code/)
})
