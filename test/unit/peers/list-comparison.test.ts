/** Two lists side by side: every difference is found, none is invented, and a list without an end is not read to it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asTxid, formatOutpoint } from '../../../src/chain/types.ts'
import { COMPARISON_LIMITS, ListComparison, type ListedBond } from '../../../src/peers/list-comparison.ts'
import { aBond } from '../../support/bonds.ts'

const outpoint = (vout: number) => ({ txid: asTxid('00'.repeat(32)), vout })
const ours = (vouts: readonly number[]) => vouts.map((vout) => ({ bond: aBond({ outpoint: outpoint(vout) }) }))

/** As the other tracker tells it; `change`: not as it is. */
function told(vout: number, change: Partial<ListedBond> = {}): ListedBond {
  const { conf, ...bond } = aBond({ outpoint: outpoint(vout) })
  return { ...bond, confHeight: conf.height, ...change }
}

function compare(own: readonly number[], theirs: readonly ListedBond[]): ListComparison {
  const comparison = new ListComparison(ours(own))
  let isWhole = true
  for (const row of theirs) {
    isWhole = comparison.take(row)
    if (!isWhole) break
  }
  if (isWhole) comparison.end()
  return comparison
}

test('what only one of two lists has is found, whatever they are', () => {
  const list = fc.uniqueArray(fc.nat(60), { maxLength: 50 }).map((vouts) => vouts.sort((a, b) => a - b))
  fc.assert(
    fc.property(list, list, (own, theirs) => {
      const { onlyOurs, onlyTheirs, agrees } = compare(
        own,
        theirs.map((vout) => told(vout)),
      )
      assert.deepEqual(
        onlyOurs.map(({ vout }) => vout),
        own.filter((vout) => !theirs.includes(vout)),
      )
      assert.deepEqual(
        onlyTheirs.map(({ vout }) => vout),
        theirs.filter((vout) => !own.includes(vout)),
      )
      assert.equal(agrees, own.join() === theirs.join())
    }),
  )
})

test('a bond told differently stands on both sides', () => {
  const lies: Partial<ListedBond>[] = [
    { address: 'evil.onion:21' },
    { amountSats: 1 },
    { lockHeight: 7 },
    { confHeight: 8 },
  ]
  for (const lie of lies) {
    const { onlyOurs, onlyTheirs } = compare([1, 2, 3], [told(1), told(2, lie), told(3)])
    assert.deepEqual(
      [onlyOurs, onlyTheirs].map((side) => side.map(formatOutpoint)),
      [[formatOutpoint(outpoint(2))], [formatOutpoint(outpoint(2))]],
    )
  }
})

test('a list that never ends is read as far as ours and a hundred rows more', () => {
  const { outpointsMax } = COMPARISON_LIMITS
  const comparison = new ListComparison(ours([1, 2, 3]))
  let rows = 0
  while (comparison.take(told(rows++))) assert.ok(rows < 1_000)
  assert.equal(rows, 3 + outpointsMax)
  assert.deepEqual([comparison.onlyOurs.length, comparison.onlyTheirs.length], [0, outpointsMax])

  const skipping = new ListComparison(ours(Array.from({ length: 5_000 }, (_, i) => i)))
  assert.ok(!skipping.take(told(4_000)), 'nor are more than so many of ours named')
  assert.equal(skipping.onlyOurs.length, outpointsMax)
})
