/**
 * The name of our onion service as files have it, for whoever only reads: Tor is not asked, and no key is made. What is
 * wrong with a file is for `start` and `doctor` to say.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { isOnionHost, onionHostOf } from './address.ts'
import { decodeOnionKey, ONION_KEY_FILE } from './key.ts'

/** Undefined without Tor, before the first start, and where the file can't be read or holds something else. */
export async function readOwnHost({ tor, dataDir }: Pick<Config, 'tor' | 'dataDir'>): Promise<string | undefined> {
  if (tor.kind === 'none') return undefined
  const text = readIfAllowed(tor.kind === 'torrc' ? tor.hostnameFile : join(dataDir, ONION_KEY_FILE))
  if (text === undefined) return undefined
  if (tor.kind === 'torrc') return isOnionHost(text) ? text : undefined
  const expanded = decodeOnionKey(text)
  if (!expanded) return undefined
  const { publicKeyOf } = await import('./public-key.ts') // curve arithmetic, which a data directory without a key needs not
  return onionHostOf(publicKeyOf(expanded))
}

/** What others are told: where Onionbalance spreads one address, that one. */
export async function readPublicHost(config: Pick<Config, 'tor' | 'dataDir'>): Promise<string | undefined> {
  const { tor } = config
  return tor.kind === 'torrc' && tor.publicOnion !== undefined ? tor.publicOnion : await readOwnHost(config)
}

function readIfAllowed(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}
