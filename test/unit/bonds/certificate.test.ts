/** Certificates against published texts and hashes (test/vectors/proofs.json), and where the two eras part. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { bitcoinText, certificateAddresses, certificateHash, certificateText } from '../../../src/bonds/certificate.ts'
import { hex, PROOFS, publishedProof } from '../../support/vectors.ts'

const ONION = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion'
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

for (const era of ['expiry', 'tweak-point'] as const) {
  test(`the published certificate of the era "${era}"`, () => {
    const terms =
      era === 'expiry'
        ? { era, expiry: PROOFS[era].certExpiry }
        : { era, tweakablePoint: hex(PROOFS[era].tweakablePoint) }
    const text = certificateText(publishedProof(era), terms, PROOFS[era].makerAddress)
    assert.equal(text, PROOFS[era].text)
    assert.equal(certificateHash(text, era).toString('hex'), PROOFS[era].certHash)
  })
}

test("the length before the text: one byte modulo 256 then, Bitcoin's CompactSize today", () => {
  const hashOf = (length: string, text: string) =>
    sha256(sha256(Buffer.concat([Buffer.from('\x18Bitcoin Signed Message:\n'), hex(length), Buffer.from(text)])))
  const cases: [number, string, string][] = [
    [0, '00', '00'],
    [252, 'fc', 'fc'],
    [253, 'fd', 'fdfd00'],
    [255, 'ff', 'fdff00'],
    [256, '00', 'fd0001'],
    [304, '30', 'fd3001'],
    [600, '58', 'fd5802'],
  ]
  for (const [length, then, today] of cases) {
    const text = 'x'.repeat(length)
    assert.equal(certificateHash(text, 'expiry').toString('hex'), hashOf(then, text).toString('hex'), `${length}, then`)
    assert.equal(certificateHash(text, 'tweak-point').toString('hex'), hashOf(today, text).toString('hex'), `${length}`)
  }
})

test('amounts: eight decimals, or none when whole', () => {
  assert.equal(bitcoinText(50_000), '0.00050000 BTC')
  assert.equal(bitcoinText(1), '0.00000001 BTC')
  assert.equal(bitcoinText(150_000_000), '1.50000000 BTC')
  assert.equal(bitcoinText(100_000_000), '1 BTC')
  assert.equal(bitcoinText(0), '0 BTC')
  assert.equal(bitcoinText(2_100_000_000_000_000), '21000000 BTC')
  assert.equal(bitcoinText(2_099_999_999_999_999), '20999999.99999999 BTC')
})

test('amounts keep every satoshi', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2_100_000_000_000_000 }), (amountSats) => {
      const [, whole, fraction = '00000000'] = /^(0|[1-9]\d*)(?:\.(\d{8}))? BTC$/.exec(bitcoinText(amountSats))!
      assert.equal(BigInt(whole!) * 100_000_000n + BigInt(fraction), BigInt(amountSats))
    }),
  )
})

test('the names a maker may certify: the bare host today, with the port before, test addresses always with it', () => {
  assert.deepEqual(certificateAddresses(`${ONION}:21`, 'tweak-point'), [ONION])
  assert.deepEqual(certificateAddresses(`${ONION}:6102`, 'expiry'), [`${ONION}:6102`, ONION])
  assert.deepEqual(certificateAddresses('127.0.0.1:6102', 'tweak-point'), ['127.0.0.1:6102'])
  assert.deepEqual(certificateAddresses('127.0.0.1:6102', 'expiry'), ['127.0.0.1:6102'])
  assert.deepEqual(certificateAddresses('rubbish', 'expiry'), ['rubbish'])
})
