/** A simulated maker's wallet: the bond's key (BIP32 m/175'/2/i) and what it signs. Test material only. */
import { createHash } from 'node:crypto'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { HDKey } from '@scure/bip32'

export interface BondKey {
  secretKey: Uint8Array
  /** 33 bytes, compressed. */
  publicKey: Uint8Array
  /** m/175', sent in offers with its chain code, so that anybody can derive the bond key. */
  tweakablePoint: Uint8Array
  chainCode: Uint8Array
  index: number
}

/** The key of a maker named `seed`. */
export function bondKey(seed: string, index = 0): BondKey {
  return bondKeyOf(createHash('sha256').update(seed).digest(), index)
}

export function bondKeyOf(seed: Uint8Array, index = 0): BondKey {
  const account = HDKey.fromMasterSeed(seed).derive("m/175'")
  const child = account.deriveChild(2).deriveChild(index)
  return {
    secretKey: child.privateKey!,
    publicKey: child.publicKey!,
    tweakablePoint: account.publicKey!,
    chainCode: account.chainCode!,
    index,
  }
}

/** ECDSA over a 32-byte hash: DER, low S, no sighash byte. */
export function signDer(hash: Uint8Array, key: BondKey): Uint8Array {
  return secp256k1.sign(hash, key.secretKey, { prehash: false, format: 'der', lowS: true })
}
