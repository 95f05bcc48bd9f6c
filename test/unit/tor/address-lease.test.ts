import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { TransientError } from '../../../src/errors.ts'
import { AddressLease, HELD_BY_ANOTHER, LEASE_TIMES, type LeaseState } from '../../../src/tor/address-lease.ts'
import { rightUntilMs, Tenure, TenureEnd } from '../../../src/tor/tenure.ts'
import { systemClock } from '../../../src/world.ts'
import { waitUntil } from '../../sandbox/wait.ts'

/** With a margin of which a busy machine uses up no more than a part. */
const TIMES = { lengthMs: 2_000, marginMs: 1_500, renewMs: 50, standbyMs: 10, retryMs: 20, unfitMs: 60, dropMs: 100 }

/** The store's side of it. */
class Store {
  holder: string | undefined
  untilMs = 0
  isAway = false
  /** Asked, and never answered. */
  isStuck = false

  of(name: string) {
    return {
      take: async (_: string, lengthMs: number): Promise<boolean> => {
        if (this.isAway) throw new TransientError('the store is away')
        if (this.isStuck) return new Promise(() => {})
        if (this.holder !== name && performance.now() < this.untilMs) return false
        this.holder = name
        this.untilMs = performance.now() + lengthMs
        return true
      },
      drop: async () => {
        if (this.holder === name) this.untilMs = 0
      },
    }
  }
}

/** One tracker. `holds`: whether it publishes just now. */
function start(t: TestContext, store: Store, name: string) {
  const it = {
    holds: false,
    withdrewMs: 0,
    unfit: undefined as string | undefined,
    states: [] as LeaseState[],
    end: async () => {},
  }
  const lease = new AddressLease(
    {
      clock: systemClock,
      random: Math.random,
      log: pino({ level: 'silent' }),
      onionHost: 'shared.onion',
      leases: store.of(name),
      unfit: () => it.unfit,
      report: (state) => it.states.push(state),
    },
    TIMES,
  )
  const stop = new AbortController()
  const hold = (tenure: Tenure) =>
    new Promise<void>((_, reject) => {
      it.holds = true
      tenure.signal.addEventListener('abort', () => {
        it.holds = false
        it.withdrewMs = performance.now()
        reject(tenure.signal.reason)
      })
    })
  const running = lease.run(hold, stop.signal).catch((error: unknown) => {
    if (error !== stop.signal.reason) throw error
  })
  it.end = async () => {
    stop.abort(new DOMException('stop', 'AbortError'))
    await running
  }
  t.after(it.end)
  return it
}

test('the holder’s right ends before the store’s lease does, however long the answer took', () => {
  const askedMs = 1_000
  for (const answerMs of [0, 1, 700, 5_000]) {
    const countedFromMs = askedMs + answerMs / 2 // somewhere between question and answer
    assert.ok(rightUntilMs(askedMs, LEASE_TIMES) <= countedFromMs + LEASE_TIMES.lengthMs - LEASE_TIMES.marginMs)
  }
})

test('a store that takes a second for every answer costs nobody the lease; a death is missed for less than three', () => {
  const { lengthMs, marginMs, renewMs, standbyMs } = LEASE_TIMES
  const slowMs = 1_000
  const roundMs = Math.max(renewMs, slowMs) // asked again when answered, or when due
  assert.ok(roundMs + slowMs < rightUntilMs(0, { lengthMs, marginMs }))
  assert.ok(lengthMs + 2 * standbyMs < 3_000)
})

test('what comes after the end does not make a tenure live again', async () => {
  let nowMs = 0
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs }
  await using tenure = new Tenure(1_000, clock, new AbortController().signal)
  nowMs = 500
  tenure.extend(1_500)
  nowMs = 1_400
  tenure.extend(1_450) // an older answer, come late
  assert.equal(tenure.signal.aborted, false)
  nowMs = 1_500 // frozen until now: no timer has run
  tenure.extend(3_000)
  assert.ok(tenure.signal.reason instanceof TenureEnd)
  assert.equal(tenure.signal.reason.mayGiveBack, false)
  await assert.rejects(
    tenure.openLine({ host: '127.0.0.1', port: 1 }, new AbortController().signal),
    /the lease is over/,
  )
})

test('one holds it, the other takes over: when the first stops, and when it is not fit', async (t) => {
  const store = new Store()
  const a = start(t, store, 'a')
  await waitUntil('a holds it', () => a.holds)
  const b = start(t, store, 'b')
  await waitUntil('b stands by', () => b.states.at(-1)?.kind === 'standby')
  assert.deepEqual(b.states, [{ kind: 'standby', isHeld: true, why: HELD_BY_ANOTHER }])
  a.unfit = 'bitcoind is away'
  await waitUntil('a has withdrawn', () => !a.holds)
  assert.equal(b.holds, false, 'not before a has given it back')
  await waitUntil('b holds it', () => b.holds, { everyMs: 5 })
  assert.ok(a.states.some((state) => state.kind === 'standby' && !state.isHeld && state.why === 'bitcoind is away'))
  a.unfit = undefined
  await waitUntil('a knows', () => a.states.at(-1)?.kind === 'standby' && 'isHeld' in a.states.at(-1)!)
  await b.end()
  await waitUntil('a holds it again', () => a.holds)
})

test('a moment of unfitness is forgiven', async (t) => {
  const store = new Store()
  const a = start(t, store, 'a')
  await waitUntil('a holds it', () => a.holds)
  const before = store.untilMs
  a.unfit = 'a hiccup'
  await waitUntil('it was looked at', () => store.untilMs > before, { everyMs: 1 })
  a.unfit = undefined
  const later = store.untilMs
  await waitUntil('it goes on', () => store.untilMs > later + 2 * TIMES.unfitMs)
  assert.deepEqual(a.states, [{ kind: 'holder' }])
})

for (const trouble of ['isAway', 'isStuck'] as const) {
  test(`cut off from the store (${trouble}) the holder withdraws before its lease is over`, async (t) => {
    const store = new Store()
    const a = start(t, store, 'a')
    await waitUntil('a holds it', () => a.holds)
    store[trouble] = true
    await waitUntil('a has withdrawn', () => !a.holds, { everyMs: 1 })
    assert.ok(a.withdrewMs < store.untilMs, 'with the margin still to go')
    const last = a.states.at(-1)!
    assert.ok(last.kind === 'standby' && !last.isHeld)
  })
}

test('one that is refused the lease withdraws at once: the store was restored, or the lease taken away', async (t) => {
  const store = new Store()
  const a = start(t, store, 'a')
  await waitUntil('a holds it', () => a.holds)
  store.holder = 'somebody else'
  store.untilMs = performance.now() + 60_000
  await waitUntil('a has withdrawn', () => !a.holds)
  await waitUntil('it says so', () => {
    const last = a.states.at(-1)!
    return last.kind === 'standby' && last.isHeld
  })
})
