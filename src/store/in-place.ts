/**
 * Are the files we have open still those that their names stand for? A file that is deleted or replaced under an open
 * database takes every write and keeps none: what is acknowledged then is gone with the process.
 */
import { statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { StoreError } from '../errors.ts'

export type Displacement = 'deleted' | 'replaced'

/** One open file, remembered by device and inode. */
export class FileInPlace {
  readonly path: string
  readonly #identity: string | undefined

  /** To be made right after the file was opened. */
  constructor(path: string) {
    this.path = path
    this.#identity = identityOf(path)
  }

  /** What became of the name; undefined while it stands for our file. Some microseconds. */
  displaced(): Displacement | undefined {
    const identity = identityOf(this.path)
    if (identity === this.#identity) return undefined
    return identity === undefined ? 'deleted' : 'replaced'
  }
}

/** Device and inode; undefined where there is no such file. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true })
    return `${dev}:${ino}`
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new StoreError(`${path} can't be looked at any more: is its disk still there?`, { cause: error })
  }
}

/** The database and its two companions (WAL, shared memory). Throws StoreError with what happened and what to do. */
export function assertDatabaseInPlace(database: FileInPlace, companions: readonly FileInPlace[]): void {
  const { path } = database
  const became = database.displaced()
  if (became === 'deleted') {
    throw new StoreError(
      folderIsGone(path)
        ? `the data directory ${dirname(path)} was moved or deleted while the daemon had it open: put it back, or restore ${basename(path)} and onion.key from their backups, then start again`
        : `${path} was moved or deleted while the daemon had it open: put it back, or restore a backup, then start again; without it the chain is scanned anew, and registrations and the makers' history are lost`,
    )
  }
  if (became === 'replaced') {
    throw new StoreError(
      `${path} was replaced by another file while the daemon had the old one open: if that was a backup, start again, and stop the daemon before the next time; else put the old one back first`,
    )
  }
  for (const companion of companions) {
    const became = companion.displaced()
    if (became === undefined) continue
    throw new StoreError(
      `${companion.path} was ${became} while the daemon had it open: what it held is written to ${basename(path)} now; start again, and leave that file alone`,
    )
  }
}

function folderIsGone(path: string): boolean {
  return identityOf(dirname(path)) === undefined
}
