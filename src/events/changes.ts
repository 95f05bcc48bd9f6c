/**
 * Pure: two looks at the tracker → everything that happened in between, in a sensible order, each change as the row that
 * is told of it. Who tells it on (event stream, webhook) takes of it what it is for.
 */
import { z } from 'zod'
import { BOND_STATES, type BondState, type Tip } from '../bonds/types.ts'
import type { Reorg } from '../chain/following.ts'
import type { Height } from '../chain/types.ts'
import type { Reach } from '../peers/types.ts'
import {
  address,
  blockHash,
  component,
  count,
  digest,
  height,
  outpoint,
  reach,
  txid,
  unixS,
} from '../views/schemas/words.ts'

const blockRef = { height, block_hash: blockHash }

/** What is told of each kind of change. */
export const CHANGES = {
  block: component(
    'BlockEvent',
    z.strictObject({ ...blockRef, block_time: unixS, bonds: count.describe('live ones at the newest block'), digest }),
  ),
  reorg: component(
    'ReorgEvent',
    z.strictObject({
      depth: count.describe('blocks taken back'),
      fork_height: height.describe('the last block that stayed'),
      from: z.strictObject(blockRef),
      to: z.strictObject(blockRef),
      ...blockRef,
    }),
  ),
  bond: component(
    'BondEvent',
    z.strictObject({
      outpoint,
      address,
      state: z.enum([...BOND_STATES, 'gone']).describe('gone: its block or its pending transaction was taken back'),
      previous: z.enum(BOND_STATES).nullable(),
      height,
    }),
  ),
  expiring: z.strictObject({ outpoint, address, blocks_left: count, height }),
  maker: component(
    'MakerEvent',
    z.strictObject({
      address,
      listed: z.boolean(),
      reach,
      previous: reach.nullable().describe('null: it was not listed'),
      last_up: unixS.nullable(),
      height,
    }),
  ),
  spend: component(
    'SpendEvent',
    z.strictObject({
      outpoint,
      txid,
      state: z.enum(['mempool', 'confirmed', 'evicted', 'gone']),
      spent_height: height.nullable(),
      height,
    }),
  ),
  tracker: z.strictObject({
    address: z.string(),
    agrees: z.boolean(),
    previous: z.boolean().nullable(),
    only_ours: z.array(outpoint),
    only_theirs: z.array(outpoint),
    height,
  }),
  readiness: z.strictObject({ ready: z.boolean(), not_ready: z.array(z.string()), height: height.nullable() }),
  onion_key: z.strictObject({
    address: z.string().describe('our own'),
    elsewhere: z.boolean().describe('another process answers under it, or publishes it'),
    detail: z.string(),
    height: height.nullable(),
  }),
  reset: component(
    'ResetEvent',
    z
      .strictObject({
        changes: count.nullable().describe('how many there were; null where they were not counted'),
        height: height.nullable(),
      })
      .describe('more has changed than is told: read the lists again'),
  ),
} as const satisfies Record<string, z.ZodType>

export type ChangeKind = keyof typeof CHANGES
export type Change = { [K in ChangeKind]: { kind: K; data: z.infer<(typeof CHANGES)[K]> } }[ChangeKind]

export interface SeenSpend {
  /** `txid:vout`. */
  outpoint: string
  txid: string
  state: 'mempool' | 'confirmed' | 'evicted'
  height: Height | null
}

/** What a look keeps of chain and market. */
export interface MarketLook {
  /** The newest ones, tip first, without a gap. */
  blocks: readonly Tip[]
  digest: string
  /** Live bonds. */
  liveCount: number
  /** By outpoint; `blocksLeft` of the live ones. */
  bonds: ReadonlyMap<string, { address: string; state: BondState; blocksLeft?: number }>
  /** Listed makers, by address. */
  makers: ReadonlyMap<string, { reach: Reach; lastUpS: number | null }>
  /** By outpoint and spender; undefined where nobody is told of them. */
  spends: ReadonlyMap<string, SeenSpend> | undefined
  /** There are more spends than were looked at: they can't be compared. */
  areSpendsCut: boolean
  /** How many there were since the start, and the last of them, the newest last. */
  reorgs: { count: number; last: readonly Reorg[] }
  /** Configured trackers that were compared. */
  trackers: ReadonlyMap<string, { agrees: boolean; height: Height; onlyOurs: string[]; onlyTheirs: string[] }>
}

export interface Look {
  ready: boolean
  notReady: readonly string[]
  /** Who has our onion service, as the canary saw last; undefined before it has seen it, and without Tor. */
  onionKey?: { address: string; isElsewhere: boolean; detail: string } | undefined
  /** Of the last moment at which our tip was the node's, so that a reorg is told as a whole; undefined before the first. */
  market: MarketLook | undefined
}

/** `expiringBlocks`: a bond with so many blocks left, or fewer, is told of, once. */
export function changesBetween(before: Look, after: Look, expiringBlocks: number): Change[] {
  return [
    ...marketChanges(before.market, after.market, expiringBlocks),
    ...readinessChange(before, after),
    ...onionKeyChange(before, after),
  ]
}

function marketChanges(
  before: MarketLook | undefined,
  after: MarketLook | undefined,
  expiringBlocks: number,
): Change[] {
  if (!after || before === after) return []
  const reset: Change = { kind: 'reset', data: { changes: null, height: after.blocks[0]!.height } }
  if (!before) return [reset] // everything is new: that is no list of changes
  const isTorn = areTorn(before, after)
  return [
    ...chainChanges(before, after),
    ...bondChanges(before, after, expiringBlocks),
    ...makerChanges(before, after),
    ...(before.areSpendsCut || after.areSpendsCut || isTorn ? [] : spendChanges(before.spends, after.spends, after)),
    ...trackerChanges(before, after),
    ...(isTorn ? [reset] : []),
  ]
}

/** Those between two looks, as far as they are remembered. */
function reorgsBetween(before: MarketLook, after: MarketLook): readonly Reorg[] {
  const count = after.reorgs.count - before.reorgs.count
  return count === 0 ? [] : after.reorgs.last.slice(-count)
}

/** The newest block that both looks have. */
function sharedHeight(before: MarketLook, after: MarketLook): Height {
  return Math.min(before.blocks[0]!.height, ...reorgsBetween(before, after).map(({ forkHeight }) => forkHeight))
}

/** More happened in between than is remembered: blocks with spends in them, or reorgs, are missing. */
function areTorn(before: MarketLook, after: MarketLook): boolean {
  if (after.reorgs.count - before.reorgs.count > after.reorgs.last.length) return true
  return after.blocks.at(-1)!.height > sharedHeight(before, after) + 1
}

/** Reorgs in their order, then the blocks that have come, from the lowest that was replaced on. */
function chainChanges(before: MarketLook, after: MarketLook): Change[] {
  const newTip = after.blocks[0]!
  const to = { height: newTip.height, block_hash: newTip.hash }
  const changes = reorgsBetween(before, after).map(
    ({ depth, from, forkHeight }): Change => ({
      kind: 'reorg',
      data: { depth, fork_height: forkHeight, from: { height: from.height, block_hash: from.hash }, to, ...to },
    }),
  )
  const knownHeight = sharedHeight(before, after)
  for (const { height, hash, timeS } of after.blocks.filter((block) => block.height > knownHeight).reverse()) {
    changes.push({
      kind: 'block',
      data: { height, block_hash: hash, block_time: timeS, bonds: after.liveCount, digest: after.digest },
    })
  }
  return changes
}

function bondChanges(before: MarketLook, after: MarketLook, expiringBlocks: number): Change[] {
  if (before.bonds === after.bonds) return [] // as most looks find them, and there may be 20,000
  const { height } = after.blocks[0]!
  const changes: Change[] = []
  for (const [outpoint, { address, state, blocksLeft }] of after.bonds) {
    const earlier = before.bonds.get(outpoint)
    const previous = earlier?.state ?? null
    if (state !== previous) changes.push({ kind: 'bond', data: { outpoint, address, state, previous, height } })
    // Told when the line is crossed: neither again at every block, nor of bonds that were born beyond it.
    if (blocksLeft === undefined || blocksLeft > expiringBlocks) continue
    if ((earlier?.blocksLeft ?? 0) <= expiringBlocks) continue
    changes.push({ kind: 'expiring', data: { outpoint, address, blocks_left: blocksLeft, height } })
  }
  for (const [outpoint, { address, state: previous }] of before.bonds) {
    if (after.bonds.has(outpoint)) continue
    // Of those that are past the oldest are forgotten now and then, which is no news.
    if (isPast(previous) && before.reorgs.count === after.reorgs.count) continue
    changes.push({ kind: 'bond', data: { outpoint, address, state: 'gone', previous, height } })
  }
  return changes
}

function isPast(state: BondState): boolean {
  return state !== 'live' && state !== 'pending'
}

function makerChanges(before: MarketLook, after: MarketLook): Change[] {
  const { height } = after.blocks[0]!
  const changes: Change[] = []
  for (const [address, { reach, lastUpS }] of after.makers) {
    const previous = before.makers.get(address)?.reach ?? null
    if (previous === reach) continue
    changes.push({ kind: 'maker', data: { address, listed: true, reach, previous, last_up: lastUpS, height } })
  }
  for (const [address, { reach, lastUpS }] of before.makers) {
    if (after.makers.has(address)) continue
    changes.push({
      kind: 'maker',
      data: { address, listed: false, reach, previous: reach, last_up: lastUpS, height },
    })
  }
  return changes
}

/** A confirmed spend that merely grew too old to be remembered is no change. */
function spendChanges(
  before: MarketLook['spends'],
  after: MarketLook['spends'],
  { blocks }: Pick<MarketLook, 'blocks'>,
): Change[] {
  if (!before || !after) return []
  const { height } = blocks[0]!
  const oldest = blocks.at(-1)!.height
  const changes: Change[] = []
  for (const [key, { outpoint, txid, state, height: spentHeight }] of after) {
    const previous = before.get(key)
    if (previous?.state === state && previous.height === spentHeight) continue
    if (!previous && state === 'evicted') continue // recorded before we looked
    changes.push({ kind: 'spend', data: { outpoint, txid, state, spent_height: spentHeight, height } })
  }
  for (const [key, { outpoint, txid, height: spentHeight }] of before) {
    if (after.has(key) || (spentHeight !== null && spentHeight < oldest)) continue
    changes.push({ kind: 'spend', data: { outpoint, txid, state: 'gone', spent_height: null, height } })
  }
  return changes
}

function trackerChanges(before: MarketLook, { trackers }: MarketLook): Change[] {
  const changes: Change[] = []
  for (const [address, { agrees, height, onlyOurs, onlyTheirs }] of trackers) {
    const previous = before.trackers.get(address)?.agrees ?? null
    if (agrees === previous) continue
    const data = { address, agrees, previous, only_ours: onlyOurs, only_theirs: onlyTheirs, height }
    changes.push({ kind: 'tracker', data })
  }
  return changes
}

/** Only when it begins or ends: what exactly is waited for changes all the time. */
function readinessChange(before: Look, { ready, notReady, market }: Look): Change[] {
  if (before.ready === ready) return []
  const height = market?.blocks[0]?.height ?? null
  return [{ kind: 'readiness', data: { ready, not_ready: [...notReady], height } }]
}

/** That it is ours is news only after it was somebody else's. */
function onionKeyChange(before: Look, { onionKey, market }: Look): Change[] {
  if (!onionKey || onionKey.isElsewhere === (before.onionKey?.isElsewhere ?? false)) return []
  const { address, isElsewhere: elsewhere, detail } = onionKey
  return [{ kind: 'onion_key', data: { address, elsewhere, detail, height: market?.blocks[0]?.height ?? null } }]
}
