/**
 * Is the database what we once wrote? `inspectDatabase` is a quick look that changes nothing, for doctor; `checkDatabase`
 * reads everything: SQLite's own checks, then the rules that its constraints can't express.
 */
import { existsSync } from 'node:fs'
import Database from 'better-sqlite3'
import { TX_REFUSALS } from '../bonds/types.ts'
import { inputsOf, txidOf } from '../chain/decode.ts'
import { type Height, NETWORKS, type Outpoint } from '../chain/types.ts'
import { ConfigError, describeError } from '../errors.ts'
import { isOnionHost, parseHostPort } from '../tor/address.ts'
import { columnTxid } from './columns.ts'
import { BUCKETS, MalformedKeys, SEGMENT_BLOCKS, unpackBlock, unpackBucket } from './local/packed-keys.ts'
import { assertSchema, readMigrations } from './migrate.ts'
import { isDamage, STORE_LIMITS } from './open.ts'

const LIMITS = {
  /** Complaints listed at the most, each kind; a damaged file has thousands. */
  complaints: 20,
}

export type Inspection =
  | { kind: 'absent' }
  | { kind: 'unusable'; detail: string }
  | { kind: 'damaged'; detail: string }
  | { kind: 'readable'; schema: number; knownSchema: number; network: string | undefined }

/** Opens read-only, looks at version, owner and the small tables. */
export function inspectDatabase(path: string): Inspection {
  if (!existsSync(path)) return { kind: 'absent' }
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: STORE_LIMITS.busyMs })
    const schema = db.pragma('user_version', { simple: true }) as number
    for (const table of ['identity', 'blocks', 'bonds', 'watches', 'spends', 'spenders']) {
      if (!hasTable(db, table)) continue
      const verdict = db.pragma(`quick_check('${table}')`, { simple: true })
      if (verdict !== 'ok') return { kind: 'damaged', detail: `${table}: ${String(verdict)}` }
    }
    const identity = hasTable(db, 'identity') && db.prepare('SELECT network FROM identity').get()
    return {
      kind: 'readable',
      schema,
      knownSchema: readMigrations().length,
      network: identity ? (identity as { network: string }).network : undefined,
    }
  } catch (error) {
    return { kind: isDamage(error) ? 'damaged' : 'unusable', detail: describeError(error) }
  } finally {
    db?.close()
  }
}

function hasTable(db: Database.Database, name: string): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !== undefined
}

/** Rules between rows, each a query for what breaks it. `what` says of a row that it is wrong. */
const RULES: readonly { what: string; query: string }[] = [
  {
    what: 'the identity names no network',
    query: `SELECT network FROM identity WHERE network NOT IN (${NETWORKS.map((name) => `'${name}'`)})`,
  },
  { what: 'there is not one identity row', query: 'SELECT count(*) AS n FROM identity HAVING n <> 1' },
  {
    what: 'the chain has a gap above this height',
    query: `SELECT height FROM blocks b WHERE height < (SELECT max(height) FROM blocks)
            AND NOT EXISTS (SELECT 1 FROM blocks n WHERE n.height = b.height + 1)`,
  },
  {
    what: 'an outpoint has two confirmed spends',
    query: `SELECT hex(s.txid) AS txid, s.vout FROM spends s JOIN spenders t ON t.txid = s.spender_txid
            WHERE t.height IS NOT NULL GROUP BY s.txid, s.vout HAVING count(*) > 1`,
  },
  {
    what: 'a bond is spent before it was made',
    query: `SELECT hex(b.txid) AS txid, b.vout FROM bonds b JOIN spends s ON s.txid = b.txid AND s.vout = b.vout
            JOIN spenders t ON t.txid = s.spender_txid WHERE t.height < b.conf_height`,
  },
  {
    what: 'a recorded transaction spends nothing of interest',
    query: `SELECT hex(t.txid) AS txid FROM spenders t
            WHERE NOT EXISTS (SELECT 1 FROM spends s WHERE s.spender_txid = t.txid)`,
  },
  {
    what: 'a bond that qualified lies in no P2WSH output',
    query: 'SELECT hex(txid) AS txid, vout FROM bonds WHERE refusal IS NULL AND is_p2wsh = 0',
  },
  {
    what: 'what takers hold against a bond is nothing they know',
    query: `SELECT hex(b.txid) AS txid, b.vout, e.value FROM bonds b, json_each(b.tx_refusals) e
            WHERE e.value NOT IN (${TX_REFUSALS.map((code) => `'${code}'`)})`,
  },
]

/**
 * Everything that is wrong, in words; empty when the database is sound. Reads every page: some seconds for 100 MB. Throws
 * ConfigError for the schema of another version, whose rules are others.
 */
export function checkDatabase(path: string): string[] {
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: STORE_LIMITS.busyMs })
    const pages = (db.pragma(`integrity_check(${LIMITS.complaints})`) as { integrity_check: string }[])
      .map((row) => row.integrity_check)
      .filter((verdict) => verdict !== 'ok')
    if (pages.length > 0) return pages // what rows say of a damaged file means nothing
    assertSchema(path, db.pragma('user_version', { simple: true }) as number)
    // One snapshot for all: a daemon may be writing.
    db.exec('BEGIN')
    return [...orphans(db), ...brokenRules(db), ...brokenAddresses(db), ...brokenSpends(db), ...brokenKeys(db)]
  } catch (error) {
    if (error instanceof ConfigError) throw error
    return [describeError(error)]
  } finally {
    db?.close()
  }
}

function orphans(db: Database.Database): string[] {
  const rows = db.pragma('foreign_key_check') as { table: string; parent: string }[]
  return rows
    .slice(0, LIMITS.complaints)
    .map(({ table, parent }) => `a row of ${table} refers to a missing ${parent} row`)
}

function brokenRules(db: Database.Database): string[] {
  return RULES.flatMap(({ what, query }) => {
    const rows = db.prepare(`${query} LIMIT ${LIMITS.complaints}`).all() as Record<string, unknown>[]
    return rows.map((row) => `${what}: ${describeRow(row)}`)
  })
}

function describeRow(row: Record<string, unknown>): string {
  return Object.entries(row)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value.toLowerCase() : value}`)
    .join(', ')
}

function brokenAddresses(db: Database.Database): string[] {
  const rows = db.prepare('SELECT DISTINCT address FROM bonds').iterate() as Iterable<{ address: string }>
  const wrong: string[] = []
  for (const { address } of rows) {
    const host = parseHostPort(address)?.host
    if (host !== '127.0.0.1' && (host === undefined || !isOnionHost(host))) {
      wrong.push(`a bond announces no onion address: ${address}`)
    }
    if (wrong.length >= LIMITS.complaints) break
  }
  return wrong
}

/** What is wrong with the index of what blocks spent: rows that can't be read, or are of blocks that are not indexed. */
function brokenKeys(db: Database.Database): string[] {
  const wrong = new Set<string>()
  try {
    const indexed = new Map<Height, boolean>()
    const blocks = db.prepare('SELECT height, keys FROM indexed_blocks ORDER BY height').iterate()
    for (const { height, keys } of blocks as Iterable<{ height: Height; keys: Buffer | null }>) {
      indexed.set(height, keys === null)
      if (keys) unpackBlock(keys)
    }
    const [from = Number.POSITIVE_INFINITY] = indexed.keys()
    const rows = db.prepare('SELECT id, keys FROM spent_keys').iterate()
    for (const { id, keys } of rows as Iterable<{ id: number; keys: Buffer }>) {
      const segment = Math.floor(id / BUCKETS)
      unpackBucket(keys, id % BUCKETS, (_, offset) => {
        const height = SEGMENT_BLOCKS * segment + offset
        // Below the lowest one lies what was not dropped yet.
        if (height >= from && !indexed.get(height))
          wrong.add(`keys of spent outpoints are of a block without any: height ${height}`)
      })
      if (wrong.size >= LIMITS.complaints) break
    }
  } catch (error) {
    if (!(error instanceof MalformedKeys)) throw error
    wrong.add(`keys of spent outpoints can't be read: ${error.message}`)
  }
  return [...wrong].slice(0, LIMITS.complaints)
}

const SPENDS = `SELECT s.txid, s.vout, s.spender_txid, s.vin, t.raw_tx
                FROM spends s JOIN spenders t ON t.txid = s.spender_txid`

/** Whether every recorded transaction is the one it is filed under, and really spends its outpoint. */
function brokenSpends(db: Database.Database): string[] {
  const wrong: string[] = []
  for (const { txid, vout } of wrongSpends(db)) {
    wrong.push(`the transaction recorded as the spend of ${columnTxid(txid)}:${vout} is another one`)
    if (wrong.length >= LIMITS.complaints) break
  }
  return wrong
}

interface SpendKey {
  txid: Buffer
  vout: number
  spender_txid: Buffer
}

function* wrongSpends(db: Database.Database): Generator<SpendKey> {
  const rows = db.prepare(SPENDS).iterate() as Iterable<SpendKey & { vin: number; raw_tx: Buffer }>
  for (const { txid, vout, spender_txid, vin, raw_tx } of rows) {
    const outpoint = { txid: columnTxid(txid), vout }
    if (!isSpend(raw_tx, outpoint, columnTxid(spender_txid), vin)) yield { txid, vout, spender_txid }
  }
}

/** Takes out the spends that their recorded transaction does not make. */
export function deleteWrongSpends(db: Database.Database): void {
  const remove = db.prepare('DELETE FROM spends WHERE txid = ? AND vout = ? AND spender_txid = ?')
  for (const { txid, vout, spender_txid } of [...wrongSpends(db)]) remove.run(txid, vout, spender_txid)
}

function isSpend(raw: Buffer, outpoint: Outpoint, txid: string, vin: number): boolean {
  try {
    return txidOf(raw) === txid && inputsOf(raw, [outpoint])[0] === vin
  } catch {
    return false // not even a transaction
  }
}
