/**
 * The way back from an upgrade: a copy of the database as the older program left it, made before a newer schema is put
 * on it. Only the daemon's start asks for it, with the lock held; nothing else migrates an existing database.
 */
import { existsSync, rmSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { databasePath } from '../data-places.ts'
import { backupDatabase } from './backup.ts'
import { readMigrations } from './migrate.ts'
import { STORE_LIMITS } from './open.ts'

const LIMITS = {
  /** Of the database's size, what has to be free: the copy, and as much again for what a migration writes anew. */
  roomFactor: 2,
}

export type BeforeMigration =
  /** Nothing is migrated: there is no database, it is up to date, or opening it will say what is wrong. */
  | { kind: 'not-needed' }
  | { kind: 'copied'; file: string; bytes: number }
  /** The disk lacks room for a copy beside what the migration writes. */
  | { kind: 'no-room'; freeBytes: number; neededBytes: number }

/**
 * Copies a database of an older schema to `tracker.sqlite.schema-<its number>`, in place of one that is there from an
 * earlier time. Throws ConfigError or StoreError as `backupDatabase` does, or rejects with the signal's reason.
 */
export async function copyBeforeMigration(
  dataDir: string,
  signal: AbortSignal,
  freeBytes: (folder: string) => number = freeBytesOf,
): Promise<BeforeMigration> {
  const path = databasePath(dataDir)
  const schema = schemaOf(path)
  if (schema === undefined || schema <= 0 || schema >= readMigrations().length) return { kind: 'not-needed' }
  const free = freeBytes(dirname(path))
  const neededBytes = LIMITS.roomFactor * (sizeOf(path) + sizeOf(`${path}-wal`))
  if (free < neededBytes) return { kind: 'no-room', freeBytes: free, neededBytes }
  const file = `${path}.schema-${schema}`
  rmSync(file, { force: true })
  return { kind: 'copied', file, bytes: await backupDatabase(path, file, signal) }
}

function schemaOf(path: string): number | undefined {
  if (!existsSync(path)) return undefined
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: STORE_LIMITS.busyMs })
    return db.pragma('user_version', { simple: true }) as number
  } catch (error) {
    if (error instanceof Database.SqliteError) return undefined // for openStore to say
    throw error
  } finally {
    db?.close()
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function freeBytesOf(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}
