/** The export verb: every announcement this database knows, with its history, as JSON or CSV. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { listMakers } from '../bonds/list.ts'
import { stateOf } from '../bonds/verify.ts'
import { ConfigError, describeError } from '../errors.ts'
import { readBonds, readPendingBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'
import { readScannedFrom, readTip } from '../store/tip.ts'
import { rowOf } from './views.ts'

export const EXPORT_FORMATS = ['json', 'csv'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** One announcement; in CSV a column each, in this order. Amounts in sats, times in Unix seconds. */
interface ExportRow {
  outpoint: string
  state: string
  refusal: string | null
  address: string
  format: string
  amount: number
  value: number
  conf_height: number | null
  conf_block_hash: string | null
  conf_time: number | null
  lock_height: number | null
  spent_height: number | null
  spent_block_hash: string | null
  spent_txid: string | null
  spent_vin: number | null
}

const COLUMNS: readonly (keyof ExportRow)[] = [
  'outpoint',
  'state',
  'refusal',
  'address',
  'format',
  'amount',
  'value',
  'conf_height',
  'conf_block_hash',
  'conf_time',
  'lock_height',
  'spent_height',
  'spent_block_hash',
  'spent_txid',
  'spent_vin',
]

/** The whole export as text, of one moment. */
export function exportBonds(db: Db, network: string, format: ExportFormat): string {
  const { tip, scannedFrom, bonds, pending } = db.snapshot(() => ({
    tip: readTip(db),
    scannedFrom: readScannedFrom(db),
    bonds: readBonds(db),
    pending: readPendingBonds(db),
  }))
  const list = tip && listMakers(bonds, tip)
  const values = new Map(list?.live.map(({ bond, value }) => [bond, value]))
  const confirmed = bonds.map(
    (bond): ExportRow => ({
      ...rowOf(bond),
      state: stateOf(bond, tip!),
      refusal: bond.refusal ?? null,
      value: values.get(bond) ?? 0,
      conf_height: bond.conf.height,
      conf_block_hash: bond.conf.hash,
      conf_time: bond.confTimeS,
      spent_height: bond.spentBy?.height ?? null,
      spent_block_hash: bond.spentBy?.blockHash ?? null,
      spent_txid: bond.spentBy?.txid ?? null,
      spent_vin: bond.spentBy?.vin ?? null,
    }),
  )
  const rows = [...confirmed, ...pending.map(pendingRow)].sort(
    (a, b) =>
      (a.conf_height ?? Number.POSITIVE_INFINITY) - (b.conf_height ?? Number.POSITIVE_INFINITY) ||
      a.outpoint.localeCompare(b.outpoint),
  )
  if (format === 'csv') return csv(rows)
  const head = {
    network,
    height: tip?.height ?? null,
    block_hash: tip?.hash ?? null,
    scanned_from: scannedFrom ?? null,
    digest: list?.digest.toString('hex') ?? null,
  }
  return `${JSON.stringify({ ...head, bonds: rows }, null, 2)}\n`
}

function pendingRow(bond: ReturnType<typeof readPendingBonds>[number]): ExportRow {
  return {
    ...rowOf(bond),
    state: 'pending',
    refusal: null,
    value: 0,
    conf_height: null,
    conf_block_hash: null,
    conf_time: null,
    spent_height: null,
    spent_block_hash: null,
    spent_txid: null,
    spent_vin: null,
  }
}

/** RFC 4180. No value of ours holds a comma, a quote or a line break: hex, numbers and checked addresses. */
function csv(rows: readonly ExportRow[]): string {
  return [COLUMNS.join(','), ...rows.map((row) => COLUMNS.map((name) => row[name] ?? '').join(',')), ''].join('\r\n')
}

/** `file` is the old text or the new one, never half of it. Throws ConfigError. */
export function writeWhole(file: string, text: string): void {
  const part = `${file}.part`
  try {
    const fd = openSync(part, 'w', 0o644)
    try {
      writeFileSync(fd, text)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(part, file)
  } catch (error) {
    rmSync(part, { force: true })
    throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
  }
}
