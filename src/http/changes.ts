/** Pure: two looks at the store → what happened in between, as events in a sensible order. */
import type { BondState, Tip } from '../bonds/types.ts'
import type { Height } from '../chain/types.ts'
import type { Reach } from '../peers/types.ts'
import type { TrackerEvent } from './replies.ts'

export interface SeenSpend {
  outpoint: string
  txid: string
  state: 'mempool' | 'confirmed' | 'evicted'
  height: Height | null
}

/** What a look keeps. Blocks: the newest ones, tip first, without a gap. */
export interface Look {
  blocks: readonly Tip[]
  digest: string
  /** Live bonds. */
  liveCount: number
  /** By outpoint. */
  bonds: ReadonlyMap<string, { address: string; state: BondState }>
  /** Listed makers, by address. */
  makers: ReadonlyMap<string, Reach>
  /** By outpoint and spender. */
  spends: ReadonlyMap<string, SeenSpend>
}

/** Both looks have at least one block. */
export function eventsBetween(before: Look, after: Look): TrackerEvent[] {
  return [
    ...chainEvents(before, after),
    ...bondEvents(before, after),
    ...makerEvents(before, after),
    ...spendEvents(before, after),
  ]
}

function chainEvents(before: Look, after: Look): TrackerEvent[] {
  const oldTip = before.blocks[0]!
  const newTip = after.blocks[0]!
  if (oldTip.hash === newTip.hash) return []
  const events: TrackerEvent[] = []
  const now = new Set(after.blocks.map(({ hash }) => hash))
  // A long absence: our old tip lies below what is remembered, and may well be an ancestor.
  const isBelow = oldTip.height < after.blocks.at(-1)!.height
  const fork = isBelow ? oldTip : before.blocks.find(({ hash }) => now.has(hash))
  const forkHeight = fork?.height ?? before.blocks.at(-1)!.height - 1
  if (forkHeight < oldTip.height) {
    events.push({
      kind: 'reorg',
      data: {
        depth: oldTip.height - forkHeight,
        fork_height: Math.max(0, forkHeight),
        from: { height: oldTip.height, block_hash: oldTip.hash },
        to: { height: newTip.height, block_hash: newTip.hash },
      },
    })
  }
  for (const { height, hash, timeS } of after.blocks.filter((block) => block.height > forkHeight).reverse()) {
    events.push({
      kind: 'block',
      data: { height, block_hash: hash, block_time: timeS, bonds: after.liveCount, digest: after.digest },
    })
  }
  return events
}

function bondEvents(before: Look, after: Look): TrackerEvent[] {
  const { height } = after.blocks[0]!
  const events: TrackerEvent[] = []
  for (const [outpoint, { address, state }] of after.bonds) {
    const previous = before.bonds.get(outpoint)?.state ?? null
    if (state !== previous) events.push({ kind: 'bond', data: { outpoint, address, state, previous, height } })
  }
  for (const [outpoint, { address, state: previous }] of before.bonds) {
    if (!after.bonds.has(outpoint)) {
      events.push({ kind: 'bond', data: { outpoint, address, state: 'gone', previous, height } })
    }
  }
  return events
}

function makerEvents(before: Look, after: Look): TrackerEvent[] {
  const { height } = after.blocks[0]!
  const events: TrackerEvent[] = []
  for (const [address, reach] of after.makers) {
    if (before.makers.get(address) !== reach) {
      events.push({ kind: 'maker', data: { address, listed: true, reach, height } })
    }
  }
  for (const [address, reach] of before.makers) {
    if (!after.makers.has(address)) events.push({ kind: 'maker', data: { address, listed: false, reach, height } })
  }
  return events
}

/** A confirmed spend that merely grew too old to be remembered is no event. */
function spendEvents(before: Look, after: Look): TrackerEvent[] {
  const { height } = after.blocks[0]!
  const oldest = after.blocks.at(-1)!.height
  const events: TrackerEvent[] = []
  for (const [key, { outpoint, txid, state, height: spentHeight }] of after.spends) {
    const previous = before.spends.get(key)
    if (previous?.state === state && previous.height === spentHeight) continue
    if (!previous && state === 'evicted') continue // recorded before we looked
    events.push({ kind: 'spend', data: { outpoint, txid, state, spent_height: spentHeight, height } })
  }
  for (const [key, { outpoint, txid, height: spentHeight }] of before.spends) {
    if (after.spends.has(key) || (spentHeight !== null && spentHeight < oldest)) continue
    events.push({ kind: 'spend', data: { outpoint, txid, state: 'gone', spent_height: null, height } })
  }
  return events
}
