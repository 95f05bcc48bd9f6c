/** Words → rows on their way to PostgreSQL, as JSON: columns as in merge-rules.ts, an absent field is null there. */

import type { MakerNews, SharedNews } from '../store.ts'
import { tieOf } from '../tie.ts'
import { HOURS, MAKERS, type MergedKind, PROBES, PROOFS, WATCHES } from './merge-rules.ts'

/** Rows of one kind. */
export interface IncomingRows {
  kind: MergedKind
  rows: readonly object[]
}

/** What is to be merged, in the order in which the tables are written; without what was dropped. */
export function incomingRows(news: SharedNews): IncomingRows[] {
  const kinds: IncomingRows[] = [
    { kind: WATCHES, rows: (news.registrations ?? []).map(watchRow) },
    { kind: MAKERS, rows: (news.makers ?? []).map(makerRow) },
    {
      kind: PROOFS,
      rows: (news.proofs ?? []).map(({ outpoint, atMs, proven }) => ({
        ...outpoint,
        at_ms: atMs,
        ...(proven && { conf_hash: proven.confHash, era: proven.era, source: proven.source }),
      })),
    },
    {
      kind: PROBES,
      rows: (news.probes ?? []).map(({ atMs, text, latencyMs, ...rest }) => ({
        ...rest,
        at_ms: atMs,
        failure_text: text,
        latency_ms: Math.round(latencyMs),
      })),
    },
    { kind: HOURS, rows: news.hours ?? [] },
  ]
  return kinds.filter(({ rows }) => rows.length > 0)
}

export function watchRow({ outpoint, untilHeight, unfundedUntil }: NonNullable<SharedNews['registrations']>[number]) {
  return { ...outpoint, until_height: untilHeight, unfunded_until: unfundedUntil }
}

function makerRow(news: MakerNews) {
  const { record, offer } = JSON.parse(storableJson(news)) as MakerNews // as it will be read
  const kept: MakerNews = { record, ...(offer && { offer }) }
  return {
    address: record.address,
    last_probe_ms: record.lastProbeMs,
    offer_asked_ms: record.offerAskedMs,
    tie: tieOf(kept),
    ...kept,
  }
}

/** PostgreSQL keeps no text with a zero or half a character in it: a stranger may have said one. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_, field: unknown) =>
    typeof field === 'string' ? field.toWellFormed().replaceAll('\0', '\ufffd') : field,
  )
}
