/** Key files: 0600, made once, on the disk before what they stand for is first told to anybody. */
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, describeError } from './errors.ts'
import { syncFile, writeWhole } from './files.ts'
import { Secret } from './secret.ts'

export interface KeyKind {
  /** "onion key": as messages call it. */
  what: string
  /** What is gone with it, as a sentence without its end. */
  lost: string
  isKey(text: string): boolean
  create(): string
}

/** The file's text, or that of a new key. Throws ConfigError naming the file and what to do. */
export function openKeyFile(file: string, { what, lost, isKey, create }: KeyKind): Secret {
  let text: string
  try {
    const { mode } = statSync(file)
    if ((mode & 0o077) !== 0) {
      throw new ConfigError(`the ${what} ${file} is open to other users: chmod 600 ${file}`)
    }
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return createKey(file, what, create())
    throw new ConfigError(`the ${what} ${file} can't be read: ${describeError(error)}`)
  }
  if (!isKey(text)) {
    throw new ConfigError(
      `the ${what} ${file} is damaged: put its copy back. Without a copy ${lost}, and only then: mv ${file} ${file}.damaged, and start makes a new one`,
    )
  }
  return new Secret(text)
}

function createKey(file: string, what: string, text: string): Secret {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeWhole(file, `${text}\n`)
    syncFile(dirname(file))
  } catch (error) {
    throw new ConfigError(`the ${what} ${file} can't be written: ${describeError(error)}`)
  }
  return new Secret(text)
}
