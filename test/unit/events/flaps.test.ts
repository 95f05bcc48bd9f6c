/** What comes and goes: told at once, then held back, and in the end always as it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Flaps } from '../../../src/events/flaps.ts'

const LIMITS = { atOnce: 3, everyMs: 1_000 }

test('the first ones are told at once, the next when it is due, as it is by then', () => {
  const flaps = new Flaps<string>(LIMITS)
  assert.deepEqual(
    [true, false, true].map((isOn, i) => flaps.change(isOn, `${i}`, i)),
    ['0', '1', '2'],
  )
  assert.equal(flaps.change(false, 'lost', 10), undefined)
  assert.equal(flaps.dueInMs(10), 990)
  assert.equal(flaps.change(true, 'back', 20), undefined)
  assert.equal(flaps.dueInMs(20), undefined, 'as it was told last: nothing is owed')
  assert.equal(flaps.change(false, 'lost again', 30), undefined)
  assert.equal(flaps.due(999), undefined)
  assert.equal(flaps.due(1_000), 'lost again')
  assert.equal(flaps.due(1_001), undefined, 'once')
})

test('after a quiet time as many are told at once again, and no more', () => {
  const flaps = new Flaps<number>(LIMITS)
  for (const start of [0, 1_000_000]) {
    const told = Array.from({ length: 10 }, (_, i) => flaps.change(i % 2 === 0, i, start + i))
    assert.equal(told.filter((news) => news !== undefined).length, LIMITS.atOnce)
  }
})

test('whatever happens: what is told alternates, is not too much, and ends with what is so', () => {
  const step = fc.record({ isOn: fc.boolean(), pauseMs: fc.integer({ min: 0, max: 2_500 }) })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const flaps = new Flaps<boolean>(LIMITS)
      const told: boolean[] = []
      const tell = (news: boolean | undefined) => {
        if (news !== undefined) told.push(news)
      }
      let nowMs = 0
      for (const { isOn, pauseMs } of steps) {
        tell(flaps.change(isOn, isOn, nowMs))
        nowMs += pauseMs
        const dueInMs = flaps.dueInMs(nowMs)
        if (dueInMs !== undefined && dueInMs > 0) assert.equal(flaps.due(nowMs), undefined)
      }
      nowMs += flaps.dueInMs(nowMs) ?? 0
      tell(flaps.due(nowMs))
      assert.equal(told.at(-1), steps.at(-1)!.isOn)
      assert.ok(told.every((isOn, i) => i === 0 || isOn !== told[i - 1]))
      assert.ok(told.length <= LIMITS.atOnce + nowMs / LIMITS.everyMs + 1e-6)
    }),
  )
})
