/**
 * How far we are behind bitcoind, as one cell: written by the sync loop, read by whoever answers. The rule of
 * `isSynced` decides whether a taker gets a list or "not synced".
 */
import { span, utc } from '../format.ts'
import { unseenHeights, WINDOW_BLOCKS } from './plan.ts'
import type { BlockRef, BlockSource, Height, HeightRange } from './types.ts'

export const FOLLOWING_LIMITS = {
  /** Blocks we may be behind and still answer: a block takes a moment to connect. */
  behindBlocksMax: 2,
  /** Being behind at all may last this long. */
  behindMsMax: 3_600_000,
  /** Blocks that bitcoind's best header may be ahead of its best block: one just announced takes a moment to come. */
  headersAheadMax: 2,
  /** Being further ahead may last this long: bitcoind then lacks blocks that others have. */
  headersAheadMsMax: 600_000,
  /** A best block of this age is told of. On main that comes by chance once in three years. */
  tipAgeSMax: 7_200,
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
  /** It answers, but can't give the block that comes next: not downloaded yet, pruned, damaged on its disk. */
  | { kind: 'waiting-for-block'; detail: string; height: Height }

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
  /** Blocks its best header was ahead of that. */
  headersAhead: number
  /** Since when that has been more than FOLLOWING_LIMITS.headersAheadMax, on the monotonic clock. */
  headersAheadSinceMs: number | undefined
  /** Age of its best block by our clock; undefined where it doesn't tell the block's time. */
  bestAgeS: number | undefined
  /** Its peers; undefined where it doesn't tell. */
  peers: number | undefined
  /** Ours. */
  tip: BlockRef | undefined
  /** The lowest height scanned. */
  scannedFrom: Height | undefined
  /** The scan that has begun with nothing, until it has reached the tip; monotonic. */
  scan?: { from: Height; sinceMs: number } | undefined
  /** The operator's --serve-partial: lists are given although blocks of the window were never read. */
  readonly servesPartial: boolean
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
  mempool: {
    size: number
    isComplete: boolean
    /** Why it can't be read although bitcoind answers, and since when (Unix milliseconds). */
    fault?: { detail: string; sinceMs: number } | undefined
  }
}

export function newFollowing(servesPartial = false): Following {
  return {
    node: { kind: 'connecting', detail: 'not asked yet' },
    best: undefined,
    headersAhead: 0,
    headersAheadSinceMs: undefined,
    bestAgeS: undefined,
    peers: undefined,
    tip: undefined,
    scannedFrom: undefined,
    servesPartial,
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

/** Whether bitcoind answers and has the whole chain, as far as it knows. */
export function isUp({ kind }: NodeCondition): boolean {
  return kind === 'following' || kind === 'waiting-for-block'
}

/** Blocks of the present window that were never read: a bond confirmed there is not known. */
export function unseenOf({ scannedFrom, tip, best }: Following): HeightRange | undefined {
  return unseenHeights(scannedFrom, tip && best && best.height > tip.height ? best : tip)
}

/**
 * Why no list can be given at monotonic time `nowMs`; undefined when one can. Strangers are told it too: fixed words,
 * heights and numbers, nothing that bitcoind said.
 */
export function whyNotSynced(following: Following, nowMs: number): string | undefined {
  const { node, best, tip, answeredAtMs, behindSinceMs } = following
  if (answeredAtMs === undefined || !best) return 'no answer from bitcoind yet'
  if (nowMs - answeredAtMs > FOLLOWING_LIMITS.silentMsMax) {
    return `bitcoind has not answered for ${minutes(nowMs - answeredAtMs)} minutes`
  }
  if (node.kind === 'initial-download') return node.detail
  const waits = node.kind === 'waiting-for-block' ? `, waiting for block ${node.height}, which bitcoind can't give` : ''
  if (!tip) return `nothing scanned yet, bitcoind is at ${best.height}${waits}`
  const behind = best.height - tip.height
  const at = `scanned ${tip.height} of ${best.height}${waits}`
  if (!following.hasReachedTip) {
    const eta = following.progress?.etaS
    return eta === undefined ? at : `${at}, about ${span(eta)} left`
  }
  if (behind > FOLLOWING_LIMITS.behindBlocksMax) return `${behind} blocks behind: ${at}`
  if (behindSinceMs !== undefined && nowMs - behindSinceMs > FOLLOWING_LIMITS.behindMsMax) {
    return `behind for more than an hour: ${at}`
  }
  const aheadMs = nowMs - (following.headersAheadSinceMs ?? nowMs)
  if (aheadMs > FOLLOWING_LIMITS.headersAheadMsMax) {
    return `bitcoind knows of ${following.headersAhead} blocks that it has not had for ${minutes(aheadMs)} minutes: it is at ${best.height}`
  }
  const unseen = unseenOf(following)
  return unseen && !following.servesPartial ? whatIsMissing(unseen) : undefined
}

function minutes(ms: number): number {
  return Math.floor(ms / 60_000)
}

function whatIsMissing({ from, to }: HeightRange): string {
  const coveredAt = to + 1 + WINDOW_BLOCKS
  return `blocks ${from} to ${to} of the window were never read, as bitcoind did not have them: give it these blocks (a full node, or one less pruned) and rescan, or set --serve-partial, or wait until block ${coveredAt}, when the window has moved past them`
}

/** What makes one doubt that bitcoind is up to date, or whole, while it answers: in words, for the operator. */
export function warningsOf({ node, best, headersAhead, peers, bestAgeS, mempool }: Following): string[] {
  if (!isUp(node) && node.kind !== 'initial-download') return []
  const words: string[] = []
  if (peers === 0) words.push('bitcoind has no peers')
  if (node.kind === 'initial-download') return words
  if (best && headersAhead > FOLLOWING_LIMITS.headersAheadMax) {
    words.push(
      `bitcoind knows of ${headersAhead} blocks that it does not have: its best header is ${best.height + headersAhead}`,
    )
  }
  if (bestAgeS !== undefined && bestAgeS > FOLLOWING_LIMITS.tipAgeSMax) {
    words.push(`bitcoind's newest block is ${Math.floor(bestAgeS / 3600)} hours old`)
  }
  if (mempool.fault) {
    words.push(
      `mempool not read since ${utc(mempool.fault.sinceMs)}, watch requests are refused: ${mempool.fault.detail}`,
    )
  }
  return words
}
