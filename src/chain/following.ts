/**
 * How far we are behind bitcoind, as one cell: written by the sync loop, read by whoever answers. The rule of
 * `isSynced` decides whether a taker gets a list or "not synced".
 */
import type { BlockRef, BlockSource, Height } from './types.ts'

export const FOLLOWING_LIMITS = {
  /** Blocks we may be behind and still answer: a block takes a moment to connect. */
  behindBlocksMax: 2,
  /** Being behind at all may last this long. */
  behindMsMax: 3_600_000,
  /** Reorgs remembered to be told of; on main one comes in weeks. */
  reorgsKept: 20,
  /** bitcoind may be unreachable this long. */
  silentMsMax: 300_000,
}

export type NodeCondition =
  /** Not reached yet since the start. */
  | { kind: 'connecting'; detail: string }
  /** Lost, or refused at the last attempt; stays so until an attempt has succeeded. */
  | { kind: 'unreachable'; detail: string }
  | { kind: 'initial-download'; detail: string }
  | { kind: 'following'; detail: string }

/** Catch-up since its start: what `status` and the log show. */
export interface Progress {
  from: Height
  at: Height
  to: Height
  blocksPerS: number
  mbPerS: number
  etaS: number | undefined
}

export interface Reorg {
  /** Blocks taken back, from our tip before it down. */
  depth: number
  from: BlockRef
  /** The last block that stayed. */
  forkHeight: Height
}

export interface Following {
  node: NodeCondition
  /** The node's best block when we last looked. */
  best: BlockRef | undefined
  /** Ours. */
  tip: BlockRef | undefined
  /** Whether our tip has once been the node's since this process started. */
  hasReachedTip: boolean
  /** When bitcoind last answered, on the monotonic clock; undefined before the first time. */
  answeredAtMs: number | undefined
  /** Since when our tip isn't the node's, on the monotonic clock. */
  behindSinceMs: number | undefined
  progress: Progress | undefined
  reorgs: number
  reorgDepthMax: number
  /** The last ones since the start, the newest last; at most FOLLOWING_LIMITS.reorgsKept. */
  lastReorgs: readonly Reorg[]
  /** In the midst of a reorg: what has been taken back so far, until the first block that replaces it. */
  takenBack: { from: BlockRef; depth: number } | undefined
  /** How blocks are read just now. */
  source: BlockSource | undefined
  mempool: { size: number; isComplete: boolean }
}

export function newFollowing(): Following {
  return {
    node: { kind: 'connecting', detail: 'not asked yet' },
    best: undefined,
    tip: undefined,
    hasReachedTip: false,
    answeredAtMs: undefined,
    behindSinceMs: undefined,
    progress: undefined,
    reorgs: 0,
    reorgDepthMax: 0,
    lastReorgs: [],
    takenBack: undefined,
    source: undefined,
    mempool: { size: 0, isComplete: false },
  }
}

/** Why no list can be given at monotonic time `nowMs`; undefined when one can. Takers are told: no path, no address of ours. */
export function whyNotSynced(following: Following, nowMs: number): string | undefined {
  const { node, best, tip, answeredAtMs, behindSinceMs } = following
  if (answeredAtMs === undefined || !best) return 'no answer from bitcoind yet'
  if (nowMs - answeredAtMs > FOLLOWING_LIMITS.silentMsMax) {
    return `bitcoind has not answered for ${Math.round((nowMs - answeredAtMs) / 60_000)} minutes`
  }
  if (node.kind === 'initial-download') return node.detail
  if (!tip) return `nothing scanned yet, bitcoind is at ${best.height}`
  const behind = best.height - tip.height
  const at = `scanned ${tip.height} of ${best.height}`
  if (!following.hasReachedTip) {
    const progress = following.progress
    const eta = progress?.etaS === undefined ? '' : `, about ${Math.ceil(progress.etaS)} s left`
    return `${at}${eta}`
  }
  if (behind > FOLLOWING_LIMITS.behindBlocksMax) return `${behind} blocks behind: ${at}`
  if (behindSinceMs !== undefined && nowMs - behindSinceMs > FOLLOWING_LIMITS.behindMsMax) {
    return `behind for more than an hour: ${at}`
  }
  return undefined
}
