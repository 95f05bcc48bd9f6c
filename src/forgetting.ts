/** Bonds of the past beyond those that are kept (MARKET_LIMITS) are forgotten, a few at a time: a loop of the daemon. */
import type { Outpoint } from './chain/types.ts'
import type { Indexer } from './indexer.ts'
import { type CurrentMarket, MARKET_LIMITS } from './market.ts'
import { readRefusedBeyond } from './store/local/bonds.ts'
import type { Db } from './store/open.ts'
import { breathe, sleep } from './world.ts'

const LIMITS = {
  /** Between two looks: a block brings some thousand announcements at the most. */
  everyMs: 60_000,
  /** Rows deleted in one go, with the spends recorded of them: some 2 ms. */
  rowsAtOnce: 25,
  /** Rows looked up in one go: below the thousands that are kept they are found in some ms. */
  rowsRead: 1_000,
}

export interface Forgetting {
  db: Db
  market: CurrentMarket
  indexer: Pick<Indexer, 'forgetBonds'>
}

/** Returns how many it was. Lists are made anew once, when all are forgotten. */
export async function forgetSurplus({ db, market, indexer }: Forgetting): Promise<number> {
  const forgotten: Outpoint[] = []
  const forget = async (surplus: readonly Outpoint[]) => {
    for (let at = 0; at < surplus.length; at += LIMITS.rowsAtOnce) {
      indexer.forgetBonds(surplus.slice(at, at + LIMITS.rowsAtOnce))
      await breathe()
    }
    forgotten.push(...surplus)
    return surplus.length
  }
  while ((await forget(readRefusedBeyond(db, MARKET_LIMITS.refusedKept, LIMITS.rowsRead))) > 0);
  await forget(market.surplusEnded())
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
