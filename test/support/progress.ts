/** How far a tracker is, and what it says of itself. */

import type { Request } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import type { FundedBond, Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from './http.ts'
import { onionHost } from './onions.ts'

/** A bond of the maker `name`, in the mempool. */
export function bondOf(node: Regtest, name: string): Promise<FundedBond> {
  return node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
}

/** Waits until it has read block `height`, synced or not. */
export async function scannedTo(tracker: Tracker, height: number): Promise<void> {
  await waitUntil(
    `scanned to ${height}`,
    async () => {
      const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
      return status?.height === height
    },
    { timeoutMs: 60_000 },
  )
}

/** Whether this question about outpoints gets its answer. */
export function isAnswered(tracker: Tracker, request: Request): Promise<boolean> {
  return tracker.ask(request, 'Spends').then(
    () => true,
    () => false,
  )
}

/** What `/health/ready` says: its status, and two of its checks. */
export async function readiness(tracker: Tracker): Promise<{ status: number; bitcoind: string; sync: string }> {
  const { status, json } = await ask(tracker.httpPort!, '/health/ready')
  return { status, bitcoind: json.checks.bitcoind.detail, sync: json.checks.sync.detail }
}
