/** When a service that nobody reaches is published again, with the clock in the test's hands. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Healing } from '../../../src/tor/healing.ts'

const FIRST_MS = 120_000

function start() {
  let nowMs = 5_000
  const healing = new Healing(FIRST_MS, { monotonicMs: () => nowMs })
  const order = () => healing.take()
  const red = (runs: number, isReplaced = false) => healing.note({ runs, isReplaced, detail: `${runs} in vain` })
  const pass = (ms: number) => {
    nowMs += ms
  }
  return { healing, order, red, pass }
}

test('three runs in vain order it, once; two where another’s descriptor has replaced ours', () => {
  const { order, red } = start()
  red(1)
  red(2)
  assert.equal(order(), undefined)
  red(3)
  red(4)
  assert.equal(order(), '3 in vain')
  assert.equal(order(), undefined, 'each order once')
  const other = start()
  other.red(1, true)
  assert.equal(other.order(), undefined)
  other.red(2, true)
  assert.equal(other.order(), '2 in vain')
})

test('the pause doubles up to an hour, for as long as nothing helps', () => {
  const { order, red, pass } = start()
  const pausesMs: number[] = []
  red(3)
  order()
  for (let tries = 0; tries < 8; tries++) {
    let waitedMs = 0
    for (;;) {
      pass(1_000)
      waitedMs += 1_000
      red(3)
      if (order() !== undefined) break
    }
    pausesMs.push(waitedMs)
  }
  const times = [1, 2, 4, 8, 16, 30, 30, 30]
  assert.deepEqual(
    pausesMs,
    times.map((n) => n * FIRST_MS),
  )
})

test('reached for as long as the pause: it begins anew; reached for a moment: it does not', () => {
  const { healing, order, red, pass } = start()
  red(3)
  order()
  pass(FIRST_MS)
  red(3)
  order() // the pause is two times the first now
  pass(FIRST_MS)
  healing.reached()
  red(3)
  assert.equal(order(), undefined, 'flapping')
  pass(FIRST_MS)
  healing.reached()
  red(3)
  assert.ok(order() !== undefined)
  pass(FIRST_MS)
  red(3)
  assert.ok(order() !== undefined, 'the first pause again')
})

test('an order that was overtaken by being reached is none', () => {
  const { healing, order, red } = start()
  red(3)
  healing.reached()
  assert.equal(order(), undefined)
})

test('who waits is woken by the order', async () => {
  const { healing, red } = start()
  const waiting = healing.ordered(60_000)
  red(3)
  assert.equal(await waiting, '3 in vain')
})
