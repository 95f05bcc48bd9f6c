/** Pieces of work: which of those that wait is next, and what a turn of the event loop may take. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Pieces } from '../../../src/wire/pieces.ts'
import { HandClock } from '../../support/wire.ts'

const TURN_MS = 2
const aTurn = () => new Promise((resolve) => setImmediate(resolve))

test('the one that is due first is next, of equals the one that came first, and those taken back never', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ dueMs: fc.nat(9), isTakenBack: fc.boolean() })), async (given) => {
      const pieces = new Pieces(TURN_MS, new HandClock(), { longestPieceMs: 0 })
      const ran: number[] = []
      const takeBack = given.map(({ dueMs }, i) => pieces.add(dueMs, () => ran.push(i)))
      for (const [i, { isTakenBack }] of given.entries()) {
        if (isTakenBack) takeBack[i]!()
      }
      assert.equal(pieces.size, given.filter(({ isTakenBack }) => !isTakenBack).length)
      await aTurn()
      const wanted = given.flatMap(({ dueMs, isTakenBack }, i) => (isTakenBack ? [] : [{ dueMs, i }]))
      assert.deepEqual(
        ran,
        wanted.sort((a, b) => a.dueMs - b.dueMs || a.i - b.i).map(({ i }) => i),
      )
      assert.equal(pieces.size, 0)
    }),
  )
})

test('one that comes now may be run now while none runs, none waits and the turn has time', async () => {
  const clock = new HandClock()
  const counts = { longestPieceMs: 0 }
  const pieces = new Pieces(TURN_MS, clock, counts)
  assert.equal(pieces.isFree, true)
  pieces.run(() => assert.equal(pieces.isFree, false, 'one runs'))
  assert.equal(pieces.isFree, true)
  const takeBack = pieces.add(0, () => {})
  assert.equal(pieces.isFree, false, 'one waits')
  takeBack()
  takeBack()
  assert.equal(pieces.isFree, true, 'taken back twice is taken back once')
  assert.throws(() =>
    pieces.run(() => {
      clock.atMs += TURN_MS + 1
      throw new Error('a fault')
    }),
  )
  assert.equal(counts.longestPieceMs, TURN_MS + 1)
  assert.equal(pieces.isFree, false, 'the turn is over')
  let ran = false
  pieces.add(0, () => {
    ran = true
  })
  await Promise.resolve()
  await new Promise((resolve) => process.nextTick(resolve))
  assert.equal(ran, false, 'not in this turn')
  await aTurn()
  await aTurn()
  assert.equal(ran, true)
  assert.equal(pieces.isFree, true)
})

test('who waited for a piece says what he needs next before another one is run', async () => {
  const pieces = new Pieces(TURN_MS, new HandClock(), { longestPieceMs: 0 })
  const ran: string[] = []
  const piece = (dueMs: number, name: string) =>
    new Promise<void>((resolve) => {
      pieces.add(dueMs, () => {
        ran.push(name)
        resolve()
      })
    })
  const early = async () => {
    for (const name of ['a', 'b', 'c']) await piece(0, name)
  }
  await Promise.all([piece(1, 'later'), early()])
  assert.deepEqual(ran, ['a', 'b', 'c', 'later'])
})
