/** Watched relays as rows, and how they were hour by hour. */
import { formatOutpoint, type Txid } from '../chain/types.ts'
import { type FaultCounts, sumOfFaults } from '../nostr/relay-view.ts'
import type { RelayRecord } from '../nostr/relay-watch.ts'
import { readRelayHours } from '../store/local/relays.ts'
import type { Facts } from './facts.ts'
import type { AnnouncedRow } from './schemas/makers.ts'
import type { RelayPointRow, RelayRow } from './schemas/relays.ts'

const LIMITS = {
  /** Missing bonds named in a row. */
  missingShown: 100,
}

export function relayRow(record: RelayRecord): RelayRow {
  const { counts, information, mending, delaysS } = record
  const limitation = information?.limitation
  return {
    url: record.url,
    state: record.state,
    state_since: record.stateSinceS,
    slowed: record.isSlowed,
    last_read: record.readS ?? null,
    announced: counts?.announced ?? null,
    missing: counts?.missing.length ?? null,
    dead: counts?.dead ?? null,
    invalid: counts ? sumOfFaults(counts.invalid) : null,
    missing_bonds: (counts?.missing ?? [])
      .slice(0, LIMITS.missingShown)
      .map((txid) => formatOutpoint({ txid, vout: 0 })),
    invalid_by: counts ? ({ ...counts.invalid } satisfies FaultCounts) : null,
    delay_s: median(delaysS) ?? null,
    delays: delaysS.length,
    failures: record.failures,
    failure: record.failure ?? null,
    notices: [...record.notices],
    name: information?.name ?? null,
    software: softwareOf(information),
    limitation: {
      auth_required: limitation?.authRequired ?? null,
      payment_required: limitation?.paymentRequired ?? null,
      restricted_writes: limitation?.restrictedWrites ?? null,
      min_pow_difficulty: limitation?.minPowDifficulty ?? null,
      max_limit: limitation?.maxLimit ?? null,
    },
    publishing: mending
      ? { ...mending.counts, refusal: mending.pause?.why ?? null, resumes_at: mending.pause?.untilS ?? null }
      : null,
  }
}

function softwareOf(information: RelayRecord['information']): string | null {
  const words = [information?.software, information?.version].filter((word) => word !== undefined)
  return words.length > 0 ? words.join(' ') : null
}

/** Undefined of nothing. */
function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]
}

/** Of the last hours, oldest first; at most `pointsMax`, the newest. */
export function relayHistory(
  { db, clock }: Pick<Facts, 'db' | 'clock'>,
  hours: number,
  pointsMax: number,
): RelayPointRow[] {
  const nowS = Math.floor(clock.nowMs() / 1_000)
  return readRelayHours(db, Math.floor(nowS / 3_600) - hours + 1, pointsMax).map(({ url, hour, ...counts }) => ({
    url,
    time: Math.min((hour + 1) * 3_600, nowS),
    ...counts,
  }))
}

/** Whether each relay announces the bond of that transaction; not known where its view is not, or the bond is not due there. */
export function announcedAt({ relays }: Pick<Facts, 'relays'>, txid: Txid): AnnouncedRow[] {
  const without = new Set(relays.without(txid))
  return relays.rows().map(({ url, announced }) => ({
    url,
    announces: announced === null ? null : !without.has(url),
  }))
}

/** How metrics name each relay: by host and port; by the whole URL where two have the same. */
export function relayLabels(urls: readonly string[]): Map<string, string> {
  const hosts = urls.map((url) => new URL(url).host)
  return new Map(
    urls.map((url, i) => [url, hosts.indexOf(hosts[i]!) === hosts.lastIndexOf(hosts[i]!) ? hosts[i]! : url]),
  )
}
