/**
 * What the daemon knows of itself: one cell per loop, written by that loop alone, and the words made of them: why it is
 * not ready, and the report the status verb prints.
 */
import { type Following, type NodeCondition, type Progress, whyNotSynced } from './chain/following.ts'
import { windowStart } from './chain/plan.ts'
import type { BlockRef, Height, Network } from './chain/types.ts'
import type { CanaryState } from './peers/canary.ts'
import type { Reach } from './peers/types.ts'
import type { OnionState } from './tor/onion.ts'

export interface Status {
  following: Following
  onion: OnionState | { kind: 'disabled'; detail: string }
  /** Absent until it is set up; then written by the canary. */
  canary?: CanaryState
}

/** Everything that keeps a taker from getting an answer through Tor; empty when ready. */
export function whyNotReady(status: Status, nowMs: number): string[] {
  const reasons: string[] = []
  const { node } = status.following
  if (node.kind === 'unreachable') reasons.push(`bitcoind: ${node.detail}`)
  const notSynced = whyNotSynced(status.following, nowMs)
  if (notSynced !== undefined) reasons.push(`not synced: ${notSynced}`)
  const { onion } = status
  if (onion.kind !== 'published' && onion.kind !== 'disabled') reasons.push(`onion service: ${onion.detail}`)
  else if (status.canary?.kind === 'red' || status.canary?.kind === 'untried')
    reasons.push(`canary: ${status.canary.detail}`)
  return reasons
}

export interface HeightRange {
  from: Height
  to: Height
}

/** Heights of the window that were gone (pruned) before we could scan them: bonds confirmed there are unknown. */
export function unseenHeights(scannedFrom: Height | undefined, tip: BlockRef | undefined): HeightRange | undefined {
  if (scannedFrom === undefined || !tip) return undefined
  const from = windowStart(tip.height)
  return from < scannedFrom ? { from, to: scannedFrom - 1 } : undefined
}

/** As stored for the status verb. Times in Unix milliseconds. */
export interface Report {
  pid: number
  version: string
  network: Network
  startedAtMs: number
  writtenAtMs: number
  address: string
  onion: { state: string; address?: string; detail: string; torVersion?: string }
  ready: boolean
  notReady: string[]
  node: NodeCondition
  source?: string
  best?: BlockRef
  /** The block our rows are of. */
  tip?: BlockRef
  progress?: Progress
  reorgs: number
  reorgDepthMax: number
  mempool: { size: number; isComplete: boolean }
  connections: number
  /** Absent in reports of versions that probed nobody. */
  canary?: { state: CanaryState['kind']; detail: string }
  makers?: Record<Reach, number>
  /** Outpoints that connections are subscribed to, and registered ones. */
  subscriptions: number
  registered: number
}

/** One line, for the service manager and the health verb. */
export function summaryOf(report: Pick<Report, 'ready' | 'notReady' | 'address' | 'onion' | 'tip'>): string {
  const { ready, notReady, onion, address, tip } = report
  if (!ready) return `not ready: ${notReady.join('; ')}`
  return `ready at ${onion.address ?? address}, block ${tip?.height ?? '-'}`
}
