/**
 * The effort that a registration has to bring when places are scarce: a client puzzle, as Tor's own defence of onion
 * services. Pure. An effort is a nonce of 8 bytes; its bits are the leading zero bits of
 *
 *   SHA-256(block hash (32, internal order) ‖ for each outpoint as asked: txid (32, internal) ‖ vout (u32 LE) ‖ nonce)
 *
 * so it is good for these outpoints alone, and for some blocks alone: nothing can be prepared or used twice. Source:
 * docs/protocol.md, "Effort".
 */
import { createHash, type Hash } from 'node:crypto'
import { asBlockHash, type BlockHash, type Outpoint, toInternal } from '../chain/types.ts'

export const EFFORT_LIMITS = {
  /** The share of all places that is free of effort. */
  freeShare: 1 / 2,
  /** Up to this share an effort for five outpoints takes a phone (a million hashes a second) less than a minute… */
  mildShare: 9 / 10,
  /** …from there on each percent of the places doubles it, so that the last ones are not taken by who wants them all. */
  bits: { free: 12, mild: 22, full: 32 },
  /** What the bits are for: one outpoint for two weeks, as long as a swap may last. Twice as long is one bit more. */
  blocks: 2_016,
  /** The tip and its predecessors that an effort may be over: a block that comes meanwhile voids nothing. */
  tips: 6,
}

const NONCE_BYTES = 8

/** What a registration asks of the places there are. */
export interface PlacesAsked {
  /** Places taken now, and those that the request adds or prolongs. */
  taken: number
  fresh: number
  prolonged: number
  /** All places. */
  max: number
  ttlBlocks: number
}

/** Bits that a request has to bring; 0 where it is free. The work is in proportion to its outpoints and blocks. */
export function effortBitsAsked({ taken, fresh, prolonged, max, ttlBlocks }: PlacesAsked): number {
  const asked = fresh + prolonged
  const share = (taken + Math.max(fresh, 1)) / max // once they have their places
  const { freeShare, mildShare, bits, blocks } = EFFORT_LIMITS
  if (asked === 0 || share <= freeShare) return 0
  const each =
    share <= mildShare
      ? bits.free + ((bits.mild - bits.free) * (share - freeShare)) / (mildShare - freeShare)
      : bits.mild + ((bits.full - bits.mild) * (share - mildShare)) / (1 - mildShare)
  return Math.ceil(each + Math.log2(asked * Math.max(1, ttlBlocks / blocks)))
}

/** What an effort is over. */
export interface EffortOver {
  blockHash: BlockHash
  outpoints: readonly Outpoint[]
}

function hashOver({ blockHash, outpoints }: EffortOver): Hash {
  const hash = createHash('sha256').update(toInternal(blockHash))
  const bytes = Buffer.alloc(36 * outpoints.length)
  for (const [i, { txid, vout }] of outpoints.entries()) {
    bytes.set(toInternal(txid), 36 * i)
    bytes.writeUInt32LE(vout, 36 * i + 32)
  }
  return hash.update(bytes)
}

/** The bits of an effort. */
export function effortBits(over: EffortOver, nonce: Uint8Array): number {
  return leadingZeroBits(hashOver(over).update(nonce).digest())
}

/** Of the most significant bit of the first byte on. */
function leadingZeroBits(digest: Uint8Array): number {
  let bits = 0
  for (const byte of digest) {
    bits += Math.clz32(byte) - 24
    if (byte !== 0) break
  }
  return bits
}

/** Looks for an effort, some hashes at a time, so that whoever looks may do something else in between, or give up. */
export class EffortSearch {
  readonly #prefix: Hash
  readonly #bits: number
  readonly #nonce = Buffer.alloc(NONCE_BYTES)
  #hashes = 0

  constructor(over: EffortOver, bits: number) {
    this.#prefix = hashOver(over)
    this.#bits = bits
  }

  /** Hashes computed so far. */
  get hashes(): number {
    return this.#hashes
  }

  /** An effort of at least the bits, when one is found within `count` more hashes. */
  next(count: number): Buffer | undefined {
    for (let i = 0; i < count; i++) {
      this.#nonce.writeUIntLE(this.#hashes++, 0, 6)
      if (leadingZeroBits(this.#prefix.copy().update(this.#nonce).digest()) >= this.#bits)
        return Buffer.from(this.#nonce)
    }
    return undefined
  }
}

/** How the refusal of a registration without enough effort begins: what has to be brought, for programs to read, too. */
export function askForEffort({ bits, blockHash }: EffortAsked): string {
  return `registering these outpoints asks for an effort of ${bits} bits over the block ${blockHash}`
}

export interface EffortAsked {
  bits: number
  blockHash: BlockHash
}

/** What a refusal asks for; undefined where it is another one. */
export function effortAskedBy(message: string): EffortAsked | undefined {
  const [, bits, blockHash] = /\beffort of (\d{1,3}) bits over the block ([0-9a-f]{64})\b/.exec(message) ?? []
  return bits && blockHash ? { bits: Number(bits), blockHash: asBlockHash(blockHash) } : undefined
}
