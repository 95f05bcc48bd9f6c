/** A copy of the database as it stands at one moment, made while the daemon goes on writing. */
import { closeSync, linkSync, lstatSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { ConfigError, describeError, StoreError } from '../errors.ts'
import { Draft, syncFile } from '../files.ts'
import { STORE_LIMITS } from './open.ts'

export const BACKUP_LIMITS = {
  /** Pages copied between two looks at the signal: 16 MB. */
  pagesAtOnce: 4_096,
}

/**
 * Copies `path` to `file`, which appears whole or not at all and is never overwritten. Returns its size in bytes. Throws
 * ConfigError (the target) or StoreError (the database); rejects with the signal's reason.
 */
export async function backupDatabase(path: string, file: string, signal: AbortSignal): Promise<number> {
  if (lstatSync(file, { throwIfNoEntry: false })) throw isThere(file)
  using draft = new Draft(file)
  try {
    closeSync(openSync(draft.path, 'wx', 0o600))
    await copyTo(path, draft.path, signal)
    assertSound(draft.path)
    syncFile(draft.path)
    putInPlace(draft.path, file)
  } catch (error) {
    if (error instanceof Database.SqliteError) {
      throw new StoreError(`${path} can't be copied (${error.code}): ${error.message}`, { cause: error })
    }
    throw error
  }
  return statSync(file).size
}

async function copyTo(path: string, part: string, signal: AbortSignal): Promise<void> {
  const source = new Database(path, { readonly: true, fileMustExist: true, timeout: STORE_LIMITS.busyMs })
  try {
    // Our reader's snapshot: what the daemon commits meanwhile neither shows in the copy nor starts it anew.
    source.exec('BEGIN')
    source.prepare('SELECT count(*) FROM identity').get()
    await source.backup(part, {
      progress: () => {
        signal.throwIfAborted()
        return BACKUP_LIMITS.pagesAtOnce
      },
    })
    source.exec('COMMIT')
  } finally {
    source.close()
  }
}

/** Throws StoreError where the copy is damaged. */
export function assertSound(part: string): void {
  const copy = new Database(part, { readonly: true })
  try {
    const verdict = copy.pragma('quick_check(1)', { simple: true })
    if (verdict !== 'ok') throw new StoreError(`the copy is damaged (${verdict}): run check-db on the original`)
  } finally {
    copy.close()
  }
}

/** Why nothing is written there. */
export function isThere(file: string): ConfigError {
  return new ConfigError(`${file} is there already: name another file, or move it away`)
}

/** `part` gets the name `file`. A link fails where the name is taken, also by somebody who came after we looked; a rename would replace. */
export function putInPlace(part: string, file: string): void {
  try {
    linkSync(part, file)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EEXIST') throw isThere(file)
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') {
      throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
    }
    renameSync(part, file) // a file system without links (FAT, some network shares)
  }
  syncFile(dirname(file))
}
