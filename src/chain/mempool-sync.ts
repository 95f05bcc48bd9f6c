/**
 * The loop that follows the node's mempool: a set difference of txids, made in the node thread, handed on in chunks.
 * A transaction that vanishes between two calls is normal. What a transaction means is the MempoolIndex's affair.
 */
import { describeError, isAbort, TransientError } from '../errors.ts'
import { Backoff, sleep, type World } from '../world.ts'
import type { Following } from './following.ts'
import type { MempoolChanges } from './mempool.ts'
import type { Node } from './node.ts'
import type { NodeApi } from './node-reader.ts'
import type { BlockRef } from './types.ts'

const LIMITS = {
  /** The pause between two looks when nothing wakes us. */
  pollMs: 1_000,
  /** While a block is being connected somebody's leave is withheld: the first pause, doubled up to `pollMs`. */
  withheldMs: 20,
  backoff: { firstMs: 500, maxMs: 5_000 },
}

export interface MempoolIndex {
  tip(): BlockRef | undefined
  applyMempool(changes: MempoolChanges, api: NodeApi): Promise<void>
  /** bitcoind can't be asked: what was known of its mempool is known no more. */
  mempoolLost(): void
  /** Whether all of the mempool is known at our tip. */
  readonly isSettled: boolean
}

interface MempoolDeps extends World {
  node: Node
  index: MempoolIndex
  following: Following
}

/** Runs until the signal. bitcoind's absence is the sync loop's to report; here it is only waited out. */
export async function runMempool(deps: MempoolDeps, signal: AbortSignal): Promise<void> {
  const { following, log } = deps
  const backoff = new Backoff(LIMITS.backoff, deps.random)
  const api = deps.node.with(signal)
  let withheld = 0
  const lose = () => {
    deps.index.mempoolLost()
    following.mempool.isComplete = false
  }
  for (;;) {
    if (following.node.kind !== 'following') {
      lose()
      await sleep(LIMITS.pollMs / 4, signal)
      continue
    }
    try {
      const changes = await api.mempoolChanges(deps.index.tip()?.hash)
      await deps.index.applyMempool(changes, api)
      following.mempool = { size: changes.size, isComplete: deps.index.isSettled }
      backoff.reset()
      if (!changes.isComplete) continue
      withheld = changes.isWithheld || !deps.index.isSettled ? withheld + 1 : 0
      if (withheld === 0) await api.waitForMempool(LIMITS.pollMs)
      else await sleep(Math.min(LIMITS.pollMs, LIMITS.withheldMs * 2 ** Math.min(withheld, 10)), signal)
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
      log.debug({ detail: describeError(error) }, 'mempool not read')
      lose()
      await sleep(backoff.nextMs(), signal)
    }
  }
}
