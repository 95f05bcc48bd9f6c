/**
 * The loop that follows the node's mempool: a set difference of txids, made in the node thread, handed on in chunks.
 * A transaction that vanishes between two calls is normal. What a transaction means is the MempoolIndex's affair.
 */
import { AccessRefused, describeError, isAbort, TransientError } from '../errors.ts'
import { Backoff, sleep, type World } from '../world.ts'
import { type Following, isUp } from './following.ts'
import type { MempoolChanges } from './mempool.ts'
import type { Node } from './node.ts'
import type { NodeApi } from './node-reader.ts'
import type { BlockRef } from './types.ts'

const LIMITS = {
  /** The node thread wakes us when something has come, or the mempool is to be listed; at the latest after this. */
  pollMs: 1_000,
  /** While a block is being connected somebody's leave is withheld: the first pause, doubled up to `pollMs`. */
  withheldMs: 20,
  /** The same while bitcoind can't give the block: nothing is settled before it comes. */
  waitingMs: 5_000,
  /** A mempool that is too large to be kept is listed in vain each time. */
  backoff: { firstMs: 500, maxMs: 10_000 },
  /** When bitcoind goes away the sync loop says so within this; what fails for longer is the mempool alone. */
  untoldMs: 5_000,
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

/**
 * Runs until the signal. bitcoind's absence is the sync loop's to report; here it is only waited out. While bitcoind
 * answers and its mempool alone can't be read, that is said: watch requests are refused then.
 */
export async function runMempool(deps: MempoolDeps, signal: AbortSignal): Promise<void> {
  const { following } = deps
  const backoff = new Backoff(LIMITS.backoff, deps.random)
  const api = deps.node.with(signal)
  const fault = new MempoolFault(deps)
  let withheld = 0
  /** Told by the node thread, and by nobody again: kept until the index has it. */
  let told: MempoolChanges | undefined
  const lose = () => {
    deps.index.mempoolLost()
    following.mempool.isComplete = false
    delete told?.settledAt
  }
  for (;;) {
    if (!isUp(following.node)) {
      lose()
      fault.forget()
      await sleep(LIMITS.pollMs / 4, signal)
      continue
    }
    try {
      told ??= await api.mempoolChanges(deps.index.tip()?.hash)
      const changes = told
      await deps.index.applyMempool(changes, api)
      told = undefined
      const [added, removed] = [changes.added.length, changes.removed.length]
      if (added + removed > 0) deps.log.trace({ added, removed, size: changes.size }, 'mempool has changed')
      following.mempool = { ...following.mempool, size: changes.size, isComplete: deps.index.isSettled }
      if (!changes.isComplete) continue
      backoff.reset()
      fault.over()
      withheld = changes.isWithheld || !deps.index.isSettled ? withheld + 1 : 0
      if (withheld === 0) told = await api.waitForMempool(LIMITS.pollMs)
      else {
        const maxMs = following.node.kind === 'waiting-for-block' ? LIMITS.waitingMs : LIMITS.pollMs
        await sleep(Math.min(maxMs, LIMITS.withheldMs * 2 ** Math.min(withheld, 10)), signal)
      }
    } catch (error) {
      // bitcoind was met before: one that lets us in no more is being configured.
      const isWeather = error instanceof TransientError || error instanceof AccessRefused
      if (isAbort(error, signal) || !isWeather) throw error
      lose()
      fault.met(describeError(error))
      await sleep(backoff.nextMs(), signal)
    }
  }
}

/** Since when the mempool can't be read, told once. */
class MempoolFault {
  readonly #deps: MempoolDeps
  #since: { nowMs: number; monotonicMs: number } | undefined

  constructor(deps: MempoolDeps) {
    this.#deps = deps
  }

  met(detail: string): void {
    const { clock, log, following } = this.#deps
    const monotonicMs = clock.monotonicMs()
    this.#since ??= { nowMs: clock.nowMs(), monotonicMs }
    if (monotonicMs - this.#since.monotonicMs < LIMITS.untoldMs) {
      log.debug({ detail }, 'mempool not read')
      return
    }
    if (!following.mempool.fault) {
      log.warn({ detail }, "bitcoind's mempool can not be read: watch requests are refused, lists are given")
    }
    following.mempool.fault = { detail, sinceMs: this.#since.nowMs }
  }

  over(): void {
    const { clock, log, following } = this.#deps
    if (this.#since && following.mempool.fault) {
      log.info(
        { afterMs: Math.round(clock.monotonicMs() - this.#since.monotonicMs) },
        "bitcoind's mempool is read again",
      )
    }
    this.forget()
  }

  forget(): void {
    this.#since = undefined
    this.#deps.following.mempool.fault = undefined
  }
}
