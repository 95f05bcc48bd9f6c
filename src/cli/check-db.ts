/** The check-db verb: reads the whole database; with --salvage, saves what can be saved of a damaged one. */
import { existsSync } from 'node:fs'
import type { Config } from '../config.ts'
import { databasePath } from '../data-places.ts'
import { ConfigError, describeError, StoreError } from '../errors.ts'
import { checkDatabase } from '../store/check.ts'
import { isLocked, lockDataDir } from '../store/lock.ts'
import { NoDatabase, openExisting } from '../store/open.ts'
import { type Salvage, salvageDatabase } from '../store/salvage.ts'

export interface DatabaseCheck {
  database: string
  complaints: string[]
  /** The file may never have been a database. */
  isNone?: true
}

/** Throws ConfigError where there is no database, or one of another network or version. */
export function checkDataDir({ dataDir, network }: Config): DatabaseCheck {
  const database = databasePath(dataDir)
  try {
    openExisting(dataDir, network)[Symbol.dispose]()
    return { database, complaints: checkDatabase(database) }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    if (error instanceof NoDatabase) return { database, complaints: ["its first bytes are not SQLite's"], isNone: true }
    return { database, complaints: [describeError(error)] }
  }
}

/**
 * Salvages the database of `config`, or does nothing (undefined) where it is sound. Throws ConfigError while a daemon
 * runs, StoreError when no sound database could be made.
 */
export function salvageDataDir(config: Config): Salvage | undefined {
  const { dataDir, network } = config
  const path = databasePath(dataDir)
  if (!existsSync(path)) openExisting(dataDir, network) // says so
  if (isLocked(dataDir)) throw new ConfigError(`the daemon of --datadir ${dataDir} is running: stop it first`)
  using _lock = lockDataDir(dataDir) // and nothing is opened for writing: SQLite would tidy up what is to be salvaged
  if (checkDatabase(path).length === 0) return undefined
  return salvageDatabase(path, network)
}

export function describeCheck({ database, complaints, isNone }: DatabaseCheck): string {
  if (complaints.length === 0) return `${database} is sound`
  if (isNone) {
    return [
      `${database} is no database: ${complaints[0]}.`,
      'Was another file put there, a packed backup for instance? Then stop the daemon, move it away, and put the database',
      'or a backup back under this name. If it was the database, stop the daemon and type, with the same settings:',
      '  fidelity-tracker check-db --salvage',
      "What can still be read of registrations and the makers' history goes into a new database; this file is kept.",
    ].join('\n')
  }
  return [
    ...complaints,
    '',
    `${database} is damaged. Stop the daemon, then type, with the same settings:`,
    '  fidelity-tracker check-db --salvage',
    "It saves registrations and the makers' history into a new database and keeps the damaged one under another name.",
    'Then start the daemon: the rest is read from the chain anew. The onion key is a file of its own.',
  ].join('\n')
}

export function describeSalvage(database: string, { keptAs, tables, pages }: Salvage): string {
  const width = Math.max(...tables.map(({ table }) => table.length))
  const counts = tables.map(({ table, saved, lost }) => {
    const of = lost === null ? 'how many were lost is not known' : `${lost} lost`
    return `  ${table.padEnd(width)}  ${saved} saved, ${of}`
  })
  return [
    `${database} is a new, sound database, with what could be saved of the damaged one:`,
    ...counts,
    `${pages.pages} pages were read, ${pages.damagedPages} of them damaged. The damaged database is kept: ${keptAs}`,
    'The onion key was not touched. Start the daemon: everything else is read from the chain anew.',
  ].join('\n')
}
