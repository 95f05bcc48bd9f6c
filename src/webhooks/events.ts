/** Pure: two looks at what an operator may want to be told of → what happened in between. */
import type { BlockHash, Height, Outpoint } from '../chain/types.ts'
import type { Reach } from '../peers/types.ts'

/** What is told, by name; `data` as it is sent, in JSON (outpoints as txid:vout, hashes in display order). */
export type WebhookEvent =
  | { event: 'bond_expiring'; data: { address: string; outpoint: string; blocks_left: number; height: Height } }
  | { event: 'maker_down' | 'maker_up'; data: { address: string; last_up: number | null; height: Height } }
  | { event: 'reorg'; data: { depth: number; fork_height: Height; height: Height; block_hash: BlockHash } }
  | {
      event: 'tracker_disagrees' | 'tracker_agrees'
      data: { address: string; height: Height; only_ours: string[]; only_theirs: string[] }
    }

export const WEBHOOK_EVENTS = [
  'bond_expiring',
  'maker_down',
  'maker_up',
  'reorg',
  'tracker_disagrees',
  'tracker_agrees',
] as const satisfies WebhookEvent['event'][]

export interface Look {
  tip: { height: Height; hash: BlockHash }
  /** Live bonds, by `txid:vout`. */
  bonds: ReadonlyMap<string, { address: string; outpoint: Outpoint; blocksLeft: number }>
  /** Listed makers. `lastUpS`: Unix seconds. */
  makers: ReadonlyMap<string, { reach: Reach; lastUpS?: number | undefined }>
  /** How many reorgs there were, and the last. */
  reorgs: { count: number; depth: number; forkHeight: Height }
  /** Trackers that were compared. */
  trackers: ReadonlyMap<string, { agrees: boolean; height: Height; onlyOurs: string[]; onlyTheirs: string[] }>
}

export interface Rules {
  /** A bond with this many blocks left or fewer is worth telling, once. */
  expiringBlocks: number
  /** A reorg of at least so many blocks. */
  reorgDepth: number
}

export function eventsBetween(before: Look, now: Look, rules: Rules): WebhookEvent[] {
  const { height } = now.tip
  return [
    ...reorgEvents(before, now, rules),
    ...bondEvents(before, now, rules),
    ...makerEvents(before, now, height),
    ...trackerEvents(before, now),
  ]
}

function reorgEvents(before: Look, { reorgs, tip }: Look, { reorgDepth }: Rules): WebhookEvent[] {
  if (reorgs.count === before.reorgs.count || reorgs.depth < reorgDepth) return []
  const { depth, forkHeight } = reorgs
  return [{ event: 'reorg', data: { depth, fork_height: forkHeight, height: tip.height, block_hash: tip.hash } }]
}

/** Told when the line is crossed: neither again at every block, nor of bonds that were born beyond it. */
function bondEvents(before: Look, { bonds, tip }: Look, { expiringBlocks }: Rules): WebhookEvent[] {
  const events: WebhookEvent[] = []
  for (const [outpoint, { address, blocksLeft }] of bonds) {
    const earlier = before.bonds.get(outpoint)
    if (!earlier || earlier.blocksLeft <= expiringBlocks || blocksLeft > expiringBlocks) continue
    events.push({ event: 'bond_expiring', data: { address, outpoint, blocks_left: blocksLeft, height: tip.height } })
  }
  return events
}

/** `unknown` is no news: only that a maker went down, and that one that was down answers again. */
function makerEvents(before: Look, { makers }: Look, height: Height): WebhookEvent[] {
  const events: WebhookEvent[] = []
  for (const [address, { reach, lastUpS }] of makers) {
    const earlier = before.makers.get(address)?.reach
    const data = { address, last_up: lastUpS ?? null, height }
    if (reach === 'down' && earlier !== undefined && earlier !== 'down') events.push({ event: 'maker_down', data })
    if (reach !== 'down' && earlier === 'down') events.push({ event: 'maker_up', data })
  }
  return events
}

/** The first comparison is told when it is bad news; after that each change. */
function trackerEvents(before: Look, { trackers }: Look): WebhookEvent[] {
  const events: WebhookEvent[] = []
  for (const [address, { agrees, height, onlyOurs, onlyTheirs }] of trackers) {
    if (agrees === (before.trackers.get(address)?.agrees ?? true)) continue
    const data = { address, height, only_ours: onlyOurs, only_theirs: onlyTheirs }
    events.push({ event: agrees ? 'tracker_agrees' : 'tracker_disagrees', data })
  }
  return events
}
