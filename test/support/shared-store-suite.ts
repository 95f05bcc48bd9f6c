/**
 * What holds of every shared store, whatever is behind it: of rows that differ the same one comes out, in whatever order and
 * however often they are merged. Written as a model (store.ts in a few lines) that each store is compared with.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type BlockHash, formatOutpoint, type Txid } from '../../src/chain/types.ts'
import type { Registration } from '../../src/store/shared/registrations.ts'
import type {
  HourNews,
  MakerNews,
  ProbeNews,
  ProofNews,
  SharedNews,
  SharedStore,
} from '../../src/store/shared/store.ts'
import { tieOf } from '../../src/store/shared/tie.ts'

export interface MergeSubject {
  store: Pick<SharedStore, 'register' | 'merge'>
  /** Everything that the store has, in any order. */
  readAll(): Promise<SharedNews>
  /** Forgets all of it. */
  empty(): Promise<void>
}

/** Plain objects, as the stores give them. */
const recordOf = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(fields, { noNullPrototype: true })

const hash = (n: number) => n.toString(16).padStart(64, '0')
const outpoint = recordOf({ txid: fc.integer({ min: 1, max: 2 }).map((n) => hash(n) as Txid), vout: fc.nat(1) })
const address = fc.constantFrom('a.onion:6102', 'b.onion:6102')
const moment = fc.integer({ min: 1, max: 3 })
const count = fc.nat(4)

const registration: fc.Arbitrary<Registration> = recordOf({
  outpoint,
  untilHeight: fc.integer({ min: 100, max: 105 }),
  unfundedUntil: fc.option(fc.constantFrom(10, 11, 12)),
}).map(({ unfundedUntil, ...rest }) => ({ ...rest, ...(unfundedUntil !== null && { unfundedUntil }) }))

const maker: fc.Arbitrary<MakerNews> = recordOf({
  address,
  lastProbeMs: moment,
  offerAskedMs: fc.option(moment),
  failures: fc.nat(2),
  fee: fc.option(fc.nat(2)),
}).map(({ offerAskedMs, fee, ...rest }) => ({
  record: { ...rest, ...(offerAskedMs !== null && { offerAskedMs }) },
  ...(offerAskedMs !== null && fee !== null && { offer: { ...OFFER, atMs: offerAskedMs, baseFeeSats: fee } }),
}))

const OFFER = { amountFeePct: 0.1, timeFeePct: 1e-7, lockBlocksMin: 20, amountSatsMin: 10_000, amountSatsMax: 2.1e15 }

const proof: fc.Arbitrary<ProofNews> = recordOf({
  outpoint,
  atMs: moment,
  proven: fc.option(
    recordOf({
      confHash: fc.integer({ min: 1, max: 2 }).map((n) => hash(n) as BlockHash),
      era: fc.constantFrom('expiry' as const, 'tweak-point' as const),
      source: fc.constantFrom('offer' as const, 'post' as const),
    }),
  ),
}).map(({ proven, ...rest }) => ({ ...rest, ...(proven && { proven }) }))

/** There is but one of a source and millisecond: what it says follows from those. */
const probe: fc.Arbitrary<ProbeNews> = recordOf({ address, atMs: moment, source: moment }).map((key) =>
  key.atMs === 1
    ? { ...key, outcome: 'failed', failure: 'silent', text: 'no answer within 20 s', latencyMs: 20_000 }
    : { ...key, outcome: 'answered', dialect: 'unified', latencyMs: 100 + key.source },
)

const hour: fc.Arbitrary<HourNews> = recordOf({
  ...{ address, hour: moment, source: moment },
  ...{ answered: count, failed: count, unjudged: count },
})

/** Registered or merged, a registration is worth the same. */
export async function registrationsInAnyOrder(subject: MergeSubject, numRuns: number): Promise<void> {
  const step = recordOf({
    isRegistered: fc.boolean(),
    registrations: fc.array(registration, { minLength: 1, maxLength: 4 }),
  })
  await inAnyOrder(subject, numRuns, step, async ({ isRegistered, registrations }) => {
    if (isRegistered) await subject.store.register(registrations)
    else await subject.store.merge({ registrations })
  })
}

/** `known`: makers as they are before anything is said of them, so that their history can be kept. */
const known = ['a.onion:6102', 'b.onion:6102'].map(
  (name): MakerNews => ({ record: { address: name, lastProbeMs: 0, failures: 0 } }),
)

export async function makersInAnyOrder(subject: MergeSubject, numRuns: number): Promise<void> {
  await mergedInAnyOrder(subject, numRuns, recordOf({ makers: fc.array(maker, { maxLength: 4 }) }))
}

export async function proofsInAnyOrder(subject: MergeSubject, numRuns: number): Promise<void> {
  await mergedInAnyOrder(subject, numRuns, recordOf({ proofs: fc.array(proof, { maxLength: 4 }) }))
}

export async function historyInAnyOrder(subject: MergeSubject, numRuns: number): Promise<void> {
  const probes = fc.array(probe, { maxLength: 4 })
  const hours = fc.array(hour, { maxLength: 4 })
  await mergedInAnyOrder(subject, numRuns, recordOf({ makers: fc.constant(known), probes, hours }))
}

async function mergedInAnyOrder(subject: MergeSubject, numRuns: number, news: fc.Arbitrary<SharedNews>): Promise<void> {
  await inAnyOrder(subject, numRuns, news, (one) => subject.store.merge(one))
}

/** Each step once or several times, in any order; afterwards the store has what the model has. */
async function inAnyOrder<Step extends SharedNews>(
  { readAll, empty }: MergeSubject,
  numRuns: number,
  step: fc.Arbitrary<Step>,
  take: (step: Step) => Promise<void>,
): Promise<void> {
  const steps = fc.array(step, { minLength: 1, maxLength: 5 })
  const order = fc.array(fc.nat(), { maxLength: 10 })
  const rule = fc.asyncProperty(steps, order, async (all, again) => {
    await empty()
    // Some first, as they come and again; then every one, so that none is left out.
    for (const at of again) await take(all[at % all.length]!)
    for (const one of all) await take(one)
    assert.deepEqual(inOrder(await readAll()), inOrder(merged(all)))
  })
  await fc.assert(rule, { numRuns })
}

// ---- the model ----

function merged(all: readonly SharedNews[]): SharedNews {
  return {
    registrations: best(
      all.flatMap((news) => news.registrations ?? []),
      byOutpoint,
      furthest,
    ),
    makers: best(
      all.flatMap((news) => news.makers ?? []),
      ({ record }) => record.address,
      laterMaker,
    ),
    proofs: best(
      all.flatMap((news) => news.proofs ?? []),
      byOutpoint,
      laterProof,
    ),
    probes: best(
      all.flatMap((news) => news.probes ?? []),
      probeKey,
      (one) => one,
    ),
    hours: best(
      all.flatMap((news) => news.hours ?? []),
      hourKey,
      most,
    ),
  }
}

function best<Row>(rows: readonly Row[], keyOf: (row: Row) => string, join: (a: Row, b: Row) => Row): Row[] {
  const found = new Map<string, Row>()
  for (const row of rows) {
    const other = found.get(keyOf(row))
    found.set(keyOf(row), other ? join(other, row) : row)
  }
  return [...found.values()]
}

const byOutpoint = (row: { outpoint: { txid: Txid; vout: number } }) => formatOutpoint(row.outpoint)
const probeKey = (row: ProbeNews) => `${row.address} ${row.atMs} ${row.source}`
const hourKey = (row: HourNews) => `${row.address} ${row.hour} ${row.source}`

function furthest(a: Registration, b: Registration): Registration {
  const untilHeight = Math.max(a.untilHeight, b.untilHeight)
  const isFunded = a.unfundedUntil === undefined || b.unfundedUntil === undefined
  const unfunded = isFunded ? {} : { unfundedUntil: Math.max(a.unfundedUntil!, b.unfundedUntil!) }
  return { outpoint: a.outpoint, untilHeight, ...unfunded }
}

function laterMaker(a: MakerNews, b: MakerNews): MakerNews {
  return greater(
    [a.record.lastProbeMs, a.record.offerAskedMs ?? -1, tieOf(a)],
    [b.record.lastProbeMs, b.record.offerAskedMs ?? -1, tieOf(b)],
  )
    ? a
    : b
}

/** Of the same moment: a proof before none. */
function laterProof(a: ProofNews, b: ProofNews): ProofNews {
  const rank = ({ atMs, proven }: ProofNews) => [atMs, proven?.confHash ?? '', proven?.era ?? '', proven?.source ?? '']
  return greater(rank(a), rank(b)) ? a : b
}

function most(a: HourNews, b: HourNews): HourNews {
  const more = (field: 'answered' | 'failed' | 'unjudged') => Math.max(a[field], b[field])
  return { ...a, answered: more('answered'), failed: more('failed'), unjudged: more('unjudged') }
}

function greater(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  const at = a.findIndex((value, i) => value !== b[i])
  return at >= 0 && a[at]! > b[at]!
}

/** Comparable: what was dropped doesn't count here. */
function inOrder({ registrations = [], makers = [], proofs = [], probes = [], hours = [] }: SharedNews) {
  const by = <Row>(rows: readonly Row[], keyOf: (row: Row) => string) =>
    [...rows].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
  return {
    registrations: by(registrations, byOutpoint),
    makers: by(makers, ({ record }) => record.address),
    proofs: by(proofs, byOutpoint),
    probes: by(probes, probeKey),
    hours: by(hours, hourKey),
  }
}
