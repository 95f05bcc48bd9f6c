/**
 * The loops by which this tracker and the others of its market know the same: what was written here is told to the shared
 * store, what the others have told is learnt, and what is past its time is deleted there by one of them. A file that the
 * shared store has never seen, or that may know of more than it does (another database, a standby that was promoted, a
 * backup that was put back), is first compared as a whole.
 *
 * Nothing here answers a client. A notice only shortens the wait for the next look: one that is lost delays, and no more.
 * Source: docs/scaling.md, "What is shared".
 */
import { Bell, runAll } from './concurrency.ts'
import { describeError, TransientError } from './errors.ts'
import type { Indexer } from './indexer.ts'
import type { Liveness } from './peers/liveness.ts'
import type { Monitor } from './peers/monitor.ts'
import { slicesOf } from './slices.ts'
import type { Db } from './store/open.ts'
import { readSharedPosition, storeSharedPosition } from './store/shared/local.ts'
import type { SharedLink } from './store/shared/postgres/open.ts'
import type { CommonStore, SharedNews } from './store/shared/store.ts'
import { newsOf, type Untold } from './store/shared/untold.ts'
import { wholeFile } from './store/shared/whole.ts'
import type { LearntRegistrations } from './watch/learnt-registrations.ts'
import type { Lane } from './wire/work.ts'
import { Backoff, breathe, sleep, type World } from './world.ts'

export const SHARING_LIMITS = {
  /** A look is due this long after the last one: makers are learnt so, and what a lost notice would have told. */
  pollMs: 1_000,
  /** Between two looks: so that the load on the shared store has a bound, however many registrations come. */
  lookGapMs: 100,
  /** Between two tellings, which share a statement. */
  tellGapMs: 500,
  /** Rows told in one go. */
  toldAtOnce: 500,
  /** Makers' news written to our file in one go: some 2 ms. */
  rowsAtOnce: 50,
  /** How often one of the trackers deletes what is past its time, and how long it keeps that to itself. */
  pruneMs: 60_000,
  pruneLeaseMs: 180_000,
  backoff: { firstMs: 250, maxMs: 5_000 },
}

interface SharingDeps extends World {
  db: Db
  indexer: Pick<Indexer, 'tip'>
  common: CommonStore
  link: SharedLink
  untold: Untold
  /** By which this process counts its probes. */
  source: number
  learnt: Pick<LearntRegistrations, 'learn'>
  liveness: Pick<Liveness, 'learn' | 'record'>
  /** Where what is learnt is looked up from. */
  lane: Lane
  /** Why this tracker is behind the chain; undefined when it isn't. What is registered elsewhere can't be looked up then. */
  notSynced: () => string | undefined
}

export class Sharing {
  readonly #deps: SharingDeps
  readonly #news = new Bell()
  readonly #notes = new Bell()
  /** The shared store has all that our file had when it was met, and our file all that was there. */
  #hasJoined = false
  #lastDetail: string | undefined

  constructor(deps: SharingDeps) {
    this.#deps = deps
    deps.untold.onNote = () => this.#notes.ring()
    deps.link.onNews(() => this.#news.ring())
  }

  /** How it is told to the operator. */
  get check(): { ok: boolean; detail: string } {
    const { kind, detail } = this.#deps.link.state
    if (kind !== 'up') return { ok: false, detail: `${detail}; until then registrations are answered busy` }
    if (this.#hasJoined) return { ok: true, detail }
    return {
      ok: false,
      detail: this.#deps.notSynced() === undefined ? 'what the others know is being read' : 'read once synced',
    }
  }

  /** Rows written here that are not known to be there. */
  get untold(): number {
    return this.#deps.untold.count()
  }

  /** `monitor`: who is told that another tracker has probed. Runs until the signal. */
  async run(monitor: Pick<Monitor, 'learnt'>, signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wakeAll(), { once: true })
    await runAll(signal, {
      learn: (s) => this.#again((inner) => this.#look(monitor, inner), this.#news, SHARING_LIMITS.lookGapMs, s),
      tell: (s) => this.#again(() => this.#tell(), this.#notes, SHARING_LIMITS.tellGapMs, s),
      prune: (s) => this.#prune(s),
    })
  }

  #wakeAll(): void {
    this.#news.ring()
    this.#notes.ring()
  }

  /** `work` whenever the bell rings, and now and then. */
  async #again(
    work: (signal: AbortSignal) => Promise<void>,
    bell: Bell,
    gapMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, random } = this.#deps
    const backoff = new Backoff(SHARING_LIMITS.backoff, random)
    for (;;) {
      signal.throwIfAborted()
      try {
        await work(signal)
        backoff.reset()
        this.#lastDetail = undefined
        await sleep(gapMs, signal)
        await bell.wait(SHARING_LIMITS.pollMs)
      } catch (error) {
        if (!(error instanceof TransientError)) throw error
        const detail = describeError(error)
        if (detail !== this.#lastDetail) log.debug({ detail }, 'nothing shared just now')
        this.#lastDetail = detail
        await sleep(backoff.nextMs(), signal)
      }
    }
  }

  // ---- what the others have told ----

  async #look(monitor: Pick<Monitor, 'learnt'>, signal: AbortSignal): Promise<void> {
    const { db, common, notSynced, source } = this.#deps
    if (notSynced() !== undefined) return
    const { place, change } = await common.position()
    const known = readSharedPosition(db)
    if (this.#hasJoined && known?.place === place && known.change === change) return
    if (known?.place !== place) {
      this.#hasJoined = false
      await this.#join(place)
    }
    for await (const { news, upTo } of common.newsAfter(readSharedPosition(db)!.change, source)) {
      signal.throwIfAborted()
      await this.#learn(news, monitor)
      if (upTo !== undefined) storeSharedPosition(db, { place, change: upTo })
    }
    if (this.#hasJoined) return
    this.#hasJoined = true
    this.#notes.ring()
  }

  /** Everything in our file is told at once; what is written meanwhile is noted, and told after it. */
  async #join(place: string): Promise<void> {
    const { db, common, untold, log } = this.#deps
    const isFirst = readSharedPosition(db) === undefined
    const mark = untold.mark()
    const moved = await common.mergeAll(wholeFile(db))
    db.transaction(() => {
      untold.toldUntil(mark)
      storeSharedPosition(db, { place, change: 0 })
    })
    const text = isFirst
      ? 'registrations and history of this tracker moved to the shared store'
      : 'the shared store is not as it was left: compared as a whole, and what it lacked was put there'
    log.info(moved, text)
  }

  async #learn(news: SharedNews, monitor: Pick<Monitor, 'learnt'>): Promise<void> {
    const { liveness, learnt, lane } = this.#deps
    for (const some of slices(news)) {
      const before = new Map((some.makers ?? []).map(({ record: { address } }) => [address, liveness.record(address)]))
      for (const record of liveness.learn(some)) monitor.learnt(record, before.get(record.address))
      await breathe()
    }
    await learnt.learn(news.registrations ?? [], news.dropped ?? [], lane)
  }

  // ---- what was written here ----

  async #tell(): Promise<void> {
    const { db, common, untold } = this.#deps
    while (this.#hasJoined) {
      const notes = untold.read(SHARING_LIMITS.toldAtOnce)
      if (notes.length === 0) return
      await common.merge(newsOf(db, notes))
      untold.told(notes)
    }
  }

  /** One of the trackers at a time. */
  async #prune(signal: AbortSignal): Promise<void> {
    const { common, indexer, clock, log } = this.#deps
    for (;;) {
      await sleep(SHARING_LIMITS.pruneMs, signal)
      const tip = indexer.tip()
      if (!tip || !this.#hasJoined) continue
      try {
        if (await common.take('prune', SHARING_LIMITS.pruneLeaseMs)) await common.prune(tip.height, clock.nowMs())
      } catch (error) {
        if (!(error instanceof TransientError)) throw error
        log.debug({ detail: describeError(error) }, 'shared store not pruned')
      }
    }
  }
}

/** Of makers' news, a few milliseconds of work each; makers before what hangs on them. */
function slices({ makers = [], proofs = [], probes = [], hours = [] }: SharedNews): SharedNews[] {
  const { rowsAtOnce } = SHARING_LIMITS
  return [
    ...slicesOf(makers, rowsAtOnce).map((some) => ({ makers: some })),
    ...slicesOf(proofs, rowsAtOnce).map((some) => ({ proofs: some })),
    ...slicesOf(probes, rowsAtOnce).map((some) => ({ probes: some })),
    ...slicesOf(hours, rowsAtOnce).map((some) => ({ hours: some })),
  ]
}
