/** The words of fidelity bonds. Source of the rules behind them: docs/protocol.md, "Which bonds are live". */
import type { BlockHash, BlockRef, Height, Outpoint, Sats, Txid } from '../chain/types.ts'

/** The four layouts of an announcement's text, oldest first: `host:port`, `host:port#height`, `host#height`, `<56>#height`. */
export const ANNOUNCEMENT_FORMATS = ['A', 'B', 'C', 'D'] as const
export type AnnouncementFormat = (typeof ANNOUNCEMENT_FORMATS)[number]

/** What an OP_RETURN said. `address` is `host.onion:port`, lower case; formats C and D have port 21. */
export interface Announcement {
  format: AnnouncementFormat
  address: string
  /** Absolute lock height as announced; absent in format A. */
  lockHeight?: Height
}

export const REFUSALS = ['not-p2wsh', 'too-small', 'lock-too-short', 'lock-too-long', 'lock-passed'] as const
export type Refusal = (typeof REFUSALS)[number]

/** What takers of today's market hold against the transaction of an announcement itself; see today.ts. */
export const TX_REFUSALS = [
  /** Not 2 or 3 of them. */
  'outputs',
  /** The announcement is not output 1, where alone they look. */
  'announcement-place',
  /** Of output 1, more than 0 sats. */
  'announcement-value',
  /** Not one direct push of 1 to 67 bytes that fills the script. */
  'push',
  /** Not `<56>#<height>`. */
  'text-format',
  'leading-zero',
  /** nLockTime is 0 or a time. */
  'locktime-kind',
  /** Every input is final, so that nLockTime means nothing. */
  'sequences',
] as const
export type TxRefusal = (typeof TX_REFUSALS)[number]

/** All that they hold against an announcement. */
export const TODAY_REFUSALS = [
  ...TX_REFUSALS,
  'not-p2wsh',
  'too-small',
  'lock-range',
  /** It is in the mempool. */
  'unconfirmed',
  /** Not known: a version that did not look has stored it, and its transaction could not be read again. */
  'unread',
] as const
export type TodayRefusal = (typeof TODAY_REFUSALS)[number]

/** An announcement with the output 0 it stands for; nothing about where or whether it is confirmed. */
export interface AnnouncedOutput extends Announcement {
  outpoint: Outpoint
  amountSats: Sats
  /** False: output 0 is something else, so the bond will be refused as `not-p2wsh`. */
  isP2wsh: boolean
  /** What today's takers hold against the transaction itself; absent where it was not read for that. */
  txRefusals?: readonly TxRefusal[]
}

/** An announcement in a block. Immutable facts of the chain: state and value are computed against a tip. */
export interface ConfirmedBond extends AnnouncedOutput {
  conf: BlockRef
  /** Header time of the confirming block, Unix seconds. */
  confTimeS: number
  /** Why it never qualified; absent when it did. */
  refusal?: Refusal
  /** The confirmed spend that ended it, on the chain up to the tip. */
  spentBy?: BondEnd
}

/** The transaction in a block that spends a bond. */
export interface BondEnd {
  txid: Txid
  vin: number
  height: Height
  blockHash: BlockHash
}

export const BOND_STATES = ['pending', 'live', 'expired', 'spent', 'refused'] as const
export type BondState = (typeof BOND_STATES)[number]

/** The tip against which bonds are judged. `timeS` is the header time of block `hash`: our "now" for values. */
export interface Tip extends BlockRef {
  timeS: number
}
