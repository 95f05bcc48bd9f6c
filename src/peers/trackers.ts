/**
 * Other trackers: those the operator names, asked every few minutes over Tor for their block and their digest, and those
 * learnt from Pings, asked about once an hour. Compared only where both are at the same block. Nothing that another
 * tracker says changes what we list; nothing that a learnt one says is told to anybody who didn't ask.
 *
 * A Ping is only a hint: the host that it names is dialled back within what dial-budget.ts allows, and kept when a tracker
 * of our network answers there under the address it was dialled at. A Pong's address is a claim, never a key.
 */
import { Bell, TaskGroup } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Db } from '../store/open.ts'
import {
  type Comparison,
  deleteTracker,
  insertTracker,
  readTrackerAddresses,
  readTrackers,
  type TrackerRecord,
  updateTracker,
} from '../store/trackers.ts'
import { formatHostPort, type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import type { World } from '../world.ts'
import { DIAL_LIMITS, type DialBudget, dialledHost } from './dial-budget.ts'
import { Hints } from './hints.ts'
import { NoSuchTracker, type TrackerAnswer, type VisitDeps, type VisitOptions, visitTracker } from './tracker-visit.ts'

export const TRACKER_LIMITS = {
  /** Configured ones asked at the same time: these places are theirs alone. */
  configuredAtOnce: 4,
  /**
   * Learnt ones and hints, together. As many as the dials of an hour can fill, each taking as long as a visit may: who is
   * slow on purpose keeps nobody waiting.
   */
  othersAtOnce: 8,
  /**
   * Learnt ones that are kept. The market has a handful of trackers; what comes beyond is somebody's game. Each is asked
   * about once an hour, so that two thirds of the dials remain for those that are not known yet.
   */
  learntMax: 40,
  learntMs: 3_600_000,
  /** On regtest, where an interval is a second, learnt ones are asked after so many of them, if that is sooner. */
  learntIntervals: 12,
  /** After `failures` in vain the pause doubles, up to this. */
  pauseMsMax: 21_600_000,
  /** A learnt one that was silent this long is forgotten; one that lies is at once. */
  forgetMs: 7 * 86_400_000,
  /** At another block than ours a configured one is asked again after this, a few times: a block is everywhere in a minute. */
  otherBlockMs: 20_000,
  otherBlockTries: 3,
  failureChars: 200,
  /** How often the loop looks who is due, and whom the operator has forgotten. */
  lookMs: 1_000,
}

export interface TrackersOptions extends VisitOptions {
  configured: readonly HostPort[]
  intervalMs: number
  allowTestAddresses: boolean
}

export interface TrackersDeps extends World, VisitDeps {
  db: Db
  dials: DialBudget
  /** Our own address. */
  self: () => HostPort
}

/** What became of hints: kept to be dialled; about somebody we know; or neither. */
export type HintOutcome = 'taken' | 'known' | 'refused'

export class Trackers {
  readonly #options: TrackersOptions
  readonly #deps: TrackersDeps
  readonly #learntMs: number
  readonly #records = new Map<string, TrackerRecord>()
  /** Whose records those are. */
  #hosts = new Set<string>()
  readonly #bell = new Bell()
  /** When each is due, on the monotonic clock. */
  readonly #dueMs = new Map<string, number>()
  readonly #configuredTasks = new TaskGroup(() => this.#bell.ring())
  readonly #otherTasks = new TaskGroup(() => this.#bell.ring())
  readonly #hints: Hints
  readonly #hintCounts: Record<HintOutcome, number> = { taken: 0, known: 0, refused: 0 }
  /** Digests of lists that were read from the first row to the last, and were ours. */
  readonly #read = new Map<string, Uint8Array>()
  readonly #otherBlock = new Map<string, number>()
  #revision = 0

  constructor(options: TrackersOptions, deps: TrackersDeps) {
    this.#options = options
    this.#deps = deps
    this.#hints = new Hints(deps.clock, deps.random)
    const { learntMs, learntIntervals } = TRACKER_LIMITS
    const isRegtest = options.network === 'regtest'
    this.#learntMs = isRegtest ? Math.min(learntMs, learntIntervals * options.intervalMs) : learntMs
    this.#load()
  }

  /** The configured ones, known already or not, and of those learnt earlier as many as are kept, one a host. */
  #load(): void {
    const { db } = this.#deps
    const stored = new Map(readTrackers(db).map((record) => [record.address, record]))
    for (const target of this.#options.configured) {
      const address = formatHostPort(target)
      const before = stored.get(address)
      this.#keep({ ...(before ?? { address, addedS: this.#nowS(), failures: 0 }), source: 'configured' })
      stored.delete(address)
    }
    const byAge = [...stored.values()].sort((a, b) => a.addedS - b.addedS)
    for (const record of byAge) {
      const target = parseHostPort(record.address)
      if (!target || this.#hosts.has(dialledHost(target)) || this.#learnt().length >= TRACKER_LIMITS.learntMax) {
        deleteTracker(db, record.address)
        continue
      }
      // One that is configured no more is as good as a learnt one.
      this.#keep(record.source === 'learnt' ? record : asLearnt(record))
      const sinceMs = this.#deps.clock.nowMs() - 1_000 * (record.askedS ?? 0)
      const leftMs = Math.min(this.#learntMs, Math.max(0, this.#learntMs - sinceMs))
      this.#dueMs.set(record.address, this.#deps.clock.monotonicMs() + leftMs)
    }
  }

  /** By address. */
  list(): TrackerRecord[] {
    return [...this.#records.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
  }

  /** Changes whenever a record has. */
  get revision(): number {
    return this.#revision
  }

  get hintCounts(): Readonly<Record<HintOutcome, number>> {
    return this.#hintCounts
  }

  /** Somebody on the connection `from` says that a tracker is at `address`, `port`. Costs nothing now and little later. */
  hint(address: string, port: number, from: object): void {
    if (address === '') return // it asks, and is none
    // The reference tracker tells its host without the port; in tests with it.
    const target = parseHostPort(address) ?? parseHostPort(`${address}:${port}`)
    const outcome = target ? this.#outcomeOf(target, from) : 'refused'
    this.#hintCounts[outcome]++
    if (outcome === 'taken') this.#bell.ring()
  }

  #outcomeOf(target: HostPort, from: object): HintOutcome {
    const { allowTestAddresses } = this.#options
    const mayBeOne = isOnionHost(target.host) || (allowTestAddresses && target.host === '127.0.0.1')
    if (!mayBeOne) return 'refused'
    if (this.#knows(target)) return 'known'
    return !this.#deps.dials.isResting(target) && this.#hints.add(target, from) ? 'taken' : 'refused'
  }

  /** Ourselves, and every host of which a tracker is known: one is enough. */
  #knows(target: HostPort): boolean {
    const host = dialledHost(target)
    return this.#hosts.has(host) || host === dialledHost(this.#deps.self())
  }

  #learnt(): TrackerRecord[] {
    return [...this.#records.values()].filter(({ source }) => source === 'learnt')
  }

  /** Runs until the signal; rejects when a result can't be stored. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#bell.ring()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        signal.throwIfAborted()
        this.#configuredTasks.throwIfFailed()
        this.#otherTasks.throwIfFailed()
        this.#noticeForgotten()
        this.#startDue(signal)
        await this.#bell.wait(TRACKER_LIMITS.lookMs)
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      await Promise.all([this.#configuredTasks.ended(), this.#otherTasks.ended()])
    }
  }

  /** Whoever has no row any more was forgotten by another process, the operator's: not to be learnt again within the hour. */
  #noticeForgotten(): void {
    const stored = new Set(readTrackerAddresses(this.#deps.db))
    for (const { address } of this.#learnt()) {
      if (stored.has(address)) continue
      this.#drop(address)
      this.#deps.dials.rest(parseHostPort(address)!)
      this.#deps.log.info({ tracker: address }, 'tracker forgotten')
    }
  }

  #startDue(signal: AbortSignal): void {
    const { dials, clock } = this.#deps
    const nowMs = clock.monotonicMs()
    const due = [...this.#records.values()]
      .map((record) => ({ record, dueMs: this.#dueMs.get(record.address) ?? 0 }))
      .filter(({ dueMs }) => dueMs <= nowMs)
      .sort((a, b) => a.dueMs - b.dueMs)
    for (const { record } of due) {
      const isConfigured = record.source === 'configured'
      const tasks = isConfigured ? this.#configuredTasks : this.#otherTasks
      const atOnce = isConfigured ? TRACKER_LIMITS.configuredAtOnce : TRACKER_LIMITS.othersAtOnce
      if (tasks.size >= atOnce || tasks.has(record.address)) continue
      if (isConfigured || this.#mayAskLearnt(record)) {
        tasks.start(record.address, this.#visit(record.address, signal), signal)
      }
    }
    while (this.#otherTasks.size < TRACKER_LIMITS.othersAtOnce && dials.hasRoom()) {
      const target = this.#hints.take((hinted) => !this.#knows(hinted) && !dials.isResting(hinted))
      if (!target || !dials.take(target)) break
      const address = formatHostPort(target)
      this.#otherTasks.start(address, this.#lookAt(address, target, signal), signal)
    }
  }

  /** Strangers have named it, so it counts among their dials. Where learnt ones are asked more often, tests are running. */
  #mayAskLearnt({ address }: TrackerRecord): boolean {
    return this.#learntMs < DIAL_LIMITS.perHostMs || this.#deps.dials.take(parseHostPort(address)!)
  }

  /** Dials back where a stranger says that a tracker is, and keeps the one that is there. */
  async #lookAt(address: string, target: HostPort, signal: AbortSignal): Promise<void> {
    const { log } = this.#deps
    const answer = await this.#ask(target, signal)
    if (answer instanceof TransientError) {
      log.debug({ tracker: address, detail: describeError(answer) }, 'a Ping came from nowhere')
      return
    }
    if (this.#knows(target)) return
    this.#makeRoom()
    const record = asLearnt({
      address,
      source: 'learnt',
      addedS: this.#nowS(),
      failures: 0,
      ...this.#heard(address, answer),
    })
    insertTracker(this.#deps.db, this.#put(record))
    log.info({ tracker: address, version: record.version }, 'tracker learnt')
    this.#schedule(record, false)
  }

  /** Asks one that is known, and keeps what it said. */
  async #visit(address: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#ask(parseHostPort(address)!, signal)
    const known = this.#records.get(address)
    if (!known) return // forgotten meanwhile
    if (answer instanceof TransientError) return this.#noteFailure(known, answer)
    const { failure: _, ...before } = known
    const record: TrackerRecord = { ...before, failures: 0, ...this.#heard(address, answer) }
    this.#keep(known.source === 'learnt' ? asLearnt(record) : record)
    const compared = answer.kind === 'pong' ? answer.compared : undefined
    this.#schedule(record, answer.kind === 'pong' && !compared)
    const isNews = known.source === 'configured' && known.compared?.agrees !== compared?.agrees
    if (compared && isNews) this.#tell(record, compared)
  }

  /** What goes wrong with another tracker is its answer; anything else is thrown. */
  async #ask(target: HostPort, signal: AbortSignal): Promise<TrackerAnswer | TransientError> {
    const address = formatHostPort(target)
    const isConfigured = this.#records.get(address)?.source === 'configured'
    const question = { target, read: this.#read.get(address), mayDialTwice: isConfigured }
    try {
      return await visitTracker(question, this.#options, this.#deps, signal)
    } catch (error) {
      if (error instanceof TransientError) return error
      throw error
    }
  }

  /** What an answer adds to a record. */
  #heard(address: string, answer: TrackerAnswer): Partial<TrackerRecord> {
    const heard = { askedS: this.#nowS(), seenS: this.#nowS() }
    if (answer.kind === 'v1') return heard
    const { said, compared } = answer
    if (compared?.agrees) this.#read.set(address, said.digest)
    return { ...heard, ...said, ...(compared && { compared }) }
  }

  #tell(record: TrackerRecord, { agrees, height, onlyOurs, onlyTheirs }: Comparison): void {
    const fields = { tracker: record.address, height, onlyOurs: onlyOurs.length, onlyTheirs: onlyTheirs.length }
    if (agrees) this.#deps.log.info(fields, 'tracker agrees')
    else this.#deps.log.warn(fields, 'tracker disagrees: compare with the verify verb')
  }

  #noteFailure(record: TrackerRecord, error: TransientError): void {
    const nowS = this.#nowS()
    const silentMs = 1_000 * (nowS - (record.seenS ?? record.addedS))
    const isOver = error instanceof NoSuchTracker || silentMs > TRACKER_LIMITS.forgetMs
    if (record.source === 'learnt' && isOver) {
      deleteTracker(this.#deps.db, record.address)
      return this.#drop(record.address)
    }
    const failure = printable(describeError(error), TRACKER_LIMITS.failureChars)
    const failed = { ...record, failures: record.failures + 1, failure, askedS: nowS }
    this.#keep(failed)
    this.#schedule(failed, false)
  }

  /**
   * A place for a newcomer among the learnt: free, or that of the one asked in vain most often, or of any of the younger
   * half. The older half stays: whoever has many addresses can't take the place of those that were there before.
   */
  #makeRoom(): void {
    const learnt = this.#learnt().sort((a, b) => b.failures - a.failures || b.addedS - a.addedS)
    if (learnt.length < TRACKER_LIMITS.learntMax) return
    const younger = learnt.length / 2
    const leaving = learnt[0]!.failures > 0 ? learnt[0]! : learnt[Math.floor(this.#deps.random() * younger)]!
    deleteTracker(this.#deps.db, leaving.address)
    this.#drop(leaving.address)
  }

  #schedule({ address, source, failures }: TrackerRecord, wasElsewhere: boolean): void {
    const { clock, random } = this.#deps
    const { otherBlockTries, otherBlockMs, pauseMsMax } = TRACKER_LIMITS
    const { intervalMs } = this.#options
    const isLearnt = source === 'learnt'
    const tries = wasElsewhere && !isLearnt ? (this.#otherBlock.get(address) ?? 0) + 1 : 0
    const isSoon = tries > 0 && tries <= otherBlockTries
    if (isSoon) this.#otherBlock.set(address, tries)
    else this.#otherBlock.delete(address)
    const usualMs = isLearnt ? this.#learntMs : intervalMs
    const fullMs = isSoon
      ? Math.min(intervalMs, otherBlockMs)
      : Math.min(pauseMsMax, usualMs * 2 ** Math.min(failures, 10))
    const jitter = isLearnt ? 1 + 0.2 * random() : 0.8 + 0.4 * random() // of an hour nothing is taken away
    this.#dueMs.set(address, clock.monotonicMs() + fullMs * jitter)
  }

  #put(record: TrackerRecord): TrackerRecord {
    this.#records.set(record.address, record)
    this.#hosts.add(dialledHost(parseHostPort(record.address)!))
    this.#revision++
    return record
  }

  /** A learnt one whose row is gone was forgotten meanwhile, and stays so. */
  #keep(record: TrackerRecord): void {
    const { db } = this.#deps
    if (updateTracker(db, this.#put(record))) return
    if (record.source === 'configured') insertTracker(db, record)
    else this.#drop(record.address)
  }

  #drop(address: string): void {
    this.#records.delete(address)
    this.#dueMs.delete(address)
    this.#read.delete(address)
    this.#otherBlock.delete(address)
    this.#hosts = new Set([...this.#records.keys()].map((other) => dialledHost(parseHostPort(other)!)))
    this.#revision++
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1000)
  }
}

/** Of a learnt one is kept whether its list was ours, not which bonds it names: it may name any. */
function asLearnt(record: TrackerRecord): TrackerRecord {
  const { compared, ...rest } = record
  return { ...rest, source: 'learnt', ...(compared && { compared: { ...compared, onlyOurs: [], onlyTheirs: [] } }) }
}
