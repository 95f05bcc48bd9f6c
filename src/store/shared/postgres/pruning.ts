/** Deletes what is past its time. Rows that somebody is writing are left for the next time, so that nobody waits. */
import type { Height } from '../../../chain/types.ts'
import { hourOf, PROBE_HISTORY_LIMITS } from '../probes.ts'
import type { Ask } from './session.ts'

const LIMITS = {
  /** Rows of a kind deleted in one statement: some 50 ms. */
  atOnce: 5_000,
  /** A registration that has ended is kept for so many blocks more: a tracker that is behind ends it by its own height. */
  behindBlocks: 144,
  /** A host that was free for so long is probed no more; if it is after all, it is free. */
  turnMs: 86_400_000,
}

/**
 * `tipHeight`: ours. What no transaction has made in time goes, too: whoever sees one that is made after all writes it
 * again. Throws TransientError.
 */
export async function pruneShared(ask: Ask, tipHeight: Height, nowMs: number): Promise<void> {
  const ended = tipHeight - LIMITS.behindBlocks
  const past = nowMs - PROBE_HISTORY_LIMITS.hoursMs
  await pruneTable(ask, 'probes', 'at_ms', '$1::bigint', nowMs - PROBE_HISTORY_LIMITS.rawMs)
  await pruneTable(ask, 'probe_hours', 'hour', '$1::int', hourOf(past))
  await pruneTable(ask, 'makers', 'last_probe_ms', '$1::bigint', past)
  await pruneTable(ask, 'watches', 'until_height', '$1::int', ended)
  await pruneTable(ask, 'watches', 'unfunded_until', '$1::int', ended)
  await pruneTable(ask, 'dropped', 'until_height', '$1::int', ended)
  const longAgo = "now() - $1::float8 * interval '1 millisecond'"
  // One that is held is free after its lease, which is later than what it says now.
  await pruneTable(ask, 'turns', 'greatest(free_at, lease_until)', longAgo, LIMITS.turnMs)
  await pruneTable(ask, 'leases', 'until', longAgo, LIMITS.turnMs)
}

/**
 * Ordered, so that the index is read from its end, whatever is thought of the table. A row that was changed just before it
 * is locked is another one then, and stays.
 */
async function pruneTable(ask: Ask, table: string, column: string, than: string, value: number): Promise<void> {
  const old = `SELECT ctid FROM ${table} WHERE ${column} < ${than} ORDER BY ${column} LIMIT ${LIMITS.atOnce}`
  await ask(`DELETE FROM ${table} WHERE ctid = ANY (ARRAY(${old} FOR UPDATE SKIP LOCKED))`, [value])
}
