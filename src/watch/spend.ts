/**
 * What is told of an outpoint: one of five states, and the transaction that makes it so. Pure: recorded spends and what
 * bitcoind's UTXO set says are arguments. Source of the rules: docs/watching.md.
 */
import type { BlockHash, Height, Outpoint, Txid } from '../chain/types.ts'
import type { RecordedSpend } from '../store/local/spends.ts'

export const SPEND_STATES = ['unspent', 'mempool', 'confirmed', 'evicted', 'unknown'] as const
export type SpendStateName = (typeof SPEND_STATES)[number]

export interface Spend {
  outpoint: Outpoint
  state: SpendStateName
  /** Registered by whoever is told; towards the operator: by anybody. */
  registered: boolean
  /** The spender that counts; with it `vin` and `tx`. Absent when the state is unspent or unknown. */
  txid?: Txid
  vin?: number
  /** The whole transaction with witnesses, consensus encoding. */
  tx?: Uint8Array
  /** Of the block it is confirmed in; only then. */
  height?: Height
  blockHash?: BlockHash
  /** When this tracker first saw the transaction, Unix seconds. */
  firstSeenS?: number
  /** Other transactions seen that spend the same outpoint. */
  conflicts?: readonly Txid[]
}

/** Where an outpoint without a recorded spend stands in bitcoind's UTXO set, mempool included. */
export type Output = 'unspent' | 'absent'

/**
 * `spends`: all that are recorded, the one that counts first. `output` counts only when there are none. `tx`: the raw
 * transaction of the first; left out where only the state is of interest.
 */
export function spendOf(
  outpoint: Outpoint,
  spends: readonly RecordedSpend[],
  output: Output | undefined,
  registered: boolean,
  tx?: Uint8Array,
): Spend {
  const [first, ...rivals] = spends
  if (!first) return { outpoint, state: output === 'unspent' ? 'unspent' : 'unknown', registered }
  const { state } = first
  return {
    outpoint,
    state: state.kind,
    registered,
    txid: first.txid,
    vin: first.vin,
    ...(tx && { tx }),
    ...(state.kind === 'confirmed' && { height: state.height, blockHash: state.blockHash }),
    firstSeenS: first.firstSeenS,
    ...(rivals.length > 0 && { conflicts: rivals.map(({ txid }) => txid) }),
  }
}

/** Equal for two answers that say the same of the chain: who is told one need not be told the other. */
export function signatureOf({ state, txid, blockHash, conflicts }: Spend): string {
  if (txid === undefined) return state // most are: one text for all of them
  return [state, txid, blockHash, ...(conflicts ?? [])].join(' ')
}
