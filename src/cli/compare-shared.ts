/** Whether this data directory and the shared store know of as many registrations: for `check-db`. */
import type { Config } from '../config.ts'
import { ConfigError, describeError, UnreachableError } from '../errors.ts'
import { readTip } from '../store/local/tip.ts'
import { openExisting } from '../store/open.ts'
import { countLastingRegistrations } from '../store/shared/registrations.ts'

export type SharedComparison =
  /** Registrations that have not come to their end at our tip, there and here. */
  | { agrees: boolean; there: number; here: number }
  /** It could not be asked. */
  | { agrees: null; why: string }

/** Undefined without a shared store. */
export async function compareShared(
  { sharedStore, network, dataDir }: Config,
  signal: AbortSignal,
): Promise<SharedComparison | undefined> {
  if (!sharedStore) return undefined
  const { visitShared } = await import('../store/shared/postgres/visit.ts')
  try {
    return await visitShared(sharedStore, network, 'toRead', signal, async ({ store }) => {
      using db = openExisting(dataDir, network)
      const tipHeight = readTip(db)?.height ?? 0
      const there = await store.countLasting(tipHeight)
      const here = countLastingRegistrations(db, tipHeight)
      return { agrees: there === here, there, here }
    })
  } catch (error) {
    if (!(error instanceof UnreachableError || error instanceof ConfigError)) throw error
    return { agrees: null, why: describeError(error) }
  }
}

export function describeComparison(comparison: SharedComparison): string {
  if (comparison.agrees === null) return `the shared store could not be compared with it: ${comparison.why}`
  const { agrees, there, here } = comparison
  if (agrees) return `the shared store has as many registrations as it: ${here}`
  return [
    `the shared store has ${there} registrations, it has ${here}. The daemon tells and learns what differs, within seconds`,
    'while it runs: where this stays so, look at the check "shared store" of fidelity-tracker status.',
  ].join('\n')
}
