/**
 * A fidelity proof as bytes, as it stands in offers and in `Post`: { bond: { outpoint (txid in INTERNAL order), amount,
 * lock_time, pubkey, conf_height, cert_expiry or bond_index, is_spent }, cert_hash, cert_sig }. Every layout since June
 * 2025 is read: what a release doesn't know is absent, what it adds is ignored. Source: docs/makers.md, "The proof".
 */
import type { FidelityProof } from '../bonds/proof.ts'
import { asSats } from '../chain/types.ts'
import { bool, bytes, bytesUpTo, internalTxid, named, optional, orElse, type Shape, struct, u32, u64 } from './shape.ts'

/** Two 33-byte integers and six bytes of DER. What is longer is no signature. */
const DER_BYTES_MAX = 72

const wireProof = (certHash: Shape<Uint8Array>) =>
  struct({
    bond: struct({
      outpoint: struct({ txid: internalTxid, vout: u32 }),
      amountSats: named('amount', u64),
      lockHeight: named('lock_time', u32),
      publicKey: named('pubkey', bytes(33)),
      confHeight: named('conf_height', optional(u32)),
      certExpiry: named('cert_expiry', optional(u32)),
      /** The maker's own note, worth nothing to anybody else. */
      isSpent: named('is_spent', orElse(bool, false)),
      bondIndex: named('bond_index', optional(u32)),
    }),
    certHash: named('cert_hash', certHash),
    certSig: named('cert_sig', bytesUpTo(DER_BYTES_MAX)),
  })

function proofOf(wire: ReturnType<typeof wireProof>): Shape<FidelityProof> {
  return {
    read(value, at) {
      const { bond, certHash, certSig } = wire.read(value, at)
      const { isSpent: _, ...claimed } = bond
      return { ...claimed, amountSats: asSats(bond.amountSats), certHash, certSig }
    },
    write({ certHash, certSig, ...bond }) {
      return wire.write({ bond: { ...bond, isSpent: false }, certHash, certSig })
    },
  }
}

export const fidelityProof = proofOf(wireProof(bytes(32)))

/** In a `Post` the hash may have 20 bytes, as the reference tracker declares it: read, so that the verdict can say so. */
export const postedProof = proofOf(wireProof(bytesUpTo(32)))
