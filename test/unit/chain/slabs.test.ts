import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Slabs } from '../../../src/chain/slabs.ts'

const MB = 1_000_000

test('memory is used again by whoever it fits, and by nobody as long as it is lent', () => {
  const slabs = new Slabs()
  const first = slabs.take(2 * MB)
  const second = slabs.take(MB)
  assert.notEqual(first.memory.buffer, second.memory.buffer)
  assert.ok(first.memory.length >= 2 * MB)
  first.release()
  first.release() // twice is once
  assert.equal(slabs.take(1.5 * MB).memory, first.memory)
  assert.notEqual(slabs.take(MB).memory, first.memory)
  slabs.close()
})

test('one that is too small is replaced: there are never more than were lent at once', () => {
  const slabs = new Slabs()
  const small = slabs.take(MB)
  small.release()
  const large = slabs.take(3 * MB)
  assert.equal(small.memory.length, 0, 'its memory is free')
  large.release()
  assert.equal(slabs.take(MB).memory, large.memory)
  slabs.close()
})

test('what is larger than any block is let go at once, what is small is ordinary memory', () => {
  const slabs = new Slabs()
  const large = slabs.take(60 * MB)
  large.release()
  assert.equal(large.memory.length, 0)
  const small = slabs.take(100)
  small.release()
  assert.equal(small.memory.length, 100)
  slabs.close()
})

test('after a while without use all are let go', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const slabs = new Slabs()
  const [one, two] = [slabs.take(MB), slabs.take(MB)]
  one.release()
  t.mock.timers.tick(4_000)
  two.release()
  t.mock.timers.tick(4_000)
  assert.ok(one.memory.length > 0, 'used a moment ago')
  const lent = slabs.take(MB)
  t.mock.timers.tick(60_000)
  assert.equal(Math.min(one.memory.length, two.memory.length), 0)
  assert.ok(lent.memory.length >= MB, 'what is lent stays')
  lent.release()
})
