/**
 * Pure: whether takers of today's market accept an announcement, and what they hold against it. A function of the chain
 * alone, and never part of what is live: this tracker's own reading (announcement.ts) is the wider one. Every announcement
 * that they accept is one of ours, with the same address and lock height.
 * Source: docs/protocol.md, "What takers of today accept"; OpenSwap, `process_fidelity` (September 2026).
 */
import type { Transaction } from 'bitcoinjs-lib'
import type { BlockRef, Network } from '../chain/types.ts'
import { isOnionLabel } from '../tor/address.ts'
import { isOpReturn, readOpReturn } from './op-return.ts'
import { type AnnouncedOutput, TODAY_REFUSALS, type TodayRefusal, type TxRefusal } from './types.ts'
import { AMOUNT_SATS_MIN, lockBlocksOf } from './verify.ts'

/** Where they look for the announcement, whatever the other outputs are. */
const ANNOUNCEMENT_VOUT = 1
/** Bond, announcement, and perhaps change. */
const OUTPUTS_MIN = 2
/** See OUTPUTS_MIN. */
const OUTPUTS_MAX = 3
/** A name of 56 characters, `#`, and a height of ten digits. */
const PUSH_BYTES_MAX = 67
/** From here on an nLockTime is a time (BIP65). */
const LOCK_TIME_THRESHOLD = 500_000_000
/** A transaction whose inputs all have it ignores its nLockTime. */
const SEQUENCE_FINAL = 0xffff_ffff

/** What the transaction itself has against it. `announcedAt`: the output in which we have read the announcement. */
export function txRefusalsOf(tx: Transaction, announcedAt: number): TxRefusal[] {
  const found = new Set<TxRefusal>()
  const { outs, ins, locktime } = tx
  if (outs.length < OUTPUTS_MIN || outs.length > OUTPUTS_MAX) found.add('outputs')
  if (locktime === 0 || locktime >= LOCK_TIME_THRESHOLD) found.add('locktime-kind')
  if (ins.every(({ sequence }) => sequence === SEQUENCE_FINAL)) found.add('sequences')
  const output = outs[ANNOUNCEMENT_VOUT]
  if (announcedAt !== ANNOUNCEMENT_VOUT) found.add('announcement-place')
  if (output && isOpReturn(output.script)) {
    if (output.value !== 0n) found.add('announcement-value')
    const push = readOpReturn(output.script)
    if (!push?.isDirect || push.data.length > PUSH_BYTES_MAX) found.add('push')
    if (push) for (const refusal of textRefusals(push.data)) found.add(refusal)
  }
  return TODAY_REFUSALS.filter((refusal): refusal is TxRefusal => found.has(refusal as TxRefusal))
}

/** `<56>#<height>`: no suffix and no port, version and checksum of the name right, digits alone, an u32. */
function textRefusals(data: Uint8Array): TxRefusal[] {
  const text = Buffer.from(data).toString('latin1')
  const at = text.indexOf('#')
  const label = text.slice(0, at)
  const height = text.slice(at + 1)
  const refusals: TxRefusal[] = []
  const isNumber = /^[0-9]+$/.test(height) && Number(height) <= 0xffff_ffff
  if (at < 0 || !isOnionLabel(label) || !isNumber) refusals.push('text-format')
  if (at >= 0 && /^0[0-9]+$/.test(height)) refusals.push('leading-zero')
  return refusals
}

/**
 * Why they skip it, all there is, in the order of TODAY_REFUSALS; empty when they don't. One that is not in a block yet is
 * skipped for that, and its lock is judged once it is.
 */
export function todayRefusalsOf(bond: AnnouncedOutput & { conf?: BlockRef }, network: Network): TodayRefusal[] {
  const refusals: TodayRefusal[] = bond.txRefusals ? [...bond.txRefusals] : []
  if (!bond.isP2wsh) refusals.push('not-p2wsh')
  if (bond.amountSats < AMOUNT_SATS_MIN) refusals.push('too-small')
  if (bond.conf && bond.lockHeight !== undefined) {
    const { min, max } = lockBlocksOf(network)
    const lockBlocks = bond.lockHeight - bond.conf.height
    if (lockBlocks < min || lockBlocks > max) refusals.push('lock-range')
  }
  if (!bond.conf) refusals.push('unconfirmed')
  if (!bond.txRefusals) refusals.push('unread')
  return refusals
}

export function isTakenToday(bond: AnnouncedOutput & { conf?: BlockRef }, network: Network): boolean {
  return todayRefusalsOf(bond, network).length === 0
}
