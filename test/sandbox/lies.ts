/**
 * How a simulated maker lies in its offer: each lie but one breaks one check of docs/makers.md ("Checks") and no earlier one,
 * provided that the bond itself is in order. `spent`, `unconfirmed` and what concerns announcements are no lies of an
 * offer: there the chain has to be otherwise.
 */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import type { ProofCheck } from '../../src/bonds/proof.ts'
import { asTxid } from '../../src/chain/types.ts'
import { type BondKey, signDer } from './bond-key.ts'
import type { OfferedBond } from './offer.ts'

/** What goes into the offer once the certificate is signed. */
export interface Signed {
  publicKey: Uint8Array
  certHash: Uint8Array
  certSig: Uint8Array
  index: number
  chainCode: Uint8Array
}

interface Lie {
  /** Undefined: the proof holds, with a note. */
  breaks: ProofCheck | undefined
  /** What is claimed instead; it is certified and signed as if it were true. `otherKey`: of the same wallet. */
  claim?(bond: OfferedBond, otherKey: BondKey): OfferedBond
  /** What is sent instead of what was signed. */
  send?(signed: Signed, key: BondKey, otherKey: BondKey): Signed
  /** Only offers with a chain code can lie so. */
  needsChainCode?: true
}

export const LIES = {
  'key-off-curve': { breaks: 'malformed', send: (signed) => ({ ...signed, publicKey: Buffer.alloc(33, 5) }) },
  'unknown-outpoint': {
    breaks: 'not-found',
    claim: (bond) => ({ ...bond, outpoint: { txid: asTxid('5e'.repeat(32)), vout: 0 } }),
  },
  /** As a maker whose bond a reorg has moved. */
  'conf-height': { breaks: undefined, claim: (bond) => ({ ...bond, confHeight: bond.confHeight + 1 }) },
  'long-lock': { breaks: 'lock-range', claim: (bond) => ({ ...bond, lockHeight: bond.confHeight + 25_921 }) },
  /** Where a lock of one block is allowed (regtest), once the tip is two blocks further. */
  'passed-lock': { breaks: 'lock-passed', claim: (bond) => ({ ...bond, lockHeight: bond.confHeight + 1 }) },
  'cert-hash': {
    breaks: 'cert-hash',
    send: (signed, key) => {
      const certHash = Buffer.alloc(32, 0x5e)
      return { ...signed, certHash, certSig: signDer(certHash, key) }
    },
  },
  'cert-address': { breaks: 'cert-hash', claim: (bond) => ({ ...bond, certAddress: `${'a'.repeat(56)}.onion` }) },
  'chain-code': {
    breaks: 'bond-key',
    send: (signed) => ({ ...signed, chainCode: Buffer.alloc(32, 0x5e) }),
    needsChainCode: true,
  },
  'bond-index': {
    breaks: 'bond-key',
    send: (signed) => ({ ...signed, index: signed.index + 1 }),
    needsChainCode: true,
  },
  /** Another bond's key of the same wallet: derived as it should be, yet not the one the coins are locked to. */
  'other-key': { breaks: 'script', claim: (bond, otherKey) => ({ ...bond, key: otherKey }) },
  'lock-height': { breaks: 'script', claim: (bond) => ({ ...bond, lockHeight: bond.lockHeight + 1 }) },
  amount: { breaks: 'amount', claim: (bond) => ({ ...bond, amountSats: bond.amountSats + 1 }) },
  signature: {
    breaks: 'signature',
    send: (signed, _, otherKey) => ({ ...signed, certSig: signDer(signed.certHash, otherKey) }),
  },
  'high-s': { breaks: 'signature', send: (signed) => ({ ...signed, certSig: highS(signed.certSig) }) },
  'sighash-byte': {
    breaks: 'signature',
    send: (signed) => ({ ...signed, certSig: Buffer.concat([signed.certSig, Buffer.of(1)]) }),
  },
} as const satisfies Record<string, Lie>

export type LieName = keyof typeof LIES

export function lieOf(name: LieName): Lie {
  return LIES[name]
}

/** The other of the two signatures that anybody can make of one. */
function highS(certSig: Uint8Array): Uint8Array {
  const { Signature, Point } = secp256k1
  const { r, s } = Signature.fromBytes(certSig, 'der')
  return new Signature(r, Point.Fn.ORDER - s).toBytes('der')
}
