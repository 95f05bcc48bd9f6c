/**
 * Applies migrations/NNNN-name.sql in order, each in one transaction together with its number in user_version. A file
 * that was applied is never edited. A database newer than this program is refused.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type Database from 'better-sqlite3'
import { BrokenInvariant, ConfigError, StoreError } from '../errors.ts'
import { SALVAGE_ADVICE } from './columns.ts'
import { convertSpentKeys } from './local/old-spent-keys.ts'

const MIGRATIONS = fileURLToPath(new URL('../../migrations/', import.meta.url))

/** What SQL alone can't carry over, by the number of the migration of which it is the end. */
const CONVERSIONS: Record<number, (db: Database.Database) => void> = { 12: convertSpentKeys }

export interface Migration {
  number: number
  name: string
  sql: string
}

export function readMigrations(folder: string = MIGRATIONS): Migration[] {
  const migrations = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({ number: Number(name.slice(0, 4)), name, sql: readFileSync(`${folder}/${name}`, 'utf8') }))
  migrations.forEach(({ number, name }, i) => {
    if (number !== i + 1) throw new BrokenInvariant(`migrations are not numbered without a gap: ${name}`)
  })
  return migrations
}

/** No version will ever have so many migrations: the number itself is damaged. */
const SCHEMA_MAX = 9_999

/** Throws ConfigError when a newer version has written the database, StoreError where `schema` can't be any version's. */
export function assertNotNewer(path: string, schema: number): void {
  if (schema < 0 || schema > SCHEMA_MAX) {
    throw new StoreError(`the database ${path} is damaged (schema ${schema}); ${SALVAGE_ADVICE}`)
  }
  const known = readMigrations().length
  if (schema > known) {
    throw new ConfigError(
      `the database ${path} has schema ${schema}, this program knows ${known}: upgrade fidelity-tracker, or put back the copy from before the upgrade: tracker.sqlite.schema-<number> beside it, or a backup`,
    )
  }
}

/** For whoever only reads: as `assertNotNewer`, and throws ConfigError for an older one. */
export function assertSchema(path: string, schema: number): void {
  assertNotNewer(path, schema)
  const known = readMigrations().length
  if (schema === known) return
  throw new ConfigError(
    `the database ${path} has schema ${schema}, this program knows ${known}: start the daemon once, which brings it up to date`,
  )
}

/** Brings `db` to the newest schema; returns the numbers applied. Throws ConfigError for a newer database, StoreError for a damaged one. */
export function migrate(db: Database.Database, migrations: Migration[] = readMigrations()): number[] {
  const present = db.pragma('user_version', { simple: true }) as number
  assertNotNewer(db.name, present)
  const applied: number[] = []
  for (const { number, sql } of migrations.slice(present)) {
    db.transaction(() => {
      db.exec(sql)
      CONVERSIONS[number]?.(db)
      db.pragma(`user_version = ${number}`)
    }).immediate()
    applied.push(number)
  }
  return applied
}
