/** Bonds of the past beyond those that are kept (MARKET_LIMITS) are forgotten, a few at a time: a loop of the daemon. */
import type { Outpoint } from './chain/types.ts'
import type { Indexer } from './indexer.ts'
import { type CurrentMarket, MARKET_LIMITS } from './market.ts'
import { readRefusedBeyond } from './store/bonds.ts'
import type { Db } from './store/open.ts'
import { breathe, sleep } from './world.ts'

const LIMITS = {
  /** Between two looks: a block brings some thousand announcements at the most. */
  everyMs: 60_000,
  /** Rows deleted in one go, with the spends recorded of them: some 3 ms. */
  rowsAtOnce: 100,
}

export interface Forgetting {
  db: Db
  market: CurrentMarket
  indexer: Pick<Indexer, 'forgetBonds'>
}

/** Returns how many it was. Lists are made anew once, when all are forgotten. */
export async function forgetSurplus({ db, market, indexer }: Forgetting): Promise<number> {
  const forgotten: Outpoint[] = []
  const forget = async (some: readonly Outpoint[]) => {
    indexer.forgetBonds(some)
    forgotten.push(...some)
    await breathe()
  }
  for (;;) {
    const refused = readRefusedBeyond(db, MARKET_LIMITS.refusedKept, LIMITS.rowsAtOnce)
    if (refused.length === 0) break
    await forget(refused)
  }
  const ended = market.surplusEnded()
  for (let at = 0; at < ended.length; at += LIMITS.rowsAtOnce) await forget(ended.slice(at, at + LIMITS.rowsAtOnce))
  market.forgot(forgotten)
  return forgotten.length
}

/** Runs until the signal. */
export async function runForgetting(forgetting: Forgetting, signal: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(LIMITS.everyMs, signal)
    await forgetSurplus(forgetting)
  }
}
