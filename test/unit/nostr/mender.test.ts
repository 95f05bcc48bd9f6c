/** When a relay is sent what is missing there, and when it is left alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Txid } from '../../../src/chain/types.ts'
import { MENDER_LIMITS, type Mendable, Mender } from '../../../src/nostr/mender.ts'
import type { HeldBond } from '../../../src/nostr/relay-view.ts'
import { txidOf } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const OK = { isAccepted: true, text: '' }
const refusal = (text: string) => ({ isAccepted: false, text })

function setUp(count = 20) {
  const clock = new HandClock()
  const mender = new Mender('main', clock, () => 0)
  const held = new Map<Txid, HeldBond>()
  const bonds: Mendable[] = Array.from({ length: count }, (_, i) => ({ txid: txidOf(i), sinceS: -1_000_000 }))
  const next = () => mender.next(bonds, (txid) => held.get(txid))?.txid
  const send = (ok: { isAccepted: boolean; text: string } | undefined) => {
    const txid = next()
    if (txid === undefined) return undefined
    mender.sent(txid)
    mender.answered(ok)
    if (ok?.isAccepted) held.set(txid, { untilS: clock.nowMs() / 1000 + 86_400, isOwn: true })
    return txid
  }
  return { clock, mender, held, bonds, next, send }
}

test('only what is missing, at most six a minute', () => {
  const { clock, held, next, send } = setUp()
  for (const i of [0, 2, 4]) held.set(txidOf(i), { untilS: 1e10, isOwn: false })
  const sent: Txid[] = []
  for (let i = 0; i < 100; i++) {
    const txid = send(OK)
    if (txid !== undefined) sent.push(txid)
    clock.atMs += 1_000
    const lastMinute = sent.length - (i < 60 ? 0 : MENDER_LIMITS.perMinute)
    assert.ok(lastMinute <= 2 * MENDER_LIMITS.perMinute)
    if (i < 60) assert.ok(sent.length <= MENDER_LIMITS.perMinute)
  }
  assert.deepEqual(sent.slice(0, 3), [txidOf(1), txidOf(3), txidOf(5)])
  assert.equal(new Set(sent).size, sent.length)
  clock.atMs += 600_000
  for (let i = 0; i < 12; i++) {
    send(OK)
    clock.atMs += 60_000
  }
  assert.equal(next(), undefined)
})

test('our own event is sent anew before it is over, another’s when it is missing', () => {
  const { clock, held, next } = setUp(2)
  const leftS = (s: number) => clock.nowMs() / 1000 + s
  held.set(txidOf(0), { untilS: leftS(MENDER_LIMITS.renewS + 10), isOwn: true })
  held.set(txidOf(1), { untilS: leftS(10), isOwn: false })
  assert.equal(next(), undefined)
  clock.atMs += 20_000
  assert.equal(next(), txidOf(0))
  held.set(txidOf(0), { untilS: 1e10, isOwn: false })
  assert.equal(next(), undefined)
  held.delete(txidOf(1))
  assert.equal(next(), txidOf(1))
})

test('a bond that was just confirmed is left to its maker for a while', () => {
  const { clock, bonds, next } = setUp(1)
  bonds[0]!.sinceS = clock.nowMs() / 1000
  assert.equal(next(), undefined)
  clock.atMs += MENDER_LIMITS.graceS * 1000 - 1
  assert.equal(next(), undefined)
  clock.atMs += 1
  assert.equal(next(), txidOf(0))
})

test('refusals and silence make it wait, ever longer; an acceptance ends that', () => {
  const { clock, mender, next, send } = setUp()
  const pausedMs = (ok: Parameters<typeof send>[0]) => {
    assert.ok(send(ok) !== undefined)
    const startMs = clock.atMs
    while (next() === undefined) clock.atMs += 1_000
    return clock.atMs - startMs
  }
  assert.equal(pausedMs(refusal('rate-limited: slow down')), MENDER_LIMITS.pauseMs)
  assert.equal(pausedMs(undefined), 2 * MENDER_LIMITS.pauseMs)
  assert.equal(pausedMs(refusal('blocked: no')), 4 * MENDER_LIMITS.lastingPauseMs)
  for (let i = 0; i < 10; i++) pausedMs(refusal('auth-required: who are you'))
  assert.equal(pausedMs(refusal('pow: 20 bits')), MENDER_LIMITS.pauseMsMax)
  send(OK)
  assert.equal(pausedMs(refusal('rate-limited: slow down')), MENDER_LIMITS.pauseMs)
  assert.deepEqual(mender.counts, { accepted: 1, duplicate: 0, refused: 14, silent: 1, unserved: 0 })
})

test('why it waits is told in the relay’s words, with what it said in place of an answer', () => {
  const { clock, mender, send } = setUp()
  send(refusal('restricted: members only'))
  assert.deepEqual(mender.pause, {
    why: 'restricted: members only',
    untilS: (clock.nowMs() + MENDER_LIMITS.lastingPauseMs) / 1000,
  })
  clock.atMs += MENDER_LIMITS.lastingPauseMs
  assert.equal(mender.pause, undefined)
  mender.sent(txidOf(3))
  mender.answered(undefined, 'event too large')
  const why = () => mender.pause?.why ?? ''
  assert.match(why(), /^it did not answer an event within 30 s, and said: event too large$/)
  mender.lost()
  assert.equal(mender.counts.silent, 1, 'nothing was under way')
  mender.sent(txidOf(3))
  mender.lost()
  assert.match(why(), /ended the connection/)
})

test('an event that was found wrong, or is not served, is not sent again and again; the others are', () => {
  const { clock, mender, next } = setUp(2)
  mender.sent(txidOf(0))
  mender.answered(OK)
  mender.unserved(txidOf(0))
  assert.equal(next(), txidOf(1))
  mender.sent(txidOf(1))
  mender.answered(refusal('invalid: I do not like it'))
  clock.atMs += MENDER_LIMITS.bondPauseMs - 1
  assert.equal(next(), undefined)
  clock.atMs += 1
  assert.equal(next(), txidOf(0))
  mender.unserved(txidOf(0))
  clock.atMs += MENDER_LIMITS.bondPauseMs
  assert.equal(next(), txidOf(1), 'the first waits twice as long')
  mender.served(txidOf(0))
  assert.equal(next(), txidOf(0))
})

test('an event that is about no bond counts among the six, and its refusal alone does not stop the others', () => {
  const { clock, mender, next } = setUp()
  for (let i = 0; i < MENDER_LIMITS.perMinute; i++) {
    assert.ok(mender.isReady)
    mender.sent()
    assert.ok(!mender.answered(refusal('blocked: event kind is blocked by relay')))
  }
  assert.ok(!mender.isReady)
  clock.atMs += 60_001
  assert.equal(next(), txidOf(0))
  const whyPaused = () => mender.pause?.why
  assert.equal(whyPaused(), undefined)
  mender.sent()
  mender.answered(refusal('rate-limited: slow down'))
  assert.match(JSON.stringify(mender.pause), /rate-limited: slow down/)
  assert.equal(next(), undefined)
  assert.deepEqual(Object.values(mender.counts), [0, 0, 0, 0, 0], 'of bonds alone')
})
