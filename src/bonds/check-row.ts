/**
 * Pure: one row of somebody's list against what our own node says of it. Recomputes everything that the chain decides
 * (announcement, confirmation, state, value) and names each field that differs; liveness is not the chain's.
 */
import { Transaction } from 'bitcoinjs-lib'
import {
  type BlockHash,
  formatOutpoint,
  type Network,
  NO_BLOCK,
  type Outpoint,
  type OutputFacts,
} from '../chain/types.ts'
import { findAnnouncement, isP2wsh } from './announcement.ts'
import { todayRefusalsOf } from './today.ts'
import {
  type AnnouncedOutput,
  type AnnouncementFormat,
  type BondState,
  type ConfirmedBond,
  type Tip,
  TODAY_REFUSALS,
  TX_REFUSALS,
} from './types.ts'
import { bondValue } from './value.ts'
import { refusalOf, stateOf } from './verify.ts'

/** What a list says of a bond that is confirmed. */
export interface ClaimedRow {
  outpoint: Outpoint
  address: string
  amountSats: number
  confHeight: number
  blockHash: BlockHash
  blockTimeS: number
  lockHeight?: number
  value: number
  format: AnnouncementFormat
  state: BondState
  refusal?: string
  /** Absent where its tracker does not look. */
  today?: boolean
  todayRefusals?: readonly string[]
}

/** `field` is its name on the wire. */
export interface Difference {
  field: string
  says: string | number
  is: string | number
}

export interface RowRules {
  network: Network
  allowTestAddresses: boolean
}

/**
 * `facts` are those of the block the row names, at `tip`. Where our node has pruned that block, the announcement is taken
 * as the row says it, and the rest is judged by the UTXO set: that suffices for bonds that are said to be live.
 */
export function checkRow(row: ClaimedRow, facts: OutputFacts, tip: Tip, rules: RowRules): Difference[] {
  const { block, unspent } = facts
  if (!block?.isInBestChain) {
    return [{ field: 'block_hash', says: row.blockHash, is: block ? 'not in the best chain' : 'no block known' }]
  }
  const announced = facts.isPruned ? takenFrom(row, facts) : announcedIn(facts, rules)
  if (typeof announced === 'string') return [{ field: 'outpoint', says: formatOutpoint(row.outpoint), is: announced }]
  if (announced.outpoint.vout !== row.outpoint.vout) {
    return [{ field: 'outpoint', says: row.outpoint.vout, is: announced.outpoint.vout }]
  }
  const conf = { height: block.height, hash: row.blockHash }
  const bond: ConfirmedBond = { ...announced, conf, confTimeS: block.timeS }
  const refusal = refusalOf(announced, block.height, rules.network)
  if (refusal) bond.refusal = refusal
  else if (!unspent) bond.spentBy = { txid: row.outpoint.txid, vin: 0, height: tip.height, blockHash: NO_BLOCK }
  const state = stateOf(bond, tip)
  const pairs: [field: string, says: string | number | undefined, is: string | number | undefined][] = [
    ['address', row.address, bond.address],
    ['amount', row.amountSats, bond.amountSats],
    ['conf_height', row.confHeight, bond.conf.height],
    ['block_time', row.blockTimeS, bond.confTimeS],
    ['lock_height', row.lockHeight, bond.lockHeight],
    ['value', row.value, state === 'live' ? bondValue(bond, tip) : 0],
    ['format', row.format, bond.format],
    ['state', row.state, state],
    ['refusal', row.refusal, bond.refusal],
    ...todayPairs(row, bond, rules.network),
  ]
  return pairs
    .filter(([, says, is]) => says !== is)
    .map(([field, says = 'nothing', is = 'nothing']) => ({ field, says, is }))
}

/**
 * What a row says of today's takers. One that calls it not known says nothing, nor does one with codes of a later version;
 * and of a bond that never qualified its refusal says enough.
 */
function todayPairs(
  { today, todayRefusals = [] }: ClaimedRow,
  bond: ConfirmedBond,
  network: Network,
): [field: string, says: string, is: string][] {
  if (today === undefined || bond.refusal || todayRefusals.includes('unread')) return []
  const says = TODAY_REFUSALS.filter((code) => todayRefusals.includes(code))
  if (says.length < new Set(todayRefusals).size) return []
  const is = todayRefusalsOf(bond, network)
  return [
    ['today', String(today), String(is.length === 0)],
    ['today_refusals', says.join(' ') || 'none', is.join(' ') || 'none'],
  ]
}

/** The announcement, or what the block has instead. */
function announcedIn({ tx }: OutputFacts, rules: RowRules): AnnouncedOutput | string {
  if (!tx) return 'not in that block'
  return findAnnouncement(Transaction.fromBuffer(tx), rules) ?? 'no announcement of a bond'
}

/** Without its block: what the row says of the announcement, with what the UTXO set has of the output. */
function takenFrom(row: ClaimedRow, { block, unspent }: OutputFacts): AnnouncedOutput | string {
  if (!unspent) return 'not unspent'
  if (unspent.confHeight !== block?.height) return `confirmed at height ${unspent.confHeight}`
  return {
    outpoint: { txid: row.outpoint.txid, vout: 0 },
    address: row.address,
    format: row.format,
    amountSats: unspent.amountSats,
    isP2wsh: isP2wsh(unspent.scriptPubKey),
    ...(row.lockHeight !== undefined && { lockHeight: row.lockHeight }),
    txRefusals: TX_REFUSALS.filter((code) => row.todayRefusals?.includes(code)),
  }
}
