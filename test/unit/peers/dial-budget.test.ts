/** How often strangers can make us dial, whatever they name and whenever. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DIAL_LIMITS, DialBudget } from '../../../src/peers/dial-budget.ts'
import { HandClock } from '../../support/wire.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const at = (host: string, port = 8080) => ({ host, port })

test('a host is dialled once an hour, whichever of its ports is named', () => {
  const clock = new HandClock()
  const dials = new DialBudget(clock)
  assert.ok(dials.take(at('a.onion')))
  for (const port of [8080, 1, 65_535])
    assert.ok(!dials.mayDial(at('a.onion', port)) && !dials.take(at('a.onion', port)))
  assert.ok(dials.take(at('b.onion')))
  clock.atMs += HOUR - 1
  assert.ok(!dials.take(at('a.onion')))
  clock.atMs += 1
  assert.ok(dials.take(at('a.onion', 9)))
  assert.equal(dials.taken, 3)
})

test('on loopback, where only tests are, each port is a host', () => {
  const dials = new DialBudget(new HandClock())
  assert.ok(dials.take(at('127.0.0.1', 1)) && dials.take(at('127.0.0.1', 2)) && !dials.take(at('127.0.0.1', 1)))
})

test('in no hour more than so many, however the names come', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(15 * MINUTE), { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 300 }),
      (pauses, names) => {
        const clock = new HandClock()
        const dials = new DialBudget(clock)
        const takenMs: number[] = []
        let host = 0
        for (const pauseMs of pauses) {
          clock.atMs += pauseMs
          for (let i = 0; i < names; i++) if (dials.take(at(`${host++}.onion`))) takenMs.push(clock.atMs)
        }
        for (const [i, ms] of takenMs.entries()) {
          const inHour = takenMs.slice(i).filter((later) => later < ms + HOUR).length
          assert.ok(inHour <= DIAL_LIMITS.perHour, `${inHour} dials in an hour`)
        }
      },
    ),
  )
})

test('after a flood the next dial is to be had within the minute, not when the hour is over', () => {
  const clock = new HandClock()
  const dials = new DialBudget(clock)
  for (let i = 0; i < 10_000; i++) dials.take(at(`${i}.onion`))
  assert.equal(dials.taken, DIAL_LIMITS.burst)
  assert.ok(!dials.hasRoom())
  clock.atMs += 40_000
  assert.ok(dials.take(at('honest.onion')))
})

test('a host that is to rest rests, and costs no dial', () => {
  const clock = new HandClock()
  const dials = new DialBudget(clock)
  dials.rest(at('a.onion'))
  assert.ok(dials.isResting(at('a.onion', 2)) && !dials.take(at('a.onion')))
  clock.atMs += HOUR
  assert.ok(dials.take(at('a.onion')))
})
