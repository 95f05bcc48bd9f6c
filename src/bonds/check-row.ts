/**
 * Pure: one row of somebody's list against what our own node says of it. Recomputes everything that the chain decides
 * (announcement, confirmation, state, value) and names each field that differs; liveness is not the chain's.
 */
import { Transaction } from 'bitcoinjs-lib'
import { type Network, NO_BLOCK, type Outpoint, type OutputFacts } from '../chain/types.ts'
import { findAnnouncement } from './announcement.ts'
import type { AnnouncementFormat, BondState, ConfirmedBond, Tip } from './types.ts'
import { bondValue } from './value.ts'
import { refusalOf, stateOf } from './verify.ts'

/** What a list says of a bond that is confirmed. */
export interface ClaimedRow {
  outpoint: Outpoint
  address: string
  amountSats: number
  confHeight: number
  blockHash: string
  blockTimeS: number
  lockHeight?: number
  value: number
  format: AnnouncementFormat
  state: BondState
  refusal?: string
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

/** `facts` are those of the block the row names, at `tip`. */
export function checkRow(row: ClaimedRow, facts: OutputFacts, tip: Tip, rules: RowRules): Difference[] {
  const { block, tx } = facts
  if (!block?.isInBestChain) {
    return [{ field: 'block_hash', says: row.blockHash, is: block ? 'not in the best chain' : 'no block known' }]
  }
  if (!tx) return [{ field: 'outpoint', says: row.outpoint.txid, is: 'not in that block' }]
  const announced = findAnnouncement(Transaction.fromBuffer(tx), rules)
  if (!announced) return [{ field: 'outpoint', says: row.outpoint.txid, is: 'announces no bond' }]
  if (announced.outpoint.vout !== row.outpoint.vout) {
    return [{ field: 'outpoint', says: row.outpoint.vout, is: announced.outpoint.vout }]
  }
  const conf = { height: block.height, hash: row.blockHash as ConfirmedBond['conf']['hash'] }
  const bond: ConfirmedBond = { ...announced, conf, confTimeS: block.timeS }
  const refusal = refusalOf(announced, block.height, rules.network)
  if (refusal) bond.refusal = refusal
  else if (!facts.isUnspent) bond.spentBy = { txid: row.outpoint.txid, vin: 0, height: tip.height, blockHash: NO_BLOCK }
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
  ]
  return pairs
    .filter(([, says, is]) => says !== is)
    .map(([field, says = 'nothing', is = 'nothing']) => ({ field, says, is }))
}
