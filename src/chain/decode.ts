/**
 * Reads consensus-encoded blocks and transactions where they lie: a byte walker that allocates nothing for a
 * transaction nobody is interested in. bitcoinjs-lib decodes the few that are interesting; it is 50 times slower.
 * Source: BIP144 (segwit serialization), Bitcoin's CompactSize. Knows no bonds: it only sees that a transaction has the
 * outer shape of an announcement. Alone in seeing internal byte order inside blocks.
 */
import { hash as digest } from 'node:crypto'
import type { OutpointKeys } from './outpoint-keys.ts'
import {
  asBlockHash,
  asTxid,
  type BlockHash,
  fromInternal,
  type Outpoint,
  type Spender,
  type Txid,
  toInternal,
} from './types.ts'

export const BLOCK_LIMITS = {
  /** Consensus: a block weighs at most 4,000,000 units, so it can't have more bytes. */
  blockBytes: 4_000_000,
  /** OP_RETURN scripts of this length may hold an announcement: `127.0.0.1:1` pushed is 13 bytes, the longest 83. */
  announcementScriptBytesMin: 13,
  announcementScriptBytesMax: 83,
}

export const HEADER_BYTES = 80
const OP_RETURN = 0x6a

/** The bytes are not a whole, well-formed block or transaction. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** Called for every input that spends something, with the offset of its 36-byte outpoint and its index. */
type OnInput = (prevoutOffset: number, vin: number) => void

/** What the walker leaves behind after one transaction; one object serves a whole block. */
interface TxShape {
  /** Where its inputs (their count) begin, where its witnesses do, and where it ends. */
  inputsAt: number
  witnessAt: number
  end: number
  outputs: number
  lockTime: number
  /** Has an OP_RETURN output of a length that may be an announcement. */
  mayAnnounce: boolean
}

class Cursor {
  at = 0
  readonly raw: Buffer
  constructor(raw: Buffer, at: number) {
    this.raw = raw
    this.at = at
  }
  byte(): number {
    const value = this.raw[this.at++]
    if (value === undefined) throw new MalformedError('ends in the middle of a transaction')
    return value
  }
  compactSize(): number {
    const head = this.byte()
    if (head < 0xfd) return head
    const bytes = head === 0xfd ? 2 : head === 0xfe ? 4 : 8
    if (this.at + bytes > this.raw.length) throw new MalformedError('ends in the middle of a length')
    const size = bytes === 8 ? Number(this.raw.readBigUInt64LE(this.at)) : this.raw.readUIntLE(this.at, bytes)
    if (size > this.raw.length) throw new MalformedError('a length points past the end')
    this.at += bytes
    return size
  }
}

function walkTransaction(cursor: Cursor, shape: TxShape, onInput: OnInput | undefined): void {
  const raw = cursor.raw
  cursor.at += 4
  const isSegwit = raw[cursor.at] === 0 && raw[cursor.at + 1] === 1
  if (isSegwit) cursor.at += 2
  shape.inputsAt = cursor.at
  const inputs = cursor.compactSize()
  for (let vin = 0; vin < inputs; vin++) {
    onInput?.(cursor.at, vin)
    cursor.at += 36
    const scriptBytes = cursor.compactSize() // read first: `at += compactSize()` would add to the old `at`
    cursor.at += scriptBytes + 4
  }
  shape.outputs = cursor.compactSize()
  shape.mayAnnounce = false
  for (let vout = 0; vout < shape.outputs; vout++) {
    cursor.at += 8
    const length = cursor.compactSize()
    if (
      raw[cursor.at] === OP_RETURN &&
      length >= BLOCK_LIMITS.announcementScriptBytesMin &&
      length <= BLOCK_LIMITS.announcementScriptBytesMax
    ) {
      shape.mayAnnounce = true
    }
    cursor.at += length
  }
  shape.witnessAt = cursor.at
  if (isSegwit) {
    let hasWitness = false
    for (let vin = 0; vin < inputs; vin++) {
      for (let items = cursor.compactSize(); items > 0; items--) {
        const length = cursor.compactSize()
        cursor.at += length
        hasWitness = true
      }
    }
    if (!hasWitness) throw new MalformedError('is marked as having witnesses, and has none') // as bitcoind refuses it
  }
  if (cursor.at + 4 > raw.length) throw new MalformedError('ends in the middle of a transaction')
  shape.lockTime = raw.readUInt32LE(cursor.at)
  cursor.at += 4
  shape.end = cursor.at
}

function hasAnnouncementShape(shape: TxShape): boolean {
  return shape.mayAnnounce && shape.lockTime !== 0 && shape.outputs >= 2 && shape.outputs <= 5
}

function viewOf(raw: Buffer): DataView {
  return new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
}

function newShape(): TxShape {
  return { inputsAt: 0, witnessAt: 0, end: 0, outputs: 0, lockTime: 0, mayAnnounce: false }
}

/** Double SHA-256. */
export function hash256(bytes: Uint8Array): Buffer {
  return digest('sha256', digest('sha256', bytes, 'buffer'), 'buffer')
}

/** Room for any transaction without its witnesses, used anew for each. */
const strippedScratch = Buffer.allocUnsafeSlow(BLOCK_LIMITS.blockBytes)

/** The txid of the transaction at `start`, 32 bytes in internal order: the hash of it without witnesses. */
function txidBytes(raw: Buffer, start: number, shape: TxShape): Buffer {
  if (shape.inputsAt === start + 4) return hash256(raw.subarray(start, shape.end))
  let length = raw.copy(strippedScratch, 0, start, start + 4)
  length += raw.copy(strippedScratch, length, shape.inputsAt, shape.witnessAt)
  length += raw.copy(strippedScratch, length, shape.end - 4, shape.end)
  return hash256(strippedScratch.subarray(0, length))
}

/** The txid of one whole raw transaction. Throws MalformedError. */
export function txidOf(raw: Buffer): Txid {
  if (raw.length > BLOCK_LIMITS.blockBytes) throw new MalformedError(`transaction of ${raw.length} bytes`)
  const shape = newShape()
  walkTransaction(new Cursor(raw, 0), shape, undefined)
  if (shape.end !== raw.length) throw new MalformedError(`${raw.length - shape.end} bytes after a transaction`)
  return asTxid(fromInternal(txidBytes(raw, 0, shape)))
}

/** The hash of a block: double SHA-256 of its 80-byte header. */
export function blockHashOf(raw: Buffer): BlockHash {
  return asBlockHash(fromInternal(hash256(raw.subarray(0, HEADER_BYTES))))
}

/** The hashes of a whole block's transactions, 32 bytes each in internal order. Throws MalformedError. */
export function hashesIn(raw: Buffer, which: 'txid' | 'wtxid'): Buffer {
  const cursor = new Cursor(raw, HEADER_BYTES)
  const transactions = cursor.compactSize()
  const shape = newShape()
  const hashes: Buffer[] = []
  for (let i = 0; i < transactions; i++) {
    const start = cursor.at
    walkTransaction(cursor, shape, undefined)
    hashes.push(which === 'txid' ? txidBytes(raw, start, shape) : hash256(raw.subarray(start, shape.end)))
  }
  return Buffer.concat(hashes)
}

/** A whole block's first transaction. Throws MalformedError. */
export function coinbaseIn(raw: Buffer): Buffer {
  const cursor = new Cursor(raw, HEADER_BYTES)
  if (cursor.compactSize() === 0) throw new MalformedError('has no transactions')
  const start = cursor.at
  walkTransaction(cursor, newShape(), undefined)
  return raw.subarray(start, cursor.at)
}

/** Throws MalformedError unless `raw` may be the block `expected`: its header is, and it has the size of one. */
export function assertHeader(raw: Buffer, expected: BlockHash): void {
  if (raw.length <= HEADER_BYTES) throw new MalformedError(`block of ${raw.length} bytes has no header and body`)
  if (raw.length > BLOCK_LIMITS.blockBytes) throw new MalformedError(`block of ${raw.length} bytes`)
  const hash = blockHashOf(raw)
  if (hash !== expected) throw new MalformedError(`header hashes to ${hash}, asked for ${expected}`)
}

/** What a scan takes from a block. */
export interface ScannedBlock {
  hash: BlockHash
  prevHash: BlockHash
  /** Header time, Unix seconds. */
  timeS: number
  /** Size of the block as it came from bitcoind. */
  bytes: number
  transactions: number
  /** Raw transactions that have the outer shape of an announcement, in block order. */
  candidates: Uint8Array[]
  /** Key of every outpoint the block spends, in block order, 2 words (hi, lo) each. */
  spent: Uint32Array
  /** Txid of every transaction, 32 bytes each in internal order; only where asked for. */
  txids?: Uint8Array
}

/** Room for the keys of any block, used anew for each: an input takes at least 41 bytes. */
const keysScratch = new Uint32Array(2 * Math.ceil(BLOCK_LIMITS.blockBytes / 41))

/**
 * Walks a whole block. Throws MalformedError when the header is not that of `expected`, or the bytes don't end exactly
 * where the last transaction does: a download cut short is never taken for a block. Txids cost two hashes each.
 */
export function scanBlock(
  raw: Buffer,
  expected: BlockHash,
  keys: OutpointKeys,
  { withTxids = false } = {},
): ScannedBlock {
  assertHeader(raw, expected)
  const cursor = new Cursor(raw, HEADER_BYTES)
  const transactions = cursor.compactSize()
  const shape = newShape()
  const candidates: Uint8Array[] = []
  const txids: Buffer[] = []
  const view = viewOf(raw)
  const spent = keysScratch
  let count = 0
  const onInput: OnInput = (offset) => {
    if (offset + 36 > raw.length) throw new MalformedError('ends in the middle of an input')
    keys.write(view, offset, spent, 2 * count++)
  }
  for (let i = 0; i < transactions; i++) {
    const start = cursor.at
    walkTransaction(cursor, shape, i === 0 ? undefined : onInput) // the coinbase spends nothing
    if (hasAnnouncementShape(shape)) candidates.push(Uint8Array.from(raw.subarray(start, shape.end)))
    if (withTxids) txids.push(txidBytes(raw, start, shape))
  }
  if (cursor.at !== raw.length) throw new MalformedError(`${raw.length - cursor.at} bytes after the last transaction`)
  return {
    hash: expected,
    prevHash: asBlockHash(fromInternal(raw.subarray(4, 36))),
    timeS: raw.readUInt32LE(68),
    bytes: raw.length,
    transactions,
    candidates,
    spent: spent.slice(0, 2 * count),
    ...(withTxids && { txids: Uint8Array.from(Buffer.concat(txids)) }),
  }
}

/** What a scan takes from a transaction of the mempool. */
export interface ScannedTx {
  txid: Txid
  /** Keys of its inputs, 2 words (hi, lo) each. */
  spent: Uint32Array
  /** The raw transaction when it has the outer shape of an announcement. */
  candidate?: Uint8Array
  /** The raw transaction where few have come at once. */
  raw?: Uint8Array
}

/** Walks one raw transaction; throws MalformedError. */
export function scanTransaction(txid: Txid, raw: Buffer, keys: OutpointKeys): ScannedTx {
  const shape = newShape()
  const cursor = new Cursor(raw, 0)
  const spent: number[] = []
  const pair = new Uint32Array(2)
  const view = viewOf(raw)
  walkTransaction(cursor, shape, (offset) => {
    if (offset + 36 > raw.length) throw new MalformedError('ends in the middle of an input')
    keys.write(view, offset, pair, 0)
    spent.push(pair[0]!, pair[1]!)
  })
  if (cursor.at !== raw.length) throw new MalformedError(`${raw.length - cursor.at} bytes after transaction ${txid}`)
  const scanned: ScannedTx = { txid, spent: Uint32Array.from(spent) }
  if (hasAnnouncementShape(shape)) scanned.candidate = Uint8Array.from(raw)
  return scanned
}

/** For each of `outpoints` the transaction of a whole block that spends exactly it, if one does. Throws MalformedError. */
export function findSpendersInBlock(raw: Buffer, outpoints: readonly Outpoint[]): (Spender | undefined)[] {
  const cursor = new Cursor(raw, HEADER_BYTES)
  const transactions = cursor.compactSize()
  const shape = newShape()
  const wanted = new Map(outpoints.map((outpoint, i) => [outpointBytes(outpoint).toString('latin1'), i]))
  const spenders = new Array<Spender | undefined>(outpoints.length).fill(undefined)
  for (let i = 0; i < transactions; i++) {
    const start = cursor.at
    const found: [vin: number, wanted: number][] = []
    walkTransaction(cursor, shape, (offset, vin) => {
      const index = wanted.get(raw.toString('latin1', offset, offset + 36))
      if (index !== undefined) found.push([vin, index])
    })
    if (found.length === 0) continue
    const rawTx = Buffer.alloc(shape.end - start) // its own memory, not a window on a whole block
    raw.copy(rawTx, 0, start, shape.end)
    const txid = txidOf(rawTx)
    for (const [vin, index] of found) spenders[index] = { txid, vin, rawTx }
  }
  return spenders
}

/** For each of `outpoints` the index of the input of `raw`, a whole transaction, that spends it. Throws MalformedError. */
export function inputsOf(raw: Buffer, outpoints: readonly Outpoint[]): (number | undefined)[] {
  const wanted = new Map(outpoints.map((outpoint, i) => [outpointBytes(outpoint).toString('latin1'), i]))
  const inputs = new Array<number | undefined>(outpoints.length).fill(undefined)
  walkTransaction(new Cursor(raw, 0), newShape(), (offset, vin) => {
    const index = wanted.get(raw.toString('latin1', offset, offset + 36))
    if (index !== undefined) inputs[index] = vin
  })
  return inputs
}

function outpointBytes(outpoint: Outpoint): Buffer {
  const bytes = Buffer.alloc(36)
  toInternal(outpoint.txid).copy(bytes)
  bytes.writeUInt32LE(outpoint.vout, 32)
  return bytes
}
