/** Waiting that ends with a signal leaves nothing on it: a daemon's signal outlives a million of these. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { raceAbort, ScopedAbort } from '../../src/concurrency.ts'
import { heapBytes } from '../support/heap.ts'

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

test('raceAbort: the work, or the signal’s reason, also where it has fired before', async () => {
  const stop = new AbortController()
  assert.equal(await raceAbort(Promise.resolve(7), stop.signal), 7)
  await assert.rejects(raceAbort(Promise.reject(new Error('broke')), stop.signal), /broke/)
  const never = new Promise<void>(() => {})
  const waiting = raceAbort(never, stop.signal)
  stop.abort(new Error('stop'))
  await assert.rejects(waiting, /stop/)
  await assert.rejects(raceAbort(never, stop.signal), /stop/)
})

test('nothing is left of what raced with a signal, however often', async () => {
  const { signal } = new AbortController()
  const races = async (times: number) => {
    for (let i = 0; i < times; i++) await raceAbort(Promise.resolve(i), signal)
  }
  await races(10_000)
  const before = heapBytes()
  await races(50_000)
  const each = (heapBytes() - before) / 50_000
  assert.equal(listeners(signal), 0)
  assert.ok(each < 200, `${each} bytes a race`)
})

test('ScopedAbort: fires with its parent or by itself, the first reason counts, and it lets its parent go', () => {
  const parent = new AbortController()
  {
    using one = new ScopedAbort(parent.signal)
    using other = new ScopedAbort(parent.signal)
    assert.equal(listeners(parent.signal), 2)
    one.abort(new Error('by itself'))
    parent.abort(new Error('stop'))
    assert.match(String(one.signal.reason), /by itself/)
    assert.match(String(other.signal.reason), /stop/)
  }
  using late = new ScopedAbort(parent.signal)
  assert.match(String(late.signal.reason), /stop/)
  const quiet = new AbortController()
  for (let i = 0; i < 100; i++) new ScopedAbort(quiet.signal)[Symbol.dispose]()
  assert.equal(listeners(quiet.signal), 0)
})
