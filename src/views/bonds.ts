/** Bonds as rows. */
import { todayRefusalsOf } from '../bonds/today.ts'
import type { AnnouncedOutput } from '../bonds/types.ts'
import { blocksLeft } from '../bonds/verify.ts'
import type { BlockRef, Network } from '../chain/types.ts'
import type { KnownBond, Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import { uptimePpm } from '../peers/reach.ts'
import type { Facts } from './facts.ts'
import type { BondRow } from './schemas/bonds.ts'

export type RowFacts = Pick<Facts, 'liveness' | 'config'>

export function bondRow({ key, bond, state, value }: KnownBond, { tip }: Market, facts: RowFacts): BondRow {
  const { liveness, config } = facts
  const confirmed = 'conf' in bond ? bond : undefined
  const { spentBy } = confirmed ?? {}
  return {
    outpoint: key,
    address: bond.address,
    amount: bond.amountSats,
    conf_height: confirmed?.conf.height ?? null,
    block_hash: confirmed?.conf.hash ?? null,
    block_time: confirmed?.confTimeS ?? null,
    lock_height: bond.lockHeight ?? null,
    value,
    format: bond.format,
    state,
    refusal: confirmed?.refusal ?? null,
    blocks_left: confirmed && state === 'live' ? blocksLeft(confirmed, tip) : null,
    spent_by: spentBy
      ? { txid: spentBy.txid, vin: spentBy.vin, height: spentBy.height, block_hash: spentBy.blockHash }
      : null,
    ...taken(bond, config.network),
    proven: liveness.isProven(bond),
    ...probed(liveness, bond.address),
  }
}

/** All that were ever announced, as far as scanned, ascending by outpoint as in the digest. */
export function bondRows(facts: Facts): BondRow[] {
  const now = facts.market.read()
  return now?.known.map((known) => bondRow(known, now, facts)) ?? []
}

/** What takers of today make of it. */
export function taken(
  bond: AnnouncedOutput & { conf?: BlockRef },
  network: Network,
): Pick<BondRow, 'today' | 'today_refusals'> {
  const refusals = todayRefusalsOf(bond, network)
  return { today: refusals.length === 0, today_refusals: refusals }
}

/** What probes have found out of the maker at `address`. */
export function probed(
  liveness: Liveness,
  address: string,
): Pick<BondRow, 'reach' | 'last_up' | 'probes' | 'uptime_ppm'> {
  const { reach, lastUpS, month } = liveness.lifeOf(address)
  return { reach, last_up: lastUpS ?? null, probes: month.observed, uptime_ppm: uptimePpm(month) ?? null }
}
