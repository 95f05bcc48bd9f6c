/**
 * What has changed since somebody looked last, in pages. Changes are committed in their order (migrations/shared), so that
 * all up to the clock's are there when it is read; what is changed again while pages are taken is told next time. So no
 * page depends on another, and nothing is held open between two.
 */
import { describeError } from '../../../errors.ts'
import { DIALECTS, PROBE_FAILURES, type ProbeOutcome } from '../../../peers/types.ts'
import { columnBlockHash, columnTxid } from '../../columns.ts'
import { registrationOf } from '../registrations.ts'
import type { HourNews, MakerNews, ProbeNews, ProofNews, SharedNews } from '../store.ts'
import { makerNewsOf, word } from './documents.ts'
import type { SharedDatabase } from './session.ts'

const LIMITS = {
  /** Rows of a page that are outpoints, which the serving thread of the one who learns writes in one go: some 5 ms. */
  outpoints: 500,
  /** Makers are some 1 kB each. */
  makers: 200,
  probes: 1_000,
}

/** Who is told of rows that this version can't read. */
export interface UnreadLog {
  warn(about: { row: string; detail: string; rows: number }, message: string): void
}

export interface NewsPage {
  news: SharedNews
  /** With the last page, which is empty: how far all of them together go. */
  upTo: number | undefined
}

interface Range {
  after: number
  upTo: number
}

/** News after `change`, oldest first within a kind. Probes and hours of `exceptSource` are left out. Throws TransientError. */
export async function* readNews(
  db: SharedDatabase['db'],
  log: UnreadLog,
  change: number,
  exceptSource: number,
): AsyncGenerator<NewsPage> {
  const clock = db.selectFrom('clock').select(['change', 'registrations', 'makers'])
  const [now] = await clock.execute()
  const range: Range = { after: change, upTo: now!.change }
  const page = (news: SharedNews): NewsPage => ({ news, upTo: undefined })
  if (now!.registrations > change) {
    for await (const rows of droppedOf(db, range)) yield page({ dropped: rows.map(outpointOf) })
    for await (const rows of watchesOf(db, range)) yield page({ registrations: rows.map(registrationOf) })
  }
  if (now!.makers > change) {
    for await (const rows of makersOf(db, range)) yield page({ makers: readable(log, rows, makerOf) })
    for await (const rows of proofsOf(db, range)) yield page({ proofs: readable(log, rows, proofOf) })
    for await (const rows of probesOf(db, range, exceptSource)) {
      yield page({ probes: readable(log, rows, probeOf) })
    }
    for await (const rows of hoursOf(db, range, exceptSource)) yield page({ hours: rows.map(hourOf) })
  }
  yield { news: {}, upTo: range.upTo }
}

/** Pages of at most `size` rows, each after the last row of the one before; `first` comes before all. */
async function* pages<Row>(size: number, first: Row, read: (after: Row) => Promise<Row[]>): AsyncGenerator<Row[]> {
  for (let last = first; ; ) {
    const rows = await read(last)
    if (rows.length > 0) yield rows
    if (rows.length < size) return
    last = rows.at(-1)!
  }
}

/** Before all that has changed after `after`. */
function firstOutpoint({ after }: Range): { change: number; txid: Buffer; vout: number } {
  return { change: after + 1, txid: Buffer.alloc(0), vout: -1 }
}

function droppedOf(db: SharedDatabase['db'], range: Range) {
  const first = { ...firstOutpoint(range), until_height: 0 }
  return pages(LIMITS.outpoints, first, (last) => {
    const query = db
      .selectFrom('dropped as d')
      .selectAll()
      .where((eb) => eb(eb.refTuple('change', 'txid', 'vout'), '>', eb.tuple(last.change, last.txid, last.vout)))
      .where('change', '<=', range.upTo)
      .where(({ exists, not, selectFrom }) => {
        const again = selectFrom('watches as w').select('w.vout').whereRef('w.txid', '=', 'd.txid')
        return not(exists(again.whereRef('w.vout', '=', 'd.vout')))
      })
      .orderBy('change')
      .orderBy('txid')
      .orderBy('vout')
    return query.limit(LIMITS.outpoints).execute()
  })
}

function watchesOf(db: SharedDatabase['db'], range: Range) {
  const first = { ...firstOutpoint(range), until_height: 0, unfunded_until: null as number | null }
  return pages(LIMITS.outpoints, first, (last) => {
    const query = db
      .selectFrom('watches')
      .selectAll()
      .where((eb) => eb(eb.refTuple('change', 'txid', 'vout'), '>', eb.tuple(last.change, last.txid, last.vout)))
      .where('change', '<=', range.upTo)
      .orderBy('change')
      .orderBy('txid')
      .orderBy('vout')
    return query.limit(LIMITS.outpoints).execute()
  })
}

interface MakerRow {
  change: number
  address: string
  record: unknown
  offer: unknown
}

function makersOf(db: SharedDatabase['db'], { after, upTo }: Range) {
  const first: MakerRow = { change: after + 1, address: '', record: null, offer: null }
  return pages(LIMITS.makers, first, (last) => {
    const query = db
      .selectFrom('makers')
      .select(['change', 'address', 'record', 'offer'])
      .where((eb) => eb(eb.refTuple('change', 'address'), '>', eb.tuple(last.change, last.address)))
      .where('change', '<=', upTo)
      .orderBy('change')
      .orderBy('address')
    return query.limit(LIMITS.makers).execute()
  })
}

interface ProofRow {
  change: number
  txid: Buffer
  vout: number
  at_ms: number
  conf_hash: Buffer | null
  era: string | null
  source: string | null
}

function proofsOf(db: SharedDatabase['db'], range: Range) {
  const first: ProofRow = { ...firstOutpoint(range), at_ms: 0, conf_hash: null, era: null, source: null }
  return pages(LIMITS.outpoints, first, (last) => {
    const query = db
      .selectFrom('proofs')
      .selectAll()
      .where((eb) => eb(eb.refTuple('change', 'txid', 'vout'), '>', eb.tuple(last.change, last.txid, last.vout)))
      .where('change', '<=', range.upTo)
      .orderBy('change')
      .orderBy('txid')
      .orderBy('vout')
    return query.limit(LIMITS.outpoints).execute()
  })
}

interface ProbeColumnsRead {
  change: number
  address: string
  at_ms: number
  source: number
  outcome: string
  failure: string | null
  failure_text: string | null
  dialect: string | null
  latency_ms: number
}

function probesOf(db: SharedDatabase['db'], { after, upTo }: Range, exceptSource: number) {
  const rest = { outcome: '', failure: null, failure_text: null, dialect: null, latency_ms: 0 }
  const first: ProbeColumnsRead = { change: after + 1, address: '', at_ms: -1, source: -1, ...rest }
  return pages(LIMITS.probes, first, (last) => {
    const query = db
      .selectFrom('probes')
      .selectAll()
      .where((eb) =>
        eb(
          eb.refTuple('change', 'address', 'at_ms', 'source'),
          '>',
          eb.tuple(last.change, last.address, last.at_ms, last.source),
        ),
      )
      .where('change', '<=', upTo)
      .where('source', '!=', exceptSource)
      .orderBy('change')
      .orderBy('address')
      .orderBy('at_ms')
      .orderBy('source')
    return query.limit(LIMITS.probes).execute()
  })
}

function hoursOf(db: SharedDatabase['db'], { after, upTo }: Range, exceptSource: number) {
  const first = { change: after + 1, address: '', hour: -1, source: -1, answered: 0, failed: 0, unjudged: 0 }
  return pages(LIMITS.probes, first, (last) => {
    const query = db
      .selectFrom('probe_hours')
      .selectAll()
      .where((eb) =>
        eb(
          eb.refTuple('change', 'address', 'hour', 'source'),
          '>',
          eb.tuple(last.change, last.address, last.hour, last.source),
        ),
      )
      .where('change', '<=', upTo)
      .where('source', '!=', exceptSource)
      .orderBy('change')
      .orderBy('address')
      .orderBy('hour')
      .orderBy('source')
    return query.limit(LIMITS.probes).execute()
  })
}

// ---- rows → words ----

/** Rows that this version can read; of the others one is told. */
function readable<Row extends object, News>(log: UnreadLog, rows: readonly Row[], read: (row: Row) => News): News[] {
  const news: News[] = []
  const broken: { row: Row; error: unknown }[] = []
  for (const row of rows) {
    try {
      news.push(read(row))
    } catch (error) {
      broken.push({ row, error })
    }
  }
  const [first] = broken
  if (first) {
    const row = 'address' in first.row ? String(first.row.address) : outpointText(first.row as Row & ProofRow)
    const detail = describeError(first.error)
    log.warn({ row, detail, rows: broken.length }, 'shared rows that this version cannot read were passed over')
  }
  return news
}

function outpointText({ txid, vout }: { txid: Buffer; vout: number }): string {
  return `${txid.toString('hex')}:${vout}`
}

function outpointOf({ txid, vout }: { txid: Buffer; vout: number }) {
  return { txid: columnTxid(txid), vout }
}

function makerOf({ address, record, offer }: MakerRow): MakerNews {
  const news = makerNewsOf(record, offer)
  if (news.record.address !== address) throw new TypeError(`the record is about ${news.record.address}`)
  return news
}

function proofOf(row: ProofRow): ProofNews {
  const news: ProofNews = { outpoint: outpointOf(row), atMs: row.at_ms }
  if (row.conf_hash === null) return news
  const era = word(['expiry', 'tweak-point'], row.era)
  const source = word(['offer', 'post'], row.source)
  if (!era || !source) throw new TypeError(`a proof of ${row.era} from ${row.source}`)
  return { ...news, proven: { confHash: columnBlockHash(row.conf_hash), era, source } }
}

function probeOf(row: ProbeColumnsRead): ProbeNews {
  const outcome = word<ProbeOutcome>(['answered', 'failed', 'unjudged'], row.outcome)
  if (!outcome) throw new TypeError(`a probe that ended ${row.outcome}`)
  const failure = word(PROBE_FAILURES, row.failure)
  const dialect = word(DIALECTS, row.dialect)
  return {
    address: row.address,
    source: row.source,
    atMs: row.at_ms,
    outcome,
    latencyMs: row.latency_ms,
    ...(failure && { failure }),
    ...(row.failure_text !== null && { text: row.failure_text }),
    ...(dialect && { dialect }),
  }
}

function hourOf({ change: _, ...hour }: HourNews & { change: number }): HourNews {
  return hour
}
