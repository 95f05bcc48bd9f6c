/** The verbs about makers: who is on the market and on which terms, and why one is not. Read from the store. */
import { listMakers } from '../bonds/list.ts'
import { blocksLeft } from '../bonds/verify.ts'
import { windowStart } from '../chain/plan.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { makersOf } from '../market.ts'
import { probeRules, reachOf } from '../peers/reach.ts'
import type { OfferTerms, Uptime } from '../peers/types.ts'
import { explain, readWhyFacts, type Why } from '../peers/why.ts'
import { type Report, unseenHeights } from '../status.ts'
import { readBonds } from '../store/bonds.ts'
import { isLocked } from '../store/lock.ts'
import { readMakers, readOffers, readProofs } from '../store/makers.ts'
import type { Db } from '../store/open.ts'
import { readUptime } from '../store/probes.ts'
import { readReport, readScannedFrom, readTip } from '../store/tip.ts'
import { table } from './text.ts'

const DAY_MS = 86_400_000
/** The swap by which fees are compared. */
const SWAP_SATS = 1_000_000

export const MAKER_SORTS = ['value', 'uptime', 'fee', 'left'] as const
export type MakerSort = (typeof MAKER_SORTS)[number]

/** As JSON. Times in Unix seconds, percents as the maker gives them. */
export interface MakerRow {
  address: string
  reach: string
  proven: boolean
  /** The check that the proof in its last offer failed. */
  proof_failed: string | null
  outpoint: string
  format: string
  amount: number
  value: number
  blocks_left: number
  bonds: number
  last_up: number | null
  uptime_1d: { ppm: number | null; probes: number }
  uptime_30d: { ppm: number | null; probes: number }
  dialect: string | null
  protocols: readonly string[] | null
  offer: {
    at: number
    base_fee: number
    amount_fee_pct: number
    time_fee_pct: number
    required_confirms: number | null
    minimum_locktime: number
    min_size: number
    max_size: number
  } | null
}

export function readMakerRows(db: Db, config: Config, nowMs: number): MakerRow[] {
  const tip = readTip(db)
  if (!tip) return []
  const rules = rulesOf(config)
  const records = new Map(readMakers(db).map((record) => [record.address, record]))
  const offers = readOffers(db)
  const proofs = readProofs(db)
  const makers = makersOf(listMakers(readBonds(db, windowStart(tip.height)), tip))
  return [...makers.values()].map(({ address, bonds }): MakerRow => {
    const { bond, value } = bonds[0]!
    const record = records.get(address)
    const uptime = (days: number) => uptimeRow(readUptime(db, address, nowMs - days * DAY_MS))
    return {
      address,
      reach: reachOf(record, nowMs, rules),
      proven: proofs.get(formatOutpoint(bond.outpoint))?.confHash === bond.conf.hash,
      proof_failed: record?.verdict?.failed ?? null,
      outpoint: formatOutpoint(bond.outpoint),
      format: bond.format,
      amount: bond.amountSats,
      value,
      blocks_left: blocksLeft(bond, tip),
      bonds: bonds.length,
      last_up: record?.lastUpMs === undefined ? null : Math.floor(record.lastUpMs / 1000),
      uptime_1d: uptime(1),
      uptime_30d: uptime(30),
      dialect: record?.dialect ?? null,
      protocols: record?.protocols ?? null,
      offer: offerRow(offers.get(address)),
    }
  })
}

function uptimeRow({ answered, observed }: Uptime): MakerRow['uptime_1d'] {
  return { ppm: observed === 0 ? null : Math.floor((1_000_000 * answered) / observed), probes: observed }
}

function offerRow(terms: OfferTerms | undefined): MakerRow['offer'] {
  if (!terms) return null
  return {
    at: Math.floor(terms.atMs / 1000),
    base_fee: terms.baseFeeSats,
    amount_fee_pct: terms.amountFeePct,
    time_fee_pct: terms.timeFeePct,
    required_confirms: terms.requiredConfirms ?? null,
    minimum_locktime: terms.lockBlocksMin,
    min_size: terms.amountSatsMin,
    max_size: terms.amountSatsMax,
  }
}

function rulesOf({ probes, network }: Config) {
  return probeRules(probes.intervalMs, network === 'regtest')
}

/** What a swap of SWAP_SATS costs without the time; unknown terms come last. */
function feeOf({ offer }: MakerRow): number {
  return offer ? offer.base_fee + (offer.amount_fee_pct / 100) * SWAP_SATS : Number.POSITIVE_INFINITY
}

/** Best first; equals stay in the order of the list. */
export function sortMakers(rows: readonly MakerRow[], by: MakerSort): MakerRow[] {
  const better: Record<MakerSort, (a: MakerRow, b: MakerRow) => number> = {
    value: (a, b) => b.value - a.value,
    uptime: (a, b) => (b.uptime_30d.ppm ?? -1) - (a.uptime_30d.ppm ?? -1) || b.uptime_30d.probes - a.uptime_30d.probes,
    fee: (a, b) => (feeOf(a) === feeOf(b) ? 0 : feeOf(a) - feeOf(b)),
    left: (a, b) => b.blocks_left - a.blocks_left,
  }
  return rows.toSorted(better[by])
}

export function describeMakers(rows: readonly MakerRow[], height: number | undefined): string {
  if (height === undefined) return 'nothing scanned yet'
  if (rows.length === 0) return `no makers at block ${height}`
  const head = ['ADDRESS', 'REACH', 'PROOF', 'VALUE', 'LEFT', 'UP 1d', 'UP 30d', 'FEE', 'SIZES', 'PROTOCOLS']
  const body = rows.map((row) => [
    row.address,
    row.reach,
    row.proven ? 'proven' : (row.proof_failed ?? '-'),
    String(row.value),
    String(row.blocks_left),
    describeUptime(row.uptime_1d),
    describeUptime(row.uptime_30d),
    row.offer ? `${row.offer.base_fee} sat + ${row.offer.amount_fee_pct} % + ${row.offer.time_fee_pct} %/block` : '-',
    row.offer ? `${row.offer.min_size} to ${row.offer.max_size}` : '-',
    row.protocols?.join(', ') ?? '-',
  ])
  return `${table([head, ...body])}\n${rows.length} makers at block ${height}; uptime of so many probes in brackets`
}

function describeUptime({ ppm, probes }: MakerRow['uptime_1d']): string {
  return ppm === null ? '-' : `${(Math.floor(ppm / 1000) / 10).toFixed(1)} % (${probes})`
}

/** The answer to `Why` from the store: the same rules as the daemon's. */
export function readWhy(db: Db, config: Config, address: string, nowMs: number): Why {
  const tip = readTip(db)
  const { network, allowTestAddresses } = config
  const unseen = unseenHeights(readScannedFrom(db), tip)
  const context = { network, allowTestAddresses, tip, unseen, notSynced: notSyncedBy(db, config) }
  const records = new Map(readMakers(db).map((record) => [record.address, record]))
  const proofs = readProofs(db)
  return explain(readWhyFacts(db, address, context), {
    recordOf: (maker) => records.get(maker),
    reachOf: (maker) => reachOf(records.get(maker), nowMs, rulesOf(config)),
    isProven: ({ outpoint, conf }) => proofs.get(formatOutpoint(outpoint))?.confHash === conf.hash,
    nowMs,
  })
}

function notSyncedBy(db: Db, { dataDir }: Config): string | undefined {
  if (!isLocked(dataDir)) return 'the daemon is not running'
  const report = readReport(db) as Report | undefined
  return report?.notReady.find((reason) => reason.startsWith('not synced: '))?.slice('not synced: '.length)
}

/** The answer as JSON, as on the wire; outpoints as text. */
export function whyJson({ address, listed, reasons }: Why): Record<string, unknown> {
  return {
    address,
    listed,
    reasons: reasons.map(({ outpoint, ...reason }) => ({
      ...reason,
      ...(outpoint && { outpoint: formatOutpoint(outpoint) }),
    })),
  }
}

export function describeWhy({ address, listed, reasons }: Why): string {
  const lines = reasons.map(({ code, text }) => `- ${code}: ${text}.`)
  const head = `${address} is ${listed ? 'listed' : 'NOT listed'}${reasons.length === 0 ? ', and nothing speaks against it' : ''}`
  return [head, ...lines].join('\n')
}
