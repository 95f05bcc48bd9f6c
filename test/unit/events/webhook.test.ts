/** What is worth telling an operator, and what is not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Change, changesBetween, type MarketLook } from '../../../src/events/changes.ts'
import { WEBHOOK_EVENTS, WEBHOOK_LIMITS, webhookEvents, webhookRoute } from '../../../src/events/webhook.ts'
import type { Reach } from '../../../src/peers/types.ts'
import { hashOf, tipAt } from '../../support/bonds.ts'

const EXPIRING_BLOCKS = 100
const REORG_DEPTH = 3
const NAME = `${'cd'.repeat(32)}:0`

function look(parts: {
  height?: number
  left?: number
  reach?: Reach
  reorgs?: MarketLook['reorgs']
  agrees?: boolean
}): MarketLook {
  const { height = 500, left, reach, reorgs = { count: 0, last: [] }, agrees } = parts
  const lists = { height, onlyOurs: [NAME], onlyTheirs: [] }
  return {
    blocks: Array.from({ length: 20 }, (_, i) => tipAt(height - i)),
    digest: hashOf(1),
    liveCount: 1,
    bonds: new Map(
      left === undefined ? [] : [[NAME, { address: 'a.onion:21', state: 'live' as const, blocksLeft: left }]],
    ),
    makers: new Map(reach === undefined ? [] : [['a.onion:21', { reach, lastUpS: 7 }]]),
    spends: new Map(),
    areSpendsCut: false,
    reorgs,
    trackers: new Map(agrees === undefined ? [] : [['t.onion:8080', { agrees, ...lists }]]),
  }
}
const at = (height: number) => ({ height, block_hash: hashOf(height) })
const between = (before: MarketLook, now: MarketLook) =>
  webhookEvents(
    changesBetween(
      { ready: true, notReady: [], market: before },
      { ready: true, notReady: [], market: now },
      EXPIRING_BLOCKS,
    ),
    REORG_DEPTH,
  )
const names = (before: MarketLook, now: MarketLook) => between(before, now).map(({ event }) => event)

test('a bond that ends soon is told once, when it crosses the line', () => {
  assert.deepEqual(between(look({ left: 101 }), look({ left: 100, height: 501 })), [
    { event: 'bond_expiring', data: { address: 'a.onion:21', outpoint: NAME, blocks_left: 100, height: 501 } },
  ])
  assert.deepEqual(names(look({ left: 150 }), look({ left: 3 })), ['bond_expiring'], 'after a long absence too')
  assert.deepEqual(names(look({ left: 100 }), look({ left: 99 })), [])
  assert.deepEqual(names(look({}), look({ left: 50 })), [], 'born beyond it')
  assert.deepEqual(names(look({ left: 101 }), look({})), [], 'spent')
})

test('makers: down and back, and nothing of who is merely unknown', () => {
  const data = { address: 'a.onion:21', listed: true, last_up: 7, height: 500 }
  assert.deepEqual(between(look({ reach: 'up' }), look({ reach: 'down' })), [
    { event: 'maker_down', data: { ...data, reach: 'down', previous: 'up' } },
  ])
  assert.deepEqual(between(look({ reach: 'down' }), look({ reach: 'up' })), [
    { event: 'maker_up', data: { ...data, reach: 'up', previous: 'down' } },
  ])
  assert.deepEqual(names(look({ reach: 'unknown' }), look({ reach: 'down' })), ['maker_down'])
  assert.deepEqual(names(look({ reach: 'up' }), look({ reach: 'unknown' })), [])
  assert.deepEqual(names(look({ reach: 'down' }), look({ reach: 'down' })), [])
  assert.deepEqual(names(look({}), look({ reach: 'down' })), [], 'its bond has just confirmed')
})

test('reorgs from the depth on that was asked for', () => {
  const from = { height: 499, hash: tipAt(499).hash }
  const reorgs = (depth: number) => ({ count: 1, last: [{ depth, from, forkHeight: 499 - depth }] })
  const [reorg, ...others] = between(look({}), look({ reorgs: reorgs(3) }))
  const to = { height: 500, block_hash: tipAt(500).hash }
  assert.deepEqual(
    [reorg, others],
    [
      {
        event: 'reorg',
        data: { depth: 3, fork_height: 496, from: { height: 499, block_hash: from.hash }, to, ...to },
      },
      [],
    ],
  )
  assert.deepEqual(names(look({}), look({ reorgs: reorgs(2) })), [])
  assert.deepEqual(names(look({ reorgs: reorgs(3) }), look({ reorgs: reorgs(3) })), [])
})

test('readiness: lost and back', () => {
  const told = (ready: boolean) =>
    webhookEvents([{ kind: 'readiness', data: { ready, not_ready: [], height: 5 } }], REORG_DEPTH)[0]?.event
  assert.deepEqual([told(false), told(true)], ['not_ready', 'ready'])
})

test('more than the lists could tell better is told as one', () => {
  const down = (n: number): Change => ({
    kind: 'maker',
    data: { address: `${n}.onion:21`, listed: true, reach: 'down', previous: 'up', last_up: null, height: 9 },
  })
  const many = Array.from({ length: WEBHOOK_LIMITS.eventsPerLook + 1 }, (_, i) => down(i))
  assert.equal(webhookEvents(many.slice(1), REORG_DEPTH).length, WEBHOOK_LIMITS.eventsPerLook)
  assert.deepEqual(webhookEvents(many, REORG_DEPTH), [{ event: 'reset', data: { changes: many.length, height: 9 } }])
  assert.ok(WEBHOOK_EVENTS.includes('reset'))
  const [reorg, spend, bond]: Change[] = [
    {
      kind: 'reorg',
      data: { depth: 3, fork_height: 6, from: at(9), to: at(9), ...at(9) },
    },
    { kind: 'spend', data: { outpoint: NAME, txid: hashOf(2), state: 'mempool', spent_height: null, height: 9 } },
    { kind: 'bond', data: { outpoint: NAME, address: 'a.onion:21', state: 'live', previous: null, height: 9 } },
  ]
  const told = webhookEvents([bond!, spend!, reorg!, ...many.slice(2)], REORG_DEPTH)
  assert.deepEqual([told[0]!.event, told.length], ['reorg', WEBHOOK_LIMITS.eventsPerLook], 'only what is told counts')
  assert.deepEqual(webhookEvents([reorg!, ...many.slice(1)], REORG_DEPTH), [
    { event: 'reset', data: { changes: many.length, height: 9 } },
  ])
})

test('trackers: a first comparison is told when it is bad news, then each change', () => {
  const data = {
    address: 't.onion:8080',
    agrees: false,
    previous: null,
    only_ours: [NAME],
    only_theirs: [],
    height: 500,
  }
  assert.deepEqual(between(look({}), look({ agrees: false })), [{ event: 'tracker_disagrees', data }])
  assert.deepEqual(names(look({}), look({ agrees: true })), [])
  assert.deepEqual(names(look({ agrees: true }), look({ agrees: false })), ['tracker_disagrees'])
  assert.deepEqual(names(look({ agrees: false }), look({ agrees: true })), ['tracker_agrees'])
  assert.deepEqual(names(look({ agrees: false }), look({ agrees: false })), [])
})

test('the way to the receiver: through Tor, but for this machine and where the operator says otherwise', () => {
  const socks = { host: '127.0.0.1', port: 9050 }
  const route = (url: string, { direct = false, tor = true } = {}) =>
    webhookRoute({ url: new URL(url), socks: tor ? socks : undefined, direct })
  const onion = `http://${'a'.repeat(56)}.onion/`
  for (const url of ['https://example.com/', 'http://203.0.113.9:1/', 'http://[2001:db8::1]/', onion]) {
    assert.equal(route(url), socks, url)
  }
  for (const url of ['http://127.0.0.1:1/', 'http://127.9.9.9/', 'http://localhost:1/', 'http://[::1]:8/']) {
    assert.equal(route(url), 'direct', url)
  }
  assert.equal(route('https://example.com/', { direct: true }), 'direct')
  assert.equal(route('https://example.com/', { tor: false }), 'direct')
  assert.equal(route(onion, { direct: true }), socks, 'an onion is reached no other way')
})
