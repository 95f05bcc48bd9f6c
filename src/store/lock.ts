/**
 * One daemon per data directory. The lock is SQLite's own (an exclusive transaction on a file of its own), so the
 * operating system drops it however the process ends.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { ConfigError, describeError } from '../errors.ts'

const LIMITS = {
  /** Another process that only looks (isLocked) has the file for less than a millisecond. */
  lookMs: 250,
}

/** Takes the lock until disposed. Throws ConfigError when the folder can't be written or another daemon has it. */
export function lockDataDir(dataDir: string): Disposable {
  let file: Database.Database | undefined
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    file = new Database(join(dataDir, 'lock'), { timeout: LIMITS.lookMs })
    file.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    file?.close()
    if (error instanceof Database.SqliteError && error.code === 'SQLITE_BUSY') {
      throw new ConfigError(
        `--datadir ${dataDir} is in use by another fidelity-tracker: stop it, or name another folder`,
      )
    }
    throw new ConfigError(
      `--datadir ${dataDir} can't be written: ${describeError(error)}. Give this user the folder, or name another one`,
    )
  }
  const held = file
  return {
    [Symbol.dispose]() {
      held.close()
    },
  }
}

/** Whether a daemon holds the lock. */
export function isLocked(dataDir: string): boolean {
  let file: Database.Database | undefined
  try {
    file = new Database(join(dataDir, 'lock'), { timeout: 0, fileMustExist: true })
    file.exec('BEGIN EXCLUSIVE')
    return false
  } catch (error) {
    return error instanceof Database.SqliteError && error.code === 'SQLITE_BUSY'
  } finally {
    file?.close()
  }
}
