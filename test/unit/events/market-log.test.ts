/**
 * The log's ear, over a feed that the test speaks for: what begins without a line for each, what is grouped, and readiness
 * with how long it was missing. The clock is the test's.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { newFollowing } from '../../../src/chain/following.ts'
import type { Core } from '../../../src/core.ts'
import type { Change } from '../../../src/events/changes.ts'
import { CROWD_LIMITS, Crowds } from '../../../src/events/crowds.ts'
import { runMarketLog } from '../../../src/events/market-log.ts'
import { factsOf } from '../../support/facts.ts'
import { HandClock } from '../../support/wire.ts'

const found = (n: number): Change => ({
  kind: 'bond',
  data: { outpoint: `${n}`, address: 'm.onion:21', state: 'live', previous: null, height: 900 },
})
const gone = (n: number): Change => ({
  kind: 'bond',
  data: { ...found(n).data, state: 'expired', previous: 'live' } as never,
})
const ready = (isReady: boolean): Change => ({
  kind: 'readiness',
  data: { ready: isReady, not_ready: isReady ? [] : ['bitcoind: away'], height: 900 },
})

/** What the log has once `work` is done: the feed is `tell`, time goes on by `wait`. Ended as by a stop. */
async function logOf(work: (hands: { tell(...changes: Change[]): void; wait(ms: number): void }) => void) {
  const lines: Record<string, unknown>[] = []
  const clock = new HandClock()
  let tell: (changes: readonly Change[]) => void = () => {}
  const core = {
    ...{
      ...factsOf({}),
      clock,
      unseen: () => undefined,
      ownAddress: () => 'us.onion:8080',
      db: { first: () => undefined },
    },
    cells: { following: newFollowing(), onion: { kind: 'disabled', detail: '' } },
    log: pino(
      { level: 'info', base: null, timestamp: false },
      { write: (line: string) => lines.push(JSON.parse(line)) },
    ),
    changes: {
      listen(listener: typeof tell) {
        tell = listener
        return () => {}
      },
    },
  }
  const stop = new AbortController()
  const running = runMarketLog(core as unknown as Core, stop.signal)
  work({
    tell: (...changes) => tell(changes),
    wait(ms) {
      clock.atMs += ms
    },
  })
  stop.abort(new DOMException('stop', 'AbortError'))
  await assert.rejects(running, { name: 'AbortError' })
  return lines
}

test('a scan is one line, whatever it has found; from then on bonds are lines, a crowd of them 20 and a number', async () => {
  const count = 500
  const lines = await logOf(({ tell }) => {
    tell({ kind: 'reset', data: { changes: null, height: 900 } })
    tell(...Array.from({ length: count }, (_, i) => found(i)), gone(1))
    tell({ kind: 'reset', data: { changes: null, height: 901 } })
  })
  const told = lines.map(({ msg }) => msg)
  assert.deepEqual(told.slice(0, 2), ['not ready', 'the market is known: from here on its changes are told'])
  assert.deepEqual(told.slice(2, -2), Array(CROWD_LIMITS.oneByOne).fill('bond found'))
  assert.equal(told.at(-2), 'bond expired', 'of another kind, and hidden by nothing')
  assert.deepEqual(lines.at(-1)!.untold, { 'bond found': count - CROWD_LIMITS.oneByOne })
})

test('a number is told once its time is over, then lines are told again', () => {
  const crowds = new Crowds()
  const { oneByOne, windowMs } = CROWD_LIMITS
  const told = (count: number, nowMs: number) =>
    Array.from({ length: count }, () => crowds.add('maker up', nowMs)).filter(Boolean).length
  assert.equal(told(oneByOne + 7, 0), oneByOne)
  assert.equal(crowds.due(windowMs - 1), undefined)
  assert.deepEqual(crowds.due(windowMs), { 'maker up': 7 })
  assert.equal(told(3, windowMs), 3)
  assert.equal(crowds.due(3 * windowMs), undefined, 'none was held back')
  assert.equal(told(oneByOne, 3 * windowMs), oneByOne)
})

test('ready is told with how long it was not, and a tracker that comes and goes is told a dozen times', async () => {
  const lines = await logOf(({ tell, wait }) => {
    wait(5_000)
    tell(ready(true))
    tell(ready(false))
    wait(60_000)
    tell(ready(true))
    for (let i = 0; i < 50; i++) tell(ready(i % 2 === 1))
  })
  const told = lines.map(({ msg, level, afterMs }) => [msg, level, afterMs])
  assert.deepEqual(told.slice(0, 4), [
    ['not ready', 30, undefined],
    ['ready', 30, 5_000],
    ['not ready', 40, undefined],
    ['ready', 30, 60_000],
  ])
  assert.equal(told.length, 1 + 12)
})
