/** What the reading verbs show: the store's own facts and the daemon's last report, as JSON fields and as text. */
import { existsSync } from 'node:fs'
import { listMakers } from '../bonds/list.ts'
import { blocksLeft, stateOf } from '../bonds/verify.ts'
import { windowStart } from '../chain/plan.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { utc } from '../format.ts'
import { type Report, unseenHeights } from '../status.ts'
import { readBonds, readPendingBonds } from '../store/bonds.ts'
import { isLocked } from '../store/lock.ts'
import { assertSchema } from '../store/migrate.ts'
import { assertNetwork, type Db, databasePath, openStoreReadonly } from '../store/open.ts'
import { readReport, readScannedFrom, readTip } from '../store/tip.ts'
import { VERSION } from '../version.ts'
import { table } from './text.ts'

export function openExisting(config: Config): Db {
  if (!existsSync(databasePath(config.dataDir))) {
    throw new ConfigError(`there is no database in --datadir ${config.dataDir}: has the daemon been started with it?`)
  }
  const db = openStoreReadonly(config.dataDir)
  try {
    assertSchema(db.path, db.schema)
    assertNetwork(db, config.network)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
  return db
}

/** What the status verb prints: the store's own facts, and the daemon's last report. */
interface StatusView {
  running: boolean
  network: string
  version: string
  height: number | null
  block_hash: string | null
  block_time: number | null
  scanned_from: number | null
  unseen: { from: number; to: number } | null
  bonds: number
  digest: string | null
  daemon: Report | null
}

export function readStatus(db: Db, config: Config): StatusView {
  const tip = readTip(db)
  const scannedFrom = readScannedFrom(db)
  const list = tip && listMakers(readBonds(db, windowStart(tip.height)), tip)
  return {
    running: isLocked(config.dataDir),
    network: config.network,
    version: VERSION,
    height: tip?.height ?? null,
    block_hash: tip?.hash ?? null,
    block_time: tip?.timeS ?? null,
    scanned_from: scannedFrom ?? null,
    unseen: unseenHeights(scannedFrom, tip) ?? null,
    bonds: list?.live.length ?? 0,
    digest: list?.digest.toString('hex') ?? null,
    daemon: (readReport(db) as Report | undefined) ?? null,
  }
}

export function describeStatus(status: StatusView): string {
  const { daemon } = status
  const lines: [string, string][] = []
  if (!status.running)
    lines.push(['daemon', daemon ? `not running (last seen ${utc(daemon.writtenAtMs)})` : 'never ran here'])
  else if (!daemon) lines.push(['daemon', 'starting'])
  else {
    lines.push([
      'daemon',
      `${daemon.ready ? 'ready' : 'NOT READY'}, pid ${daemon.pid}, since ${utc(daemon.startedAtMs)}`,
    ])
    for (const reason of daemon.notReady) lines.push(['', `- ${reason}`])
    lines.push(['address', daemon.onion.address ?? daemon.address])
    lines.push(['onion', `${daemon.onion.state}: ${daemon.onion.detail}`])
    lines.push(['bitcoind', `${daemon.node.kind}${daemon.source ? `, blocks by ${daemon.source}` : ''}`])
    if (daemon.progress) lines.push(['catching up', describeProgress(daemon.progress)])
    lines.push(['mempool', `${daemon.mempool.size} transactions${daemon.mempool.isComplete ? '' : ' (still reading)'}`])
    if (daemon.canary) lines.push(['canary', `${daemon.canary.state}: ${daemon.canary.detail}`])
    if (daemon.makers) {
      const { up, down, unknown } = daemon.makers
      lines.push(['makers', `${up} up, ${down} down, ${unknown} unknown`])
    }
    lines.push(['watching', `${daemon.registered} outpoints registered, ${daemon.subscriptions} subscriptions`])
    lines.push(['reorgs', `${daemon.reorgs}${daemon.reorgs ? `, deepest ${daemon.reorgDepthMax}` : ''}`])
  }
  lines.push(['network', status.network])
  if (status.height === null) lines.push(['chain', 'nothing scanned yet'])
  else {
    lines.push(['chain', `block ${status.height} (${status.block_hash}), scanned from ${status.scanned_from}`])
    if (status.unseen) {
      const { from, to } = status.unseen
      lines.push(['NOT SEEN', `blocks ${from} to ${to} were pruned by bitcoind: bonds confirmed there are not known`])
    }
    const soFar = status.running && daemon?.ready !== true ? ' so far' : ''
    lines.push(['live bonds', `${status.bonds}${soFar}, digest ${status.digest}`])
  }
  return lines.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')
}

function describeProgress({ from, at, to, blocksPerS, mbPerS, etaS }: NonNullable<Report['progress']>): string {
  const percent = ((100 * (at - from + 1)) / Math.max(1, to - from + 1)).toFixed(1)
  const eta = etaS === undefined ? '' : `, ${etaS} s left`
  return `block ${at} of ${to} (${percent} %), ${blocksPerS} blocks/s, ${mbPerS} MB/s${eta}`
}

interface BondRow {
  outpoint: string
  address: string
  format: string
  state: string
  refusal: string | null
  amount: number
  value: number
  conf_height: number | null
  lock_height: number | null
  blocks_left: number | null
  spent_by: { txid: string; vin: number; height: number } | null
}

/** Live ones first by value, then the others by height. */
export function readBondRows(db: Db): BondRow[] {
  const tip = readTip(db)
  const pending = readPendingBonds(db).map(
    (bond): BondRow => ({
      ...rowOf(bond),
      state: 'pending',
      refusal: null,
      value: 0,
      conf_height: null,
      blocks_left: null,
      spent_by: null,
    }),
  )
  if (!tip) return pending
  const bonds = readBonds(db)
  const values = new Map(listMakers(bonds, tip).live.map(({ bond, value }) => [bond, value]))
  const rows = bonds.map((bond): BondRow => {
    const state = stateOf(bond, tip)
    return {
      ...rowOf(bond),
      state,
      refusal: bond.refusal ?? null,
      value: values.get(bond) ?? 0,
      conf_height: bond.conf.height,
      blocks_left: state === 'live' ? blocksLeft(bond, tip) : null,
      spent_by: bond.spentBy ? { txid: bond.spentBy.txid, vin: bond.spentBy.vin, height: bond.spentBy.height } : null,
    }
  })
  const order = (row: BondRow) => ['live', 'pending', 'expired', 'spent', 'refused'].indexOf(row.state)
  return [...rows, ...pending].sort(
    (a, b) => order(a) - order(b) || b.value - a.value || (b.conf_height ?? 0) - (a.conf_height ?? 0),
  )
}

/** What every announcement has, in words of the JSON that verbs print. */
export function rowOf(bond: ReturnType<typeof readPendingBonds>[number]) {
  return {
    outpoint: formatOutpoint(bond.outpoint),
    address: bond.address,
    format: bond.format,
    amount: bond.amountSats,
    lock_height: bond.lockHeight ?? null,
  }
}

export function describeBonds(rows: readonly BondRow[], height: number | undefined): string {
  if (height === undefined) return 'nothing scanned yet'
  if (rows.length === 0) return `no bonds at block ${height}`
  const head = ['STATE', 'ADDRESS', 'FMT', 'SATS', 'VALUE', 'CONFIRMED', 'LOCK', 'LEFT', 'OUTPOINT']
  const body = rows.map((row) => [
    row.refusal ? `${row.state} (${row.refusal})` : row.state,
    row.address,
    row.format,
    String(row.amount),
    String(row.value),
    String(row.conf_height ?? '-'),
    String(row.lock_height ?? '-'),
    String(row.blocks_left ?? '-'),
    row.outpoint,
  ])
  return `${table([head, ...body])}\n${rows.length} bonds at block ${height}`
}
