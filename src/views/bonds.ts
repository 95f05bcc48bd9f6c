/** Bonds as rows. */
import { blocksLeft } from '../bonds/verify.ts'
import type { KnownBond, Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import { uptimePpm } from '../peers/reach.ts'
import type { Facts } from './facts.ts'
import type { BondRow } from './schemas.ts'

export function bondRow({ key, bond, state, value }: KnownBond, { tip }: Market, liveness: Liveness): BondRow {
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
    proven: liveness.isProven(bond),
    ...probed(liveness, bond.address),
  }
}

/** All that were ever announced, as far as scanned, ascending by outpoint as in the digest. */
export function bondRows({ market, liveness }: Facts): BondRow[] {
  const now = market.read()
  return now?.known.map((known) => bondRow(known, now, liveness)) ?? []
}

/** What probes have found out of the maker at `address`. */
export function probed(
  liveness: Liveness,
  address: string,
): Pick<BondRow, 'reach' | 'last_up' | 'probes' | 'uptime_ppm'> {
  const { reach, lastUpS, month } = liveness.lifeOf(address)
  return { reach, last_up: lastUpS ?? null, probes: month.observed, uptime_ppm: uptimePpm(month) ?? null }
}
