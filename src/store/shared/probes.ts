/** The history of probes: each one for some days, and counted by the hour for more than a year. */
import type { DialectName, ProbeFailure, ProbeOutcome, Uptime } from '../../peers/types.ts'
import { type Db, sql } from '../open.ts'
import type { ProbeColumns, Schema } from '../schema.ts'

export const PROBE_HISTORY_LIMITS = {
  /** Single probes are for looking into yesterday's trouble: 1,008 a maker at one in ten minutes. */
  rawMs: 7 * 86_400_000,
  /** Hours, so that a year can be compared with the year before: 9,600 narrow rows a maker, about 150 kB. */
  hoursMs: 400 * 86_400_000,
  /** Rows deleted in one go: some milliseconds, whatever has piled up. */
  deletedAtOnce: 5_000,
}

export const HOUR_MS = 3_600_000

export interface ProbeRow {
  atMs: number
  outcome: ProbeOutcome
  failure?: ProbeFailure
  text?: string
  dialect?: DialectName
  latencyMs: number
}

/**
 * Writes the probe and counts it for `source`, the process that made it. Only inside the transaction that writes the maker's
 * row. Returns the row's id.
 */
export function insertProbe(db: Db, makerId: number, probe: ProbeRow, source: number): number {
  const id = writeProbe(db, makerId, probe, source)
  const one = { answered: 0, failed: 0, unjudged: 0, [probe.outcome]: 1 }
  db.run(
    sql
      .insertInto('probe_hours')
      .values({ maker_id: makerId, hour: hourOf(probe.atMs), source: String(source), ...one })
      .onConflict((conflict) =>
        conflict.columns(['maker_id', 'hour', 'source']).doUpdateSet((row) => ({
          answered: row('probe_hours.answered', '+', one.answered),
          failed: row('probe_hours.failed', '+', one.failed),
          unjudged: row('probe_hours.unjudged', '+', one.unjudged),
        })),
      ),
  )
  return id
}

function writeProbe(db: Db, makerId: number, probe: ProbeRow, source: number): number {
  const insert = sql
    .insertInto('probes')
    .values({
      maker_id: makerId,
      source,
      at_ms: probe.atMs,
      outcome: probe.outcome,
      failure: probe.failure ?? null,
      failure_text: probe.text ?? null,
      dialect: probe.dialect ?? null,
      latency_ms: Math.round(probe.latencyMs),
    })
    .returning('id')
  return db.first(insert)!.id
}

/** Another's probe, unless it is here already; its hour is told by itself. */
export function mergeProbe(db: Db, makerId: number, { source, ...probe }: ProbeRow & { source: number }): void {
  const same = sql
    .selectFrom('probes')
    .select('id')
    .where('maker_id', '=', makerId)
    .where('at_ms', '=', probe.atMs)
    .where('source', '=', source)
  if (!db.first(same)) writeProbe(db, makerId, probe, source)
}

/** What one process has counted within an hour. */
export interface HourCounts {
  hour: number
  source: number
  answered: number
  failed: number
  unjudged: number
}

/** Counts only grow: the highest stay. */
export function mergeHour(db: Db, makerId: number, counts: HourCounts): void {
  db.run(
    sql
      .insertInto('probe_hours')
      .values({ maker_id: makerId, ...counts, source: String(counts.source) })
      .onConflict((conflict) =>
        conflict.columns(['maker_id', 'hour', 'source']).doUpdateSet({
          answered: (eb) => eb.fn('max', ['probe_hours.answered', 'excluded.answered']),
          failed: (eb) => eb.fn('max', ['probe_hours.failed', 'excluded.failed']),
          unjudged: (eb) => eb.fn('max', ['probe_hours.unjudged', 'excluded.unjudged']),
        }),
      ),
  )
}

/** Probes with ids above `afterId`, ascending, with their makers' addresses. */
export function readProbesAfter(
  db: Db,
  afterId: number,
  limit: number,
): (ProbeRow & { id: number; address: string; source: number })[] {
  return db.all(probesWithAddress().where('p.id', '>', afterId).orderBy('p.id').limit(limit)).map(withAddress)
}

/** The probe of that id, if it is kept yet. */
export function readProbe(db: Db, id: number): (ProbeRow & { address: string; source: number }) | undefined {
  const row = db.first(probesWithAddress().where('p.id', '=', id))
  return row && withAddress(row)
}

function probesWithAddress() {
  return sql.selectFrom('probes as p').innerJoin('makers as m', 'm.id', 'p.maker_id').selectAll('p').select('m.address')
}

function withAddress(row: ProbeColumns & { id: number; address: string; source: number }) {
  return { ...probeOf(row), id: row.id, address: row.address, source: row.source }
}

/** Where an hour's counts are: one of a maker, an hour and a process. */
export interface HourKey {
  makerId: number
  hour: number
  source: number
}

/** The counts above `after` in the order of makers, hours and processes. */
export function readHoursAfter(
  db: Db,
  after: HourKey | undefined,
  limit: number,
): (HourCounts & { address: string; makerId: number })[] {
  let query = hoursWithAddress()
  if (after) {
    const { makerId, hour, source } = after
    query = query.where(({ eb, refTuple, tuple }) =>
      eb(refTuple('h.maker_id', 'h.hour', 'h.source'), '>', tuple(makerId, hour, String(source))),
    )
  }
  return db.all(query.orderBy('h.maker_id').orderBy('h.hour').orderBy('h.source').limit(limit)).map(hourWithAddress)
}

export function readHour(db: Db, key: HourKey): (HourCounts & { address: string; makerId: number }) | undefined {
  const one = hoursWithAddress()
    .where('h.maker_id', '=', key.makerId)
    .where('h.hour', '=', key.hour)
    .where('h.source', '=', String(key.source))
  const row = db.first(one)
  return row && hourWithAddress(row)
}

function hoursWithAddress() {
  return sql
    .selectFrom('probe_hours as h')
    .innerJoin('makers as m', 'm.id', 'h.maker_id')
    .selectAll('h')
    .select('m.address')
}

function hourWithAddress({ maker_id, source, ...row }: Schema['probe_hours'] & { address: string }) {
  return { ...row, makerId: maker_id, source: Number(source) }
}

/** The maker's probes since `sinceMs`, to the hour; unjudged ones are no observations. At most 720 rows for a month. */
export function readUptime(db: Db, address: string, sinceMs: number): Uptime {
  const row = db.first(
    sql
      .selectFrom('probe_hours as h')
      .innerJoin('makers as m', 'm.id', 'h.maker_id')
      .select(({ fn }) => [
        fn.sum<number | null>('h.answered').as('answered'),
        fn.sum<number | null>('h.failed').as('failed'),
      ])
      .where('m.address', '=', address)
      .where('h.hour', '>=', hourOf(sinceMs)),
  )
  const answered = row?.answered ?? 0
  return { answered, observed: answered + (row?.failed ?? 0) }
}

/** The maker's probes by the hour, from hour `from` on, oldest first; whoever has made them. */
export function readHours(
  db: Db,
  address: string,
  from: number,
): { hour: number; answered: number; failed: number; unjudged: number }[] {
  return db.all(
    sql
      .selectFrom('probe_hours as h')
      .innerJoin('makers as m', 'm.id', 'h.maker_id')
      .select(({ fn }) => [
        'h.hour',
        fn.sum<number>('h.answered').as('answered'),
        fn.sum<number>('h.failed').as('failed'),
        fn.sum<number>('h.unjudged').as('unjudged'),
      ])
      .where('m.address', '=', address)
      .where('h.hour', '>=', from)
      .groupBy('h.hour')
      .orderBy('h.hour'),
  )
}

/** Probes of all makers within a while that begins at `fromMs`. */
export interface ProbeStep {
  fromMs: number
  failed: number
  /** Of the answered ones, ascending, milliseconds. */
  latenciesMs: number[]
}

/** Since `sinceMs` by steps of `stepMs` (from 1970 on), oldest first, without unjudged ones; at most `limit` probes, the newest. */
export function readProbeSteps(db: Db, sinceMs: number, stepMs: number, limit: number): ProbeStep[] {
  const rows = db.all(
    sql
      .selectFrom('probes')
      .select(['at_ms', 'outcome', 'latency_ms'])
      .where('at_ms', '>=', sinceMs)
      .where('outcome', '!=', 'unjudged')
      .orderBy('at_ms', 'desc')
      .limit(limit),
  )
  const steps = new Map<number, ProbeStep>()
  for (const { at_ms, outcome, latency_ms } of rows) {
    const fromMs = stepMs * Math.floor(at_ms / stepMs)
    let step = steps.get(fromMs)
    if (!step) {
      step = { fromMs, failed: 0, latenciesMs: [] }
      steps.set(fromMs, step)
    }
    if (outcome === 'answered') step.latenciesMs.push(latency_ms)
    else step.failed++
  }
  for (const { latenciesMs } of steps.values()) latenciesMs.sort((a, b) => a - b)
  return [...steps.values()].reverse()
}

/** The maker's last single probes, newest first. */
export function readProbes(db: Db, address: string, limit: number): ProbeRow[] {
  const rows = db.all(
    sql
      .selectFrom('probes as p')
      .innerJoin('makers as m', 'm.id', 'p.maker_id')
      .selectAll('p')
      .where('m.address', '=', address)
      .orderBy('p.at_ms', 'desc')
      .limit(limit),
  )
  return rows.map(probeOf)
}

function probeOf(row: ProbeColumns): ProbeRow {
  const probe: ProbeRow = { atMs: row.at_ms, outcome: row.outcome as ProbeOutcome, latencyMs: row.latency_ms }
  if (row.failure !== null) probe.failure = row.failure as ProbeFailure
  if (row.failure_text !== null) probe.text = row.failure_text
  if (row.dialect !== null) probe.dialect = row.dialect as DialectName
  return probe
}

/** Deletes what is past its time, a bounded number of rows a call. */
export function pruneProbes(db: Db, nowMs: number): void {
  const old = sql
    .selectFrom('probes')
    .select('id')
    .where('at_ms', '<', nowMs - PROBE_HISTORY_LIMITS.rawMs)
    .limit(PROBE_HISTORY_LIMITS.deletedAtOnce)
  db.run(sql.deleteFrom('probes').where('id', 'in', old))
  const first = db.first(sql.selectFrom('probe_hours').select('hour').orderBy('hour', 'asc').limit(1))
  // One hour a call: a row per maker.
  if (first && first.hour < hourOf(nowMs - PROBE_HISTORY_LIMITS.hoursMs)) {
    db.run(sql.deleteFrom('probe_hours').where('hour', '=', first.hour))
  }
}

/** Hours since 1970. */
export function hourOf(unixMs: number): number {
  return Math.floor(unixMs / HOUR_MS)
}
