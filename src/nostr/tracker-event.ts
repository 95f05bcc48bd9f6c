/**
 * How a tracker says at a relay that it is there, and how others read that: a hint where to dial, nothing more. Source:
 * docs/nostr.md, "Trackers find each other".
 */
import type { Network } from '../chain/types.ts'
import { type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { type EventDraft, type NostrEvent, whyUntimely } from './event.ts'

/**
 * Addressable (NIP-01), so that a relay keeps one of each tracker; for all networks, which a tag tells apart. Free in the
 * NIPs' list of kinds, near those by which mints are found (38172, 38173), and away from the makers' own, whose row may
 * grow by a network.
 */
export const TRACKER_KIND = 38_178

export const TRACKER_EVENT_LIMITS = {
  /** Said anew at most so often, and where a relay does not take it ever more seldom. */
  everyS: 3_600,
  everySMax: 86_400,
  /** It stands for so long: two that were lost in between do not matter. */
  lifeS: 10_800,
}

export interface TrackerNews extends HostPort {
  network: Network
  version: string
  height: number
  /** Display order, hex. */
  blockHash: string
  /** Hex. */
  digest: string
}

export function trackerEventDraft(news: TrackerNews, createdAtS: number): EventDraft {
  const { host, port, network, version, height, blockHash, digest } = news
  return {
    kind: TRACKER_KIND,
    created_at: createdAtS,
    tags: [
      ['d', `fidelity-tracker:${network}`],
      ['n', network],
      ['expiration', String(createdAtS + TRACKER_EVENT_LIMITS.lifeS)],
      ['height', String(height)],
      ['block', blockHash],
      ['digest', digest],
      ['version', version],
    ],
    content: `${host}:${port}`,
  }
}

/** Where a tracker of `network` is said to be; undefined where the event says anything else, or is out of date. */
export function trackerNamed(event: NostrEvent, network: Network, nowS: number): HostPort | undefined {
  if (event.kind !== TRACKER_KIND || whyUntimely(event, nowS) !== undefined) return undefined
  if (!event.tags.some(([name, value]) => name === 'n' && value === network)) return undefined
  const at = parseHostPort(event.content)
  return at && isOnionHost(at.host) ? at : undefined
}
