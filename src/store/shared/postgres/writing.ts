/**
 * Statements that write: each takes the clock's row, stamps what it changes, and tells of it. As the row is held until the
 * commit, changes are committed in their order. One statement sees what was committed before it began; where it has to see
 * what was committed before it got the clock (what was dropped), the clock is taken by a statement of its own first.
 */
import type { Outpoint } from '../../../chain/types.ts'
import type { Registration } from '../registrations.ts'
import { HOURS, MAKERS, type MergedKind, PROBES, PROOFS, REGISTERED, WATCHES } from './merge-rules.ts'
import { type IncomingRows, storableJson, watchRow } from './rows.ts'
import type { Ask } from './session.ts'

/**
 * Who listens to this channel hears of every change of registrations: the payload is its number. Of makers nothing is told:
 * however many there are, who looks once a second learns of them in time.
 */
export const NEWS_CHANNEL = 'shared_news'

/** Rows that are new or have changed. */
export interface MergeCounts {
  registrations: number
  makers: number
  proofs: number
  probes: number
  hours: number
}

type ClockKind = 'registrations' | 'makers'

/** The change of a transaction that has taken the clock already. */
export const TICKED = 'tick AS (SELECT change FROM clock)'

export function takenTick(kinds: readonly ClockKind[]): string {
  const set = ['change', ...kinds].map((column) => `${column} = change + 1`).join(', ')
  return `tick AS (UPDATE clock SET ${set} RETURNING change)`
}

/** Takes the clock's row until the transaction ends: what follows sees all that others have committed. */
export async function takeTick(ask: Ask, kinds: readonly ClockKind[]): Promise<void> {
  await ask(`WITH ${takenTick(kinds)} SELECT FROM tick`, [])
}

interface Merged {
  kind: MergedKind
  from: string
  /** JSON of the rows, where `from` reads it. */
  value?: string
}

const COUNTED = new Map<MergedKind['table'], keyof MergeCounts>([
  [WATCHES.table, 'registrations'],
  [MAKERS.table, 'makers'],
  [PROOFS.table, 'proofs'],
  [PROBES.table, 'probes'],
  [HOURS.table, 'hours'],
])

/** One statement that writes all of it, and tells of registrations that are new or have changed. */
export async function write(ask: Ask, tickText: string, merged: readonly Merged[]): Promise<MergeCounts> {
  const values: string[] = []
  const parts = merged.flatMap(({ kind, from, value }) => {
    if (value !== undefined) values.push(value)
    const source = from.replace('$', `$${values.length}`)
    const own = `merged_${kind.table} AS (${kind.merge(source)})`
    return kind.besides ? [`besides_${kind.table} AS (${kind.besides(source)})`, own] : [own]
  })
  const counts = merged.map(({ kind: { table } }) => `(SELECT count(*) FROM merged_${table}) AS ${COUNTED.get(table)}`)
  const told = merged.some(({ kind }) => kind.table === WATCHES.table)
    ? [
        `CASE WHEN EXISTS (SELECT FROM merged_${WATCHES.table}) THEN pg_notify('${NEWS_CHANNEL}', tick.change::text) END`,
      ]
    : []
  const text = `WITH ${[tickText, ...parts].join(',\n')}
SELECT ${[...counts, ...told].join(', ')} FROM tick`
  const [row] = await ask<Partial<MergeCounts>>(text, values)
  const said = row ?? {}
  return {
    registrations: said.registrations ?? 0,
    makers: said.makers ?? 0,
    proofs: said.proofs ?? 0,
    probes: said.probes ?? 0,
    hours: said.hours ?? 0,
  }
}

export function fromJson({ kind, rows }: IncomingRows): Merged {
  return { kind, from: `json_to_recordset($::json) AS n (${kind.columns})`, value: storableJson(rows) }
}

export function registered(registrations: readonly Registration[]): Merged {
  return fromJson({ kind: REGISTERED, rows: registrations.map(watchRow) })
}

const DROP = `WITH ${TICKED},
  n AS (SELECT DISTINCT decode(txid, 'hex') AS txid, vout FROM json_to_recordset($1::json) AS said (txid text, vout bigint)),
  gone AS (
    DELETE FROM watches w USING n WHERE w.txid = n.txid AND w.vout = n.vout RETURNING w.txid, w.vout, w.until_height
  ),
  marked AS (
    INSERT INTO dropped AS d (txid, vout, until_height, change)
    SELECT n.txid, n.vout, coalesce(g.until_height, (SELECT max(until_height) FROM watches), 0), tick.change
    FROM n CROSS JOIN tick LEFT JOIN gone g USING (txid, vout)
    WHERE g.vout IS NOT NULL OR NOT EXISTS (SELECT FROM dropped o WHERE o.txid = n.txid AND o.vout = n.vout)
    ORDER BY n.txid, n.vout
    ON CONFLICT (txid, vout) DO UPDATE SET until_height = EXCLUDED.until_height, change = EXCLUDED.change
    RETURNING 1
  )
SELECT (SELECT count(*) FROM gone) AS count,
  CASE WHEN EXISTS (SELECT FROM marked) THEN pg_notify('${NEWS_CHANNEL}', tick.change::text) END FROM tick`

/**
 * Ends them, and keeps in mind that they were ended for as long as they would have lasted; of one that isn't known, for as
 * long as any. After `takeTick`. Returns how many there were.
 */
export async function dropAll(ask: Ask, outpoints: readonly Outpoint[]): Promise<number> {
  const [row] = await ask<{ count: number }>(DROP, [storableJson(outpoints)])
  return row!.count
}
