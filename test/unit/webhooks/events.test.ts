/** What is worth telling an operator, and what is not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asBlockHash, asTxid } from '../../../src/chain/types.ts'
import type { Reach } from '../../../src/peers/types.ts'
import { eventsBetween, type Look } from '../../../src/webhooks/events.ts'

const RULES = { expiringBlocks: 100, reorgDepth: 3 }
const hash = asBlockHash('ab'.repeat(32))
const outpoint = { txid: asTxid('cd'.repeat(32)), vout: 0 }
const NAME = `${'cd'.repeat(32)}:0`

function look(parts: {
  height?: number
  left?: number
  reach?: Reach
  reorgs?: Look['reorgs']
  agrees?: boolean
}): Look {
  const { height = 500, left, reach, reorgs = { count: 0, depth: 0, forkHeight: 0 }, agrees } = parts
  const lists = { height, onlyOurs: [NAME], onlyTheirs: [] }
  return {
    tip: { height, hash },
    bonds: new Map(left === undefined ? [] : [[NAME, { address: 'a.onion:21', outpoint, blocksLeft: left }]]),
    makers: new Map(reach === undefined ? [] : [['a.onion:21', { reach, lastUpS: 7 }]]),
    reorgs,
    trackers: new Map(agrees === undefined ? [] : [['t.onion:8080', { agrees, ...lists }]]),
  }
}
const between = (before: Look, now: Look) => eventsBetween(before, now, RULES)
const names = (before: Look, now: Look) => between(before, now).map(({ event }) => event)

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
  const data = { address: 'a.onion:21', last_up: 7, height: 500 }
  assert.deepEqual(between(look({ reach: 'up' }), look({ reach: 'down' })), [{ event: 'maker_down', data }])
  assert.deepEqual(between(look({ reach: 'down' }), look({ reach: 'up' })), [{ event: 'maker_up', data }])
  assert.deepEqual(names(look({ reach: 'unknown' }), look({ reach: 'down' })), ['maker_down'])
  assert.deepEqual(names(look({ reach: 'up' }), look({ reach: 'unknown' })), [])
  assert.deepEqual(names(look({ reach: 'down' }), look({ reach: 'down' })), [])
  assert.deepEqual(names(look({}), look({ reach: 'down' })), [], 'its bond has just confirmed')
})

test('reorgs from the depth on that was asked for', () => {
  const reorgs = (count: number, depth: number) => ({ count, depth, forkHeight: 490 })
  assert.deepEqual(between(look({ reorgs: reorgs(1, 2) }), look({ reorgs: reorgs(2, 3) })), [
    { event: 'reorg', data: { depth: 3, fork_height: 490, height: 500, block_hash: hash } },
  ])
  assert.deepEqual(names(look({ reorgs: reorgs(1, 2) }), look({ reorgs: reorgs(2, 2) })), [])
  assert.deepEqual(names(look({ reorgs: reorgs(2, 3) }), look({ reorgs: reorgs(2, 3) })), [])
})

test('trackers: a first comparison is told when it is bad news, then each change', () => {
  const data = { address: 't.onion:8080', height: 500, only_ours: [NAME], only_theirs: [] }
  assert.deepEqual(between(look({}), look({ agrees: false })), [{ event: 'tracker_disagrees', data }])
  assert.deepEqual(names(look({}), look({ agrees: true })), [])
  assert.deepEqual(names(look({ agrees: true }), look({ agrees: false })), ['tracker_disagrees'])
  assert.deepEqual(names(look({ agrees: false }), look({ agrees: true })), ['tracker_agrees'])
  assert.deepEqual(names(look({ agrees: false }), look({ agrees: false })), [])
})
