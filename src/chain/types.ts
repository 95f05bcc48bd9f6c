/**
 * The chain's words, shared by every room. No I/O and no bitcoinjs-lib here.
 *
 * Byte order: Txid and BlockHash are hex in DISPLAY order, as bitcoin-cli prints them. Raw transactions, block headers
 * and our wire protocol carry the same 32 bytes reversed ("internal" order); `toInternal`/`fromInternal` cross over.
 */

export type Txid = string & { readonly brand: 'Txid' }
export type BlockHash = string & { readonly brand: 'BlockHash' }

/** Satoshis as a safe integer: 21e14 fits four times below 2^53, and JSON and SQLite take it as it is. Never BTC. */
export type Sats = number & { readonly brand: 'Sats' }

/** Block height, genesis = 0. */
export type Height = number

/** Both ends included. */
export interface HeightRange {
  from: Height
  to: Height
}

export interface Outpoint {
  txid: Txid
  /** Index of the output in its transaction, u32. */
  vout: number
}

/** A block has at most 1,000,000 bytes besides witnesses, an output at least 9 of them. */
const OUTPUTS_PER_BLOCK_MAX = Math.floor(1_000_000 / 9)

/** False for an output that no transaction can have. bitcoind is not asked about such: above 2^31 it refuses the call. */
export function canExist({ vout }: Outpoint): boolean {
  return vout < OUTPUTS_PER_BLOCK_MAX
}

export interface BlockRef {
  hash: BlockHash
  height: Height
}

/** What we keep of a block: where it stands and its header's time (Unix seconds). */
export interface BlockHeaderRef extends BlockRef {
  prevHash: BlockHash
  timeS: number
}

export const NETWORKS = ['main', 'testnet3', 'testnet4', 'signet', 'regtest'] as const
export type Network = (typeof NETWORKS)[number]

/** How blocks are read from bitcoind. */
export type BlockSource = 'rest' | 'rpc'

/** A transaction that spends an outpoint. */
export interface Spender {
  txid: Txid
  /** Index of the input that spends it. */
  vin: number
  /** The whole transaction with witnesses, consensus encoding. */
  rawTx: Buffer
}

/** A transaction and what proves to somebody with block headers alone that a block has it. */
export interface TxProof {
  tx: Uint8Array
  /** 80 bytes. */
  header: Uint8Array
  /** A BIP37 merkleblock, as `gettxoutproof` gives it. */
  merkle: Uint8Array
}

/** Somebody says that this output was made in this block. */
export interface OutputClaim {
  outpoint: Outpoint
  block: BlockHash
}

export interface OutputFacts {
  /** Absent when the node doesn't know the block. */
  block?: { height: Height; timeS: number; isInBestChain: boolean }
  /** The raw transaction; absent when the block hasn't it. */
  tx?: Uint8Array
  /** The node can't tell whether the block has it: pruned. */
  isPruned: boolean
  /** What the UTXO set of block `at` has of it; absent when it is spent or never was. */
  unspent?: { amountSats: Sats; confHeight: Height; scriptPubKey: Uint8Array }
}

/** What the chain up to `at` says of each claim, in the order asked. `timeS`: its header time. */
export interface Judged {
  at: BlockRef & { timeS: number }
  facts: OutputFacts[]
}

/** Where a block's hash must stand and there is no block. */
export const NO_BLOCK = '00'.repeat(32) as BlockHash

/** An output as bitcoind has it in its UTXO set, the mempool included. */
export interface TxOutput {
  amountSats: Sats
  scriptPubKey: Uint8Array
  /** Undefined while its transaction is in the mempool. */
  confHeight: Height | undefined
  /** No transaction spends it, neither in a block nor in the mempool. */
  isUnspent: boolean
}

const HEX_32 = /^[0-9a-f]{64}$/

export function asTxid(hex: string): Txid {
  if (!HEX_32.test(hex)) throw new TypeError(`not a txid (64 lower-case hex digits): ${hex.slice(0, 80)}`)
  return hex as Txid
}

export function isTxid(text: string): text is Txid {
  return HEX_32.test(text)
}

export function asBlockHash(hex: string): BlockHash {
  if (!HEX_32.test(hex)) throw new TypeError(`not a block hash (64 lower-case hex digits): ${hex.slice(0, 80)}`)
  return hex as BlockHash
}

export function asSats(amount: number | bigint): Sats {
  const sats = Number(amount)
  if (!Number.isSafeInteger(sats) || sats < 0) throw new TypeError(`not an amount in sats: ${amount}`)
  return sats as Sats
}

/** Display hex → the 32 bytes in internal order. */
export function toInternal(displayHex: Txid | BlockHash): Buffer {
  return Buffer.from(displayHex, 'hex').reverse()
}

/** 32 bytes in internal order → display hex. The input is left as it is. */
export function fromInternal(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString('hex')
}

/** `txid:vout`, as people and bitcoin-cli write it. */
export function formatOutpoint(outpoint: Outpoint): string {
  return `${outpoint.txid}:${outpoint.vout}`
}

/** Reads `txid:vout`; undefined when it is not one. */
export function parseOutpoint(text: string): Outpoint | undefined {
  const match = /^([0-9a-f]{64}):(0|[1-9]\d{0,9})$/.exec(text)
  if (!match || Number(match[2]) > 0xffffffff) return undefined
  return { txid: match[1] as Txid, vout: Number(match[2]) }
}
