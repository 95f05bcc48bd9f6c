/** Up, down, unknown: exactly what the last probes prove, and nothing more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { afterProbe, isDown, type ProbeFinding, REACH_RULES, reachOf } from '../../../src/peers/reach.ts'
import type { MakerRecord } from '../../../src/peers/types.ts'

const MINUTE = 60_000
const AT = 1_800_000_000_000
const UP: ProbeFinding = { outcome: 'answered', dialect: 'unified' }
const FAILED: ProbeFinding = { outcome: 'failed', failure: 'silent', text: 'no reply' }
const UNJUDGED: ProbeFinding = { outcome: 'unjudged' }

/** Findings at minutes after AT. */
function history(...findings: readonly (readonly [minutes: number, finding: ProbeFinding])[]): MakerRecord | undefined {
  let record: MakerRecord | undefined
  for (const [minutes, finding] of findings) record = afterProbe(record, 'x', AT + minutes * MINUTE, finding)
  return record
}

function reach(record: MakerRecord | undefined, minutes: number): string {
  return reachOf(record, AT + minutes * MINUTE, REACH_RULES)
}

test('nobody probed yet is unknown', () => {
  assert.equal(reach(undefined, 0), 'unknown')
  assert.equal(reach(history([0, UNJUDGED]), 0), 'unknown')
})

test('an answer proves life for an hour', () => {
  const record = history([0, UP])
  assert.deepEqual(
    [0, 60, 61].map((minutes) => reach(record, minutes)),
    ['up', 'up', 'unknown'],
  )
})

test('down after three failures in a row over half an hour; before that unknown', () => {
  assert.equal(reach(history([0, UP], [10, FAILED]), 10), 'unknown')
  assert.equal(reach(history([0, FAILED], [15, FAILED], [29, FAILED]), 29), 'unknown', 'not spread enough')
  assert.equal(reach(history([0, FAILED], [31, FAILED]), 31), 'unknown', 'two are not enough')
  assert.equal(reach(history([0, FAILED], [15, FAILED], [30, FAILED]), 30), 'down')
})

test('down stays down until an answer, however long nobody asks; one answer ends it', () => {
  const down = history([0, FAILED], [15, FAILED], [30, FAILED])
  assert.equal(reach(down, 100_000), 'down')
  assert.equal(reach(afterProbe(down, 'x', AT + 500 * MINUTE, UP), 500), 'up')
})

test('an answer between failures begins the count anew', () => {
  const record = history([0, FAILED], [15, FAILED], [20, UP], [30, FAILED], [40, FAILED], [59, FAILED])
  assert.equal(reach(record, 59), 'unknown')
  assert.equal(reach(afterProbe(record, 'x', AT + 60 * MINUTE, FAILED), 60), 'down')
})

test('who closes at once is never down for it: no row of failures goes on past it, and only an answer ends one', () => {
  const CLOSED: ProbeFinding = { outcome: 'unjudged', closed: 'the connection was closed without a reply' }
  const closing = history(...Array.from({ length: 100 }, (_, i) => [10 * i, CLOSED] as const))
  assert.deepEqual([reach(closing, 1_000), closing!.failures, closing!.failure], ['unknown', 0, 'closed'])
  assert.equal(reach(history([0, UP], [10, CLOSED]), 10), 'up', 'it answered within the hour')
  assert.equal(reach(history([0, UP], [10, CLOSED], [61, CLOSED]), 61), 'unknown')
  const between = history([0, FAILED], [15, FAILED], [20, CLOSED], [30, FAILED], [45, FAILED])
  assert.equal(reach(between, 45), 'unknown')
  assert.equal(reach(afterProbe(between, 'x', AT + 60 * MINUTE, FAILED), 60), 'down')
  const down = history([0, FAILED], [15, FAILED], [30, FAILED])
  const still = afterProbe(down, 'x', AT + 40 * MINUTE, CLOSED, true)
  assert.deepEqual([reach(still, 40), still.failures, still.lastFailureMs], ['down', 3, AT + 30 * MINUTE])
})

test('a probe that says nothing changes nothing but the time it was made', () => {
  const finding = fc.constantFrom(UP, FAILED, UNJUDGED)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(120), finding), { maxLength: 20 }), (steps) => {
      let minutes = 0
      const findings = steps.map(([pause, found]) => {
        minutes += pause
        return [minutes, found] as const
      })
      const all = history(...findings)
      const judged = history(...findings.filter(([, found]) => found !== UNJUDGED))
      assert.equal(reach(all, minutes), reach(judged, minutes))
      const { lastProbeMs: _, ...said } = all ?? { failures: 0, lastProbeMs: 0, address: 'x' }
      const { lastProbeMs: __, ...saidWithout } = judged ?? { failures: 0, lastProbeMs: 0, address: 'x' }
      assert.deepEqual(said, saidWithout)
    }),
  )
})

test('never both: whoever is down has not answered since its first failure', () => {
  const finding = fc.constantFrom(UP, FAILED)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(40), finding), { minLength: 1, maxLength: 20 }), (steps) => {
      let minutes = 0
      const findings = steps.map(([pause, found]) => {
        minutes += pause
        return [minutes, found] as const
      })
      const record = history(...findings)!
      const tail = steps.length - 1 - steps.findLastIndex(([, found]) => found === UP)
      assert.equal(record.failures, tail)
      if (isDown(record, REACH_RULES)) assert.ok(tail >= 3)
    }),
  )
})
