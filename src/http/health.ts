/** Pure: the five checks behind /health/ready. All are ok exactly when nothing keeps a taker from an answer. */
import { whyNotSynced } from '../chain/following.ts'
import type { Status } from '../status.ts'
import type { Ready } from './replies.ts'

/** `databaseFault`: why the store could not be read just now; undefined when it could. `nowMs` is monotonic. */
export function readiness(status: Status, databaseFault: string | undefined, nowMs: number): Ready {
  const { following, onion } = status
  const { node } = following
  const notSynced = whyNotSynced(following, nowMs)
  const isNodeUp = node.kind === 'following' || node.kind === 'initial-download'
  const checks: Ready['checks'] = {
    database: { ok: databaseFault === undefined, detail: databaseFault ?? 'ok' },
    bitcoind: { ok: isNodeUp, detail: isNodeUp && following.best ? `block ${following.best.height}` : node.detail },
    sync: { ok: notSynced === undefined, detail: notSynced ?? `scanned ${following.tip?.height}` },
    tor: { ok: onion.kind !== 'starting' && onion.kind !== 'unreachable', detail: torDetail(onion) },
    onion: onionCheck(status),
  }
  const isReady = Object.values(checks).every(({ ok }) => ok)
  return { status: isReady ? 'ok' : 'not_ready', checks }
}

/** Published, and reached through Tor by our own canary. */
function onionCheck({ onion, canary }: Status): { ok: boolean; detail: string } {
  if (onion.kind === 'published' && canary) return { ok: canary.kind === 'green', detail: canary.detail }
  return { ok: onion.kind === 'published' || onion.kind === 'disabled', detail: onion.detail }
}

function torDetail(onion: Status['onion']): string {
  if ('torVersion' in onion && onion.torVersion !== undefined) return `Tor ${onion.torVersion}`
  return onion.kind === 'published' ? 'not asked: the service stands in torrc' : onion.detail
}
