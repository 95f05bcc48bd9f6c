/** Pure: why a maker is listed or not, in words for people. Source: docs/protocol.md, "Which bonds are live". */
import type { Height, Outpoint } from '../chain/types.ts'
import type { AnnouncedOutput, ConfirmedBond, Refusal, Tip } from './types.ts'
import { AMOUNT_SATS_MIN, blocksLeft, LOCK_BLOCKS_MAX, LOCK_BLOCKS_MIN, stateOf } from './verify.ts'

export interface Reason {
  code: 'live' | 'pending' | 'expired' | 'spent' | 'never-announced' | Refusal
  text: string
  outpoint?: Outpoint
  /** Where it happened: confirmation, expiry, or spend. */
  height?: Height
}

const REFUSALS: Record<Refusal, string> = {
  'not-p2wsh': 'its first output is not P2WSH, so nothing is locked',
  'too-small': `it locks less than ${AMOUNT_SATS_MIN} sats`,
  'lock-too-short': `it is locked for less than ${LOCK_BLOCKS_MIN} blocks`,
  'lock-too-long': `it is locked for more than ${LOCK_BLOCKS_MAX} blocks`,
  'lock-passed': 'its lock had already passed when it was confirmed',
}

/** One reason for each announcement of `address` that is known, newest first; live ones stand first of all. */
export function whyListed(
  address: string,
  bonds: readonly ConfirmedBond[],
  pending: readonly AnnouncedOutput[],
  tip: Tip,
): { listed: boolean; reasons: Reason[] } {
  const waiting = pending
    .filter((bond) => bond.address === address)
    .map(({ outpoint }): Reason => ({ code: 'pending', text: 'this bond waits for its first block', outpoint }))
  const confirmed = bonds
    .filter((bond) => bond.address === address)
    .sort((a, b) => b.conf.height - a.conf.height)
    .map((bond) => reasonOf(bond, tip))
  const live = confirmed.filter(({ code }) => code === 'live')
  const reasons = [...live, ...waiting, ...confirmed.filter(({ code }) => code !== 'live')]
  if (reasons.length === 0) {
    reasons.push({ code: 'never-announced', text: 'no bond of the scanned blocks announces this address' })
  }
  return { listed: live.length > 0, reasons }
}

function reasonOf(bond: ConfirmedBond, tip: Tip): Reason {
  const { outpoint } = bond
  const state = stateOf(bond, tip)
  switch (state) {
    case 'live': {
      const left = blocksLeft(bond, tip)
      return { code: 'live', text: `this bond is alive for ${left} more blocks`, outpoint, height: bond.conf.height }
    }
    case 'expired': {
      const height = tip.height + blocksLeft(bond, tip) + 1
      return { code: 'expired', text: `this bond expired at block ${height}`, outpoint, height }
    }
    case 'spent': {
      const { height, txid } = bond.spentBy!
      return { code: 'spent', text: `this bond was spent at block ${height} by ${txid}`, outpoint, height }
    }
    case 'refused': {
      const code = bond.refusal!
      return { code, text: `this bond never qualified: ${REFUSALS[code]}`, outpoint, height: bond.conf.height }
    }
  }
}
