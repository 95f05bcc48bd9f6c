/** The loop between the node thread, which tells of every change once, and the index, which may fail to take it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { newFollowing } from '../../../src/chain/following.ts'
import type { MempoolChanges } from '../../../src/chain/mempool.ts'
import { runMempool } from '../../../src/chain/mempool-sync.ts'
import { TransientError } from '../../../src/errors.ts'
import { hashOf } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const TIP = { height: 7, hash: hashOf(7) }

const round = (size: number, more: Partial<MempoolChanges> = {}): MempoolChanges => ({
  ...{ added: [], removed: [], isComplete: true, isWithheld: false, settledAt: TIP.hash, size },
  ...more,
})

/** A node thread that tells these, one after the other; what was asked of it, and what the index was told. */
function setup(told: (MempoolChanges | undefined)[]) {
  const end = new AbortController()
  const following = newFollowing(false)
  following.node = { kind: 'following', detail: '' }
  const calls: string[] = []
  const applied: { size: number; isSettled: boolean }[] = []
  /** Called when the index is told: throws what it fails with. */
  let onApply = (_size: number): void => {}
  const next = (call: string) => {
    calls.push(call)
    if (told.length > 0) return told.shift()
    end.abort()
    end.signal.throwIfAborted()
  }
  const api = {
    mempoolChanges: async () => next('changes'),
    waitForMempool: async () => next('wait'),
  }
  const index = {
    isSettled: true,
    tip: () => TIP,
    applyMempool: async ({ size, settledAt }: MempoolChanges) => {
      onApply(size)
      applied.push({ size, isSettled: settledAt !== undefined })
    },
    mempoolLost: () => calls.push('lost'),
  }
  const deps = {
    ...{ node: { with: () => api }, index, following, clock: new HandClock() },
    random: () => -1, // no pause between tries
    log: pino({ enabled: false }),
  }
  return {
    ...{ following, calls, applied },
    onApply: (does: typeof onApply) => {
      onApply = does
    },
    run: () =>
      runMempool(deps as unknown as Parameters<typeof runMempool>[0], end.signal).catch((error) =>
        assert.ok(end.signal.aborted, String(error)),
      ),
  }
}

test('what comes while it waits is a round like any other; where that does not tell, it asks', async () => {
  const { run, calls, applied } = setup([round(1), round(2), undefined, round(3), round(4, { isComplete: false })])
  await run()
  assert.deepEqual(calls.slice(0, 5), ['changes', 'wait', 'wait', 'changes', 'wait'])
  assert.equal(calls[5], 'changes', 'more is known to have come')
  assert.deepEqual(
    applied.map(({ size }) => size),
    [1, 2, 3, 4],
  )
})

test('a round that the index could not take is told again, before any other, and settles nothing', async () => {
  const { run, calls, applied, onApply } = setup([round(1), round(2), round(3)])
  let failures = 2
  onApply((size) => {
    if (size === 2 && failures-- > 0) throw new TransientError('bitcoind does not answer')
  })
  await run()
  assert.deepEqual(applied, [
    { size: 1, isSettled: true },
    { size: 2, isSettled: false },
    { size: 3, isSettled: true },
  ])
  assert.deepEqual(calls, ['changes', 'wait', 'lost', 'lost', 'wait', 'wait'])
})

test('a round that is told when bitcoind is lost is kept until it is back, and settles nothing', async () => {
  const { run, following, applied, onApply } = setup([round(1), round(2), round(3)])
  const up = following.node
  onApply((size) => {
    if (size !== 1) return
    following.node = { kind: 'unreachable', detail: '' }
    setImmediate(() => {
      following.node = up
    })
  })
  await run()
  assert.deepEqual(applied, [
    { size: 1, isSettled: true },
    { size: 2, isSettled: false },
    { size: 3, isSettled: true },
  ])
})
