/** How often bitcoind is tried, and what is said of it: only progress makes the pauses short again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { Contact, noteView } from '../../../src/chain/contact.ts'
import { FOLLOWING_LIMITS, newFollowing } from '../../../src/chain/following.ts'
import type { ChainView, NodeInfo } from '../../../src/chain/node-reader.ts'
import { hashOf, tipAt } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const INFO: NodeInfo = { version: 1, subversion: '/x/', source: 'rest', zmq: { blocks: false, mempoolEvents: false } }
const viewAt = (height: number, change: Partial<ChainView> = {}): ChainView => ({
  best: tipAt(height),
  isInitialDownload: false,
  headers: height,
  pruneHeight: 0,
  following: [],
  ...change,
})

function setup() {
  const lines: { msg: string; [field: string]: unknown }[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  const clock = new HandClock()
  const following = newFollowing()
  const contact = new Contact({ clock, log, following, random: () => 1 })
  const look = (view: ChainView) => contact.answered(view, noteView({ following, clock }, view))
  return { contact, following, clock, look, lines, said: () => lines.map(({ msg }) => msg) }
}

test('a bitcoind that answers a look and is lost again, each time: the pauses grow, the state stays, the log is quiet', () => {
  const { contact, following, look, clock, said } = setup()
  contact.opened(INFO)
  look(viewAt(100))
  const pauses: number[] = []
  const states = new Set<string>()
  for (let i = 0; i < 200; i++) {
    pauses.push(contact.lost('socket hang up'))
    contact.opened(INFO)
    look(viewAt(100))
    contact.idle()
    if (i > 1) states.add(following.node.kind)
    clock.atMs += pauses.at(-1)!
  }
  assert.deepEqual(pauses.slice(0, 6), [200, 400, 800, 1_600, 3_000, 3_000])
  assert.deepEqual([...states], ['unreachable'], 'an answer alone is not believed any more')
  const expected = ['bitcoind connected', 'bitcoind unreachable', 'bitcoind connected', 'bitcoind unreachable']
  assert.deepEqual(said(), expected)
  contact.waited()
  assert.deepEqual(said(), [...expected, 'bitcoind connected'])
  assert.equal(following.node.kind, 'following')
})

test('a bitcoind that is not there at the start, and then is: two lines', () => {
  const { contact, look, said, lines } = setup()
  for (let i = 0; i < 20; i++) contact.lost('connection refused')
  assert.equal(contact.hasMet, false)
  contact.opened(INFO)
  look(viewAt(100))
  contact.idle()
  contact.waited()
  assert.deepEqual(said(), ['bitcoind unreachable', 'bitcoind connected'])
  assert.equal(lines[1]!.tries, 20)
})

test('a new best block, and a block connected or taken back, make the pauses short again', () => {
  for (const progress of ['new best', 'moved'] as const) {
    const { contact, look } = setup()
    contact.opened(INFO)
    look(viewAt(100))
    for (let i = 0; i < 9; i++) contact.lost('x')
    contact.opened(INFO)
    if (progress === 'moved') contact.moved()
    else look(viewAt(101))
    assert.equal(contact.lost('x'), 200)
  }
})

test('words that change with every try are not a line each', () => {
  const { contact, clock, lines, following } = setup()
  for (let i = 0; i < 400; i++) clock.atMs += contact.lost(`try ${i}`)
  assert.equal(following.node.detail, 'try 399')
  assert.ok(lines.length >= 15 && lines.length <= 21, `${lines.length} lines in 20 minutes`)
  assert.ok(Number(lines.at(-1)!.tries) > 350)
})

test('a block that can not be had: one line, its height and reason, pauses up to ten seconds, no time left', () => {
  const { contact, following, look, clock, lines } = setup()
  contact.opened(INFO)
  look(viewAt(900))
  following.progress = { from: 1, at: 699, to: 900, blocksPerS: 9, mbPerS: 9, etaS: 20 }
  const lack = () => {
    const ms = contact.lacks(700, hashOf(700), "Can't read block from disk")
    clock.atMs += ms
    look(viewAt(900))
    return ms
  }
  assert.equal(lack(), 200)
  assert.equal(following.node.kind, 'following', 'the chain may have moved between two calls')
  assert.ok(contact.isLacking)
  const pauses = Array.from({ length: 1_000 }, lack)
  assert.deepEqual(pauses.slice(0, 7), [400, 800, 1_600, 3_200, 6_400, 10_000, 10_000])
  const detail = "waits for block 700: Can't read block from disk"
  assert.deepEqual(following.node, { kind: 'waiting-for-block', height: 700, detail })
  assert.deepEqual(following.progress, { from: 1, at: 699, to: 900, blocksPerS: 0, mbPerS: 0, etaS: undefined })
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ['bitcoind connected', 'waiting for a block that bitcoind can not give'],
  )
  contact.moved()
  assert.equal(following.node.kind, 'following')
  const told = lines.at(-1)!
  assert.deepEqual([told.msg, told.height, told.tries], ['the block that was waited for is there', 700, 1_001])
  assert.equal(contact.lacks(701, hashOf(701), 'x'), 200)
})

test('blocks that come one by one, as they are downloaded: a line or two a minute', () => {
  const { contact, clock, look, lines } = setup()
  contact.opened(INFO)
  look(viewAt(900))
  for (let height = 1; height <= 600; height++) {
    for (let i = 0; i < 3; i++) clock.atMs += contact.lacks(height, hashOf(height), 'not downloaded')
    contact.moved()
  }
  assert.ok(lines.length < 40, `${lines.length} lines in 14 minutes`)
})

test('another block at that height is another wait', () => {
  const { contact, following, look } = setup()
  contact.opened(INFO)
  look(viewAt(900))
  contact.lacks(700, hashOf(700), 'x')
  contact.lacks(700, hashOf(700), 'x')
  assert.equal(following.node.kind, 'waiting-for-block')
  contact.moved()
  contact.lacks(700, hashOf(7_000), 'x')
  assert.equal(following.node.kind, 'following')
})

test('a look notes how far headers are ahead, and since when; the age of the tip; the peers', () => {
  const { following, clock, look } = setup()
  const startMs = clock.atMs
  look(viewAt(100, { headers: 102, bestTimeS: clock.atMs / 1000 - 7_300, peers: 8 }))
  assert.deepEqual([following.headersAhead, following.headersAheadSinceMs], [2, undefined])
  assert.deepEqual([following.bestAgeS, following.peers], [7_300, 8])
  look(viewAt(100, { headers: 103 }))
  clock.atMs += FOLLOWING_LIMITS.headersAheadMsMax
  look(viewAt(101, { headers: 140 }))
  assert.deepEqual([following.headersAhead, following.headersAheadSinceMs], [39, startMs])
  look(viewAt(138, { headers: 140 }))
  assert.deepEqual([following.headersAhead, following.headersAheadSinceMs], [2, undefined])
})
