/** Pure: whether a bond qualifies, and how it stands at a tip. Source: docs/protocol.md, "Which bonds are live". */
import type { Height, Network } from '../chain/types.ts'
import type { AnnouncedOutput, BondState, ConfirmedBond, Refusal, Tip } from './types.ts'

/** The market's default bond; the outside world enforces no minimum of its own. */
export const AMOUNT_SATS_MIN = 10_000

/** Blocks from confirmation to lock height, both ends included: what today's takers accept. */
export const LOCK_BLOCKS_MIN = 12_960
export const LOCK_BLOCKS_MAX = 25_920

/** On regtest any lock that isn't past, so that tests need not mine for a quarter of a year. */
const LOCK_BLOCKS_MIN_REGTEST = 1

/** Why a bond confirmed at `confHeight` never qualifies; undefined when it does. */
export function refusalOf(output: AnnouncedOutput, confHeight: Height, network: Network): Refusal | undefined {
  if (!output.isP2wsh) return 'not-p2wsh'
  if (output.amountSats < AMOUNT_SATS_MIN) return 'too-small'
  if (output.lockHeight === undefined) return undefined
  const lockBlocks = output.lockHeight - confHeight
  if (lockBlocks <= 0) return 'lock-passed'
  const { min, max } = lockBlocksOf(network)
  if (lockBlocks < min) return 'lock-too-short'
  if (lockBlocks > max) return 'lock-too-long'
  return undefined
}

/** Blocks from confirmation to lock height that qualify, both ends included. */
export function lockBlocksOf(network: Network): { min: number; max: number } {
  return { min: network === 'regtest' ? LOCK_BLOCKS_MIN_REGTEST : LOCK_BLOCKS_MIN, max: LOCK_BLOCKS_MAX }
}

/** How a confirmed bond stands at block `tip`, which is at or above its own. */
export function stateOf(bond: ConfirmedBond, tip: Pick<Tip, 'height'>): Exclude<BondState, 'pending'> {
  if (bond.refusal) return 'refused'
  if (bond.spentBy) return 'spent'
  return tip.height < endHeight(bond) ? 'live' : 'expired'
}

type Locked = Pick<ConfirmedBond, 'lockHeight'> & { conf: { height: Height } }

/**
 * The first block at which a bond that nobody spends is no longer live: its lock height; without one (format A) the block
 * at which it is more than LOCK_BLOCKS_MAX blocks old.
 */
export function endHeight({ lockHeight, conf }: Locked): Height {
  return lockHeight ?? conf.height + LOCK_BLOCKS_MAX + 1
}

/** Blocks that may still follow `tip` with the bond alive: 0 when the next one ends it, negative once it has expired. */
export function blocksLeft(bond: Locked, tip: Pick<Tip, 'height'>): number {
  return endHeight(bond) - 1 - tip.height
}
