/**
 * The loop that follows the node's mempool: a set difference of txids, made in the node thread, handed on in chunks.
 * A transaction that vanishes between two calls is normal. What a transaction means is the MempoolIndex's affair.
 */
import { describeError, isAbort, TransientError } from '../errors.ts'
import { Backoff, sleep, type World } from '../world.ts'
import type { Following } from './following.ts'
import type { Node } from './node.ts'
import type { MempoolChanges, NodeApi } from './node-reader.ts'

export const LIMITS = {
  /** The pause between two looks. */
  pollMs: 1_000,
  /** Listing a large mempool costs the node too: the pause is at least this many times what the look took. */
  restFactor: 4,
  backoff: { firstMs: 500, maxMs: 5_000 },
}

export interface MempoolIndex {
  applyMempool(changes: MempoolChanges, api: NodeApi): Promise<void>
}

interface MempoolDeps extends World {
  node: Node
  index: MempoolIndex
  following: Following
}

/** Runs until the signal. bitcoind's absence is the sync loop's to report; here it is only waited out. */
export async function runMempool(deps: MempoolDeps, signal: AbortSignal): Promise<void> {
  const { clock, following, log } = deps
  const backoff = new Backoff(LIMITS.backoff, deps.random)
  const api = deps.node.with(signal)
  for (;;) {
    if (following.node.kind !== 'following') {
      following.mempool.isComplete = false
      await sleep(LIMITS.pollMs / 4, signal)
      continue
    }
    try {
      const startMs = clock.monotonicMs()
      const changes = await api.mempoolChanges()
      await deps.index.applyMempool(changes, api)
      following.mempool = { size: changes.size, isComplete: changes.isComplete }
      backoff.reset()
      if (!changes.isComplete) continue
      await api.waitForMempool(Math.max(LIMITS.pollMs, LIMITS.restFactor * (clock.monotonicMs() - startMs)))
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
      log.debug({ detail: describeError(error) }, 'mempool not read')
      following.mempool.isComplete = false
      await sleep(backoff.nextMs(), signal)
    }
  }
}
