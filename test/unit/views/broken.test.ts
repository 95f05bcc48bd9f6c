/** Lists whose rows break their schema: the broken are named, the others shown. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { brokenRows, soundRows, withBroken } from '../../../src/views/broken.ts'

const row = z.strictObject({
  address: z.string(),
  amount: z.int().min(0),
  offer: z.strictObject({ fee: z.number() }).nullable(),
})
const reply = z.strictObject({ height: z.int(), makers: z.array(row), trackers: z.array(z.int()), broken: brokenRows })
const maker = (address: string, amount = 1) => ({ address, amount, offer: null })

test('rows in order are the reply, and nothing is broken', () => {
  const body = { height: 1, makers: [maker('a')], trackers: [] }
  assert.deepEqual(withBroken(reply, body), { ...body, broken: [] })
})

test('each broken row is named with its first fault, wherever it stands; the others stay in their order', () => {
  const bent = { ...maker('c'), offer: { fee: Number.NaN } }
  const body = {
    height: 1,
    makers: [maker('a', -1), maker('b'), bent, maker('d'), { ...maker('e', 0.5), address: 5 as never }],
    trackers: [1, 'x' as never, 3],
  }
  const shown = withBroken(reply, body)
  assert.deepEqual(
    [shown.makers, shown.trackers],
    [
      [maker('b'), maker('d')],
      [1, 3],
    ],
  )
  assert.deepEqual(
    shown.broken.map(({ list, row, fault }) => [list, row, fault.split(':')[0]]),
    [
      ['makers', 'a', 'amount'],
      ['makers', 'c', 'offer.fee'],
      ['makers', '5', 'address'],
      ['trackers', '', 'Invalid input'],
    ],
  )
})

test('what is wrong beside the rows is no row that could be left out', () => {
  assert.throws(() => withBroken(reply, { height: 0.5, makers: [maker('a', -1)], trackers: [] }), z.ZodError)
  assert.throws(() => withBroken(reply, { height: 1, makers: 'none' as never, trackers: [] }), z.ZodError)
})

test('the words of a broken row are printable', () => {
  const { rows, broken: told } = soundRows('makers', row, [maker('\u001b[2J', -1), maker('b')])
  assert.deepEqual(rows, [maker('b')])
  assert.deepEqual(told[0]!.row, '?[2J')
})
