/** Pure: our tip and one look at the node's best chain → what to do next. A reorg is a value, not an error. */
import type { ChainView } from './node-reader.ts'
import type { BlockHash, BlockRef, Height, HeightRange } from './types.ts'

/** Bonds are locked for at most 25,920 blocks, so a live one is never older: the scan begins that far back. */
export const WINDOW_BLOCKS = 25_920

export const PLAN_LIMITS = {
  /** The first scan begins this far below the window, so that a reorg right after it leaves no hole: none was so deep. */
  belowWindowBlocks: 100,
}

export type Step =
  | { kind: 'start'; from: Height }
  | { kind: 'connect'; from: Height; hashes: BlockHash[] }
  | { kind: 'disconnect' }
  | { kind: 'idle' }
  /** The node has pruned blocks above our tip: what happened in them can't be known from it. */
  | { kind: 'gap'; from: Height; to: Height }

/** `view` was asked for at our tip's height (or undefined without one). */
export function nextStep(tip: BlockRef | undefined, view: ChainView): Step {
  if (!tip) {
    const from = Math.max(0, windowStart(view.best.height) - PLAN_LIMITS.belowWindowBlocks)
    return { kind: 'start', from: Math.max(from, view.pruneHeight) }
  }
  if (view.atHeight !== tip.hash) return { kind: 'disconnect' }
  if (view.following.length === 0) return { kind: 'idle' }
  const from = tip.height + 1
  if (view.pruneHeight > from) return { kind: 'gap', from, to: view.pruneHeight - 1 }
  return { kind: 'connect', from, hashes: view.following }
}

/** The lowest height at which a bond that lives at `tipHeight` can have been confirmed. */
export function windowStart(tipHeight: Height): Height {
  return Math.max(0, tipHeight - WINDOW_BLOCKS)
}

/** Heights of the window at `tip` below the first one scanned: bonds confirmed there are unknown. */
export function unseenHeights(
  scannedFrom: Height | undefined,
  tip: Pick<BlockRef, 'height'> | undefined,
): HeightRange | undefined {
  if (scannedFrom === undefined || !tip) return undefined
  const from = windowStart(tip.height)
  return from < scannedFrom ? { from, to: scannedFrom - 1 } : undefined
}
