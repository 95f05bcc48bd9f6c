/**
 * One daemon per data directory. The lock is SQLite's own (an exclusive transaction on a file of its own), so the
 * operating system drops it however the process ends. Should somebody delete that file under a daemon, the database
 * itself tells that somebody has it open.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { ConfigError, describeError, StoreError } from '../errors.ts'
import { refusalFor } from '../file-access.ts'
import { type Clock, sleep } from '../world.ts'
import { FileInPlace } from './in-place.ts'

const LIMITS = {
  /** Another process that only looks (isLocked) has the file for less than a millisecond. */
  lookMs: 250,
  /** A daemon whose lock was deleted ends within seconds; one that doesn't stores its status every ten. */
  soleUseMs: 15_000,
  soleUsePollMs: 100,
}

export interface DataDirLock extends Disposable {
  /** Throws StoreError when the lock's file is no longer the one we hold. */
  assertInPlace(): void
}

/** Takes the lock until disposed. Throws ConfigError when the folder can't be written or another daemon has it. */
export function lockDataDir(dataDir: string): DataDirLock {
  const path = join(dataDir, 'lock')
  let file: Database.Database | undefined
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    file = new Database(path, { timeout: LIMITS.lookMs })
    file.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    file?.close()
    if (isBusy(error)) {
      throw new ConfigError(
        `--datadir ${dataDir} is in use by another fidelity-tracker: stop that one first, or give this one a folder and an --address of its own`,
      )
    }
    const refusal = [path, dataDir].map((one) => refusalFor(one, 'write')).find((one) => one !== undefined)
    if (refusal !== undefined) throw new ConfigError(`--datadir ${dataDir} can't be written: ${refusal}`)
    if (statSync(dataDir, { throwIfNoEntry: false })?.isFile()) {
      throw new ConfigError(`--datadir ${dataDir} is a file: name a folder, which may be one that isn't there yet`)
    }
    throw new ConfigError(
      `--datadir ${dataDir} can't be written: ${describeError(error)}. Give this user the folder and what is in it`,
    )
  }
  const held = file
  const inPlace = new FileInPlace(path)
  return {
    assertInPlace() {
      const became = inPlace.displaced()
      if (became === undefined) return
      throw new StoreError(
        `${path} was ${became} while the daemon held it, so a second daemon could write to the same database: nothing is lost; start again, and leave that file alone`,
      )
    },
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
    return isBusy(error)
  } finally {
    file?.close()
  }
}

/**
 * Waits until nobody else can be writing to the database `path`: for a daemon whose lock was deleted, which is about to
 * end. Whoever only reads (a long backup) is let be. To be called with the lock held and before the database is opened.
 * Throws ConfigError when another daemon goes on with it; rejects with the signal's reason.
 */
export async function awaitSoleUse(path: string, clock: Clock, signal: AbortSignal): Promise<void> {
  if (!existsSync(path) || !isOpenElsewhere(path)) return
  const endMs = clock.monotonicMs() + LIMITS.soleUseMs
  const report = storedReport(path)
  while (isOpenElsewhere(path)) {
    if (clock.monotonicMs() < endMs) await sleep(LIMITS.soleUsePollMs, signal)
    else if (storedReport(path) === report) return
    else throw new ConfigError(`${path} is in use by another fidelity-tracker, whose lock was deleted: stop it first`)
  }
}

/** In WAL mode whoever has the database open holds a shared lock on its file. What else is wrong is for openStore to say. */
function isOpenElsewhere(path: string): boolean {
  let probe: Database.Database | undefined
  try {
    probe = new Database(path, { timeout: 0, fileMustExist: true })
    probe.pragma('locking_mode = EXCLUSIVE')
    probe.exec('BEGIN EXCLUSIVE; ROLLBACK')
    return false
  } catch (error) {
    return isBusy(error)
  } finally {
    probe?.close()
  }
}

/** What the daemon that has it open says of itself, the time of day included. */
function storedReport(path: string): unknown {
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: true, fileMustExist: true })
    return db.prepare('SELECT report FROM daemon').pluck().get()
  } catch {
    return undefined // damaged, or not ours: for openStore to say
  } finally {
    db?.close()
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
}
