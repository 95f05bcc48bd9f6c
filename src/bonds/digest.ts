/**
 * One hash over the live bonds, so that two trackers at the same block can tell whether they agree. Each bond, in order
 * of (txid internal bytes, vout): txid (32, internal) ‖ vout (u32 LE) ‖ amount (u64 LE) ‖ confirmation height (u32 LE) ‖
 * lock height (u32 LE, 0 if absent) ‖ length of address (u8) ‖ address (ASCII). Source: docs/protocol.md, "Digest".
 */
import { hash as digest } from 'node:crypto'
import type { Outpoint } from '../chain/types.ts'
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

const TXID_BYTES = 32
/** Of a bond, but its address. */
const FIXED_BYTES = TXID_BYTES + 21
const ADDRESS_ROOM_BYTES = 255

/** SHA-256, 32 bytes. `live` in any order. */
export function digestOf(live: readonly DigestedBond[]): Buffer {
  // One buffer and one hash: with three small ones a bond it takes five times as long.
  const bytes = Buffer.allocUnsafe(live.length * (FIXED_BYTES + ADDRESS_ROOM_BYTES))
  let at = 0
  for (const bond of live.toSorted((a, b) => compareOutpoints(a.outpoint, b.outpoint))) {
    bytes.write(bond.outpoint.txid, at, 'hex')
    bytes.subarray(at, at + TXID_BYTES).reverse()
    at = bytes.writeUInt32LE(bond.outpoint.vout, at + TXID_BYTES)
    at = bytes.writeUInt32LE(bond.amountSats % 2 ** 32, at)
    at = bytes.writeUInt32LE(Math.floor(bond.amountSats / 2 ** 32), at)
    at = bytes.writeUInt32LE(bond.conf.height, at)
    at = bytes.writeUInt32LE(bond.lockHeight ?? 0, at)
    at = bytes.writeUInt8(bond.address.length, at)
    at += bytes.write(bond.address, at, 'ascii')
  }
  return digest('sha256', bytes.subarray(0, at), 'buffer')
}
