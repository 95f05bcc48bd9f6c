/**
 * The words of fidelity proofs: what a maker offers as evidence that a bond on the chain is its own, what the chain says
 * about it, and the verdict. Source: docs/makers.md, "The proof" and "Checks".
 */
import type { Height, Outpoint, Sats } from '../chain/types.ts'
import type { Announcement } from './types.ts'

/** Named after the field that only this era's certificate has: `expiry` 2024-02 to 2026-05, `tweak-point` since. */
export type CertificateEra = 'expiry' | 'tweak-point'

/** What a maker claims: nothing of it is known to be true. */
export interface FidelityProof {
  outpoint: Outpoint
  amountSats: Sats
  /** The consensus value of an absolute lock: a height below 500,000,000, else a time. */
  lockHeight: Height
  /** 33 bytes, compressed. */
  publicKey: Uint8Array
  /** Where the maker saw it confirm; a reorg may have moved it since. */
  confHeight?: Height
  /** Until May 2026 only. */
  certExpiry?: number
  /** The i of m/175'/2/i; since May 2026 only. */
  bondIndex?: number
  /** 32 bytes in the order of the digest. */
  certHash: Uint8Array
  /** ECDSA in DER, without a sighash byte. */
  certSig: Uint8Array
}

/** The extended public key from which the bond's key descends, as it stands in the offer beside the proof. */
export interface OfferedKeys {
  /** 33 bytes, compressed. */
  tweakablePoint?: Uint8Array
  /** 32 bytes; its presence marks an offer of today. */
  tweakChainCode?: Uint8Array
}

/** What the chain says about the outpoint a proof names, and the rules of the network. */
export interface ProofFacts {
  /** Undefined: no such transaction, or it has no such output. */
  output: BondOutput | undefined
  /** What that output's transaction announces; undefined: nothing. */
  announcement: Announcement | undefined
  tipHeight: Height
  /** Blocks from confirmation to lock height, both ends included. */
  lockBlocks: { min: number; max: number }
}

export interface BondOutput {
  amountSats: Sats
  scriptPubKey: Uint8Array
  /** Undefined while it is in the mempool. */
  confHeight: Height | undefined
  /** No transaction spends it, neither in a block nor in the mempool. */
  isUnspent: boolean
}

/** Stable names of the checks, in the order in which they are made. */
export const PROOF_CHECKS = [
  'malformed',
  'not-found',
  'spent',
  'unconfirmed',
  'lock-range',
  'lock-passed',
  'cert-hash',
  'bond-key',
  'script',
  'amount',
  'signature',
  'vout',
  'not-announced',
  'announced-address',
  'announced-height',
] as const
export type ProofCheck = (typeof PROOF_CHECKS)[number]

/** Whether takers make this check, too; the others tie the proof to the announcement. */
export function isTakersCheck(check: ProofCheck): boolean {
  return PROOF_CHECKS.indexOf(check) <= PROOF_CHECKS.indexOf('signature')
}

export type ProofVerdict =
  /** `note`: what older takers refuse the proof for, and today's do not. */
  | { ok: true; era: CertificateEra; note?: string }
  /** `failed` is the first that failed, `text` says what was expected and what came. No era: the proof is of none. */
  | { ok: false; era?: CertificateEra; failed: ProofCheck; text: string }
