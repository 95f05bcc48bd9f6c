/** Which dialects are tried with whom, and in which order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { attemptsFor } from '../../../src/peers/attempts.ts'
import type { DialectName } from '../../../src/peers/types.ts'

function names(format: 'A' | 'B' | 'C' | 'D', mayPing = false, lastAnswered?: DialectName): string {
  const options = lastAnswered ? { mayPing, lastAnswered } : { mayPing }
  return attemptsFor(format, options)
    .map(({ dialect }) => dialect.name)
    .join(' ')
}

const A = 'unified legacy-prefixed taproot-prefixed legacy taproot'

test("today's dialect first, then those of the format's time", () => {
  assert.equal(names('A'), A)
  assert.equal(names('B'), 'unified legacy taproot')
  assert.equal(names('C'), 'unified')
  assert.equal(names('D'), 'unified')
})

test('only makers of format A are pinged, last of all, and only when they may be', () => {
  assert.equal(names('A', true), `${A} ping ping-unit`)
  for (const format of ['B', 'C', 'D'] as const) assert.equal(names(format, true), names(format))
})

test('what was answered last goes first, and nothing is tried twice', () => {
  assert.equal(names('A', false, 'taproot'), 'taproot unified legacy-prefixed taproot-prefixed legacy')
  assert.equal(names('A', true, 'ping'), `ping ${A} ping-unit`)
  assert.equal(names('A', false, 'unified'), A)
  assert.equal(names('A', false, 'ping'), A, 'a ping that may not be sent is not remembered either')
  assert.equal(names('D', false, 'legacy'), 'unified', 'nor a dialect such a maker does not speak')
})

test('every attempt has its reason', () => {
  for (const format of ['A', 'B', 'C', 'D'] as const) {
    for (const { because } of attemptsFor(format, { mayPing: true })) assert.ok(because.length > 10)
  }
  assert.equal(attemptsFor('B', { mayPing: false, lastAnswered: 'legacy' })[0]!.because, 'it answered this last')
})
