/** A copy of the database as it stands at one moment, made while the daemon goes on writing. */
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { ConfigError, describeError, StoreError } from '../errors.ts'
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
  if (existsSync(file)) throw new ConfigError(`${file} is there already: name another file, or move it away`)
  const part = `${file}.part`
  try {
    closeSync(openSync(part, 'w', 0o600))
  } catch (error) {
    throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
  }
  try {
    await copyTo(path, part, signal)
    assertSound(part)
    syncFile(part)
    putInPlace(part, file)
  } catch (error) {
    if (error instanceof Database.SqliteError) {
      throw new StoreError(`${path} can't be copied (${error.code}): ${error.message}`, { cause: error })
    }
    throw error
  } finally {
    for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(part + suffix, { force: true })
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

function assertSound(part: string): void {
  const copy = new Database(part, { readonly: true })
  try {
    const verdict = copy.pragma('quick_check(1)', { simple: true })
    if (verdict !== 'ok') throw new StoreError(`the copy is damaged (${verdict}): run check-db on the original`)
  } finally {
    copy.close()
  }
}

/** A link fails where the name is taken, also by somebody who came after we looked; a rename would replace. */
function putInPlace(part: string, file: string): void {
  try {
    linkSync(part, file)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EEXIST') throw new ConfigError(`${file} is there already: name another file, or move it away`)
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') {
      throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
    }
    renameSync(part, file) // a file system without links (FAT, some network shares)
  }
  syncFile(dirname(file))
}

/** What was written to a file, or the names in a folder, survive a power cut from here on. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
