/**
 * What the operator can do about what a running daemon has met: doctor's advice, once for each cause, so that a bitcoind
 * that is away is not told of as a scan that is late, nor Tor as an onion service that is not published. Pure.
 */
import {
  bitcoindFix,
  isNobodyThere,
  LOOK_AT_BLOCK,
  LOOK_AT_PEERS,
  onionFinding,
  READ_PRUNED_AGAIN,
  torControlFix,
  WAIT_FOR_DOWNLOAD,
} from '../doctor/advice.ts'
import { formatHostPort, formatTorPort } from '../tor/address.ts'
import type { Facts } from './facts.ts'
import type { AdviceRow, StatusRow } from './schemas/status.ts'

const ASK_DOCTOR = 'fidelity-tracker doctor, as the user of the daemon: it looks for itself, and says what to type'

type Told = Pick<StatusRow, 'checks' | 'bitcoind' | 'onion' | 'unseen' | 'network'>

export function adviceOn(told: Told, config: Facts['config']): AdviceRow[] {
  const { checks } = told
  const found: AdviceRow[] = []
  if (!checks.database.ok) {
    found.push({ check: 'database', text: `the database can't be read: ${checks.database.detail}`, fix: ASK_DOCTOR })
  }
  found.push(...(checks.bitcoind.ok ? onChain(told) : onBitcoind(told, config)))
  found.push(...(checks.tor.ok ? onOnion(told) : onTor(told, config)))
  const shared = checks.shared_store
  if (shared?.ok === false && !isBeingRead(shared.detail)) {
    found.push({ check: 'shared_store', text: shared.detail, fix: ASK_DOCTOR })
  }
  return found
}

/** It is there, and what the others know comes by itself. */
function isBeingRead(detail: string): boolean {
  return detail === 'what the others know is being read' || detail === 'read once synced'
}

/** Nothing before it was asked for the first time. */
function onBitcoind({ bitcoind }: Told, { rpc }: Facts['config']): AdviceRow[] {
  const { state, detail } = bitcoind
  if (state === 'connecting') return []
  const isAway = isNobodyThere(detail)
  const text = isAway ? `nothing answers at ${formatHostPort(rpc)} (--rpc), where bitcoind should be` : detail
  return [{ check: 'bitcoind', text, fix: bitcoindFix(detail, rpc.auth.kind === 'cookie' ? rpc.auth.file : '') }]
}

/** bitcoind answers. A scan under way needs nobody. */
function onChain({ bitcoind, unseen, network }: Told): AdviceRow[] {
  const { state, detail, warnings } = bitcoind
  if (state === 'initial-download') return [{ check: 'sync', text: detail, fix: WAIT_FOR_DOWNLOAD }]
  if (state === 'waiting-for-block') return [{ check: 'sync', text: detail, fix: LOOK_AT_BLOCK }]
  const found: AdviceRow[] = []
  if (unseen) {
    const text = `blocks ${unseen.from} to ${unseen.to} were never read, as bitcoind did not have them: bonds confirmed there are not known`
    found.push({ check: 'sync', text, fix: READ_PRUNED_AGAIN })
  }
  // A regtest has neither peers nor a clock.
  if (warnings.length > 0 && network !== 'regtest') {
    found.push({ check: 'bitcoind', text: warnings.join('; '), fix: LOOK_AT_PEERS })
  }
  return found
}

/** What the control port says is told as it is; where nobody is there, where we looked. */
function onTor({ onion }: Told, { tor }: Facts['config']): AdviceRow[] {
  const { state, detail } = onion
  if (state !== 'unreachable') return []
  const control = tor.kind === 'none' ? undefined : tor.control
  const isAway = isNobodyThere(detail) || /is not reachable|nobody listens|closed the connection/.test(detail)
  if (!control || !isAway) return [{ check: 'tor', text: detail, fix: ASK_DOCTOR }]
  const text = `nothing answers at ${formatTorPort(control)} (--control-port), where Tor should be`
  return [{ check: 'tor', text, fix: torControlFix(detail, "the daemon's user", false).fix }]
}

/** Tor answers. An upload under way needs nobody. */
function onOnion(told: Told): AdviceRow[] {
  const { state } = told.onion
  if (told.checks.onion.ok || state === 'disabled' || state === 'publishing' || state === 'withdrawn') return []
  const { text, fix, level } = onionFinding(told, undefined)
  return level === 'ok' || fix === undefined ? [] : [{ check: 'onion', text, fix }]
}
