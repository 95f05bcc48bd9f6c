/**
 * A maker as OpenSwap's `--maker-address` takes it: its onion name alone, which means port 21. Pure. Source: OpenSwap,
 * `poll-maker -m` and `--maker-address`, which refuse a name with its port.
 */
import { DEFAULT_MAKER_PORT } from '../bonds/announcement.ts'
import { isOnionHost } from '../tor/address.ts'

export const OPENSWAP_NAMES = `OpenSwap's --maker-address takes the name without its :${DEFAULT_MAKER_PORT}`
/** Under a table that has the names. */
export const OPENSWAP_HINT = `${OPENSWAP_NAMES} (--columns name shows it so)`

/** Undefined for another port than the one it means, which OpenSwap can't be told. */
export function bareName(address: string): string | undefined {
  const end = `:${DEFAULT_MAKER_PORT}`
  const host = address.endsWith(end) ? address.slice(0, -end.length) : ''
  return isOnionHost(host) ? host : undefined
}
