/** An onion address that several trackers share, each with a copy of its key (--onion-lease). */
import { dirname } from 'node:path'
import { type Finding, well, worth } from './finding.ts'

/** `address`: as this machine's onion.key makes it; undefined where there is none yet, or it can't be read. */
export function sharedAddressFinding(address: string | undefined, keyFile: string): Finding {
  if (address !== undefined) {
    return well('onion-lease', `one of the trackers that share ${address}: doctor has to name the same at each of them`)
  }
  return worth(
    'onion-lease',
    `--onion-lease, and there is no ${keyFile} that can be read: start makes one, and with it another address than that of the other trackers`,
    `copy it from the tracker that has the address, over a line that nobody reads along: scp <other>:${keyFile} ${dirname(keyFile)}/; chmod 600 ${keyFile}; as the daemon's user. For the first tracker of all: start it, and then copy its onion.key`,
  )
}
