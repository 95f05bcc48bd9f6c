import assert from 'node:assert/strict'
import { test } from 'node:test'
import { whyListed } from '../../../src/bonds/why.ts'
import { aBond, spentAt, tipAt, txidOf } from '../../support/bonds.ts'

const MAKER = 'maker.onion:21'
const OTHER = 'other.onion:21'
const tip = tipAt(110_000)

test('every announcement of the address has its reason; live ones first, then what is waited for', () => {
  const bonds = [
    aBond({ confHeight: 101_000, spentBy: spentAt(105_000) }),
    aBond({ confHeight: 90_000, lockHeight: 104_000 }),
    aBond({ confHeight: 100_000 }),
    aBond({ confHeight: 109_000, refusal: 'lock-too-long' }),
    aBond({ confHeight: 109_500, address: OTHER }),
  ]
  const pending = [aBond({ outpoint: { txid: txidOf(7), vout: 0 } })]
  const { listed, reasons } = whyListed(MAKER, bonds, pending, tip)
  assert.equal(listed, true)
  assert.deepEqual(
    reasons.map(({ code, height }) => [code, height]),
    [
      ['live', 100_000],
      ['pending', undefined],
      ['lock-too-long', 109_000],
      ['spent', 105_000],
      ['expired', 104_000],
    ],
  )
  assert.ok(reasons.every(({ text }) => text.length > 10))
})

test('an address that nobody announced is not listed, and that is said', () => {
  const { listed, reasons } = whyListed(OTHER, [aBond()], [], tip)
  assert.equal(listed, false)
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['never-announced'],
  )
})

test('a maker whose only bond has ended is not listed', () => {
  assert.equal(whyListed(MAKER, [aBond({ spentBy: spentAt(109_000) })], [], tip).listed, false)
})
