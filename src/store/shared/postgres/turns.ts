/**
 * Whose turn it is: hosts to be probed, and what only one tracker does. All by PostgreSQL's own clock, one statement each.
 * Nothing here is stamped with a change, so that no claim waits for a registration.
 */
import type { Claim } from '../store.ts'
import type { Ask } from './session.ts'

const LIMITS = {
  /** A host that another is claiming just now is asked for again after this. */
  waitMsMin: 100,
}

const MS = "interval '1 millisecond'"

/** Rows that another locks are skipped, so that nobody waits; what was read as free is looked at again once it is locked. */
const CLAIM = `
WITH asked AS (SELECT DISTINCT unnest($1::text[]) AS host),
  added AS (
    INSERT INTO turns (host, free_at, holder, lease_until)
    SELECT host, now(), $2, now() + $3::float8 * ${MS} FROM asked ORDER BY host
    ON CONFLICT DO NOTHING RETURNING host
  ),
  free AS (
    SELECT t.host FROM turns t JOIN asked USING (host)
    WHERE t.free_at <= now() AND (t.lease_until IS NULL OR t.lease_until <= now())
    FOR UPDATE OF t SKIP LOCKED
  ),
  taken AS (
    UPDATE turns t SET holder = $2, lease_until = now() + $3::float8 * ${MS} FROM free WHERE t.host = free.host
    RETURNING t.host
  ),
  ours AS (SELECT host FROM added UNION ALL SELECT host FROM taken)
SELECT a.host, o.host IS NOT NULL AS is_ours,
  coalesce(1000 * extract(epoch FROM greatest(t.lease_until, t.free_at) - now()), 0)::float8 AS wait_ms
FROM asked a LEFT JOIN ours o USING (host) LEFT JOIN turns t USING (host)`

export async function claimHosts(
  ask: Ask,
  holder: string,
  hosts: readonly string[],
  leaseMs: number,
): Promise<Claim[]> {
  if (hosts.length === 0) return []
  const rows = await ask<{ host: string; is_ours: boolean; wait_ms: number }>(CLAIM, [hosts, holder, leaseMs])
  return rows.map(({ host, is_ours, wait_ms }) => ({
    host,
    isOurs: is_ours,
    waitMs: is_ours ? 0 : Math.max(LIMITS.waitMsMin, Math.ceil(wait_ms)),
  }))
}

const RELEASE = `UPDATE turns SET free_at = now() + $3::float8 * ${MS}, holder = NULL, lease_until = NULL
WHERE host = $1 AND holder = $2`

/** Where the lease has run out and another has the host, nothing happens. */
export async function releaseHost(ask: Ask, holder: string, host: string, freeInMs: number): Promise<void> {
  await ask(RELEASE, [host, holder, freeInMs])
}

const TAKE = `INSERT INTO leases AS l (name, holder, until) VALUES ($1, $2, now() + $3::float8 * ${MS})
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
WHERE l.holder = EXCLUDED.holder OR l.until <= now()
RETURNING 1 AS ours`

/** True while `holder` has it. */
export async function takeLease(ask: Ask, holder: string, name: string, lengthMs: number): Promise<boolean> {
  return (await ask(TAKE, [name, holder, lengthMs])).length > 0
}

export async function dropLease(ask: Ask, holder: string, name: string): Promise<void> {
  await ask('DELETE FROM leases WHERE name = $1 AND holder = $2', [name, holder])
}
