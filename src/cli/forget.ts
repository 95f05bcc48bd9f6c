/** `trackers --forget`: takes a learnt tracker out of the database. A daemon that runs notices within a second. */
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { printable } from '../format.ts'
import { deleteTracker, readTrackers } from '../store/local/trackers.ts'
import { openForChange } from '../store/open.ts'
import { formatHostPort } from '../tor/address.ts'

/** Throws ConfigError when no such tracker is known, or the operator has named it. */
export function forgetTracker({ dataDir, network, trackers }: Config, address: string): void {
  using db = openForChange(dataDir, network)
  const isOurs = trackers.configured.some((target) => formatHostPort(target) === address)
  const known = readTrackers(db).find((record) => record.address === address)
  if (isOurs || known?.source === 'configured') {
    throw new ConfigError(
      `${address} is configured (--trackers): take it out of the settings and start the daemon again; then it can be forgotten`,
    )
  }
  if (!known || !deleteTracker(db, address)) {
    throw new ConfigError(
      `no tracker ${printable(address, 80)} is known: name it as \`fidelity-tracker trackers\` lists it, <host>:<port>`,
    )
  }
}
