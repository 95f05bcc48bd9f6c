/** What it costs to hold places of a swap where makers are picked by value: against every order of picks, reckoned out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chanceToHold, costToHold, raceOf } from '../../../src/bonds/sybil.ts'
import { amountForValue, fidelityValue } from '../../../src/bonds/value.ts'

/** By going through all picks, one after the other. */
function reckonedOut(others: readonly number[], own: readonly number[], places: number, held: number): number {
  if (held <= 0) return 1
  if (places === 0) return 0
  const sum = [...others, ...own].reduce((a, b) => a + b, 0)
  const without = (values: readonly number[], i: number) => values.filter((_, at) => at !== i)
  const mine = own.map((value, i) => (value / sum) * reckonedOut(others, without(own, i), places - 1, held - 1))
  const theirs = others.map((value, i) => (value / sum) * reckonedOut(without(others, i), own, places - 1, held))
  return [...mine, ...theirs].reduce((a, b) => a + b, 0)
}

test('the race tells the same chances as going through all picks', () => {
  const others = [1, 5, 20, 100]
  for (const [places, held, own, value] of [
    [2, 2, 2, 40],
    [2, 1, 1, 40],
    [2, 1, 2, 10],
    [3, 2, 3, 60],
    [3, 1, 2, 5],
    [3, 3, 4, 500],
  ] as const) {
    const expected = reckonedOut(others, Array(own).fill(value), places, held)
    const got = chanceToHold(raceOf(others, places), places, held, own, value)
    assert.ok(Math.abs(got - expected) < 0.005, `${held} of ${places} with ${own} of ${value}: ${got}, not ${expected}`)
  }
})

test('the cost is that of a bond which just suffices; more places, more chance and more others cost more', () => {
  const race = raceOf([1_000, 2_000, 50_000], 2)
  const both = costToHold(race, 2, 2, 0.5, 25_920)
  const value = fidelityValue({
    amountSats: both.sats / both.bonds,
    confTimeS: 0,
    lockUnixS: 25_920 * 600,
    nowS: 0,
  })
  assert.ok(Math.abs(chanceToHold(race, 2, 2, both.bonds, value) - 0.5) < 0.001)
  assert.ok(both.bonds >= 2)
  assert.ok(costToHold(race, 2, 1, 0.5, 25_920).sats < both.sats)
  assert.ok(costToHold(race, 2, 2, 0.9, 25_920).sats > both.sats)
  assert.ok(costToHold(raceOf([1_000, 2_000, 60_000], 2), 2, 2, 0.5, 25_920).sats > both.sats)
  assert.ok(costToHold(race, 2, 2, 0.5, 12_960).sats > both.sats, 'a shorter lock is worth less')
})

test('where nobody is in the way the smallest bonds suffice', () => {
  assert.deepEqual(costToHold(raceOf([], 2), 2, 2, 0.5, 25_920), { sats: 20_000, bonds: 2 })
})

test('the amount for a value is the least that has it', () => {
  for (const value of [1, 132, 60_000, 25e9]) {
    const amountSats = amountForValue(value, 25_920)
    const worth = (sats: number) => fidelityValue({ amountSats: sats, confTimeS: 0, lockUnixS: 25_920 * 600, nowS: 0 })
    assert.ok(Math.abs(worth(amountSats) - value) <= 1 + value * 1e-6, String(value))
  }
})
