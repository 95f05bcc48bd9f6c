/** Valid v3 onion names that nobody serves. */
import { createHash } from 'node:crypto'
import { onionHostOf } from '../../src/tor/address.ts'
import { expandSeed } from '../../src/tor/key.ts'

/** The host name of the service whose seed is derived from `name`. */
export function onionHost(name: string): string {
  return onionHostOf(expandSeed(createHash('sha256').update(name).digest()).publicKey)
}
