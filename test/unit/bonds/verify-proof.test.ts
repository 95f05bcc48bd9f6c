/** Every check of a proof: the published ones pass, and each way to lie is called by its name, at its boundary. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { certificateHash, certificateText } from '../../../src/bonds/certificate.ts'
import {
  type BondOutput,
  type FidelityProof,
  type OfferedKeys,
  PROOF_CHECKS,
  type ProofCheck,
  type ProofFacts,
} from '../../../src/bonds/proof.ts'
import { buildRedeemScript, p2wshScriptPubKey } from '../../../src/bonds/script.ts'
import type { Announcement } from '../../../src/bonds/types.ts'
import { verifyProof } from '../../../src/bonds/verify-proof.ts'
import { asSats } from '../../../src/chain/types.ts'
import { bondKeyOf } from '../../sandbox/bond-key.ts'
import { hex, PROOFS, publishedKeys, publishedProof } from '../../support/vectors.ts'

const ONION = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion'
const LOCK_BLOCKS = { min: 12_960, max: 25_920 }
const ORDER = secp256k1.Point.Fn.ORDER
const SECRET = {
  expiry: Buffer.alloc(32, 1),
  'tweak-point': bondKeyOf(hex('000102030405060708090a0b0c0d0e0f')).secretKey,
}

interface Case {
  proof: FidelityProof
  keys: OfferedKeys
  facts: ProofFacts
  address: string
}

interface Change {
  proof?: Partial<Record<keyof FidelityProof, unknown>>
  keys?: Partial<Record<keyof OfferedKeys, unknown>>
  facts?: Partial<ProofFacts>
  output?: Partial<BondOutput>
  announcement?: Partial<Announcement>
  address?: string
}

/** Fields changed to undefined are left out. */
function changed<T extends object>(value: T, change: object = {}): T {
  return Object.fromEntries(Object.entries({ ...value, ...change }).filter(([, field]) => field !== undefined)) as T
}

/** The published example of an era as a maker offers it and the chain confirms it, with changes. */
function aCase(era: 'expiry' | 'tweak-point', change: Change = {}): Case {
  const vector = PROOFS[era]
  const isToday = era === 'tweak-point'
  const address = isToday ? `${ONION}:21` : '127.0.0.1:6102'
  const announcement: Announcement = isToday
    ? { format: 'D', address, lockHeight: vector.lockHeight }
    : { format: 'A', address }
  const output: BondOutput = {
    amountSats: asSats(vector.amountSats),
    scriptPubKey: hex(vector.scriptPubKey),
    confHeight: vector.confHeight,
    isUnspent: true,
  }
  const facts: ProofFacts = {
    output: { ...output, ...change.output },
    announcement: changed(announcement, change.announcement),
    tipHeight: vector.confHeight + 5,
    lockBlocks: LOCK_BLOCKS,
    ...change.facts,
  }
  return {
    proof: changed(publishedProof(era), change.proof),
    keys: changed(publishedKeys(era), change.keys),
    facts,
    address: change.address ?? address,
  }
}

/** A claim other than the published one, certified and signed as it should be. */
function certified(claim: Case, makerAddress: string = claim.address): Case {
  const { proof, keys } = claim
  const era = keys.tweakChainCode ? 'tweak-point' : 'expiry'
  const terms =
    era === 'expiry'
      ? ({ era, expiry: proof.certExpiry! } as const)
      : ({ era, tweakablePoint: keys.tweakablePoint! } as const)
  const certHash = certificateHash(certificateText(proof, terms, makerAddress), era)
  const certSig = secp256k1.sign(certHash, SECRET[era], { prehash: false, format: 'der', lowS: true })
  return { ...claim, proof: { ...proof, certHash, certSig } }
}

function judge({ proof, keys, facts, address }: Case) {
  return verifyProof(proof, keys, facts, address)
}

function assertFails(claim: Case, failed: ProofCheck, text: RegExp): void {
  const verdict = judge(claim)
  assert(!verdict.ok, `it passes, instead of failing at ${failed}`)
  assert.equal(verdict.failed, failed, verdict.text)
  assert.match(verdict.text, text)
}

const today = (change?: Change) => aCase('tweak-point', change)
const old = (change?: Change) => aCase('expiry', change)

test('the published proofs of both eras pass, and the verdict names the era', () => {
  assert.deepEqual(judge(today()), { ok: true, era: 'tweak-point' })
  assert.deepEqual(judge(old()), { ok: true, era: 'expiry' })
})

// ---- one failing case for every check --------------------------------------------------------------------------------

const FAILING: Record<ProofCheck, [Case, RegExp]> = {
  malformed: [
    today({ proof: { publicKey: Buffer.alloc(33, 5) } }),
    /bond's key: expected a compressed point, got 0505/,
  ],
  'not-found': [today({ facts: { output: undefined } }), /no such output/],
  spent: [today({ output: { isUnspent: false } }), /in the chain or in the mempool/],
  unconfirmed: [today({ output: { confHeight: undefined } }), /not in a block/],
  'lock-range': [
    today({ facts: { lockBlocks: { min: 15_000, max: 25_920 } } }),
    /^expected 15000 to 25920 .* got 14999$/,
  ],
  'lock-passed': [today({ facts: { tipHeight: 915_001 } }), /^locked until 915000, the tip is 915001$/],
  'cert-hash': [today({ proof: { certHash: Buffer.alloc(32) } }), /^expected e20d4c1053.* got 0{64}$/],
  'bond-key': [today({ proof: { bondIndex: 1 } }), /^expected 0[23].* got 02e113787d35/],
  script: [today({ output: { scriptPubKey: hex('0014') } }), /^expected 0014, got 0020a55f4d51/],
  amount: [today({ output: { amountSats: asSats(9_999) } }), /^expected 9999, got 10000$/],
  signature: [today({ proof: { certSig: hex(PROOFS.expiry.certSig) } }), /one that is not$/],
  vout: [
    certified(today({ proof: { outpoint: { ...today().proof.outpoint, vout: 1 } } }), ONION),
    /^expected 0, got 1$/,
  ],
  'not-announced': [today({ facts: { announcement: undefined } }), /announces no maker/],
  'announced-address': [today({ announcement: { address: 'other:21' } }), /^expected other:21, got 4tbnip/],
  'announced-height': [today({ announcement: { lockHeight: 915_001 } }), /^expected 915001, got 915000$/],
}

for (const check of PROOF_CHECKS) {
  test(`a proof that fails ${check} alone is told so`, () => {
    const [claim, text] = FAILING[check]
    assertFails(claim, check, text)
  })
}

test('a verdict is short, however long the script that a maker names', () => {
  const verdict = judge(today({ output: { scriptPubKey: Buffer.alloc(1_000_000, 0x51) } }))
  assert(!verdict.ok)
  assert.equal(verdict.failed, 'script')
  assert.match(verdict.text, /^expected (51){80}\.\.\. \(1000000 bytes\), got 0020a55f4d51/)
})

test('of several faults the first check is named', () => {
  const later: Change = { proof: { certHash: Buffer.alloc(32) }, output: { isUnspent: false, confHeight: undefined } }
  assertFails(today(later), 'spent', /spent/)
  assertFails(today({ ...later, output: { confHeight: undefined } }), 'unconfirmed', /block/)
  assertFails(today({ ...later, output: {} }), 'cert-hash', /expected/)
})

// ---- notes -----------------------------------------------------------------------------------------------------------

test('a confirmation height that is not the chain’s is noted: takers don’t read it any more', () => {
  const note = (claim: Case) => {
    const verdict = judge(claim)
    assert(verdict.ok, JSON.stringify(verdict))
    return verdict.note
  }
  assert.equal(note(today()), undefined)
  for (const confHeight of [900_000, 900_002, 0, 0xffff_ffff]) {
    const said = `confirmed at height 900001, the proof says ${confHeight}`
    assert.equal(note(today({ proof: { confHeight } })), said)
  }
  assert.equal(note(today({ proof: { confHeight: undefined } })), 'confirmed at height 900001, the proof says none')
  assert.equal(note(old({ proof: { confHeight: 1_897 } })), 'confirmed at height 1896, the proof says 1897')
  assert.equal(note(old({ proof: { confHeight: undefined } })), undefined, 'it was optional then')
})

test('range and expiry are computed from the chain’s own confirmation, whatever the proof says', () => {
  const lockBlocks = { min: 14_999, max: 25_920 }
  assert.equal(judge(today({ proof: { confHeight: 1 }, facts: { lockBlocks } })).ok, true)
  assertFails(today({ output: { confHeight: 900_002 }, facts: { lockBlocks } }), 'lock-range', /got 14998$/)
  const late = { proof: { confHeight: 900_003 }, facts: { lockBlocks: { min: 12_960, max: 14_998 } } }
  assertFails(today(late), 'lock-range', /got 14999$/)
})

// ---- boundaries ------------------------------------------------------------------------------------------------------

test('the lock: both ends of the range, a tip at its height, a time instead of a height', () => {
  const locked = (lockHeight: number, tipHeight = 900_006) => {
    const publicKey = hex(PROOFS['tweak-point'].publicKey)
    const scriptPubKey = p2wshScriptPubKey(buildRedeemScript({ publicKey, lockHeight }))
    const change = {
      proof: { lockHeight },
      output: { scriptPubKey },
      announcement: { lockHeight },
      facts: { tipHeight },
    }
    return certified(today(change), ONION)
  }
  assertFails(locked(900_001 + 12_959), 'lock-range', /12959$/)
  assert.equal(judge(locked(900_001 + 12_960)).ok, true)
  assert.equal(judge(locked(900_001 + 25_920)).ok, true)
  assertFails(locked(900_001 + 25_921), 'lock-range', /25921$/)
  assertFails(locked(900_000), 'lock-range', /-1$/)
  assert.equal(judge(locked(915_000, 915_000)).ok, true, 'takers accept it up to its height')
  assertFails(locked(915_000, 915_001), 'lock-passed', /915001/)
  assertFails(locked(1_800_000_000), 'lock-range', /a height, got the time 1800000000/)
  assertFails(locked(4_294_967_295), 'lock-range', /time/)
})

test('the certificate names the maker as it was dialled', () => {
  const elsewhere = `${'a'.repeat(56)}.onion`
  assertFails(certified(today(), elsewhere), 'cert-hash', new RegExp(`for ${ONION}\\)`))
  assertFails(certified(today(), `${ONION}:21`), 'cert-hash', /expected/)
  const change = { address: `${ONION}:6102`, announcement: { address: `${ONION}:6102` } }
  assert.equal(judge(certified(old(change), `${ONION}:6102`)).ok, true)
  assert.equal(judge(certified(old(change), ONION)).ok, true, 'as builds of April and May 2026 write it')
  assertFails(certified(old(change), `${ONION}:6103`), 'cert-hash', /expected/)
  assertFails(certified(old(change), '127.0.0.1:6102'), 'cert-hash', /, which is for 127\.0\.0\.1:6102$/)
})

test('the bond key: its index is there and not hardened, the chain code is the right one', () => {
  assertFails(today({ proof: { bondIndex: undefined } }), 'bond-key', /got none$/)
  assertFails(today({ proof: { bondIndex: 0x8000_0000 } }), 'bond-key', /not hardened, got 2147483648$/)
  for (const bondIndex of [0xffff_ffff, -1, 0.5, NaN]) {
    assertFails(today({ proof: { bondIndex } }), 'bond-key', /not hardened/)
  }
  assertFails(today({ keys: { tweakChainCode: Buffer.alloc(32) } }), 'bond-key', /got 02e113787d35/)
  const { publicKey } = today().proof
  const tweakablePoint = bondKeyOf(Buffer.alloc(16, 7)).tweakablePoint
  assert.notDeepEqual(tweakablePoint, publicKey)
  assertFails(certified(today({ keys: { tweakablePoint } }), ONION), 'bond-key', /^expected/)
})

// ---- signatures ------------------------------------------------------------------------------------------------------

function derInteger(n: bigint): Buffer {
  const digits = n.toString(16)
  const bytes = hex(digits.padStart(digits.length + (digits.length % 2), '0'))
  const padded = bytes[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes
  return Buffer.concat([Buffer.of(0x02, padded.length), padded])
}
function der(r: bigint, s: bigint): Buffer {
  const integers = Buffer.concat([derInteger(r), derInteger(s)])
  return Buffer.concat([Buffer.of(0x30, integers.length), integers])
}

test('signatures: low S only, strict DER only', () => {
  const { certSig } = today().proof
  const { r, s } = secp256k1.Signature.fromBytes(certSig, 'der')
  assert.deepEqual(der(r, s), Buffer.from(certSig), 'our DER is the published one')
  const fails = (certSig: Uint8Array, text: RegExp) => assertFails(today({ proof: { certSig } }), 'signature', text)
  fails(der(r, ORDER - s), /lower half/)
  fails(der(r, s + 1n), /one that is not$/)
  fails(der(r + 1n, s), /one that is not$/)
  fails(der(0n, s), /strict DER/)
  fails(der(r, 0n), /strict DER/)
  fails(der(r + ORDER, s), /strict DER/)
  fails(Buffer.alloc(0), /strict DER, got $/)
  fails(certSig.subarray(0, -1), /strict DER/)
  fails(Buffer.concat([certSig, Buffer.of(0x01)]), /strict DER/) // a sighash byte
  fails(Buffer.concat([Buffer.of(0x30, 0x45, 0x02, 0x21, 0x00), certSig.subarray(4)]), /strict DER/) // a zero too many
  fails(Buffer.concat([Buffer.of(0x30, 0x81, 0x44), certSig.subarray(2)]), /strict DER/) // a longer length than needed
  fails(secp256k1.Signature.fromBytes(certSig, 'der').toBytes('compact'), /strict DER/)
})

// ---- the era of expiries ---------------------------------------------------------------------------------------------

test('a proof without a chain code is judged by the rules of its era', () => {
  assertFails(old({ proof: { certExpiry: 6 } }), 'cert-hash', /got 037e2177/)
  assertFails(
    old({ proof: { certExpiry: undefined } }),
    'malformed',
    /chain code .* or a certificate expiry .* got neither/,
  )
  assertFails(old({ facts: { tipHeight: 15_001 } }), 'lock-passed', /15001/)
  assertFails(old({ output: { scriptPubKey: hex(PROOFS['tweak-point'].scriptPubKey) } }), 'script', /expected/)
  assertFails(old({ output: { amountSats: asSats(1) } }), 'amount', /^expected 1, got 50000$/)
  assertFails(old({ proof: { certSig: hex(PROOFS['tweak-point'].certSig) } }), 'signature', /one that is not$/)
})

test("makers of format A are older than the lock's range, those of format B are not", () => {
  const outside = { facts: { lockBlocks: { min: 20_000, max: 25_920 } } }
  assert.equal(judge(old(outside)).ok, true)
  const formatB = { format: 'B', lockHeight: 15_000 } as const
  assert.equal(judge(old({ announcement: formatB })).ok, true)
  const facts = { ...outside.facts, announcement: { ...formatB, address: '127.0.0.1:6102' } }
  assertFails(old({ facts }), 'lock-range', /^expected 20000 to 25920/)
})

test('who announces in format C or D is young enough to send a chain code', () => {
  for (const format of ['C', 'D'] as const) {
    const announcement = { format, lockHeight: 15_000 }
    assertFails(
      old({ announcement }),
      'bond-key',
      new RegExp(`^expected a tweak chain code .* format ${format}, got none$`),
    )
  }
})

test('a chain code makes it a proof of today, whatever expiry it also has', () => {
  assert.deepEqual(judge(today({ proof: { certExpiry: 5 } })), { ok: true, era: 'tweak-point' })
  assertFails(old({ keys: { tweakChainCode: Buffer.alloc(32) } }), 'cert-hash', /got 037e2177/)
})

// ---- a stranger's bytes ----------------------------------------------------------------------------------------------

test('what cannot be meant is malformed', () => {
  const isMalformed = (change: Change, text: RegExp) => assertFails(today(change), 'malformed', text)
  isMalformed({ proof: { publicKey: Buffer.alloc(0) } }, /compressed point, got $/)
  isMalformed({ proof: { publicKey: Buffer.from(secp256k1.getPublicKey(Buffer.alloc(32, 1), false)) } }, /got 04/)
  isMalformed({ proof: { publicKey: Buffer.concat([Buffer.of(2), Buffer.alloc(32, 0xff)]) } }, /got 02ffff/)
  isMalformed({ proof: { certHash: Buffer.alloc(20) } }, /32 bytes, got 20/)
  isMalformed({ proof: { lockHeight: -1 } }, /u32, got -1/)
  isMalformed({ proof: { lockHeight: 4_294_967_296 } }, /u32/)
  isMalformed({ keys: { tweakChainCode: Buffer.alloc(31) } }, /32 bytes, got 31/)
  isMalformed({ keys: { tweakablePoint: Buffer.alloc(33) } }, /tweakable point: expected a compressed point, got 00/)
  isMalformed({ keys: { tweakablePoint: undefined } }, /tweakable point: .* got none/)
})

test('any bytes and numbers lead to a verdict, never to an exception', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 75 }),
    fc.constant(Buffer.from(today().proof.publicKey)),
    fc.constant(Buffer.from(today().proof.certHash)),
  )
  const number = fc.oneof(fc.nat(), fc.integer(), fc.constant(0xffff_ffff), fc.double())
  const proof = fc.record({
    publicKey: bytes,
    certHash: bytes,
    certSig: bytes,
    lockHeight: number,
    confHeight: fc.option(number, { nil: undefined }),
    certExpiry: fc.option(number, { nil: undefined }),
    bondIndex: fc.option(number, { nil: undefined }),
  })
  const keys = fc.record({ tweakablePoint: bytes, tweakChainCode: fc.option(bytes, { nil: undefined }) })
  fc.assert(
    fc.property(proof, keys, fc.string(), (proof, keys, address) => {
      const verdict = judge(today({ proof, keys, address }))
      assert.equal(verdict.ok, false)
    }),
    { numRuns: 500 },
  )
})

test('a single flipped bit anywhere in what is certified is noticed', () => {
  const fields = ['publicKey', 'certHash', 'certSig'] as const
  fc.assert(
    fc.property(fc.constantFrom(...fields), fc.nat({ max: 31 }), fc.nat({ max: 7 }), (field, at, bit) => {
      const bent = Buffer.from(today().proof[field])
      bent[at]! ^= 1 << bit
      assert.equal(judge(today({ proof: { [field]: bent } })).ok, false)
    }),
    { numRuns: 200 },
  )
})
