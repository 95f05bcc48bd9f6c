/** Nostr events as the far ends sign and check them (NIP-01, BIP-340), by @noble/curves: nothing here is the tracker's. */
import { createHash, randomBytes } from 'node:crypto'
import { schnorr } from '@noble/curves/secp256k1.js'
import type { Network } from '../../../src/chain/types.ts'

export const MARKET_KINDS: Readonly<Record<Network, number>> = {
  main: 37778,
  signet: 37779,
  regtest: 37780,
  testnet3: 37781,
  testnet4: 37782,
}

/** Keys in the order in which the market's library writes them. */
export interface SignedEvent {
  content: string
  created_at: number
  id: string
  kind: number
  pubkey: string
  sig: string
  tags: string[][]
}

export const nowS = () => Math.floor(Date.now() / 1_000)

function idBytes({ pubkey, created_at, kind, tags, content }: Omit<SignedEvent, 'id' | 'sig'>): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([0, pubkey, created_at, kind, tags, content]))
    .digest()
}

/** By a new author, unless `secretKey` (32 bytes) is given. */
export function signEvent(
  { content, created_at, kind, tags }: Pick<SignedEvent, 'content' | 'created_at' | 'kind' | 'tags'>,
  secretKey: Uint8Array = randomBytes(32),
): SignedEvent {
  const pubkey = Buffer.from(schnorr.getPublicKey(secretKey)).toString('hex')
  const id = idBytes({ content, created_at, kind, pubkey, tags })
  const sig = Buffer.from(schnorr.sign(id, secretKey)).toString('hex')
  return { content, created_at, id: id.toString('hex'), kind, pubkey, sig, tags }
}

/** Whether id and signature are right; shapes must be. */
export function isRightlySigned(event: SignedEvent): boolean {
  const id = idBytes(event)
  if (id.toString('hex') !== event.id) return false
  try {
    return schnorr.verify(Buffer.from(event.sig, 'hex'), id, Buffer.from(event.pubkey, 'hex'))
  } catch {
    return false // no point on the curve
  }
}
