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
  await pruneTable(ask, 'probes', 'at_ms < $1::bigint', nowMs - PROBE_HISTORY_LIMITS.rawMs)
  await pruneTable(ask, 'probe_hours', 'hour < $1::int', hourOf(past))
  await pruneTable(ask, 'makers', 'last_probe_ms < $1::bigint', past)
  await pruneTable(ask, 'watches', 'until_height < $1::int', ended)
  await pruneTable(ask, 'watches', 'unfunded_until < $1::int', ended)
  await pruneTable(ask, 'dropped', 'until_height < $1::int', ended)
  const isOld = `free_at < now() - $1::float8 * interval '1 millisecond' AND (lease_until IS NULL OR lease_until < now())`
  await pruneTable(ask, 'turns', isOld, LIMITS.turnMs)
  await pruneTable(ask, 'leases', `until < now() - $1::float8 * interval '1 millisecond'`, LIMITS.turnMs)
}

/** A row that was changed just before it is locked is another one then, and stays. */
async function pruneTable(ask: Ask, table: string, isPast: string, than: number): Promise<void> {
  const old = `SELECT ctid FROM ${table} WHERE ${isPast} LIMIT ${LIMITS.atOnce} FOR UPDATE SKIP LOCKED`
  await ask(`DELETE FROM ${table} WHERE ctid = ANY (ARRAY(${old}))`, [than])
}
