/** Bonds of the past beyond those that are kept (MARKET_LIMITS) are forgotten, a few at a time: a loop of the daemon. */
import type { Indexer } from './indexer.ts'
import type { CurrentMarket } from './market.ts'
import { breathe, sleep } from './world.ts'

const LIMITS = {
  /** Between two looks: a block brings some thousand announcements at the most. */
  everyMs: 60_000,
  /** Rows deleted in one go, with the spends recorded of them: some 3 ms. */
  rowsAtOnce: 100,
}

export interface Forgetting {
  market: CurrentMarket
  indexer: Pick<Indexer, 'forgetBonds'>
}

/** Returns how many it was. */
export async function forgetSurplus({ market, indexer }: Forgetting): Promise<number> {
  const surplus = market.surplus()
  for (let at = 0; at < surplus.length; at += LIMITS.rowsAtOnce) {
    const some = surplus.slice(at, at + LIMITS.rowsAtOnce)
    indexer.forgetBonds(some)
    market.forgot(some)
    await breathe()
  }
  return surplus.length
}

/** Runs until the signal. */
export async function runForgetting(forgetting: Forgetting, signal: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(LIMITS.everyMs, signal)
    await forgetSurplus(forgetting)
  }
}
