/** The words of probing: what makers say of themselves. Source: docs/makers.md, "Dialects". */
import type { FidelityProof } from '../bonds/proof.ts'

/** The terms on which a maker swaps, and its proof: claims, all of it. */
export interface Offer {
  baseFeeSats: number
  /** Percent of the amount swapped. */
  amountFeePct: number
  /** Percent for the time the maker's coins are locked. */
  timeFeePct: number
  /** Absent in offers of 0.1.3's taproot maker. */
  requiredConfirms?: number
  lockBlocksMin: number
  amountSatsMin: number
  amountSatsMax: number
  /** 33 bytes; whether they are a point is for the proof's verdict to say. */
  tweakablePoint: Uint8Array
  /** 32 bytes; since May 2026. */
  tweakChainCode?: Uint8Array
  proof: FidelityProof
}

export type MakerReply =
  /** `protocols`: those it lists; the makers before March 2026 list none. */
  | { type: 'hello'; protocols?: readonly string[] }
  | { type: 'offer'; offer: Offer }
  /** `address`: what it calls itself. A claim, never a key. */
  | { type: 'pong'; address: string }

/** `fault` says what was expected and what came. */
export type ReadReply = { ok: true; reply: MakerReply } | { ok: false; fault: string }

export const DIALECTS = [
  'unified',
  'legacy',
  'taproot',
  'legacy-prefixed',
  'taproot-prefixed',
  'ping',
  'ping-unit',
] as const
export type DialectName = (typeof DIALECTS)[number]
