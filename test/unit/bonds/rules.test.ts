import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareOutpoints, digestOf } from '../../../src/bonds/digest.ts'
import { listMakers } from '../../../src/bonds/list.ts'
import { buildRedeemScript, p2wshScriptPubKey, parseRedeemScript } from '../../../src/bonds/script.ts'
import type { ConfirmedBond, Tip } from '../../../src/bonds/types.ts'
import { bondValue, fidelityValue } from '../../../src/bonds/value.ts'
import { blocksLeft, endHeight, refusalOf, stateOf } from '../../../src/bonds/verify.ts'
import { asBlockHash, asSats, asTxid } from '../../../src/chain/types.ts'

const HASH = asBlockHash(`${'00'.repeat(31)}11`)

type BondChange = Omit<Partial<ConfirmedBond>, 'lockHeight'> & { lockHeight?: number | undefined }

function aBond(change: BondChange = {}): ConfirmedBond {
  const { lockHeight, ...rest } = { lockHeight: 915_000, ...change }
  const bond: ConfirmedBond = {
    format: 'D',
    address: '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion:21',
    outpoint: { txid: asTxid('00112233445566778899aabbccddeeff0123456789abcdef0011223344556677'), vout: 0 },
    amountSats: asSats(10_000),
    isP2wsh: true,
    conf: { height: 900_000, hash: HASH },
    confTimeS: 1_773_940_000,
    ...rest,
  }
  return lockHeight === undefined ? bond : { ...bond, lockHeight }
}
const at = (height: number, timeS = 1_774_000_000): Tip => ({ height, hash: HASH, timeS })

test('bond scripts: keys, heights and their shortest pushes', () => {
  const key = '03ffe2b8b46eb21eadc3b535e9f57054213a1775b035faba6c5b3368b3a0ab5a5c'
  const script = (publicKey: string, lockHeight: number) =>
    buildRedeemScript({ publicKey: Buffer.from(publicKey, 'hex'), lockHeight }).toString('hex')
  const full: [string, number, string][] = [
    [key, 15_000, '02983a'],
    ['031499764842691088897cff51efd85347dd3215912cbb8fb9b121b1da3b15bec8', 30_000, '023075'],
    ['022714334f189db14fabd3dd893bbb913b8c3ddff245f7094cdc0b24c2fabb3570', 45_000, '03c8af00'],
    ['02145a1d2bd118edcb3fe85495192d44e1d09f75ab4f0fe98269f61ff672860dae', 60_000, '0360ea00'],
  ]
  for (const [publicKey, height, push] of full) assert.equal(script(publicKey, height), `21${publicKey}ad${push}b1`)
  const pushes: [number, string][] = [
    [0, '00'],
    [1, '51'],
    [16, '60'],
    [17, '0111'],
    [127, '017f'],
    [128, '028000'],
    [255, '02ff00'],
    [32_768, '03008000'],
    [65_535, '03ffff00'],
    [913_104, '03d0ee0d'],
    [8_388_607, '03ffff7f'],
    [8_388_608, '0400008000'],
  ]
  for (const [height, push] of pushes) {
    const made = Buffer.from(script(key, height), 'hex')
    assert.equal(made.toString('hex'), `21${key}ad${push}b1`)
    assert.equal(parseRedeemScript(made)?.lockHeight, height)
  }
  const address = (publicKey: string, lockHeight: number) =>
    p2wshScriptPubKey(buildRedeemScript({ publicKey: Buffer.from(publicKey, 'hex'), lockHeight })).toString('hex')
  assert.equal(
    address('031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f', 15_000),
    '00207f81e8ae3e0026796cfda464eca245de11a7b8690ddc3f4932c3bb05c86faef6',
  )
  assert.equal(
    address('02e113787d35173626dd7d32538f172bdc05e960d1fe38ecd84b8843bf371a0957', 915_000),
    '0020a55f4d51da1a21a14c03eb7f122d29ecdddb4d58f6a589880f1fb564c93728cb',
  )
  const good = Buffer.from(script(key, 15_000), 'hex')
  for (let i = 0; i < good.length; i++) {
    if (i > 0 && i < 34) continue // another key is another script
    if (i === 36 || i === 37) continue // another height too
    const bent = Buffer.from(good)
    bent[i]! ^= 1
    assert.equal(parseRedeemScript(bent), undefined, `byte ${i}`)
  }
  assert.equal(parseRedeemScript(Buffer.from(`21${key}ad03983a00b1`, 'hex')), undefined, 'a longer push than needed')
})

test('random bytes are read as a bond script only when they are one', () => {
  const key = Buffer.alloc(33, 2)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), fc.boolean(), (bytes, isFramed) => {
      const script = isFramed ? Buffer.concat([Buffer.of(33), key, Buffer.of(0xad), bytes, Buffer.of(0xb1)]) : bytes
      const parsed = parseRedeemScript(script)
      if (parsed) assert.ok(buildRedeemScript(parsed).equals(script))
    }),
    { numRuns: 5_000 },
  )
  fc.assert(
    fc.property(fc.nat({ max: 499_999_999 }), (lockHeight) => {
      assert.equal(parseRedeemScript(buildRedeemScript({ publicKey: key, lockHeight }))?.lockHeight, lockHeight)
    }),
  )
})

test('refusals, at every boundary', () => {
  const refusal = (change: BondChange, network: 'main' | 'regtest' = 'main') =>
    refusalOf(aBond(change), 900_000, network)
  assert.equal(refusal({ isP2wsh: false, amountSats: asSats(1) }), 'not-p2wsh', 'the first that applies')
  assert.equal(refusal({ amountSats: asSats(9_999) }), 'too-small')
  assert.equal(refusal({ amountSats: asSats(10_000) }), undefined)
  assert.equal(refusal({ lockHeight: 899_999 }), 'lock-passed')
  assert.equal(refusal({ lockHeight: 900_000 }), 'lock-passed')
  assert.equal(refusal({ lockHeight: 900_001 }), 'lock-too-short')
  assert.equal(refusal({ lockHeight: 900_001 }, 'regtest'), undefined)
  assert.equal(refusal({ lockHeight: 912_959 }), 'lock-too-short')
  assert.equal(refusal({ lockHeight: 912_960 }), undefined)
  assert.equal(refusal({ lockHeight: 925_920 }), undefined)
  assert.equal(refusal({ lockHeight: 925_921 }), 'lock-too-long')
  assert.equal(refusal({ lockHeight: 925_921 }, 'regtest'), 'lock-too-long')
  assert.equal(refusal({ lockHeight: 0xffffffff }), 'lock-too-long')
  assert.equal(refusal({ lockHeight: undefined, format: 'A' }), undefined)
})

test('states, at every boundary', () => {
  assert.equal(stateOf(aBond(), at(900_000)), 'live')
  assert.equal(stateOf(aBond(), at(914_999)), 'live')
  assert.equal(stateOf(aBond(), at(915_000)), 'expired', 'once lockHeight <= H')
  assert.equal(endHeight(aBond()), 915_000)
  assert.deepEqual(
    [900_000, 914_998, 914_999, 915_000].map((height) => blocksLeft(aBond(), at(height))),
    [14_999, 1, 0, -1],
    'blocks that may still follow',
  )
  const old = aBond({ format: 'A', lockHeight: undefined })
  assert.equal(stateOf(old, at(925_920)), 'live')
  assert.equal(stateOf(old, at(925_921)), 'expired')
  assert.deepEqual([endHeight(old), blocksLeft(old, at(925_920)), blocksLeft(old, at(925_921))], [925_921, 0, -1])
  const spentBy = { txid: asTxid('22'.repeat(32)), vin: 0, height: 915_001, blockHash: HASH }
  assert.equal(stateOf(aBond({ spentBy }), at(915_001)), 'spent')
  assert.equal(stateOf(aBond({ spentBy, refusal: 'too-small' }), at(915_001)), 'refused')
})

test('values: the reference implementation’s own table, and the worked examples', () => {
  const table = [
    [55_000, 0],
    [60_000, 3_020],
    [65_000, 5_117],
    [70_000, 7_437],
    [75_000, 9_940],
    [80_000, 12_599],
    [85_000, 15_395],
    [90_000, 18_313],
    [95_000, 21_344],
    [100_000, 24_477],
    [105_000, 27_706],
    [110_000, 31_024],
    [115_000, 34_426],
    [120_000, 37_908],
    [125_000, 41_465],
    [130_000, 45_094],
    [135_000, 48_792],
    [140_000, 52_556],
    [145_000, 56_383],
  ] as const
  for (const [lockUnixS, value] of table) {
    assert.equal(fidelityValue({ amountSats: 100_000_000, confTimeS: 50_000, lockUnixS, nowS: 60_000 }), value)
  }
  const first = { amountSats: 50_000, confTimeS: 1_735_689_600, lockUnixS: 1_743_562_400 }
  assert.equal(fidelityValue({ ...first, nowS: 1_736_300_300 }), 901)
  assert.equal(fidelityValue({ ...first, nowS: first.lockUnixS + 2_592_000 }), 536)
  assert.equal(bondValue(aBond({ conf: { height: 899_990, hash: HASH } }), at(900_100)), 132)
  assert.equal(bondValue(aBond({ lockHeight: undefined, format: 'A' }), at(900_100)), 0)
  const large = aBond({ amountSats: asSats(5_000_000) })
  assert.ok(bondValue(large, at(915_000, 1_783_000_000)) > 0, 'at its height it still has the value it gained')
  assert.equal(bondValue(large, at(915_001, 1_783_000_000)), 0, 'past it, none')
  const forEver = { amountSats: 100_000_000, confTimeS: 0, lockUnixS: 1e15, nowS: 0 }
  assert.equal(fidelityValue(forEver), 25_118_864_315, 'a bitcoin for ever is worth one bitcoin, to the power 1.3')
  assert.equal(bondValue(aBond(), at(914_999, 1_000_000_000)), 0, 'a tip long before the confirmation')
  assert.throws(() => fidelityValue({ amountSats: 1, confTimeS: 2, lockUnixS: 1, nowS: 1 }), RangeError)
})

test('the digest: bytes put together by hand', () => {
  const one = aBond()
  const two = aBond({
    outpoint: { txid: asTxid(`${'ff'.repeat(31)}00`), vout: 258 },
    format: 'A',
    lockHeight: undefined,
    amountSats: asSats(2_100_000_000_000_000),
    address: '127.0.0.1:6102',
  })
  const first =
    `00${'ff'.repeat(31)}020100000040075af0750700a0bb0d0000000000` +
    `0e${Buffer.from('127.0.0.1:6102').toString('hex')}`
  const second =
    '7766554433221100efcdab8967452301ffeeddccbbaa99887766554433221100' +
    '00000000' +
    '1027000000000000' +
    'a0bb0d00' +
    '38f60d00' +
    '41' +
    Buffer.from(one.address).toString('hex')
  const expected = createHash('sha256')
    .update(Buffer.from(first + second, 'hex'))
    .digest('hex')
  assert.equal(digestOf([one, two]).toString('hex'), expected)
  assert.equal(digestOf([two, one]).toString('hex'), expected, 'in any order')
  assert.equal(digestOf([]).toString('hex'), createHash('sha256').digest('hex'))
  assert.ok(compareOutpoints(two.outpoint, one.outpoint) < 0, 'by internal bytes')
  assert.ok(compareOutpoints(one.outpoint, { ...one.outpoint, vout: 1 }) < 0)
})

test('the list: live ones only, best first, a maker with two bonds once', () => {
  const outpoint = (byte: string) => ({ txid: asTxid(byte.repeat(32)), vout: 0 })
  const small = aBond({ outpoint: outpoint('01'), address: 'small' })
  const large = aBond({ outpoint: outpoint('02'), address: 'large', amountSats: asSats(50_000) })
  const both = aBond({ outpoint: outpoint('03'), address: 'small', amountSats: asSats(90_000) })
  const gone = aBond({ outpoint: outpoint('04'), address: 'gone', refusal: 'too-small' })
  const old = aBond({ outpoint: outpoint('05'), address: 'old', format: 'A', lockHeight: undefined })
  const list = listMakers([old, gone, large, both, small], at(900_100))
  assert.deepEqual(list.addresses, ['small', 'large', 'old'])
  assert.deepEqual(
    list.live.map(({ bond }) => bond),
    [small, large, both, old],
  )
  assert.deepEqual(list.digest, digestOf([small, large, both, old]))
})
