/**
 * Pure: reads the BIP37 merkleblock that bitcoind's `gettxoutproof` gives (BIP37, "Partial Merkle branch format"; Bitcoin
 * Core's merkleblock.cpp), stricter than Core: no padding bits, no long lengths, nothing that a transaction of 64 bytes
 * could stand for.
 */
import { createHash } from 'node:crypto'
import { HEADER_BYTES } from './decode.ts'
import { asTxid, fromInternal, type Txid } from './types.ts'

const LIMITS = {
  /** Consensus: 4,000,000 units of weight, and no transaction weighs less than 240. */
  transactionsMax: 16_666,
}

export type MerkleFault =
  /** Not a well-formed partial merkle tree. */
  | 'malformed-merkle'
  /** The tree's hashes don't lead to its header's merkle root. */
  | 'wrong-root'
  /** A node of the path could be a transaction of 64 bytes: then it may be one, and what is below it made up. */
  | 'ambiguous-merkle'

export type MerkleVerdict =
  | {
      ok: true
      /** 80 bytes. */
      header: Buffer
      /** What the tree proves to be in the block, in block order, with its place there. */
      matched: { txid: Txid; position: number }[]
    }
  | { ok: false; fault: MerkleFault; detail: string }

class BadTree extends Error {
  readonly fault: MerkleFault
  constructor(kind: MerkleFault, detail: string) {
    super(detail)
    this.fault = kind
  }
}

/** Reads a whole merkleblock and climbs its tree to the header's merkle root. */
export function readMerkleBlock(bytes: Uint8Array): MerkleVerdict {
  try {
    const block = parseMerkleBlock(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    const { root, matched } = climb(block)
    if (!root.equals(block.header.subarray(36, 68))) {
      throw new BadTree('wrong-root', "the tree does not lead to the header's merkle root")
    }
    return { ok: true, header: block.header, matched }
  } catch (error) {
    if (!(error instanceof BadTree)) throw error
    return { ok: false, fault: error.fault, detail: error.message }
  }
}

interface MerkleBlock {
  header: Buffer
  /** How many the block has, as the proof says. */
  transactions: number
  /** Hashes in the order of the walk, internal order. */
  hashes: Buffer[]
  /** One bit for each node walked, lowest bit of each byte first. */
  flags: Buffer
}

function parseMerkleBlock(bytes: Buffer): MerkleBlock {
  let at = 0
  const take = (count: number) => {
    if (at + count > bytes.length) throw new BadTree('malformed-merkle', `it ends after ${bytes.length} bytes`)
    at += count
    return bytes.subarray(at - count, at)
  }
  /** CompactSize in its shortest form; nothing here needs more than three bytes. */
  const compactSize = () => {
    const head = take(1)[0]!
    if (head < 0xfd) return head
    const size = head === 0xfd ? take(2).readUInt16LE() : 0
    if (size < 0xfd) throw new BadTree('malformed-merkle', 'a length is too long, or not in its shortest form')
    return size
  }
  const header = take(HEADER_BYTES)
  const transactions = take(4).readUInt32LE()
  if (transactions === 0 || transactions > LIMITS.transactionsMax) {
    throw new BadTree('malformed-merkle', `no block has ${transactions} transactions`)
  }
  const hashCount = compactSize()
  if (hashCount > transactions) throw new BadTree('malformed-merkle', `${hashCount} hashes for ${transactions} leaves`)
  const hashes = Array.from({ length: hashCount }, () => take(32))
  const flags = take(compactSize())
  if (at !== bytes.length) throw new BadTree('malformed-merkle', `${bytes.length - at} bytes after its end`)
  return { header, transactions, hashes, flags }
}

/** Walks the tree depth first, as the proof was written; every hash and every bit is used exactly once. */
function climb({ transactions, hashes, flags }: MerkleBlock) {
  const matched: { txid: Txid; position: number }[] = []
  let bitsUsed = 0
  let hashesUsed = 0
  const nextBit = () => {
    const byte = flags[bitsUsed >> 3]
    if (byte === undefined) throw new BadTree('malformed-merkle', 'it has too few flags')
    return ((byte >> (bitsUsed++ & 7)) & 1) === 1
  }
  const nextHash = () => {
    const hash = hashes[hashesUsed++]
    if (!hash) throw new BadTree('malformed-merkle', 'it has too few hashes')
    return hash
  }
  const widthAt = (height: number) => Math.ceil(transactions / 2 ** height)
  const walk = (height: number, position: number): Buffer => {
    const isAncestor = nextBit()
    if (height === 0 || !isAncestor) {
      const hash = nextHash()
      if (height === 0 && isAncestor) matched.push({ txid: asTxid(fromInternal(hash)), position })
      return hash
    }
    const left = walk(height - 1, 2 * position)
    const hasRight = 2 * position + 1 < widthAt(height - 1)
    const right = hasRight ? walk(height - 1, 2 * position + 1) : left
    // CVE-2012-2459: equal siblings make the same root as a shorter list whose last one is doubled.
    if (hasRight && left.equals(right)) throw new BadTree('malformed-merkle', 'two siblings are equal')
    const node = Buffer.concat([left, right])
    if (mayBeTransaction(node)) throw new BadTree('ambiguous-merkle', 'a node of the tree reads as a transaction')
    return sha256d(node)
  }
  let height = 0
  while (widthAt(height) > 1) height++
  const root = walk(height, 0)
  if (hashesUsed !== hashes.length) throw new BadTree('malformed-merkle', 'it has hashes that nothing needs')
  if (flags.length !== Math.ceil(bitsUsed / 8)) throw new BadTree('malformed-merkle', 'it has flags that nothing needs')
  while (bitsUsed < flags.length * 8) {
    if (nextBit()) throw new BadTree('malformed-merkle', 'it has flags that nothing needs')
  }
  return { root, matched }
}

/**
 * Whether 64 bytes read as a transaction: it has room for one input and one output with 4 bytes of scripts between
 * them. A miner can put such a transaction into a block, let its second half be the hash of what was never there, and
 * prove that one level too deep. The hashes of an honest tree look like this once in 800 million nodes.
 */
function mayBeTransaction(node: Buffer): boolean {
  const scriptBytes = node[41]!
  return node[4] === 1 && scriptBytes <= 4 && node[46 + scriptBytes] === 1 && node[55 + scriptBytes] === 4 - scriptBytes
}

function sha256d(bytes: Uint8Array): Buffer {
  const once = createHash('sha256').update(bytes).digest()
  return createHash('sha256').update(once).digest()
}
