/** Pure: domain values → the rows of replies.ts. */
import type { ConfirmedBond } from '../bonds/types.ts'
import { blocksLeft } from '../bonds/verify.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { KnownBond, Market, MarketMaker } from '../market.ts'
import type { BondLiveness } from '../peers/liveness.ts'
import type { OfferTerms } from '../peers/types.ts'
import type { Probing } from './probing.ts'
import type { BondReply, MakerReply } from './replies.ts'

export function bondRow({ key, bond, state, value }: KnownBond, market: Market, probing: Probing): BondReply {
  const confirmed = 'conf' in bond ? bond : undefined
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
    blocks_left: confirmed && state === 'live' ? blocksLeft(confirmed, market.tip) : null,
    spent_by: spentBy(confirmed),
    proven: probing.isProven(bond),
    ...probed(probing.livenessOf(bond.address)),
  }
}

function spentBy(bond: ConfirmedBond | undefined): BondReply['spent_by'] {
  return bond?.spentBy ? { txid: bond.spentBy.txid, vin: bond.spentBy.vin, height: bond.spentBy.height } : null
}

export function makerRow({ address, bonds }: MarketMaker, { tip }: Market, probing: Probing): MakerReply {
  const { bond, value } = bonds[0]!
  const terms = probing.offerOf(address)
  return {
    address,
    value,
    amount: bonds.reduce((sum, own) => sum + own.bond.amountSats, 0),
    bonds: bonds.length,
    outpoint: formatOutpoint(bond.outpoint),
    conf_height: bond.conf.height,
    lock_height: bond.lockHeight ?? null,
    blocks_left: blocksLeft(bond, tip),
    format: bond.format,
    proven: probing.isProven(bond),
    ...probed(probing.livenessOf(address)),
    offer: terms ? offerRow(terms) : null,
  }
}

function probed({ reach, lastUpS, probes, uptimePpm }: BondLiveness) {
  return { reach, last_up: lastUpS ?? null, probes, uptime_ppm: uptimePpm ?? null }
}

function offerRow(terms: OfferTerms): NonNullable<MakerReply['offer']> {
  return {
    base_fee: terms.baseFeeSats,
    amount_relative_fee_pct: terms.amountFeePct,
    time_relative_fee_pct: terms.timeFeePct,
    required_confirms: terms.requiredConfirms ?? null,
    minimum_locktime: terms.lockBlocksMin,
    min_size: terms.amountSatsMin,
    max_size: terms.amountSatsMax,
    seen_at: Math.floor(terms.atMs / 1000),
  }
}
