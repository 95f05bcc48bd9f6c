/** Why there is no database in a data directory, in words that say what to do: the first that many people meet. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { NETWORKS, type Network } from '../chain/types.ts'
import { databasePath, defaultDataDir } from '../data-places.ts'
import { ConfigError } from '../errors.ts'
import { refusalFor } from '../file-access.ts'

/** Throws ConfigError where there is no database, or none that this user may see. */
export function assertDatabase(dataDir: string, network: Network): void {
  const path = databasePath(dataDir)
  if (existsSync(path)) return
  const refusal = refusalFor(path, 'read')
  if (refusal !== undefined) throw new ConfigError(`--datadir ${dataDir} can't be looked into: ${refusal}`)
  if (statSync(dataDir, { throwIfNoEntry: false })?.isFile()) {
    throw new ConfigError(`--datadir ${dataDir} is a file: name the folder that the database is in`)
  }
  throw new ConfigError(
    `there is no database in --datadir ${dataDir}: has the daemon been started with it?${elsewhere(dataDir, network)}`,
  )
}

/** Data of other networks, where it would be if `dataDir` is where that of `network` would be. */
function elsewhere(dataDir: string, network: Network): string {
  const base = basename(dataDir) === network ? dirname(dataDir) : dataDir
  const there = NETWORKS.filter((other) => other !== network).flatMap((other) => {
    const place = other === 'main' ? base : join(base, other)
    if (place === dataDir || !existsSync(databasePath(place))) return []
    const flags = `--network ${other}${place === defaultDataDir(other) ? '' : ` --datadir ${place}`}`
    return [`for ${other}: ${flags}`]
  })
  return there.length === 0 ? '' : ` There is one ${there.join('; and one ')}`
}
