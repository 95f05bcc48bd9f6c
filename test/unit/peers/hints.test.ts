/** Which of many hints is followed next. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HINT_LIMITS, Hints } from '../../../src/peers/hints.ts'
import { HandClock } from '../../support/wire.ts'

const at = (host: string | number, port = 8080) => ({ host: `${host}.onion`, port })
const all = () => true

/** Chance from a fixed row of numbers, evenly spread. */
function evenly(): () => number {
  let n = 0
  return () => (n++ * 0.6180339887) % 1
}

test('a connection has one hint waiting, and a host one', () => {
  const hints = new Hints(new HandClock(), () => 0)
  const [one, other] = [{}, {}]
  assert.ok(hints.add(at('a'), one))
  assert.ok(!hints.add(at('b'), one), 'its first one waits')
  assert.ok(!hints.add(at('a', 9), other), 'that host waits')
  assert.ok(hints.add(at('c'), other))
  assert.equal(hints.size, 2)
  assert.deepEqual(hints.take(all), at('a'))
  assert.ok(hints.add(at('b'), one), 'nothing of it waits any more')
})

test('whoever had most dialled comes last: a flood on some connections does not hold up a new one', () => {
  const hints = new Hints(new HandClock(), evenly())
  const flooding = Array.from({ length: 16 }, () => ({}))
  let host = 0
  const flood = () => {
    for (const from of flooding) hints.add(at(host++), from)
  }
  flood()
  for (let i = 0; i < 16; i++) {
    hints.take(all)
    flood()
  }
  hints.add(at('honest'), {})
  assert.deepEqual(hints.take(all), at('honest'))
})

test('thousands of connections with one hint each: the place of any is taken, and an honest one is drawn at last', () => {
  const clock = new HandClock()
  const hints = new Hints(clock, evenly())
  for (let i = 0; i < 5_000; i++) hints.add(at(i), {})
  assert.equal(hints.size, HINT_LIMITS.waitingMax)
  let dials = 0
  for (; dials < 20_000; dials++) {
    // Two new ones for every dial, and the honest one pings now and then.
    hints.add(at(10_000 + dials), {})
    if (dials % 10 === 0) hints.add(at('honest'), {})
    if (hints.take(all)?.host === 'honest.onion') break
  }
  assert.ok(dials < 20_000)
})

test('what does not come again is not waited for, and what is not wanted any more is let go', () => {
  const clock = new HandClock()
  const hints = new Hints(clock, () => 0)
  const from = {}
  hints.add(at('old'), from)
  hints.add(at('known'), {})
  clock.atMs += 1
  hints.add(at('new'), {})
  assert.deepEqual(
    hints.take(({ host }) => host !== 'known.onion'),
    at('old'),
  )
  assert.equal(hints.size, 1)
  clock.atMs += HINT_LIMITS.waitMs + 1
  assert.equal(hints.take(all), undefined)
  assert.equal(hints.size, 0)
  hints.add(at('a'), from)
  clock.atMs += HINT_LIMITS.waitMs + 1
  assert.ok(hints.add(at('b'), from), 'the stale one is in nobody’s way')
})

test('a client that says the same again after a long time takes no other hint away', () => {
  const clock = new HandClock()
  const hints = new Hints(clock, () => 0)
  const from = {}
  hints.add(at('a'), from)
  clock.atMs += HINT_LIMITS.waitMs
  hints.add(at('fresh'), {})
  clock.atMs += 1
  assert.ok(hints.add(at('a'), from), 'its own was stale')
  assert.equal(hints.size, 2)
  assert.deepEqual(new Set([hints.take(all)?.host, hints.take(all)?.host]), new Set(['a.onion', 'fresh.onion']))
})
