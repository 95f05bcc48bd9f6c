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
  /** Of a transaction, with one input and one output: a block has no more of them than fit. */
  transactionBytesMin: 60,
  /** OP_RETURN scripts of this length may hold an announcement: `127.0.0.1:1` pushed is 13 bytes, the longest 83. */
  announcementScriptBytesMin: 13,
  announcementScriptBytesMax: 83,
}

export const HEADER_BYTES = 80
const OP_RETURN = 0x6a
const OP_PUSHDATA1 = 0x4c
/** By character: 1 for those of host names, ports and heights. */
const IN_ANNOUNCEMENTS = new Uint8Array(256)
for (const char of '0123456789abcdefghijklmnopqrstuvwxyz.:#') IN_ANNOUNCEMENTS[char.charCodeAt(0)] = 1

/** The bytes are not a whole, well-formed block or transaction. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** What the walker leaves behind after one transaction; one object serves a whole block. */
interface TxShape {
  /** Where its inputs (their count) begin, where its witnesses do, and where it ends. */
  inputsAt: number
  witnessAt: number
  end: number
  inputs: number
  outputs: number
  lockTime: number
  /** Has an OP_RETURN output whose length and characters may be an announcement's. */
  mayAnnounce: boolean
}

/** Room for the offsets of any transaction's outpoints, used anew for each: an input takes at least 41 bytes. */
const prevouts = new Uint32Array(Math.ceil(BLOCK_LIMITS.blockBytes / 41))

/** Where the length read last by `longSize` ends. */
let sizeEnd = 0

/** How many transactions a whole block says that it has; the first begins at `sizeEnd`. */
function countIn(raw: Buffer): number {
  const count = longSize(raw, HEADER_BYTES)
  if (count * BLOCK_LIMITS.transactionBytesMin > raw.length)
    throw new MalformedError(`says that it has ${count} transactions`)
  return count
}

/** A CompactSize at `at` that may have more than one byte; those of one byte are read where they are met. */
function longSize(raw: Buffer, at: number): number {
  const head = raw[at]
  if (head === undefined) throw new MalformedError('ends in the middle of a transaction')
  if (head < 0xfd) {
    sizeEnd = at + 1
    return head
  }
  const bytes = head === 0xfd ? 2 : head === 0xfe ? 4 : 8
  sizeEnd = at + 1 + bytes
  if (sizeEnd > raw.length) throw new MalformedError('ends in the middle of a length')
  const size = bytes === 8 ? Number(raw.readBigUInt64LE(at + 1)) : raw.readUIntLE(at + 1, bytes)
  if (size > raw.length) throw new MalformedError('a length points past the end')
  return size
}

/**
 * Walks the transaction at `start`. The offsets of the 36-byte outpoints that it spends are left in `prevouts`.
 */
function walkTransaction(raw: Buffer, start: number, shape: TxShape): void {
  if (raw.length > BLOCK_LIMITS.blockBytes) throw new MalformedError(`transaction in ${raw.length} bytes`)
  let at = start + 4
  const isSegwit = raw[at] === 0 && raw[at + 1] === 1
  if (isSegwit) at += 2
  shape.inputsAt = at
  const inputs = longSize(raw, at)
  at = sizeEnd
  for (let vin = 0; vin < inputs; vin++) {
    prevouts[vin] = at
    at += 36
    let size = raw[at]
    if (size! < 0xfd) at++
    else {
      size = longSize(raw, at)
      at = sizeEnd
    }
    at += size! + 4
  }
  shape.inputs = inputs
  shape.outputs = longSize(raw, at)
  at = sizeEnd
  shape.mayAnnounce = false
  for (let vout = 0; vout < shape.outputs; vout++) {
    at += 8
    let size = raw[at]
    if (size! < 0xfd) at++
    else {
      size = longSize(raw, at)
      at = sizeEnd
    }
    if (raw[at] === OP_RETURN && isAnnouncementLike(raw, at, size!)) shape.mayAnnounce = true
    at += size!
  }
  shape.witnessAt = at
  if (isSegwit) {
    let hasWitness = false
    for (let vin = 0; vin < inputs; vin++) {
      let items = raw[at]
      if (items! < 0xfd) at++
      else {
        items = longSize(raw, at)
        at = sizeEnd
      }
      if (items! > 0) hasWitness = true
      for (; items! > 0; items!--) {
        let size = raw[at]
        if (size! < 0xfd) at++
        else {
          size = longSize(raw, at)
          at = sizeEnd
        }
        at += size!
      }
    }
    if (!hasWitness) throw new MalformedError('is marked as having witnesses, and has none') // as bitcoind refuses it
  }
  if (at + 4 > raw.length) throw new MalformedError('ends in the middle of a transaction')
  shape.lockTime = raw.readUInt32LE(at)
  shape.end = at + 4
}

/** Whether the OP_RETURN script at `at` has the length of an announcement, and its characters behind the push. */
function isAnnouncementLike(raw: Buffer, at: number, length: number): boolean {
  if (length < BLOCK_LIMITS.announcementScriptBytesMin || length > BLOCK_LIMITS.announcementScriptBytesMax) return false
  const opcode = raw[at + 1]!
  const textAt = at + (opcode < OP_PUSHDATA1 ? 2 : opcode === OP_PUSHDATA1 ? 3 : 4)
  for (let i = textAt; i < at + length; i++) {
    const char = raw[i]
    if (char === undefined || IN_ANNOUNCEMENTS[char] === 0) return false
  }
  return true
}

function hasAnnouncementShape(shape: TxShape): boolean {
  return shape.mayAnnounce && shape.lockTime !== 0 && shape.outputs >= 2 && shape.outputs <= 5
}

/** `end`: where the first transaction begins. */
function newShape(end = 0): TxShape {
  return { inputsAt: 0, witnessAt: 0, end, inputs: 0, outputs: 0, lockTime: 0, mayAnnounce: false }
}

const hashScratch = Buffer.allocUnsafeSlow(32)

/** Writes the double SHA-256 of `bytes` to `out` at `at`. By way of text: a digest as a Buffer costs three times as much. */
export function writeHash256(bytes: Uint8Array, out: Buffer, at: number): void {
  hashScratch.write(digest('sha256', bytes, 'binary'), 'binary')
  out.write(digest('sha256', hashScratch, 'binary'), at, 'binary')
}

/** Double SHA-256. */
export function hash256(bytes: Uint8Array): Buffer {
  const hash = Buffer.allocUnsafe(32)
  writeHash256(bytes, hash, 0)
  return hash
}

/** Room for any transaction without its witnesses, used anew for each. */
const strippedScratch = Buffer.allocUnsafeSlow(BLOCK_LIMITS.blockBytes)

/** The bytes of the transaction at `start` without its witnesses: their hash is the txid. */
function stripped(raw: Buffer, start: number, shape: TxShape): Buffer {
  if (shape.inputsAt === start + 4) return raw.subarray(start, shape.end)
  let length = raw.copy(strippedScratch, 0, start, start + 4)
  length += raw.copy(strippedScratch, length, shape.inputsAt, shape.witnessAt)
  length += raw.copy(strippedScratch, length, shape.end - 4, shape.end)
  return strippedScratch.subarray(0, length)
}

/** The txid of one whole raw transaction. Throws MalformedError. */
export function txidOf(raw: Buffer): Txid {
  if (raw.length > BLOCK_LIMITS.blockBytes) throw new MalformedError(`transaction of ${raw.length} bytes`)
  const shape = newShape()
  walkTransaction(raw, 0, shape)
  if (shape.end !== raw.length) throw new MalformedError(`${raw.length - shape.end} bytes after a transaction`)
  return asTxid(fromInternal(hash256(stripped(raw, 0, shape))))
}

/** The hash of a block: double SHA-256 of its 80-byte header. */
export function blockHashOf(raw: Buffer): BlockHash {
  return asBlockHash(fromInternal(hash256(raw.subarray(0, HEADER_BYTES))))
}

/** The hashes of a whole block's transactions, 32 bytes each in internal order. Throws MalformedError. */
export function hashesIn(raw: Buffer, which: 'txid' | 'wtxid'): Buffer {
  const transactions = countIn(raw)
  const shape = newShape(sizeEnd)
  const hashes = Buffer.allocUnsafeSlow(32 * transactions)
  for (let i = 0; i < transactions; i++) {
    const start = shape.end
    walkTransaction(raw, start, shape)
    writeHash256(which === 'txid' ? stripped(raw, start, shape) : raw.subarray(start, shape.end), hashes, 32 * i)
  }
  return hashes
}

/** A whole block's first transaction. Throws MalformedError. */
export function coinbaseIn(raw: Buffer): Buffer {
  if (longSize(raw, HEADER_BYTES) === 0) throw new MalformedError('has no transactions')
  const start = sizeEnd
  const shape = newShape()
  walkTransaction(raw, start, shape)
  return raw.subarray(start, shape.end)
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

/** Room for the keys of any block, used anew for each. */
const keysScratch = new Uint32Array(2 * prevouts.length)

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
  const transactions = countIn(raw)
  const shape = newShape(sizeEnd)
  const candidates: Uint8Array[] = []
  const txids = new Uint8Array(withTxids ? 32 * transactions : 0)
  const txidsAsBuffer = Buffer.from(txids.buffer)
  let count = 0
  const view = viewOf(raw)
  for (let i = 0; i < transactions; i++) {
    const start = shape.end
    walkTransaction(raw, start, shape)
    if (i > 0) count = writeKeys(view, shape, keys, count) // the coinbase spends nothing
    if (hasAnnouncementShape(shape)) candidates.push(Uint8Array.from(raw.subarray(start, shape.end)))
    if (withTxids) writeHash256(stripped(raw, start, shape), txidsAsBuffer, 32 * i)
  }
  if (shape.end !== raw.length) throw new MalformedError(`${raw.length - shape.end} bytes after the last transaction`)
  return {
    hash: expected,
    prevHash: asBlockHash(fromInternal(raw.subarray(4, 36))),
    timeS: raw.readUInt32LE(68),
    bytes: raw.length,
    transactions,
    candidates,
    spent: keysScratch.slice(0, 2 * count),
    ...(withTxids && { txids }),
  }
}

/** Writes the keys of what a transaction spends to `keysScratch`, behind `count` others; returns how many there are then. */
function writeKeys(raw: DataView, { inputs }: TxShape, keys: OutpointKeys, count: number): number {
  for (let vin = 0; vin < inputs; vin++) keys.write(raw, prevouts[vin]!, keysScratch, 2 * (count + vin))
  return count + inputs
}

function viewOf(raw: Buffer): DataView {
  return new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
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
  walkTransaction(raw, 0, shape)
  if (shape.end !== raw.length) throw new MalformedError(`${raw.length - shape.end} bytes after transaction ${txid}`)
  const count = writeKeys(viewOf(raw), shape, keys, 0)
  const scanned: ScannedTx = { txid, spent: keysScratch.slice(0, 2 * count) }
  if (hasAnnouncementShape(shape)) scanned.candidate = Uint8Array.from(raw)
  return scanned
}

/** For each of `outpoints` the transaction of a whole block that spends exactly it, if one does. Throws MalformedError. */
export function findSpendersInBlock(raw: Buffer, outpoints: readonly Outpoint[]): (Spender | undefined)[] {
  const transactions = countIn(raw)
  const shape = newShape(sizeEnd)
  const wanted = indexesOf(outpoints)
  const spenders = new Array<Spender | undefined>(outpoints.length).fill(undefined)
  for (let i = 0; i < transactions; i++) {
    const start = shape.end
    walkTransaction(raw, start, shape)
    const found = inputsAmong(raw, shape.inputs, wanted)
    if (found.length === 0) continue
    const rawTx = Buffer.alloc(shape.end - start) // its own memory, not a window on a whole block
    raw.copy(rawTx, 0, start, shape.end)
    const txid = txidOf(rawTx)
    for (const { vin, index } of found) spenders[index] = { txid, vin, rawTx }
  }
  return spenders
}

/** For each of `outpoints` the index of the input of `raw`, a whole transaction, that spends it. Throws MalformedError. */
export function inputsOf(raw: Buffer, outpoints: readonly Outpoint[]): (number | undefined)[] {
  const inputs = new Array<number | undefined>(outpoints.length).fill(undefined)
  const shape = newShape()
  walkTransaction(raw, 0, shape)
  for (const { vin, index } of inputsAmong(raw, shape.inputs, indexesOf(outpoints))) inputs[index] = vin
  return inputs
}

/** An input of a block: what it spends, and where it is. */
export interface SpentInput {
  outpoint: Outpoint
  by: Spender
}

/**
 * The inputs of a whole block at `positions`, which ascend and count them as the keys of a scan lie; undefined where there
 * is none. Throws MalformedError.
 */
export function inputsInBlock(raw: Buffer, positions: readonly number[]): (SpentInput | undefined)[] {
  const transactions = countIn(raw)
  const shape = newShape(sizeEnd)
  const inputs = new Array<SpentInput | undefined>(positions.length).fill(undefined)
  let next = 0
  for (let i = 0, before = 0; i < transactions && next < positions.length; i++) {
    const start = shape.end
    walkTransaction(raw, start, shape)
    if (i === 0) continue // the coinbase spends nothing
    const vins: number[] = []
    for (; next < positions.length && positions[next]! < before + shape.inputs; next++) {
      vins.push(positions[next]! - before)
    }
    before += shape.inputs
    if (vins.length === 0) continue
    const outpoints = vins.map((vin) => outpointIn(raw, prevouts[vin]!))
    const rawTx = Buffer.alloc(shape.end - start) // its own memory, not a window on a whole block
    raw.copy(rawTx, 0, start, shape.end)
    const txid = txidOf(rawTx)
    for (const [n, vin] of vins.entries()) {
      inputs[next - vins.length + n] = { outpoint: outpoints[n]!, by: { txid, vin, rawTx } }
    }
  }
  return inputs
}

/** What the inputs `vins` of `raw`, a whole transaction, spend; undefined where it has no such one. Throws MalformedError. */
export function outpointsSpentBy(raw: Buffer, vins: readonly number[]): (Outpoint | undefined)[] {
  const shape = newShape()
  walkTransaction(raw, 0, shape)
  return vins.map((vin) => (vin < shape.inputs ? outpointIn(raw, prevouts[vin]!) : undefined))
}

/** The outpoint whose 36 bytes lie at `at`. */
function outpointIn(raw: Buffer, at: number): Outpoint {
  return { txid: asTxid(fromInternal(raw.subarray(at, at + 32))), vout: raw.readUInt32LE(at + 32) }
}

/** By the outpoint's 36 bytes as text. */
function indexesOf(outpoints: readonly Outpoint[]): Map<string, number> {
  return new Map(outpoints.map((outpoint, i) => [outpointBytes(outpoint).toString('latin1'), i]))
}

/** Those of a transaction's inputs, `count` of them in `prevouts`, that spend what is wanted. */
function inputsAmong(
  raw: Buffer,
  count: number,
  wanted: ReadonlyMap<string, number>,
): { vin: number; index: number }[] {
  const found: { vin: number; index: number }[] = []
  for (let vin = 0; vin < count; vin++) {
    const index = wanted.get(raw.toString('latin1', prevouts[vin]!, prevouts[vin]! + 36))
    if (index !== undefined) found.push({ vin, index })
  }
  return found
}

function outpointBytes(outpoint: Outpoint): Buffer {
  const bytes = Buffer.alloc(36)
  toInternal(outpoint.txid).copy(bytes)
  bytes.writeUInt32LE(outpoint.vout, 32)
  return bytes
}
