/** What happened between two looks: all of it, in order, each change as its schema says; and what a stream makes of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHANGES, type Change, changesBetween, type MarketLook } from '../../../src/events/changes.ts'
import { format, STREAM_LIMITS } from '../../../src/events/stream.ts'
import { hashOf, tipAt } from '../../support/bonds.ts'

const blocks = (from: number, to: number, salt = 0) =>
  Array.from({ length: to - from + 1 }, (_, i) => tipAt(to - i, hashOf(to - i + salt)))
const look = (change: Partial<MarketLook> = {}): MarketLook => ({
  blocks: blocks(1, 10),
  digest: hashOf(5),
  liveCount: 0,
  bonds: new Map(),
  makers: new Map(),
  spends: new Map(),
  areSpendsCut: false,
  reorgs: { count: 0, last: [] },
  trackers: new Map(),
  ...change,
})
const between = (before: MarketLook | undefined, after: MarketLook | undefined) =>
  changesBetween(
    { ready: true, notReady: [], market: before },
    { ready: true, notReady: [], market: after },
    EXPIRING_BLOCKS,
  )
const EXPIRING_BLOCKS = 100
/** In short, and each checked against its schema. */
const told = (changes: Change[]) =>
  changes.map(({ kind, data }) => {
    CHANGES[kind].parse(data)
    return kind === 'reorg'
      ? `reorg ${data.depth} to ${data.fork_height}`
      : kind === 'block'
        ? `block ${data.height}`
        : kind
  })

test('nothing happened: nothing is told', () => {
  assert.deepEqual(between(look(), look()), [])
})

test('new blocks are told in their order', () => {
  assert.deepEqual(told(between(look(), look({ blocks: blocks(1, 13) }))), ['block 11', 'block 12', 'block 13'])
})

/** Our tip at height 10 was taken back down to `forkHeight`. */
const reorgTo = (forkHeight: number) => ({ depth: 10 - forkHeight, from: blocks(1, 10)[0]!, forkHeight })

test('a reorg is told with its depth before the blocks that replace it', () => {
  const replaced = [...blocks(8, 12, 500), ...blocks(1, 7)]
  const events = between(look(), look({ blocks: replaced, reorgs: { count: 1, last: [reorgTo(7)] } }))
  assert.deepEqual(told(events), ['reorg 3 to 7', 'block 8', 'block 9', 'block 10', 'block 11', 'block 12'])
})

test('two reorgs between two looks are two, and no block is left out', () => {
  const replaced = [...blocks(7, 11, 900), ...blocks(1, 6)]
  const events = between(look(), look({ blocks: replaced, reorgs: { count: 2, last: [reorgTo(8), reorgTo(6)] } }))
  const heights = [7, 8, 9, 10, 11].map((height) => `block ${height}`)
  assert.deepEqual(told(events), ['reorg 2 to 8', 'reorg 4 to 6', ...heights])
  const later = look({ blocks: replaced, reorgs: { count: 2, last: [reorgTo(8), reorgTo(6)] } })
  assert.deepEqual(between(later, { ...later }), [])
})

test('after a long absence the blocks remembered are told, no reorg is made up, and that there was more is said', () => {
  const after = (from: number) => told(between(look(), look({ blocks: blocks(from, from + 99) })))
  const events = after(901)
  assert.equal(events.length, 101)
  assert.deepEqual([events[0], events.at(-1)], ['block 901', 'reset'])
  assert.equal(after(12).at(-1), 'reset', 'one block is missing')
  assert.equal(after(11).at(-1), 'block 110', 'none is')
  const deep = [...blocks(201, 300, 900)]
  const fork = { reorgs: { count: 1, last: [{ depth: 100, from: blocks(1, 250)[0]!, forkHeight: 150 }] } }
  const replaced = told(between(look({ blocks: blocks(151, 250) }), look({ blocks: deep, ...fork })))
  assert.deepEqual([replaced[0], replaced.length, replaced.at(-1)], ['reorg 100 to 150', 102, 'reset'])
})

test('more reorgs than are remembered are not passed over in silence', () => {
  const reorgs = (count: number) => ({ reorgs: { count, last: Array.from({ length: 2 }, () => reorgTo(8)) } })
  assert.deepEqual(
    told(between(look(reorgs(2)), look(reorgs(4)))).filter((kind) => !kind.startsWith('block')),
    ['reorg 2 to 8', 'reorg 2 to 8'],
  )
  assert.deepEqual(told(between(look(reorgs(2)), look(reorgs(5)))).at(-1), 'reset')
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
      [address, { reach: 'unknown', lastUpS: null }],
      ['gone.onion:21', { reach: 'up', lastUpS: 5 }],
    ]),
  })
  const after = look({
    bonds: new Map([
      [outpoint(1), { address, state: 'live' }],
      [outpoint(2), { address, state: 'live' }],
      [outpoint(4), { address, state: 'refused' }],
    ]),
    makers: new Map([
      [address, { reach: 'up', lastUpS: 7 }],
      ['new.onion:21', { reach: 'unknown', lastUpS: null }],
    ]),
  })
  const events = between(before, after)
  told(events)
  assert.deepEqual(
    events.map(({ kind, data }) => {
      if (kind === 'bond') return [data.previous, data.state]
      return kind === 'maker' ? [data.address, data.listed, data.previous, data.reach, data.last_up] : []
    }),
    [
      ['pending', 'live'],
      [null, 'refused'],
      ['pending', 'gone'],
      [address, true, 'unknown', 'up', 7],
      ['new.onion:21', true, null, 'unknown', null],
      ['gone.onion:21', false, 'up', 'up', 5],
    ],
  )
})

test('spends: seen, confirmed, taken back; one that grew old is no event', () => {
  const outpoint = `${hashOf(1)}:0`
  const spend = (state: 'mempool' | 'confirmed' | 'evicted', height: number | null) =>
    look({ spends: new Map([['key', { outpoint, txid: hashOf(2), state, height }]]) })
  const states = (before: MarketLook, after: MarketLook) =>
    between(before, after).map(({ kind, data }) => kind === 'spend' && data.state)
  assert.deepEqual(states(look(), spend('mempool', null)), ['mempool'])
  assert.deepEqual(states(spend('mempool', null), spend('confirmed', 9)), ['confirmed'])
  assert.deepEqual(states(spend('confirmed', 9), spend('evicted', null)), ['evicted'])
  assert.deepEqual(states(spend('mempool', null), look()), ['gone'])
  assert.deepEqual(states(look(), spend('evicted', null)), [])
  const later = look({ blocks: blocks(4, 10) })
  assert.deepEqual(states(look({ ...spend('confirmed', 3), blocks: blocks(4, 10) }), later), [])
})

test('a spend that confirmed in a block too old to be remembered is not told to be gone', () => {
  const waiting = { outpoint: `${hashOf(1)}:0`, txid: hashOf(2), state: 'mempool' as const, height: null }
  const before = look({ spends: new Map([['key', waiting]]) })
  const events = told(between(before, look({ blocks: blocks(101, 200) })))
  assert.deepEqual(
    events.filter((kind) => !kind.startsWith('block')),
    ['reset'],
  )
})

test('more spends than can be compared are not compared', () => {
  const outpoint = `${hashOf(1)}:0`
  const spends = new Map([['key', { outpoint, txid: hashOf(2), state: 'mempool' as const, height: null }]])
  assert.deepEqual(told(between(look(), look({ spends, areSpendsCut: true }))), [])
  assert.deepEqual(told(between(look({ areSpendsCut: true }), look({ spends }))), [])
})

test('the first look at the market is no list of changes; none is told twice', () => {
  assert.deepEqual(between(undefined, undefined), [])
  assert.deepEqual(between(undefined, look()), [{ kind: 'reset', data: { changes: null, height: 10 } }])
  const kept = look()
  assert.deepEqual(between(kept, kept), [])
})

test('readiness is told when it begins and when it ends', () => {
  const at = (ready: boolean, ...notReady: string[]) => ({ ready, notReady, market: look() })
  assert.deepEqual(changesBetween(at(true), at(false, 'bitcoind: refused'), 1), [
    { kind: 'readiness', data: { ready: false, not_ready: ['bitcoind: refused'], height: 10 } },
  ])
  assert.deepEqual(changesBetween(at(false, 'a'), at(false, 'b'), 1), [])
  assert.deepEqual(changesBetween(at(false, 'b'), at(true), 1), [
    { kind: 'readiness', data: { ready: true, not_ready: [], height: 10 } },
  ])
})

test('that another process publishes our onion key is told once, and that it is ours only after that', () => {
  const at = (isElsewhere: boolean | undefined, detail = 'seen') => ({
    ...{ ready: true, notReady: [], market: look() },
    onionKey: isElsewhere === undefined ? undefined : { address: 'us.onion:8080', isElsewhere, detail },
  })
  const changes = (before: ReturnType<typeof at>, after: ReturnType<typeof at>) => changesBetween(before, after, 1)
  const data = { address: 'us.onion:8080', height: 10 }
  const elsewhere = { kind: 'onion_key', data: { ...data, elsewhere: true, detail: 'a newer descriptor' } }
  assert.deepEqual(changes(at(undefined), at(true, 'a newer descriptor')), [elsewhere])
  assert.deepEqual(changes(at(false), at(true, 'a newer descriptor')), [elsewhere])
  assert.deepEqual(changes(at(true), at(true, 'told in other words')), [])
  const ours = { kind: 'onion_key', data: { ...data, elsewhere: false, detail: 'it answers' } }
  assert.deepEqual(changes(at(true), at(false, 'it answers')), [ours])
  assert.deepEqual([...changes(at(undefined), at(false)), ...changes(at(false), at(false))], [])
  for (const { kind, data } of [elsewhere, ours] as Change[]) CHANGES[kind].parse(data)
})

test('a stream tells all changes of a look, or that there were too many: never some of them', () => {
  const outpoint = `${hashOf(1)}:0`
  const bond = (state: 'live' | 'pending'): Change => ({
    kind: 'bond',
    data: { outpoint, address: 'maker.onion:21', state, previous: null, height: 10 },
  })
  const spend: Change = {
    kind: 'spend',
    data: { outpoint, txid: hashOf(2), state: 'mempool', spent_height: null, height: 10 },
  }
  const many = (count: number) => [...Array.from({ length: count - 1 }, () => bond('live')), spend]
  const kinds = (changes: Change[]) => [...format(changes).matchAll(/^event: (\w+)$/gm)].map(([, kind]) => kind)
  assert.equal(kinds(many(STREAM_LIMITS.eventsPerLook)).length, STREAM_LIMITS.eventsPerLook)
  assert.equal(kinds(many(STREAM_LIMITS.eventsPerLook)).at(-1), 'spend')
  assert.equal(
    format(many(STREAM_LIMITS.eventsPerLook + 1)),
    `event: reset\ndata: {"changes":${STREAM_LIMITS.eventsPerLook + 1},"height":10}\n\n`,
  )
  const elsewhere: Change[] = [
    { kind: 'readiness', data: { ready: false, not_ready: [], height: null } },
    { kind: 'expiring', data: { outpoint, address: 'maker.onion:21', blocks_left: 3, height: 10 } },
  ]
  assert.equal(format(elsewhere), '')
  const reset: Change = { kind: 'reset', data: { changes: null, height: 10 } }
  assert.deepEqual(kinds([...elsewhere, reset]), ['reset'], 'whatever else a stream leaves out')
  assert.deepEqual(kinds([...many(STREAM_LIMITS.eventsPerLook), reset]), ['reset'])
})
