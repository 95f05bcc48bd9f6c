import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TransientError } from '../../../src/errors.ts'
import { HeldLease } from '../../../src/store/shared/held-lease.ts'

/** A store whose answers are given, and which notes what it was asked, seconds after the start. */
function lease(answers: (boolean | 'away')[]) {
  const asked: number[] = []
  let nowMs = 0
  const leases = {
    async take(name: string, lengthMs: number) {
      assert.deepEqual([name, lengthMs], ['relay:one', 60_000])
      asked.push(nowMs / 1000)
      const answer = answers.shift() ?? 'away'
      if (answer === 'away') throw new TransientError('away')
      return answer
    },
    async drop() {
      asked.push(-1)
      throw new TransientError('away')
    },
  }
  const held = new HeldLease(leases, 'relay:one', 60_000, { nowMs: () => 0, monotonicMs: () => nowMs })
  const at = async (second: number) => {
    nowMs = second * 1000
    return await held.isOurs()
  }
  return { held, at, asked }
}

test('who holds it renews it after half its length, who does not asks again after a sixth', async () => {
  const { at, asked } = lease([false, false, true, true, false])
  const seen = []
  for (const second of [0, 1, 9, 10, 19, 20, 30, 49, 50, 79, 80]) seen.push(await at(second))
  assert.deepEqual(seen, [false, false, false, false, false, true, true, true, true, true, false])
  assert.deepEqual(asked, [0, 10, 20, 50, 80])
})

test('while the store is away the last holder goes on, and nobody else begins', async () => {
  const holder = lease([true, 'away', 'away', false])
  assert.deepEqual(
    [await holder.at(0), await holder.at(30), await holder.at(41), await holder.at(52)],
    [true, true, true, false],
  )
  const other = lease([false, 'away', 'away'])
  assert.deepEqual([await other.at(0), await other.at(10), await other.at(20)], [false, false, false])
})

test('what is given back is asked for anew, whether or not the store was there to hear it', async () => {
  const { held, at, asked } = lease([true, false])
  await held.giveBack()
  assert.equal(await at(0), true)
  await held.giveBack()
  assert.equal(await at(1), false)
  assert.deepEqual(asked, [0, -1, 1])
})
