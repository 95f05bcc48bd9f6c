/** Columns ↔ words: 32-byte BLOBs in DISPLAY order, so that `hex(txid)` pastes into bitcoin-cli. */
import type { BlockHash, Txid } from '../chain/types.ts'

export function hashColumn(hex: Txid | BlockHash): Buffer {
  return Buffer.from(hex, 'hex')
}
export function columnTxid(column: Buffer): Txid {
  return column.toString('hex') as Txid
}
export function columnBlockHash(column: Buffer): BlockHash {
  return column.toString('hex') as BlockHash
}
