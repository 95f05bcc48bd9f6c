import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ExchangeWindow, NoRoom, WINDOW_LIMITS } from '../../../src/chain/window.ts'

/** A bitcoind with room for `room` exchanges; each ends when `release` is called. */
class Busy {
  room: number
  underWay = 0
  most = 0
  refused = 0
  readonly #ends: (() => void)[] = []
  constructor(room: number) {
    this.room = room
  }
  readonly exchange = async (): Promise<string> => {
    if (this.underWay >= this.room) {
      this.refused++
      throw new NoRoom('Work queue depth exceeded')
    }
    this.most = Math.max(this.most, ++this.underWay)
    await new Promise<void>((resolve) => this.#ends.push(resolve))
    this.underWay--
    return 'done'
  }
  release(): void {
    for (const end of this.#ends.splice(0)) end()
  }
}

async function untilAll(busy: Busy, exchanges: Promise<string>[]): Promise<void> {
  let areDone = false
  const all = Promise.all(exchanges).finally(() => {
    areDone = true
  })
  while (!areDone) {
    busy.release()
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await all
}

test('no more at once than the window; the others wait for their turn', async () => {
  const window = new ExchangeWindow()
  const busy = new Busy(1_000)
  await untilAll(
    busy,
    Array.from({ length: 100 }, () => window.run(busy.exchange)),
  )
  assert.equal(busy.most, WINDOW_LIMITS.atOnce)
})

test('refused for want of room: fewer at once, each tried again until it is done; then slowly more', async () => {
  const window = new ExchangeWindow()
  const busy = new Busy(1)
  await untilAll(
    busy,
    Array.from({ length: 40 }, () => window.run(busy.exchange)),
  )
  assert.ok(busy.refused > 0)
  assert.ok(window.size <= 2, `${window.size}`)
  busy.room = 1_000
  const small = window.size
  for (let i = 0; i < WINDOW_LIMITS.growAfter; i++) await untilAll(busy, [window.run(busy.exchange)])
  assert.ok(window.size > small && window.size <= small + 2, `${window.size}`)
})

test('room that never comes is given up in the end, and any other error at once', async () => {
  let nowMs = 0
  const window = new ExchangeWindow({ nowMs: () => nowMs, monotonicMs: () => nowMs })
  let tries = 0
  const never = window.run(async () => {
    nowMs += WINDOW_LIMITS.retryMs / 2
    tries++
    throw new NoRoom('HTTP 503')
  })
  await assert.rejects(never, NoRoom)
  assert.equal(tries, 3)
  await assert.rejects(
    window.run(async () => {
      throw new Error('reset')
    }),
    /reset/,
  )
  assert.equal(await window.run(async () => 'its place is free again'), 'its place is free again')
})
