/** Makers with a live bond as rows, and what a swap with one costs. */
import { isTakersCheck } from '../bonds/proof.ts'
import { isTakenToday } from '../bonds/today.ts'
import { blocksLeft } from '../bonds/verify.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { Market, MarketMaker } from '../market.ts'
import { lightningFault, termsFault } from '../peers/offer-terms.ts'
import { type PickCandidate, type Pick as Picked, picksOf, ROUTE_MAKERS } from '../peers/pick.ts'
import { uptimePpm } from '../peers/reach.ts'
import type { LightningPart, OfferTerms } from '../peers/types.ts'
import { probed, type RowFacts, taken } from './bonds.ts'
import type { Facts } from './facts.ts'
import type { MakerRow, OfferRow, PickRow } from './schemas/makers.ts'

/** The swap by which offers are compared. The refund lock is OpenSwap's `REFUND_LOCKTIME_BASE`: of a route's last maker. */
const COMPARED_SWAP = { amountSats: 1_000_000, refundLockBlocks: 20 }

/**
 * What a maker keeps of a swap, in sats, rounded up: its fee as makers and takers both compute it. Source: OpenSwap,
 * `calculate_swap_fee`.
 */
export function swapFee(
  { baseFeeSats, amountFeePct, timeFeePct }: Pick<OfferTerms, 'baseFeeSats' | 'amountFeePct' | 'timeFeePct'>,
  { amountSats, refundLockBlocks } = COMPARED_SWAP,
): number {
  return Math.ceil(baseFeeSats + (amountSats * amountFeePct) / 100 + (amountSats * refundLockBlocks * timeFeePct) / 100)
}

/** How likely takers of today pick each maker with a live bond, by address. */
export function makerPicks({ makers }: Pick<Market, 'makers'>, facts: RowFacts): ReadonlyMap<string, Picked> {
  return picksOf([...makers.values()].map((maker) => candidateOf(maker, facts)))
}

function candidateOf({ address, bonds }: MarketMaker, { liveness, config }: RowFacts): PickCandidate {
  const { reach, month } = liveness.lifeOf(address)
  const record = liveness.record(address)
  const terms = liveness.offerOf(address)
  const failed = record?.verdict?.failed
  const is = (obstacle: PickCandidate['obstacle']): PickCandidate => ({
    address,
    availability: 0,
    ...(obstacle && { obstacle }),
  })
  if (!bonds.some(({ bond }) => isTakenToday(bond, config.network))) return is('not-today')
  if (reach === 'down') return is('down')
  if (failed !== undefined && isTakersCheck(failed)) return is('proof-failed')
  if (offerFault(terms, record?.offerFault) !== null) return is('offer-refused')
  if (!terms || month.observed === 0) return is('not-known')
  const { amountSats } = COMPARED_SWAP
  if (amountSats < terms.amountSatsMin || amountSats > terms.amountSatsMax) return is('amount')
  return { address, availability: month.answered / month.observed }
}

const OBSTACLES: Record<Exclude<PickCandidate['obstacle'], undefined>, string> = {
  'not-today': 'takers of today do not find it: they accept none of its bonds',
  down: 'it is down: takers keep no maker that does not answer',
  'proof-failed': 'takers refuse the proof in its offer',
  'offer-refused': 'its offer can not be meant',
  amount: 'its limits leave out a swap of 1,000,000 sats',
  'not-known': 'nobody knows: it was not probed yet, or gave no offer',
}

function pickRow({ chance, place, obstacle }: Picked): PickRow {
  const n = place ?? 0
  const before = `number ${n} by address of those that takers can pick, who take the first ${ROUTE_MAKERS}`
  const text =
    obstacle === 'others-first'
      ? `${before}: those before it nearly always answer`
      : obstacle
        ? OBSTACLES[obstacle]
        : before
  return {
    chance_ppm: chance === undefined ? null : Math.round(chance * 1e6),
    place: place ?? null,
    obstacle: obstacle ?? null,
    text,
  }
}

/** `picks`: of all makers, made once for all their rows. */
export function makerRow(
  { address, bonds }: MarketMaker,
  { tip }: Market,
  facts: RowFacts,
  picks: ReadonlyMap<string, Picked>,
): MakerRow {
  const { liveness, config } = facts
  const { bond, value } = bonds[0]!
  const record = liveness.record(address)
  const { day } = liveness.lifeOf(address)
  return {
    address,
    outpoint: formatOutpoint(bond.outpoint),
    amount: bond.amountSats,
    value,
    conf_height: bond.conf.height,
    lock_height: bond.lockHeight ?? null,
    blocks_left: blocksLeft(bond, tip),
    format: bond.format,
    ...taken(bond, config.network),
    proven: liveness.isProven(bond),
    proof_failed: record?.verdict?.failed ?? null,
    proof_note: (record?.verdict?.failed === undefined && record?.verdict?.text) || null,
    bonds: bonds.length,
    bonds_today: bonds.filter((own) => isTakenToday(own.bond, config.network)).length,
    total_amount: bonds.reduce((sum, own) => sum + own.bond.amountSats, 0),
    ...probed(liveness, address),
    probes_1d: day.observed,
    uptime_1d_ppm: uptimePpm(day) ?? null,
    dialect: record?.dialect ?? null,
    protocols: record?.protocols ? [...record.protocols] : null,
    ...offered(liveness.offerOf(address), record?.offerFault),
    pick: pickRow(picks.get(address)!),
  }
}

/** In the order of the list: highest bond value first. */
export function makerRows(facts: Facts): MakerRow[] {
  const now = facts.market.read()
  if (!now) return []
  const picks = makerPicks(now, facts)
  return [...now.makers.values()].map((maker) => makerRow(maker, now, facts, picks))
}

/** An offer with a fault is not shown, nor are terms that another version has kept and this one doesn't take. */
function offered(terms: OfferTerms | undefined, fault: string | undefined): Pick<MakerRow, 'offer' | 'offer_fault'> {
  const wrong = offerFault(terms, fault)
  return { offer: terms && wrong === null ? offerRow(terms) : null, offer_fault: wrong }
}

function offerFault(terms: OfferTerms | undefined, fault: string | undefined): string | null {
  return fault ?? (terms && termsFault(terms)) ?? null
}

function offerRow(terms: OfferTerms): OfferRow {
  return {
    base_fee: terms.baseFeeSats,
    amount_relative_fee_pct: terms.amountFeePct,
    time_relative_fee_pct: terms.timeFeePct,
    required_confirms: terms.requiredConfirms ?? null,
    minimum_locktime: terms.lockBlocksMin,
    min_size: terms.amountSatsMin,
    max_size: terms.amountSatsMax,
    swap_fee: swapFee(terms),
    seen_at: Math.floor(terms.atMs / 1000),
    ...lightningOffered(terms.lightning),
  }
}

/** As an offer's: terms with a fault are not shown. */
function lightningOffered(part: LightningPart | undefined): Pick<OfferRow, 'lightning' | 'lightning_fault'> {
  if (!part) return { lightning: null, lightning_fault: null }
  const fault = 'fault' in part ? part.fault : lightningFault(part.terms)
  if ('fault' in part || fault !== undefined) return { lightning: null, lightning_fault: fault ?? null }
  const { terms } = part
  return {
    lightning: {
      swap_in: terms.swapIn,
      swap_out: terms.swapOut,
      base_fee: terms.baseFeeSats,
      amount_relative_fee_pct: terms.amountFeePct,
      min_size: terms.amountSatsMin,
      max_size: terms.amountSatsMax ?? null,
      max_swap_in: terms.swapInSatsMax ?? null,
      max_swap_out: terms.swapOutSatsMax ?? null,
    },
    lightning_fault: null,
  }
}
