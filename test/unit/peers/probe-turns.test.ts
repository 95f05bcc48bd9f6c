/** Whose turn it is to be probed: what many bonds of one host cost, and what each of its addresses gets of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProbeTurns } from '../../../src/peers/probe-turns.ts'
import { afterProbe, probeRules, reachOf } from '../../../src/peers/reach.ts'
import type { MakerRecord } from '../../../src/peers/types.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const RULES = probeRules(10 * MINUTE, false)
const START = 1_800_000_000_000
/** In which a hundred addresses have had their turns. */
const DAYS = 2
const evil = (port: number) => `evil.onion:${port}`

/** Chance from a fixed row of numbers, evenly spread. */
function evenly(): () => number {
  let n = 0
  return () => (n++ * 0.6180339887) % 1
}

/** A market on a clock of its own, looked at every second; `answers`: who does. */
class Market {
  readonly records = new Map<string, MakerRecord>()
  readonly probes: { address: string; atMs: number }[] = []
  turns = new ProbeTurns(RULES, evenly())
  atMs = START
  readonly #answers: (address: string) => boolean

  constructor(answers: (address: string) => boolean) {
    this.#answers = answers
  }

  run(addresses: readonly string[], ms: number): void {
    for (const endMs = this.atMs + ms; this.atMs < endMs; this.atMs += 1_000) {
      const { due } = this.turns.due(
        addresses,
        (address) => this.records.get(address),
        () => false,
        this.atMs,
      )
      for (const { address } of due) this.#probe(address)
    }
  }

  #probe(address: string): void {
    this.probes.push({ address, atMs: this.atMs })
    const before = this.records.get(address)
    const finding = this.#answers(address)
      ? { outcome: 'answered' as const, dialect: 'unified' as const }
      : { outcome: 'failed' as const, failure: 'unreachable' as const, text: 'nobody' }
    const record = afterProbe(before, address, this.atMs, finding)
    this.records.set(address, record)
    this.turns.probed(record, before, false)
  }

  countOf(host: string): number {
    return this.probes.filter(({ address }) => address.startsWith(host)).length
  }
}

test('a hundred bonds of one host on a hundred ports cost what one maker costs, from the first minute on', () => {
  for (const doesAnswer of [true, false]) {
    const market = new Market(() => doesAnswer)
    const bonds = Array.from({ length: 100 }, (_, i) => evil(i + 1))
    market.run([...bonds, 'honest.onion:21'], 2_000)
    assert.deepEqual(
      market.probes.map(({ address }) => address),
      [evil(1), 'honest.onion:21'],
    )
    market.run([...bonds, 'honest.onion:21'], DAYS * 24 * HOUR)
    const [ofEvil, ofHonest] = [market.countOf('evil'), market.countOf('honest')]
    assert.ok(ofEvil <= DAYS * 24 * 7 && ofEvil >= DAYS * 24 * 5, `${ofEvil} probes of the host`)
    if (doesAnswer) assert.ok(ofHonest >= DAYS * 24 * 5, `${ofHonest} probes of the honest one`)
    assert.ok(new Set(market.probes.map(({ address }) => address)).size === 101, 'each has had its turn')
  }
})

test('bonds that come later find the host’s schedule as it is', () => {
  const market = new Market(() => true)
  market.run([evil(1)], MINUTE)
  for (let port = 2; port <= 60; port++) {
    market.run(
      Array.from({ length: port }, (_, i) => evil(i + 1)),
      MINUTE,
    )
  }
  assert.ok(market.countOf('evil') <= 8, `${market.countOf('evil')} probes in an hour`)
})

test('whoever announces somebody’s host with made-up ports does not make it unknown', () => {
  const real = evil(6102)
  const market = new Market((address) => address === real)
  const bonds = [real, ...Array.from({ length: 100 }, (_, i) => evil(i + 1))]
  market.run(bonds, HOUR)
  for (let i = 0; i < DAYS * 72; i++) {
    market.run(bonds, 20 * MINUTE)
    assert.equal(reachOf(market.records.get(real), market.atMs, RULES), 'up')
  }
  assert.ok(
    bonds.slice(1).every((address) => market.records.get(address)!.failures > 0),
    'the others are looked at all the same',
  )
})

test('two addresses of one host take turns', () => {
  const market = new Market(() => true)
  market.run([evil(1), evil(2)], 2 * HOUR)
  const times = (port: number) => market.probes.filter(({ address }) => address === evil(port)).length
  assert.ok(Math.abs(times(1) - times(2)) <= 1 && times(1) >= 5, `${times(1)} and ${times(2)}`)
})

test('a restart begins no new schedule', () => {
  const market = new Market(() => true)
  const bonds = Array.from({ length: 20 }, (_, i) => evil(i + 1))
  market.run(bonds, HOUR)
  const before = market.countOf('evil')
  for (let i = 0; i < 10; i++) {
    market.turns = new ProbeTurns(RULES, evenly())
    market.run(bonds, MINUTE)
  }
  assert.ok(market.countOf('evil') - before <= 2)
})

test('who is put forward is next, once, and its host’s schedule goes on from there', () => {
  const market = new Market(() => false)
  const [one, other] = ['one.onion:21', 'one.onion:22'] as const
  market.run([one, other], 2_000)
  assert.equal(market.turns.putForward('unknown.onion:21', market.atMs), false)
  const before = market.countOf('one.onion')
  assert.ok(market.turns.putForward(one, market.atMs))
  assert.ok(!market.turns.putForward(one, market.atMs), 'it is its turn already')
  market.run([one, other], 3_000)
  assert.equal(market.countOf('one.onion'), before + 1)
  market.run([one, other], RULES.intervalMs / 2)
  assert.equal(market.countOf('one.onion'), before + 1, 'the host’s other addresses wait as if it had been their turn')
})

test('a host that is being probed is not probed beside it', () => {
  const turns = new ProbeTurns(RULES, () => 0.5)
  const ask = (busy: string) =>
    turns.due(
      [evil(1), 'other.onion:21'],
      () => undefined,
      (host) => host === busy,
      START,
    )
  assert.deepEqual(
    ask('evil.onion').due.map(({ address }) => address),
    ['other.onion:21'],
  )
  assert.deepEqual(
    ask('nobody').due.map(({ host }) => host),
    ['evil.onion', 'other.onion'],
  )
})
