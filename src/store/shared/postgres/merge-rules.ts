/**
 * Which of two rows counts, in SQL: one INSERT for each kind, which changes nothing where it has nothing new to say. The
 * statement around it names the change as `tick`. Source: store.ts, where the rules stand in words.
 */

/** Rows of one kind on their way in: as JSON (`json`), or in a temporary table with the same columns. */
export interface MergedKind {
  table: 'watches' | 'makers' | 'proofs' | 'probes' | 'probe_hours'
  /** Of the rows that come: names and types. */
  columns: string
  /** `from`: what is selected from, as `n`. Returns a row for each that is new or has changed. */
  merge(from: string): string
  /** What else happens with it. */
  besides?(from: string): string
}

const TXID = "decode(n.txid, 'hex')"
const CHANGE = '(SELECT change FROM tick)'
const OUTPOINT = 'txid text, vout bigint'
/** What was funded once stays so: one without a height counts. */
const UNFUNDED = 'CASE WHEN count(n.unfunded_until) = count(*) THEN max(n.unfunded_until) END'

const PROLONG = `ON CONFLICT (txid, vout) DO UPDATE SET
    until_height = greatest(w.until_height, EXCLUDED.until_height),
    unfunded_until = CASE WHEN w.unfunded_until IS NOT NULL AND EXCLUDED.unfunded_until IS NOT NULL
      THEN greatest(w.unfunded_until, EXCLUDED.unfunded_until) END,
    change = EXCLUDED.change
  WHERE w.until_height < EXCLUDED.until_height
    OR w.unfunded_until IS NOT NULL AND (EXCLUDED.unfunded_until IS NULL OR w.unfunded_until < EXCLUDED.unfunded_until)
  RETURNING 1`

const WATCHES_IN = 'INSERT INTO watches AS w (txid, vout, until_height, unfunded_until, change)'
const WATCHES_OF = `SELECT ${TXID}, n.vout, max(n.until_height), ${UNFUNDED}, ${CHANGE}`

/** As somebody asks for it now: one that was dropped before is watched again. */
export const REGISTERED: MergedKind = {
  table: 'watches',
  columns: `${OUTPOINT}, until_height int, unfunded_until int`,
  merge: (from) => `${WATCHES_IN} ${WATCHES_OF} FROM ${from} GROUP BY n.txid, n.vout ORDER BY 1, 2 ${PROLONG}`,
  besides: (from) => `DELETE FROM dropped d USING ${from} WHERE d.txid = ${TXID} AND d.vout = n.vout`,
}

/** As it was asked for at some time: what was dropped stays so. Its statement begins after the clock was taken. */
export const WATCHES: MergedKind = {
  table: 'watches',
  columns: REGISTERED.columns,
  merge: (from) => `${WATCHES_IN} ${WATCHES_OF} FROM ${from}
    WHERE NOT EXISTS (SELECT FROM dropped d WHERE d.txid = ${TXID} AND d.vout = n.vout)
      OR EXISTS (SELECT FROM watches o WHERE o.txid = ${TXID} AND o.vout = n.vout)
    GROUP BY n.txid, n.vout ORDER BY 1, 2 ${PROLONG}`,
}

/** Times first; a maker that was never asked for its offer comes before one that was. */
const makerRank = (row: string) => `(${row}.last_probe_ms, coalesce(${row}.offer_asked_ms, -1), ${row}.tie)`

export const MAKERS: MergedKind = {
  table: 'makers',
  columns: 'address text, last_probe_ms bigint, offer_asked_ms bigint, tie bigint, record jsonb, offer jsonb',
  merge: (from) => `INSERT INTO makers AS m (address, last_probe_ms, offer_asked_ms, tie, record, offer, change)
    SELECT DISTINCT ON (n.address) n.address, n.last_probe_ms, n.offer_asked_ms, n.tie, n.record, n.offer, ${CHANGE}
    FROM ${from} ORDER BY n.address, ${makerRank('n')} DESC
    ON CONFLICT (address) DO UPDATE SET last_probe_ms = EXCLUDED.last_probe_ms,
      offer_asked_ms = EXCLUDED.offer_asked_ms, tie = EXCLUDED.tie, record = EXCLUDED.record, offer = EXCLUDED.offer,
      change = EXCLUDED.change
    WHERE ${makerRank('EXCLUDED')} > ${makerRank('m')}
    RETURNING 1`,
}

/** Of the same moment: a proof before none, and else any, but always the same. */
const proofRank = (row: string, hash: string) =>
  `(${row}.at_ms, coalesce(${hash}, ''), coalesce(${row}.era, '') COLLATE "C", coalesce(${row}.source, '') COLLATE "C")`

export const PROOFS: MergedKind = {
  table: 'proofs',
  columns: `${OUTPOINT}, at_ms bigint, conf_hash text, era text, source text`,
  merge: (from) => `INSERT INTO proofs AS p (txid, vout, at_ms, conf_hash, era, source, change)
    SELECT DISTINCT ON (n.txid, n.vout) ${TXID}, n.vout, n.at_ms, decode(n.conf_hash, 'hex'), n.era, n.source, ${CHANGE}
    FROM ${from} ORDER BY n.txid, n.vout, ${proofRank('n', 'n.conf_hash COLLATE "C"')} DESC
    ON CONFLICT (txid, vout) DO UPDATE SET at_ms = EXCLUDED.at_ms, conf_hash = EXCLUDED.conf_hash, era = EXCLUDED.era,
      source = EXCLUDED.source, change = EXCLUDED.change
    WHERE ${proofRank('EXCLUDED', 'EXCLUDED.conf_hash')} > ${proofRank('p', 'p.conf_hash')}
    RETURNING 1`,
}

export const PROBES: MergedKind = {
  table: 'probes',
  columns:
    'address text, at_ms bigint, source bigint, outcome text, failure text, failure_text text, dialect text, latency_ms bigint',
  merge: (from) => `INSERT INTO probes
      (address, at_ms, source, outcome, failure, failure_text, dialect, latency_ms, change)
    SELECT n.address, n.at_ms, n.source, n.outcome, n.failure, n.failure_text, n.dialect, n.latency_ms, ${CHANGE}
    FROM ${from} ORDER BY n.address, n.at_ms, n.source
    ON CONFLICT DO NOTHING
    RETURNING 1`,
}

export const HOURS: MergedKind = {
  table: 'probe_hours',
  columns: 'address text, hour int, source bigint, answered int, failed int, unjudged int',
  merge: (from) => `INSERT INTO probe_hours AS h (address, hour, source, answered, failed, unjudged, change)
    SELECT n.address, n.hour, n.source, max(n.answered), max(n.failed), max(n.unjudged), ${CHANGE}
    FROM ${from} GROUP BY n.address, n.hour, n.source ORDER BY 1, 2, 3
    ON CONFLICT (address, hour, source) DO UPDATE SET answered = greatest(h.answered, EXCLUDED.answered),
      failed = greatest(h.failed, EXCLUDED.failed), unjudged = greatest(h.unjudged, EXCLUDED.unjudged),
      change = EXCLUDED.change
    WHERE h.answered < EXCLUDED.answered OR h.failed < EXCLUDED.failed OR h.unjudged < EXCLUDED.unjudged
    RETURNING 1`,
}
