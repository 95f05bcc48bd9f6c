/**
 * One hash over the live bonds, so that two trackers at the same block can tell whether they agree. Each bond, in order
 * of (txid internal bytes, vout): txid (32, internal) ‖ vout (u32 LE) ‖ amount (u64 LE) ‖ confirmation height (u32 LE) ‖
 * lock height (u32 LE, 0 if absent) ‖ length of address (u8) ‖ address (ASCII). Source: docs/protocol.md, "Digest".
 */
import { createHash } from 'node:crypto'
import { type Outpoint, toInternal } from '../chain/types.ts'
import type { ConfirmedBond } from './types.ts'

/** The order of the digest. Without allocating: lists of thousands are sorted and searched by it. */
export function compareOutpoints(a: Outpoint, b: Outpoint): number {
  if (a.txid !== b.txid) {
    for (let at = a.txid.length - 2; at >= 0; at -= 2) {
      const high = a.txid.charCodeAt(at) - b.txid.charCodeAt(at)
      if (high !== 0) return high
      const low = a.txid.charCodeAt(at + 1) - b.txid.charCodeAt(at + 1)
      if (low !== 0) return low
    }
  }
  return a.vout - b.vout
}

/** What the digest takes of a bond. */
export type DigestedBond = Pick<ConfirmedBond, 'outpoint' | 'address' | 'lockHeight'> & {
  amountSats: number
  conf: { height: number }
}

/** SHA-256, 32 bytes. `live` in any order. */
export function digestOf(live: readonly DigestedBond[]): Buffer {
  const hash = createHash('sha256')
  for (const bond of live.toSorted((a, b) => compareOutpoints(a.outpoint, b.outpoint))) {
    const address = Buffer.from(bond.address, 'ascii')
    const numbers = Buffer.alloc(21)
    numbers.writeUInt32LE(bond.outpoint.vout, 0)
    numbers.writeBigUInt64LE(BigInt(bond.amountSats), 4)
    numbers.writeUInt32LE(bond.conf.height, 12)
    numbers.writeUInt32LE(bond.lockHeight ?? 0, 16)
    numbers.writeUInt8(address.length, 20)
    hash.update(toInternal(bond.outpoint.txid)).update(numbers).update(address)
  }
  return hash.digest()
}
