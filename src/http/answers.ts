/** Pure: domain values → the rows of replies.ts. */
import type { ConfirmedBond } from '../bonds/types.ts'
import { blocksLeft } from '../bonds/verify.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { MakerFacts, Offer, Probing } from './facts.ts'
import type { KnownBond, ListedMaker, Market } from './market.ts'
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
    proven: probing.isProven(bond.outpoint),
    ...probed(probing.makerFacts(bond.address)),
  }
}

function spentBy(bond: ConfirmedBond | undefined): BondReply['spent_by'] {
  return bond?.spentBy ? { txid: bond.spentBy.txid, vin: bond.spentBy.vin, height: bond.spentBy.height } : null
}

export function makerRow(
  { address, best, bonds, amountSats }: ListedMaker,
  { tip }: Market,
  probing: Probing,
): MakerReply {
  const facts = probing.makerFacts(address)
  return {
    address,
    value: best.value,
    amount: amountSats,
    bonds,
    outpoint: formatOutpoint(best.bond.outpoint),
    conf_height: best.bond.conf.height,
    lock_height: best.bond.lockHeight ?? null,
    blocks_left: blocksLeft(best.bond, tip),
    format: best.bond.format,
    proven: probing.isProven(best.bond.outpoint),
    ...probed(facts),
    offer: facts.offer ? offerRow(facts.offer) : null,
  }
}

function probed({ reach, lastUpS, probes, uptimePpm }: MakerFacts) {
  return { reach, last_up: lastUpS ?? null, probes, uptime_ppm: uptimePpm ?? null }
}

function offerRow(offer: Offer): NonNullable<MakerReply['offer']> {
  return {
    base_fee: offer.baseFeeSats,
    amount_relative_fee_pct: offer.amountFeePct,
    time_relative_fee_pct: offer.timeFeePct,
    required_confirms: offer.requiredConfirms,
    minimum_locktime: offer.minLockBlocks,
    min_size: offer.minSizeSats,
    max_size: offer.maxSizeSats,
    seen_at: offer.seenAtS,
  }
}
