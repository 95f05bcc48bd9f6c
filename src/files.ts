/**
 * Files that we write: whole or not at all, nobody else's in their place, and nobody else's to read. Whoever may write to a
 * folder can put a link where we are about to write, so what isn't whole yet has a folder that is ours alone.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { ConfigError, describeError } from './errors.ts'

/** Where `file` is made before it takes its place, on the same file system. Gone when disposed, with what lies beside it. */
export class Draft implements Disposable {
  readonly path: string
  readonly #folder: string

  /** Throws ConfigError when there is no making anything there. */
  constructor(file: string) {
    try {
      this.#folder = mkdtempSync(`${file}.part-`) // 0700, and a name that nobody guesses
    } catch (error) {
      throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
    }
    this.path = join(this.#folder, basename(file))
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** `file` is the old text or the new one, never half of it, and as open as it was before; new it is ours alone. Throws ConfigError. */
export function writeWhole(file: string, text: string): void {
  const mode = modeToKeep(file)
  using draft = new Draft(file)
  try {
    const fd = openSync(draft.path, 'wx', 0o600)
    try {
      writeFileSync(fd, text)
      if (mode !== undefined) fchmodSync(fd, mode)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(draft.path, file)
  } catch (error) {
    throw new ConfigError(`${file} can't be written: ${describeError(error)}`)
  }
}

/** Of what will be replaced, if there is something. What isn't a plain file of ours is not ours to replace. */
function modeToKeep(file: string): number | undefined {
  const stat = lstatSync(file, { throwIfNoEntry: false })
  if (!stat) return undefined
  if (stat.isSymbolicLink()) throw new ConfigError(`${file} is a symbolic link: name the file that it leads to`)
  if (!stat.isFile()) throw new ConfigError(`${file} is there already, and is no file: name another one`)
  if (stat.uid !== process.geteuid?.()) {
    throw new ConfigError(`${file} is there already, and belongs to user ${stat.uid}: name another one`)
  }
  return stat.mode & 0o777
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
