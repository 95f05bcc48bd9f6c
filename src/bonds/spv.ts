/**
 * Pure: checks a BondProof with block headers alone, as a client without a full node would.
 *
 * What it can't know: whether the header is in the best chain, and at which height. Whoever has the headers looks up the
 * hash it returns.
 */
import { Transaction } from 'bitcoinjs-lib'
import { blockHashOf } from '../chain/decode.ts'
import { type MerkleFault, readMerkleBlock } from '../chain/merkle-block.ts'
import { NETWORK_PARAMS } from '../chain/networks.ts'
import { asTxid, type BlockHash, type Height, type Network, type Outpoint } from '../chain/types.ts'
import { findAnnouncement } from './announcement.ts'
import type { AnnouncedOutput } from './types.ts'

/** As the wire's BondProof has it. */
export interface BondProof {
  /** Consensus encoding, with or without witnesses. */
  tx: Uint8Array
  header: Uint8Array
  /** Said by the tracker; headers alone tell whether it is true. */
  height: Height
  merkle: Uint8Array
}

export type SpvFault =
  | MerkleFault
  /** `header` is not the one in `merkle`. */
  | 'other-header'
  /** The header is not that of the block claimed. */
  | 'other-block'
  /** The header's hash does not meet its own target, or that target is easier than the network's easiest. */
  | 'no-work'
  | 'malformed-tx'
  /** `tx` is not the transaction of the outpoint. */
  | 'other-tx'
  /** The tree proves other transactions. */
  | 'not-in-tree'
  /** The transaction announces no bond, or one at another output. */
  | 'no-bond'

export type SpvVerdict =
  | { ok: true; blockHash: BlockHash; timeS: number; bond: AnnouncedOutput }
  | { ok: false; fault: SpvFault; detail: string }

/** `blockHash`: where it is said to be confirmed; without it the header's own is only returned. */
export interface BondClaim {
  outpoint: Outpoint
  blockHash?: BlockHash
}

export interface SpvRules {
  network: Network
  allowTestAddresses: boolean
}

export function verifyBondProof(proof: BondProof, claim: BondClaim, rules: SpvRules): SpvVerdict {
  const tree = readMerkleBlock(proof.merkle)
  if (!tree.ok) return tree
  const header = Buffer.from(proof.header)
  if (!header.equals(tree.header)) return fault('other-header', 'the header is not the one in the merkleblock')
  const blockHash = blockHashOf(header)
  if (claim.blockHash !== undefined && blockHash !== claim.blockHash) {
    return fault('other-block', `the header is that of block ${blockHash}, not of ${claim.blockHash}`)
  }
  if (!hasWork(header, rules.network)) {
    return fault('no-work', `block ${blockHash} has not the work that network ${rules.network} asks for`)
  }
  let tx: Transaction
  try {
    tx = Transaction.fromBuffer(proof.tx)
  } catch (error) {
    return fault('malformed-tx', `not a transaction: ${error instanceof Error ? error.message : String(error)}`)
  }
  const txid = asTxid(tx.getId())
  if (txid !== claim.outpoint.txid) return fault('other-tx', `this is transaction ${txid}`)
  if (tx.byteLength(false) === 64)
    return fault('ambiguous-merkle', 'a transaction of 64 bytes looks like a merkle node')
  if (!tree.matched.some((match) => match.txid === txid)) {
    return fault('not-in-tree', `the merkleblock does not prove ${txid}`)
  }
  const bond = findAnnouncement(tx, rules)
  if (!bond) return fault('no-bond', 'the transaction announces no bond')
  if (bond.outpoint.vout !== claim.outpoint.vout) {
    return fault('no-bond', `the bond is output ${bond.outpoint.vout}, not ${claim.outpoint.vout}`)
  }
  return { ok: true, blockHash, timeS: header.readUInt32LE(68), bond }
}

function fault(kind: SpvFault, detail: string): { ok: false; fault: SpvFault; detail: string } {
  return { ok: false, fault: kind, detail }
}

// ---- work ------------------------------------------------------------------------------------------------------------

/** Whether the header's hash meets the target in its bits, and that target is no easier than the network allows. */
export function hasWork(header: Buffer, network: Network): boolean {
  const target = targetOf(header.readUInt32LE(72))
  if (target === undefined || target > targetOf(NETWORK_PARAMS[network].easiestBits)!) return false
  return BigInt(`0x${blockHashOf(header)}`) <= target
}

/** The compact form of header bits as a number; undefined for zero, negative ones and those beyond 256 bits. */
export function targetOf(bits: number): bigint | undefined {
  const exponent = bits >>> 24
  const mantissa = bits & 0x7f_ffff
  const target =
    exponent <= 3 ? BigInt(mantissa >>> (8 * (3 - exponent))) : BigInt(mantissa) << BigInt(8 * (exponent - 3))
  if (target === 0n || (bits & 0x80_0000) !== 0 || target >= 1n << 256n) return undefined
  return target
}
