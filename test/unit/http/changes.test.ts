import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventsBetween, type Look } from '../../../src/http/changes.ts'
import { EVENTS, type TrackerEvent } from '../../../src/http/replies.ts'
import { hashOf, tipAt } from '../../support/bonds.ts'

const blocks = (from: number, to: number, salt = 0) =>
  Array.from({ length: to - from + 1 }, (_, i) => tipAt(to - i, hashOf(to - i + salt)))
const look = (change: Partial<Look> = {}): Look => ({
  blocks: blocks(1, 10),
  digest: hashOf(5),
  liveCount: 0,
  bonds: new Map(),
  makers: new Map(),
  spends: new Map(),
  ...change,
})
/** In short, and each checked against its schema. */
const told = (events: TrackerEvent[]) =>
  events.map(({ kind, data }) => {
    EVENTS[kind].parse(data)
    return kind === 'reorg'
      ? `reorg ${data.depth} to ${data.fork_height}`
      : kind === 'block'
        ? `block ${data.height}`
        : kind
  })

test('nothing happened: nothing is told', () => {
  assert.deepEqual(eventsBetween(look(), look()), [])
})

test('new blocks are told in their order', () => {
  assert.deepEqual(told(eventsBetween(look(), look({ blocks: blocks(1, 13) }))), ['block 11', 'block 12', 'block 13'])
})

test('a reorg is told with its depth before the blocks that replace it', () => {
  const replaced = [...blocks(8, 12, 500), ...blocks(1, 7)]
  const events = eventsBetween(look(), look({ blocks: replaced }))
  assert.deepEqual(told(events), ['reorg 3 to 7', 'block 8', 'block 9', 'block 10', 'block 11', 'block 12'])
})

test('a chain that became shorter is a reorg, too', () => {
  assert.deepEqual(told(eventsBetween(look(), look({ blocks: blocks(1, 8) }))), ['reorg 2 to 8'])
})

test('a reorg beyond what is remembered is told as deep as is known', () => {
  const events = eventsBetween(look({ blocks: blocks(5, 10) }), look({ blocks: blocks(5, 10, 500) }))
  assert.equal(told(events)[0], 'reorg 6 to 4')
})

test('after a long absence the blocks remembered are told, and no reorg is made up', () => {
  const events = told(eventsBetween(look(), look({ blocks: blocks(901, 1_000) })))
  assert.equal(events.length, 100)
  assert.equal(events[0], 'block 901')
})

test('bonds and makers: what came, changed, and went', () => {
  const address = 'maker.onion:21'
  const outpoint = (n: number) => `${hashOf(n)}:0`
  const before = look({
    bonds: new Map([
      [outpoint(1), { address, state: 'pending' }],
      [outpoint(2), { address, state: 'live' }],
      [outpoint(3), { address, state: 'pending' }],
    ]),
    makers: new Map([
      [address, 'unknown'],
      ['gone.onion:21', 'up'],
    ]),
  })
  const after = look({
    bonds: new Map([
      [outpoint(1), { address, state: 'live' }],
      [outpoint(2), { address, state: 'live' }],
      [outpoint(4), { address, state: 'refused' }],
    ]),
    makers: new Map([
      [address, 'up'],
      ['new.onion:21', 'unknown'],
    ]),
  })
  const events = eventsBetween(before, after)
  told(events)
  assert.deepEqual(
    events.map(({ data }) =>
      'previous' in data
        ? [data.previous, data.state]
        : 'listed' in data
          ? [data.address, data.listed, data.reach]
          : [],
    ),
    [
      ['pending', 'live'],
      [null, 'refused'],
      ['pending', 'gone'],
      [address, true, 'up'],
      ['new.onion:21', true, 'unknown'],
      ['gone.onion:21', false, 'up'],
    ],
  )
})

test('spends: seen, confirmed, taken back; one that grew old is no event', () => {
  const outpoint = `${hashOf(1)}:0`
  const spend = (state: 'mempool' | 'confirmed' | 'evicted', height: number | null) =>
    look({ spends: new Map([['key', { outpoint, txid: hashOf(2), state, height }]]) })
  const states = (before: Look, after: Look) =>
    eventsBetween(before, after).map(({ kind, data }) => kind === 'spend' && data.state)
  assert.deepEqual(states(look(), spend('mempool', null)), ['mempool'])
  assert.deepEqual(states(spend('mempool', null), spend('confirmed', 9)), ['confirmed'])
  assert.deepEqual(states(spend('confirmed', 9), spend('evicted', null)), ['evicted'])
  assert.deepEqual(states(spend('mempool', null), look()), ['gone'])
  assert.deepEqual(states(look(), spend('evicted', null)), [])
  const later = look({ blocks: blocks(4, 10) })
  assert.deepEqual(states(look({ ...spend('confirmed', 3), blocks: blocks(4, 10) }), later), [])
})
