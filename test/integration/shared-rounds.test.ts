/** The short form of `npm run soak -- shared`: one of three trackers is killed in the middle of registrations. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soakShared } from '../../scripts/soak/shared.ts'

const ROUNDS = 3

test('what a killed tracker has said to be registered, another one watches', async (t) => {
  const { registered, toldMs, losses } = await soakShared(t, ROUNDS)
  assert.deepEqual(losses, [])
  assert(registered > 0, 'there was something to lose')
  assert.equal(toldMs.length, registered)
})
