import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bondHistory, sampleHeights } from '../../../src/bonds/history.ts'
import { stateOf } from '../../../src/bonds/verify.ts'
import { asSats } from '../../../src/chain/types.ts'
import { aBond, spentAt } from '../../support/bonds.ts'

test('sampled heights hold both ends, ascend, and are never more than asked for', () => {
  assert.deepEqual(sampleHeights(10, 14, 10), [10, 11, 12, 13, 14])
  assert.deepEqual(sampleHeights(0, 100, 3), [0, 50, 100])
  assert.deepEqual(sampleHeights(7, 7, 5), [7])
  assert.deepEqual(sampleHeights(8, 7, 5), [])
  const input = fc.tuple(fc.nat(1e6), fc.nat(30_000), fc.integer({ min: 2, max: 1_000 }))
  fc.assert(
    fc.property(input, ([from, span, count]) => {
      const heights = sampleHeights(from, from + span, count)
      assert.ok(heights.length <= count && heights[0] === from && heights.at(-1) === from + span)
      assert.ok(heights.every((height, i) => i === 0 || height > heights[i - 1]!))
    }),
  )
})

test('at every block the history says what the rule of states says there', () => {
  const life = fc.record({
    confHeight: fc.integer({ min: 0, max: 60 }),
    lock: fc.option(fc.integer({ min: 1, max: 60 })),
    spent: fc.option(fc.integer({ min: 1, max: 60 })),
    isRefused: fc.boolean(),
    maker: fc.integer({ min: 0, max: 3 }),
    amount: fc.integer({ min: 1, max: 1_000 }),
  })
  fc.assert(
    fc.property(fc.array(life, { maxLength: 12 }), (lives) => {
      const bonds = lives.map(({ confHeight, lock, spent, isRefused, maker, amount }) =>
        aBond({
          confHeight,
          lockHeight: lock === null ? undefined : confHeight + lock,
          amountSats: asSats(amount),
          address: `maker-${maker}:21`,
          ...(isRefused && { refusal: 'too-small' as const }),
          ...(spent !== null && { spentBy: spentAt(confHeight + spent) }),
        }),
      )
      const heights = Array.from({ length: 150 }, (_, height) => height)
      for (const point of bondHistory(bonds, heights)) {
        const alive = bonds.filter((bond) => {
          const { spentBy, ...unspent } = bond
          const known = spentBy && spentBy.height <= point.height ? bond : unspent // a later spend has not happened
          return bond.conf.height <= point.height && stateOf(known, point) === 'live'
        })
        assert.equal(point.bonds, alive.length)
        assert.equal(point.makers, new Set(alive.map(({ address }) => address)).size)
        assert.equal(
          point.amountSats,
          alive.reduce((sum, { amountSats }) => sum + amountSats, 0),
        )
      }
    }),
  )
})

test('a bond of format A lives for the longest lock', () => {
  const bond = aBond({ confHeight: 100, lockHeight: undefined })
  const counts = bondHistory([bond], [99, 100, 26_020, 26_021]).map(({ bonds }) => bonds)
  assert.deepEqual(counts, [0, 1, 1, 0])
})
