/** Terms of offers at every bound: what can be meant, and what is said of the rest. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OFFER_LIMITS, termsFault } from '../../../src/peers/offer-terms.ts'
import type { Offer } from '../../../src/peers/types.ts'
import { TERMS } from '../../support/offers.ts'

const fault = (change: Partial<Offer>) => termsFault({ ...TERMS, ...change })

test('what can be meant, up to every bound', () => {
  const { satsMax, feePctMax, blocksMax } = OFFER_LIMITS
  const least = { baseFeeSats: 0, amountFeePct: 0, timeFeePct: 0, requiredConfirms: 0, lockBlocksMin: 0 }
  for (const meant of [
    {},
    { ...least, amountSatsMin: 0, amountSatsMax: 0 },
    { amountSatsMin: 10_000, amountSatsMax: 10_000 },
    { baseFeeSats: satsMax, amountFeePct: feePctMax, timeFeePct: feePctMax, amountSatsMax: satsMax },
    { requiredConfirms: blocksMax, lockBlocksMin: blocksMax },
    { amountFeePct: -0, timeFeePct: Number.MIN_VALUE },
  ]) {
    assert.equal(fault(meant), undefined, JSON.stringify(meant))
  }
  const { requiredConfirms: _, ...taproot } = TERMS
  assert.equal(termsFault(taproot), undefined, 'offers of taproot makers name no confirmations')
})

test('what can not is named, with what was expected and what came', () => {
  assert.equal(fault({ baseFeeSats: -1 }), 'base_fee: expected a whole number from 0 to 2100000000000000, got -1')
  assert.equal(fault({ amountFeePct: -1 }), 'amount_relative_fee_pct: expected 0 to 100, got -1')
  assert.equal(fault({ timeFeePct: 100.5 }), 'time_relative_fee_pct: expected 0 to 100, got 100.5')
  assert.equal(fault({ amountFeePct: Number.NaN }), 'amount_relative_fee_pct: expected 0 to 100, got NaN')
  assert.equal(
    fault({ requiredConfirms: 25_921 }),
    'required_confirms: expected a whole number from 0 to 25920, got 25921',
  )
  assert.match(fault({ lockBlocksMin: 65_535 })!, /^minimum_locktime: /)
  assert.match(fault({ amountSatsMax: 2_100_000_000_000_001 })!, /^max_size: /)
  assert.equal(fault({ amountSatsMin: 1_000_001 }), 'min_size: expected at most max_size (1000000), got 1000001')
})

test('whatever passes can be reckoned with', () => {
  const number = fc.oneof(fc.double(), fc.integer(), fc.maxSafeInteger())
  const terms = fc.record({
    baseFeeSats: number,
    amountFeePct: number,
    timeFeePct: number,
    requiredConfirms: number,
    lockBlocksMin: number,
    amountSatsMin: number,
    amountSatsMax: number,
  })
  fc.assert(
    fc.property(terms, (given) => {
      if (termsFault(given) !== undefined) return
      for (const value of Object.values(given)) assert.ok(Number.isFinite(value) && value >= 0)
      assert.ok(given.amountSatsMin <= given.amountSatsMax)
    }),
  )
})
