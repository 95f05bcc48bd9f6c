/** Columns ↔ words: 32-byte BLOBs in DISPLAY order, so that `hex(txid)` pastes into bitcoin-cli; lists as JSON. */
import type { BlockHash, Txid } from '../chain/types.ts'
import { StoreError } from '../errors.ts'

export function hashColumn(hex: Txid | BlockHash): Buffer {
  return Buffer.from(hex, 'hex')
}
export function columnTxid(column: Buffer): Txid {
  return column.toString('hex') as Txid
}
export function columnBlockHash(column: Buffer): BlockHash {
  return column.toString('hex') as BlockHash
}

/** What to do about a damaged database: one command, which loses nothing that can be read. */
export const SALVAGE_ADVICE =
  'stop the daemon and run check-db --salvage with the same settings: it saves registrations and the makers’ history, keeps the damaged file, and the rest is scanned again at the next start'

/** What to do about a file without SQLite's first bytes: it may never have been a database. */
export const NO_DATABASE_ADVICE = `was another file put there, a packed backup for instance? Then stop the daemon, move it away, and put the database or a backup back under this name. If not: ${SALVAGE_ADVICE}`

export function damagedRow(table: string, cause: unknown): StoreError {
  return new StoreError(`the database is damaged (a row of ${table}): ${SALVAGE_ADVICE}`, { cause })
}

/** An object as JSON, made a `T`. Throws StoreError where the column holds something else, so is damaged. */
export function columnObject<T>(column: string, table: string, parse: (value: unknown) => T | undefined): T {
  try {
    const value = parse(JSON.parse(column))
    if (value === undefined) throw new TypeError(`unexpected ${column}`)
    return value
  } catch (error) {
    throw damagedRow(table, error)
  }
}

/** A list of texts, each made a `T`. Throws StoreError where the column holds something else, so is damaged. */
export function columnList<T>(column: string, table: string, parse: (text: string) => T | undefined): T[] {
  try {
    return (JSON.parse(column) as string[]).map((text) => {
      const value = parse(text)
      if (value === undefined) throw new TypeError(`unexpected ${text}`)
      return value
    })
  } catch (error) {
    throw damagedRow(table, error)
  }
}
