/** The words of probing: what makers say of themselves. Source: docs/makers.md, "Dialects". */
import type { FidelityProof, ProofCheck } from '../bonds/proof.ts'
import type { Outpoint } from '../chain/types.ts'

/**
 * The terms of swaps with Lightning, as makers with that feature add them to their offer. Directions are the taker's: in is
 * from the chain to Lightning. The largest sizes come as one (`amountSatsMax`) or one for each direction.
 */
export interface LightningTerms {
  swapIn: boolean
  swapOut: boolean
  baseFeeSats: number
  /** Percent of the amount swapped. */
  amountFeePct: number
  amountSatsMin: number
  amountSatsMax?: number
  swapInSatsMax?: number
  swapOutSatsMax?: number
}

/** `fault`: why they can't be read or meant; it costs the offer nothing. */
export type LightningPart = { terms: LightningTerms } | { fault: string }

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
  /** Absent where it swaps on the chain alone. */
  lightning?: LightningPart
}

export type MakerReply =
  /** `protocols`: those it lists; the makers before March 2026 list none. */
  | { type: 'hello'; protocols?: readonly string[] }
  /** `fault`: which of its terms can't be meant. */
  | { type: 'offer'; offer: Offer; fault?: string }
  /** `address`: what it calls itself. A claim, never a key. */
  | { type: 'pong'; address: string }
  /** It lives, and does not know what it was asked. Its own words. */
  | { type: 'unsupported'; what: string; reason: string }

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

/** What kept a probe from an answer. */
export const PROBE_FAILURES = [
  /** Our own Tor could not be used: says nothing about the maker. */
  'proxy',
  /** No connection: the onion service is not known, refuses the port, or was not reached in time. */
  'unreachable',
  /** Connected, and no answer in time. */
  'silent',
  /** Closed without an answer, each time: it lives, and had no room or does not speak to us. Says nothing against it. */
  'closed',
  /** An answer that is none, or longer than any. */
  'rubbish',
] as const
export type ProbeFailure = (typeof PROBE_FAILURES)[number]

export type ProbeResult = { latencyMs: number /** A v1 Ping was sent. */; hasPinged: boolean } & (
  | {
      kind: 'answered'
      dialect: DialectName
      protocols?: readonly string[]
      /** Absent when it wasn't asked for, can't be read, or none came. */
      offer?: Offer
      /** Why the offer that came can't be read or meant. */
      offerFault?: string
      /** Why none came: a maker that renews its bond answers no request for its offer. */
      noOffer?: string
    }
  | { kind: 'failed'; failure: ProbeFailure; text: string }
)

/** `unjudged`: it failed while our own Tor was not known to work, or was closed without an answer. */
export const PROBE_OUTCOMES = ['answered', 'failed', 'unjudged'] as const
export type ProbeOutcome = (typeof PROBE_OUTCOMES)[number]

/** `up`: answered within the last hour; `down`: kept failing while our Tor was proven to work; `unknown`: else. */
export const REACHES = ['up', 'down', 'unknown'] as const
export type Reach = (typeof REACHES)[number]

/** Where a maker stands. Times are Unix milliseconds. */
export interface MakerRecord {
  address: string
  /** The last probe of any outcome. */
  lastProbeMs: number
  lastUpMs?: number
  /** Judged failures in a row, since the last answer. */
  failures: number
  firstFailureMs?: number
  lastFailureMs?: number
  /** Of the last failure that was judged, or that was a connection closed at once; kept until the next one. */
  failure?: ProbeFailure
  failureText?: string
  /** What it answered last. */
  dialect?: DialectName
  protocols?: readonly string[]
  pingedMs?: number
  offerAskedMs?: number
  /** What is wrong with its last offer, whose terms are therefore not kept. */
  offerFault?: string
  /** The verdict on its last offer's proof. */
  verdict?: OfferVerdict
}

export interface OfferVerdict {
  atMs: number
  outpoint: Outpoint
  /** The first check that failed; absent when the bond is proven. */
  failed?: ProofCheck
  /** What was expected and what came; without `failed` the note on a proof that holds. */
  text?: string
}

/** What an offer asks and allows, without keys and proof. */
export type OfferTerms = Omit<Offer, 'tweakablePoint' | 'tweakChainCode' | 'proof'> & { atMs: number }

/** Probes that say something: neither unjudged nor outside the time asked about. */
export interface Uptime {
  answered: number
  observed: number
}
