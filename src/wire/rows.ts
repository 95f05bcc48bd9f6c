/**
 * Rows ↔ the wire's fields: names and byte orders change, nothing else. Absent on the wire is null in a row; zeros on the
 * wire (a block of a bond that is pending, a tip before the first, a digest that is not known) are null, too.
 */
import type { TodayRefusal } from '../bonds/types.ts'
import { blocksLeft } from '../bonds/verify.ts'
import { type BlockHash, formatOutpoint, NO_BLOCK, type Outpoint, parseOutpoint } from '../chain/types.ts'
import { BrokenInvariant } from '../errors.ts'
import { printable } from '../format.ts'
import type { BondRow } from '../views/schemas/bonds.ts'
import type { TrackerRow } from '../views/schemas/trackers.ts'
import type { ReasonRow, WhyRow } from '../views/schemas/why.ts'
import type { ChainStatus } from '../views/status.ts'
import type { BondFields, ReplyOf } from './messages.ts'

// ---- to the wire -----------------------------------------------------------------------------------------------------

export function bondFields(row: BondRow): BondFields {
  return {
    outpoint: outpointOf(row.outpoint),
    address: row.address,
    amountSats: row.amount,
    confHeight: row.conf_height ?? 0,
    blockHash: (row.block_hash ?? NO_BLOCK) as BlockHash,
    blockTimeS: row.block_time ?? 0,
    ...(row.lock_height !== null && { lockHeight: row.lock_height }),
    value: row.value,
    format: row.format,
    state: row.state,
    ...(row.refusal !== null && { refusal: row.refusal }),
    proven: row.proven,
    reach: row.reach,
    ...(row.last_up !== null && { lastUpS: row.last_up }),
    probes: row.probes,
    ...(row.uptime_ppm !== null && { uptimePpm: row.uptime_ppm }),
    ...(row.today !== null && { today: row.today }),
    ...(row.today_refusals?.length && { todayRefusals: row.today_refusals }),
  }
}

/** The wire tells of makers how many are up. */
type WireStatus = Omit<ChainStatus, 'makers' | 'makers_down' | 'makers_unknown'>

export function statusFields(row: WireStatus): Omit<ReplyOf<'Status'>, 'type' | 'uptimeS' | 'instance'> {
  return {
    version: row.version,
    network: row.network,
    height: row.height ?? 0,
    blockHash: (row.block_hash ?? NO_BLOCK) as BlockHash,
    blockTimeS: row.block_time ?? 0,
    scannedFrom: row.scanned_from ?? 0,
    synced: row.synced,
    bonds: row.bonds,
    makersUp: row.makers_up,
    digest: digestOf(row.digest),
    ...(row.unseen && { unseen: row.unseen }),
  }
}

/** One that never answered is not told of. */
export function trackerFields(row: TrackerRow): ReplyOf<'Trackers'>['trackers'] {
  if (row.last_seen === null) return []
  return [
    {
      address: row.address,
      lastSeenS: row.last_seen,
      height: row.height ?? 0,
      digest: digestOf(row.digest),
      ...(row.agrees !== null && { agrees: row.agrees }),
    },
  ]
}

export function whyFields({ address, listed, reasons }: WhyRow): Omit<ReplyOf<'Why'>, 'type'> {
  return {
    address,
    listed,
    reasons: reasons.map(({ code, text, outpoint, height }) => ({
      code,
      text,
      ...(outpoint !== null && { outpoint: outpointOf(outpoint) }),
      ...(height !== null && { height }),
    })),
  }
}

function outpointOf(text: string): Outpoint {
  const outpoint = parseOutpoint(text)
  if (!outpoint) throw new BrokenInvariant(`a row names no outpoint: ${text}`)
  return outpoint
}

function digestOf(hex: string | null): Buffer {
  return hex === null ? Buffer.alloc(32) : Buffer.from(hex, 'hex')
}

// ---- from the wire: what another tracker says, its texts fit for a terminal -------------------------------------------

/** `blocks_left` follows from the page's height; who spent it the wire does not tell. */
export function bondRowOf(fields: BondFields, pageHeight: number): BondRow {
  const { lockHeight, state } = fields
  const isPending = state === 'pending'
  return {
    outpoint: formatOutpoint(fields.outpoint),
    address: printable(fields.address),
    amount: fields.amountSats,
    conf_height: isPending ? null : fields.confHeight,
    block_hash: isPending ? null : fields.blockHash,
    block_time: isPending ? null : fields.blockTimeS,
    lock_height: lockHeight ?? null,
    value: fields.value,
    format: fields.format,
    state,
    refusal: fields.refusal === undefined ? null : (printable(fields.refusal) as BondRow['refusal']),
    blocks_left: state === 'live' ? left(fields, pageHeight) : null,
    spent_by: null,
    today: fields.today ?? null,
    today_refusals:
      fields.today === undefined
        ? null
        : ((fields.todayRefusals ?? []).map((code) => printable(code)) as TodayRefusal[]),
    proven: fields.proven,
    reach: fields.reach,
    last_up: fields.lastUpS ?? null,
    probes: fields.probes,
    uptime_ppm: fields.uptimePpm ?? null,
  }
}

function left({ lockHeight, confHeight }: BondFields, height: number): number {
  const conf = { height: confHeight }
  return Math.max(0, blocksLeft(lockHeight === undefined ? { conf } : { conf, lockHeight }, { height }))
}

/** As far as the wire tells a status. */
export function statusRowOf(fields: ReplyOf<'Status'>): Record<string, unknown> {
  const hasScanned = fields.blockHash !== NO_BLOCK
  return {
    version: printable(fields.version),
    network: printable(fields.network),
    height: hasScanned ? fields.height : null,
    block_hash: hasScanned ? fields.blockHash : null,
    block_time: hasScanned ? fields.blockTimeS : null,
    scanned_from: hasScanned ? fields.scannedFrom : null,
    unseen: fields.unseen ?? null,
    synced: fields.synced,
    bonds: fields.bonds,
    makers_up: fields.makersUp,
    digest: hasScanned ? hex(fields.digest) : null,
    uptime_s: fields.uptimeS,
  }
}

/** As far as the wire tells a tracker. */
export function trackerRowOf({
  address,
  lastSeenS,
  height,
  digest,
  agrees,
}: ReplyOf<'Trackers'>['trackers'][number]): Pick<
  TrackerRow,
  'address' | 'last_seen' | 'height' | 'digest' | 'agrees'
> {
  const isKnown = digest.some((byte) => byte !== 0)
  return {
    address: printable(address),
    last_seen: lastSeenS,
    height: isKnown ? height : null,
    digest: isKnown ? hex(digest) : null,
    agrees: agrees ?? null,
  }
}

export function whyRowOf({ address, listed, reasons }: ReplyOf<'Why'>): WhyRow {
  return {
    address: printable(address),
    listed,
    reasons: reasons.map(({ code, text, outpoint, height }) => ({
      code: printable(code) as ReasonRow['code'],
      text: printable(text, 1_000),
      outpoint: outpoint ? formatOutpoint(outpoint) : null,
      height: height ?? null,
    })),
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
