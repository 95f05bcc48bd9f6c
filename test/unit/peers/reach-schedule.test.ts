/** When a maker is probed next, and what that probe may ask. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mayPing, nextProbeMs, probeRules, wantsOffer } from '../../../src/peers/reach.ts'
import type { MakerRecord } from '../../../src/peers/types.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const RULES = probeRules(10 * MINUTE, false)
const AT = 1_800_000_000_000

function aRecord(overrides: Partial<MakerRecord> = {}): MakerRecord {
  return { address: 'x', lastProbeMs: AT, failures: 0, ...overrides }
}

test('a maker that was never probed is due at once', () => {
  assert.equal(nextProbeMs(undefined, RULES, 0.5), 0)
})

test('about every ten minutes, up to 15 % sooner or later', () => {
  assert.equal(nextProbeMs(aRecord(), RULES, 0.5) - AT, 10 * MINUTE)
  assert.equal(nextProbeMs(aRecord(), RULES, 0) - AT, 8.5 * MINUTE)
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (chance) => {
      const pauseMs = nextProbeMs(aRecord(), RULES, chance) - AT
      assert.ok(pauseMs >= 8.5 * MINUTE && pauseMs <= 11.5 * MINUTE)
    }),
  )
})

test('failures don’t slow the probes until they prove absence; then each doubles the pause, up to four hours', () => {
  const pause = (failures: number, spanMs: number) =>
    (nextProbeMs(aRecord({ failures, firstFailureMs: AT - spanMs, lastFailureMs: AT }), RULES, 0.5) - AT) / MINUTE
  assert.deepEqual(
    [1, 2, 3].map((failures) => pause(failures, (failures - 1) * 10 * MINUTE)),
    [10, 10, 10],
  )
  assert.equal(pause(9, 20 * MINUTE), 10, 'not spread over half an hour yet')
  assert.deepEqual(
    [3, 4, 5, 6, 7, 8, 50].map((failures) => pause(failures, 2 * HOUR)),
    [10, 20, 40, 80, 160, 240, 240],
  )
})

test('the failures before an answer don’t slow anything', () => {
  assert.equal(nextProbeMs(aRecord({ lastUpMs: AT, lastFailureMs: AT - HOUR }), RULES, 0.5) - AT, 10 * MINUTE)
})

test('a probe that said nothing is soon repeated', () => {
  assert.equal(nextProbeMs(aRecord(), RULES, 0.5, true) - AT, 5 * MINUTE)
})

test('a maker that answers nothing but pings is not asked before it may be pinged again', () => {
  const pinged = aRecord({ dialect: 'ping', pingedMs: AT })
  assert.equal(nextProbeMs(pinged, RULES, 0) - AT, 6 * HOUR)
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.boolean(), (chance, wasUnjudged) => {
      const dueMs = nextProbeMs(pinged, RULES, chance, wasUnjudged)
      assert.ok(mayPing(pinged, dueMs, RULES) && dueMs <= AT + 6.9 * HOUR)
    }),
  )
  const unreached = { ...pinged, lastProbeMs: AT + 7 * HOUR }
  assert.equal(
    nextProbeMs(unreached, RULES, 0.5) - AT,
    7 * HOUR + 10 * MINUTE,
    'the last probe did not come to the ping',
  )
  assert.equal(nextProbeMs(aRecord({ dialect: 'legacy', pingedMs: AT }), RULES, 0.5) - AT, 10 * MINUTE)
})

test('the offer is asked for when a proof is missing, every hour, and when it is a day old', () => {
  assert.ok(wantsOffer(undefined, false, AT, RULES))
  assert.ok(wantsOffer(aRecord(), true, AT, RULES))
  const asked = aRecord({ offerAskedMs: AT })
  assert.deepEqual(
    [59, 60].map((minutes) => wantsOffer(asked, false, AT + minutes * MINUTE, RULES)),
    [false, true],
  )
  assert.deepEqual(
    [1, 23.9, 24].map((hours) => wantsOffer(asked, true, AT + hours * HOUR, RULES)),
    [false, false, true],
  )
  assert.ok(wantsOffer(asked, true, AT - HOUR, RULES), 'a clock that was set back')
})

test('a v1 ping at most every six hours', () => {
  assert.ok(mayPing(undefined, AT, RULES))
  assert.ok(mayPing(aRecord(), AT, RULES))
  const pinged = aRecord({ pingedMs: AT })
  assert.deepEqual(
    [5.9, 6].map((hours) => mayPing(pinged, AT + hours * HOUR, RULES)),
    [false, true],
  )
})

test('on regtest an hour of life shrinks with the interval; elsewhere it is an hour whatever the interval', () => {
  const fast = probeRules(1_000, true)
  assert.deepEqual([fast.upMs, fast.downFailures, fast.downSpanMs], [6_000, 3, 3_000])
  const slow = probeRules(MINUTE, false)
  assert.deepEqual([slow.upMs, slow.downFailures, slow.downSpanMs], [HOUR, 3, HOUR / 2])
})
