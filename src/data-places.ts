/** Where data lives: the folder, unless --datadir says otherwise, and the database in it. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Network } from './chain/types.ts'

export function defaultDataDir(network: Network): string {
  const base = join(homedir(), '.fidelity-tracker')
  return network === 'main' ? base : join(base, network)
}

export function databasePath(dataDir: string): string {
  return join(dataDir, 'tracker.sqlite')
}
