/** The loop that looks at what an operator may want to be told of, and hands the news to the sender. */
import { blocksLeft } from '../bonds/verify.ts'
import { whyNotSynced } from '../chain/following.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { CurrentMarket } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import type { Trackers } from '../peers/trackers.ts'
import type { Status } from '../status.ts'
import { sleep, type World } from '../world.ts'
import { eventsBetween, type Look, type Rules, type WebhookEvent } from './events.ts'

export const LIMITS = {
  /** Nothing of it is worth less than a second or two; a look at 1,000 makers takes about a millisecond. */
  lookMs: 2_000,
}

export interface WatchDeps extends Pick<World, 'clock' | 'log'> {
  market: CurrentMarket
  liveness: Liveness
  trackers: Trackers
  status: Status
  rules: Rules
  send: (event: WebhookEvent) => void
}

/** Runs until the signal. Only while synced: in the midst of a reorg or a catch-up nothing is news yet. */
export async function runWebhooks(deps: WatchDeps, signal: AbortSignal): Promise<void> {
  let last: Look | undefined
  for (;;) {
    const now = lookAt(deps)
    if (now) {
      if (!last) deps.log.info({ height: now.tip.height }, 'webhooks: what happens from here on is told')
      for (const event of last ? eventsBetween(last, now, deps.rules) : []) deps.send(event)
      last = now
    }
    await sleep(LIMITS.lookMs, signal)
  }
}

function lookAt({ market, liveness, trackers, status, clock }: WatchDeps): Look | undefined {
  const { following } = status
  const now = market.atTip()
  if (!now || now.tip.hash !== following.best?.hash || whyNotSynced(following, clock.monotonicMs()) !== undefined) {
    return undefined
  }
  const { tip, list } = now
  return {
    tip: { height: tip.height, hash: tip.hash },
    bonds: new Map(
      list.live.map(({ bond }) => {
        const { address, outpoint } = bond
        return [formatOutpoint(outpoint), { address, outpoint, blocksLeft: blocksLeft(bond, tip) }]
      }),
    ),
    makers: new Map(
      [...now.makers.keys()].map((address) => {
        const { reach, lastUpS } = liveness.livenessOf(address)
        return [address, { reach, lastUpS }]
      }),
    ),
    reorgs: { count: following.reorgs, ...(following.lastReorg ?? { depth: 0, forkHeight: 0 }) },
    trackers: new Map(
      trackers.list().flatMap(({ address, compared }) => {
        if (!compared) return []
        const { agrees, height, onlyOurs, onlyTheirs } = compared
        const names = { onlyOurs: onlyOurs.map(formatOutpoint), onlyTheirs: onlyTheirs.map(formatOutpoint) }
        return [[address, { agrees, height, ...names }] as const]
      }),
    ),
  }
}
