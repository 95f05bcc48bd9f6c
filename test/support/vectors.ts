/** Published bytes (test/vectors): messages of the real programs, and a proof of either era as its maker would offer it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { CertificateEra, FidelityProof, OfferedKeys } from '../../src/bonds/proof.ts'
import { asSats, parseOutpoint } from '../../src/chain/types.ts'

export interface WireVector {
  name: string
  /** Hex of the byte that maker protocols put between length and message; null: none. */
  prefix: string | null
  cbor: string
  frame: string
}

export const WIRE_V1: readonly WireVector[] = read('wire-v1.json')
export const WIRE_V2: readonly WireVector[] = read('wire-v2.json')

/** An effort over a block and outpoints. Hashes and txids in display order, `effort` and `sha256` as bytes. */
export interface EffortVector {
  block_hash: string
  outpoints: readonly { txid: string; vout: number }[]
  effort: string
  sha256: string
  bits: number
}

export const EFFORTS: readonly EffortVector[] = read('effort.json')

/** One of version 1, by its name. */
export function wireVector(name: string): WireVector {
  const found = WIRE_V1.find((vector) => vector.name === name)
  assert(found, `no vector ${name}`)
  return found
}

/** A published certificate and what belongs to it. Bytes are hex. */
interface ProofVector {
  outpoint: string
  amountSats: number
  lockHeight: number
  confHeight: number
  publicKey: string
  makerAddress: string
  text: string
  certHash: string
  certSig: string
  scriptPubKey: string
}

export const PROOFS: {
  expiry: ProofVector & { certExpiry: number }
  'tweak-point': ProofVector & { bondIndex: number; tweakablePoint: string; tweakChainCode: string }
} = read('proofs.json')

/** The published proof of an era. */
export function publishedProof(era: CertificateEra): FidelityProof {
  const { outpoint, amountSats, lockHeight, confHeight, publicKey, certHash, certSig } = PROOFS[era]
  return {
    outpoint: parseOutpoint(outpoint)!,
    amountSats: asSats(amountSats),
    lockHeight,
    publicKey: hex(publicKey),
    confHeight,
    ...(era === 'expiry' ? { certExpiry: PROOFS.expiry.certExpiry } : { bondIndex: PROOFS[era].bondIndex }),
    certHash: hex(certHash),
    certSig: hex(certSig),
  }
}

/** The keys in the offer beside it. */
export function publishedKeys(era: CertificateEra): OfferedKeys & { tweakablePoint: Uint8Array } {
  if (era === 'expiry') return { tweakablePoint: hex(PROOFS.expiry.publicKey) }
  const { tweakablePoint, tweakChainCode } = PROOFS[era]
  return { tweakablePoint: hex(tweakablePoint), tweakChainCode: hex(tweakChainCode) }
}

/** Bytes of a hex text, in which blanks may stand. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

function read(name: string) {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), 'utf8'))
}
