/**
 * Applies migrations/NNNN-name.sql in order, each in one transaction together with its number in user_version. A file
 * that was applied is never edited. A database newer than this program is refused.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type Database from 'better-sqlite3'
import { BrokenInvariant, ConfigError } from '../errors.ts'

const MIGRATIONS = fileURLToPath(new URL('../../migrations/', import.meta.url))

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

/** For whoever only reads: throws ConfigError with what to do when `schema` is not this program's. */
export function assertSchema(path: string, schema: number): void {
  const known = readMigrations().length
  if (schema === known) return
  const advice = schema < known ? 'start the daemon once, which brings it up to date' : 'upgrade fidelity-tracker'
  throw new ConfigError(`${path} has schema ${schema}, this program knows ${known}: ${advice}`)
}

/** Brings `db` to the newest schema; returns the numbers applied. Throws ConfigError for a newer database. */
export function migrate(db: Database.Database, migrations: Migration[] = readMigrations()): number[] {
  const present = db.pragma('user_version', { simple: true }) as number
  if (present > migrations.length) {
    throw new ConfigError(
      `the database ${db.name} has schema ${present}, this program knows ${migrations.length}: upgrade fidelity-tracker, or put the backup back that was made before the upgrade`,
    )
  }
  const applied: number[] = []
  for (const { number, sql } of migrations.slice(present)) {
    db.transaction(() => {
      db.exec(sql)
      db.pragma(`user_version = ${number}`)
    }).immediate()
    applied.push(number)
  }
  return applied
}
