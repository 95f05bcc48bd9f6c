/** Which makers takers of today pick: in the order of addresses, whoever answers, whatever a bond is worth. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { namesBefore, type PickCandidate, picksOf } from '../../../src/peers/pick.ts'

const aCandidate = (address: string, availability = 1): PickCandidate => ({ address, availability })

test('takers take the first two by address; others are picked as often as those before them are away', () => {
  const picks = picksOf([aCandidate('d', 0.5), aCandidate('b'), aCandidate('a', 0.9), aCandidate('c')])
  assert.deepEqual(
    [...picks].map(([address, { place }]) => [address, place]),
    [
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['d', 4],
    ],
  )
  const chance = (address: string) => Number(picks.get(address)!.chance!.toFixed(9))
  assert.equal(chance('a'), 0.9)
  assert.equal(chance('b'), 1)
  assert.equal(chance('c'), 0.1, 'when a is away')
  assert.equal(chance('d'), 0, 'two of a, b and c always answer')
  assert.equal(picks.get('d')!.obstacle, 'others-first')
})

test('the chances of all make as many makers as a swap has', () => {
  const candidates = Array.from({ length: 40 }, (_, i) => aCandidate(`${String(i).padStart(2, '0')}.onion:21`, 0.5))
  for (const makers of [2, 3, 5]) {
    const sum = [...picksOf(candidates, makers).values()].reduce((all, { chance = 0 }) => all + chance, 0)
    assert.ok(Math.abs(sum - makers) < 0.01, `${sum} of ${makers}`)
  }
})

test('whoever takers can not pick stands in nobody’s way, and not to know is no chance of 0', () => {
  const picks = picksOf([
    { address: 'a', availability: 1, obstacle: 'not-today' },
    { address: 'b', availability: 1, obstacle: 'not-known' },
    aCandidate('c'),
  ])
  assert.deepEqual(picks.get('a'), { chance: 0, obstacle: 'not-today' })
  assert.deepEqual(picks.get('b'), { chance: undefined, obstacle: 'not-known' })
  assert.deepEqual(picks.get('c'), { chance: 1, place: 1 })
})

test('names that come before another are as rare as it is early: digits stand before letters', () => {
  const name = (begin: string) => `${begin.padEnd(56, '2')}.onion:21`
  assert.equal(namesBefore(name('a'), 1), Math.ceil(32 / 6), 'six digits of 32 signs come before a')
  assert.equal(namesBefore(name('3'), 2), 64)
  assert.equal(namesBefore(name('23'), 1), 1_024)
  assert.ok(Number.isFinite(namesBefore(name('2'), 1)))
  assert.equal(namesBefore('127.0.0.1:6102', 1), undefined)
})
