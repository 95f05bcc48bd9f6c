/** What strangers cost: allowances, the order of what waits, and pieces. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { PeerFault } from '../../../src/errors.ts'
import { Account, WORK_LIMITS, Work } from '../../../src/wire/work.ts'
import { systemClock } from '../../../src/world.ts'
import { HandClock } from '../../support/wire.ts'

const LIMITS = { unitsPerS: 10, unitsBurst: 100 }
const open = () => new AbortController().signal

test('an allowance is spent at once and grows in time, never beyond the burst', () => {
  const clock = new HandClock()
  const account = new Account(LIMITS, clock)
  account.spend(250)
  assert.equal(account.left, -150)
  clock.atMs += 15_100
  assert.equal(account.left, 1)
  clock.atMs += 3_600_000
  assert.equal(account.left, 100)
})

test('what was spent is forgotten by half in every half-life', () => {
  const clock = new HandClock()
  const account = new Account(LIMITS, clock)
  account.spend(80)
  clock.atMs += 2 * WORK_LIMITS.halfLifeMs
  assert.equal(account.lately, 20)
})

test('connections of one circuit share an allowance, for as long as one of them is open', () => {
  const work = new Work(LIMITS, new HandClock())
  const ends = [new AbortController(), new AbortController(), new AbortController()]
  const [a, b] = ends.map(({ signal }) => work.lane(signal, 'fc00::1'))
  const other = work.lane(open(), 'fc00::2')
  a!.charge(60)
  b!.charge(30)
  assert.deepEqual([a!.account.left, b!.account.left, other.account.left], [10, 10, 100])
  assert.deepEqual([a!.units, b!.units], [60, 30])
  ends[0]!.abort()
  assert.equal(work.lane(ends[2]!.signal, 'fc00::1').account.left, 10)
  ends[1]!.abort()
  ends[2]!.abort()
  assert.equal(work.lane(open(), 'fc00::1').account.left, 100, 'all have gone: it is a new client')
})

test('who has asked for much lately waits behind who has not, whatever came first', async () => {
  const work = new Work(LIMITS, new HandClock())
  const [greedy, poller, newcomer] = [work.lane(open()), work.lane(open()), work.lane(open())]
  greedy.charge(5_000)
  poller.charge(20)
  const busy = Promise.withResolvers<void>()
  const blockers = Array.from({ length: WORK_LIMITS.questionsAtOnce }, () => work.lane(open()).ask(() => busy.promise))
  const order: string[] = []
  const all = [
    greedy.ask(async () => order.push('greedy')),
    greedy.ask(async () => order.push('greedy again')),
    poller.ask(async () => order.push('poller')),
    newcomer.ask(async () => order.push('newcomer')),
  ]
  assert.equal(work.waiting.questions, 4)
  busy.resolve()
  await Promise.all([...blockers, ...all])
  assert.deepEqual(order, ['newcomer', 'poller', 'greedy', 'greedy again'])
})

test('who waits is not passed for ever: a long wait outweighs what was spent', async () => {
  const clock = new HandClock()
  const work = new Work(LIMITS, clock)
  const busy = Promise.withResolvers<void>()
  const blockers = Array.from({ length: WORK_LIMITS.questionsAtOnce }, () => work.lane(open()).ask(() => busy.promise))
  const order: string[] = []
  const greedy = work.lane(open())
  greedy.charge(1_000)
  const early = greedy.ask(async () => order.push('greedy'))
  clock.atMs += 1_000 * WORK_LIMITS.behindMsPerUnit + 1
  const late = work.lane(open()).ask(async () => order.push('newcomer'))
  busy.resolve()
  await Promise.all([...blockers, early, late])
  assert.deepEqual(order, ['greedy', 'newcomer'])
})

test('what a small request needs is due with it; a large one waits anew with each piece', async () => {
  const place = async (isLarge: boolean) => {
    const clock = new HandClock()
    const work = new Work(LIMITS, clock)
    const order: string[] = []
    const lane = work.lane(open())
    const answer = async () => {
      for (let i = 1; i <= 3; i++) await lane.piece(() => order.push(`piece ${i}`))
    }
    const all: Promise<unknown>[] = []
    await work.lane(open()).piece(() => {
      all.push(Promise.resolve(lane.begin(() => (isLarge ? lane.large(answer) : answer())))) // waits for this piece's end
      clock.atMs += 1
      for (let i = 0; i < 20; i++) all.push(work.lane(open()).piece(() => order.push('newcomer')))
    })
    await Promise.all(all)
    return order.indexOf('piece 3')
  }
  assert.ok((await place(false)) < 10, `number ${await place(false)}`)
  assert.ok((await place(true)) > 20, `number ${await place(true)}`)
})

test('so many questions and large requests at once, and no more', async () => {
  const work = new Work(LIMITS, systemClock)
  for (const [atOnce, run] of [
    [WORK_LIMITS.questionsAtOnce, (task: () => Promise<void>) => work.lane(open()).ask(task)],
    [WORK_LIMITS.largeAtOnce, (task: () => Promise<void>) => work.lane(open()).large(task)],
  ] as const) {
    let running = 0
    let most = 0
    await Promise.all(
      Array.from({ length: 3 * atOnce }, () =>
        run(async () => {
          most = Math.max(most, ++running)
          await new Promise(setImmediate)
          running--
        }),
      ),
    )
    assert.equal(most, atOnce)
  }
})

test('a client that goes takes what waits along, and what has begun keeps its place to its end', async () => {
  const work = new Work(LIMITS, systemClock)
  const busy = Promise.withResolvers<void>()
  const client = new AbortController()
  const lane = work.lane(client.signal)
  const begun = Array.from({ length: WORK_LIMITS.questionsAtOnce }, () => lane.ask(() => busy.promise))
  const waiting = lane.ask(() => assert.fail('nobody wants it'))
  const other = work.lane(open()).ask(async () => 'answered')
  client.abort(new DOMException('gone', 'AbortError'))
  await assert.rejects(waiting, { name: 'AbortError' })
  await assert.rejects(
    lane.ask(() => assert.fail('nobody wants it')),
    { name: 'AbortError' },
  )
  assert.equal(work.waiting.questions, 1, 'the other waits for a place')
  busy.resolve()
  await Promise.all(begun)
  assert.equal(await other, 'answered')
})

test('a wait has an end: then the client is told busy', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const work = new Work(LIMITS, new HandClock())
  const busy = Promise.withResolvers<void>()
  const blockers = Array.from({ length: WORK_LIMITS.questionsAtOnce }, () => work.lane(open()).ask(() => busy.promise))
  const waiting = work.lane(open()).ask(() => assert.fail('it came too late'))
  t.mock.timers.tick(WORK_LIMITS.waitMsMax)
  await assert.rejects(waiting, (error) => error instanceof PeerFault && error.code === 'busy')
  assert.equal(work.counts.refused, 1)
  t.mock.timers.tick(10 * WORK_LIMITS.waitMsMax)
  busy.resolve()
  await Promise.all(blockers) // what has begun is not cut off
})

test('pieces run one at a time, and sockets have their turn between them', async () => {
  const work = new Work(LIMITS, systemClock)
  let turns = 0
  const stop = { now: false }
  const count = () => {
    turns++
    if (!stop.now) setImmediate(count)
  }
  setImmediate(count)
  const spin = () => {
    const endMs = performance.now() + WORK_LIMITS.piecesMs + 1
    while (performance.now() < endMs);
    return turns
  }
  const seen = await Promise.all(Array.from({ length: 20 }, () => work.lane(open()).piece(spin)))
  stop.now = true
  assert.equal(new Set(seen).size, 20, 'each in a turn of its own')
  assert(work.counts.longestPieceMs >= WORK_LIMITS.piecesMs)
  const cheap = await Promise.all(Array.from({ length: 20 }, () => work.lane(open()).piece(() => turns)))
  assert.equal(cheap.length, 20)
  await assert.rejects(
    work.lane(open()).piece(() => {
      throw new PeerFault('limit', 'no')
    }),
    PeerFault,
  )
})

test('nothing is left on a client that stays', async () => {
  const work = new Work(LIMITS, systemClock)
  const client = new AbortController()
  const lane = work.lane(client.signal)
  for (let i = 0; i < 100; i++) {
    await lane.piece(() => i)
    await lane.ask(async () => i)
    await lane.large(async () => i)
  }
  assert.deepEqual(getEventListeners(client.signal, 'abort'), [])
  assert.deepEqual(work.waiting, { pieces: 0, questions: 0, large: 0 })
})
