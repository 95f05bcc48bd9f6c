/** Other trackers: who they are, what they last said, whether their list is ours. */
import { type BlockHash, formatOutpoint, type Height, type Outpoint, parseOutpoint } from '../../chain/types.ts'
import { columnBlockHash, columnList, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'

export interface TrackerRecord {
  /** `host:port` under which it was dialled; whatever it calls itself is only its claim. */
  address: string
  source: 'configured' | 'learnt'
  addedS: number
  /** When it was last asked, and when it last answered. */
  askedS?: number
  seenS?: number
  /** Times in a row that it was asked in vain, and what happened last. */
  failures: number
  failure?: string
  version?: string
  height?: Height
  blockHash?: BlockHash
  /** 32 bytes. */
  digest?: Uint8Array
  /** The last comparison: only ever made where both were at the same block. */
  compared?: Comparison
}

export interface Comparison {
  agrees: boolean
  height: Height
  /** Live bonds that only one of the two lists, or that they tell differently (then in both); the first hundred. */
  onlyOurs: Outpoint[]
  onlyTheirs: Outpoint[]
}

export function insertTracker(db: Db, record: TrackerRecord): void {
  db.run(sql.insertInto('trackers').values({ address: record.address, ...columnsOf(record) }))
}

/** False when there is no row of it, which means that it was forgotten. */
export function updateTracker(db: Db, record: TrackerRecord): boolean {
  return db.run(sql.updateTable('trackers').set(columnsOf(record)).where('address', '=', record.address)) > 0
}

function columnsOf(record: TrackerRecord) {
  const { compared } = record
  return {
    source: record.source,
    added_s: record.addedS,
    asked_s: record.askedS ?? null,
    seen_s: record.seenS ?? null,
    failures: record.failures,
    failure: record.failure ?? null,
    version: record.version ?? null,
    height: record.height ?? null,
    block_hash: record.blockHash === undefined ? null : hashColumn(record.blockHash),
    digest: record.digest === undefined ? null : Buffer.from(record.digest),
    agrees: compared === undefined ? null : compared.agrees ? 1 : 0,
    compared_height: compared?.height ?? null,
    only_ours: JSON.stringify((compared?.onlyOurs ?? []).map(formatOutpoint)),
    only_theirs: JSON.stringify((compared?.onlyTheirs ?? []).map(formatOutpoint)),
  }
}

/** True when there was one. */
export function deleteTracker(db: Db, address: string): boolean {
  return db.run(sql.deleteFrom('trackers').where('address', '=', address)) > 0
}

export function readTrackerAddresses(db: Db): string[] {
  return db.all(sql.selectFrom('trackers').select('address')).map(({ address }) => address)
}

/** All, by address. */
export function readTrackers(db: Db): TrackerRecord[] {
  return db.all(sql.selectFrom('trackers').selectAll().orderBy('address')).map((row) => {
    const record: TrackerRecord = {
      address: row.address,
      source: row.source as TrackerRecord['source'],
      addedS: row.added_s,
      failures: row.failures,
    }
    if (row.asked_s !== null) record.askedS = row.asked_s
    if (row.seen_s !== null) record.seenS = row.seen_s
    if (row.failure !== null) record.failure = row.failure
    if (row.version !== null) record.version = row.version
    if (row.height !== null) record.height = row.height
    if (row.block_hash !== null) record.blockHash = columnBlockHash(row.block_hash)
    if (row.digest !== null) record.digest = row.digest
    if (row.agrees !== null && row.compared_height !== null) {
      record.compared = {
        agrees: row.agrees === 1,
        height: row.compared_height,
        onlyOurs: outpoints(row.only_ours),
        onlyTheirs: outpoints(row.only_theirs),
      }
    }
    return record
  })
}

function outpoints(json: string): Outpoint[] {
  return columnList(json, 'trackers', parseOutpoint)
}
