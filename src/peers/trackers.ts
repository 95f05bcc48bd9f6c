/**
 * Other trackers: those the operator names, asked every few minutes over Tor for their block and their list, and those
 * learnt from Pings, asked about once an hour. Compared only where both are at the same block. Nothing that another
 * tracker says changes what we list; nothing that a learnt one says is told to anybody who didn't ask.
 *
 * A Ping is only a hint: the host that it names is dialled back within what dial-budget.ts allows, and kept when a tracker
 * of our network answers there under the address it was dialled at. A Pong's address is a claim, never a key.
 */
import { Bell, TaskGroup } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Comparison, TrackerRecord } from '../store/local/trackers.ts'
import type { Db } from '../store/open.ts'
import { formatHostPort, type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import type { World } from '../world.ts'
import { DIAL_LIMITS, type DialBudget, dialledHost } from './dial-budget.ts'
import { Hints } from './hints.ts'
import { KnownTrackers } from './known-trackers.ts'
import { NoSuchTracker, type TrackerAnswer, type VisitDeps, type VisitOptions, visitTracker } from './tracker-visit.ts'

const LIMITS = {
  /** Configured ones asked at the same time: these places are theirs alone. */
  configuredAtOnce: 4,
  /**
   * Learnt ones and hints, together. As many as the dials of an hour can fill, each taking as long as a visit may: who is
   * slow on purpose keeps nobody waiting.
   */
  othersAtOnce: 8,
  /** How often a learnt one is asked; on regtest, where an interval is a second, after so many of them if that is sooner. */
  learntMs: 3_600_000,
  learntIntervals: 12,
  /** After `failures` in vain the pause doubles, up to this. */
  pauseMsMax: 21_600_000,
  /** A learnt one that was silent this long is forgotten; one that lies is at once. */
  forgetMs: 7 * 86_400_000,
  /** At another block than ours one is asked again after this, a few times: a block is everywhere in a minute. */
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
  selves: () => readonly HostPort[]
}

/** What became of hints: kept to be dialled; about somebody we know; or neither. */
export type HintOutcome = 'taken' | 'known' | 'refused'

export class Trackers {
  readonly #options: TrackersOptions
  readonly #deps: TrackersDeps
  readonly #known: KnownTrackers
  readonly #learntMs: number
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

  constructor(options: TrackersOptions, deps: TrackersDeps) {
    this.#options = options
    this.#deps = deps
    this.#known = new KnownTrackers(deps.db, options.configured, this.#nowS(), deps.random)
    this.#hints = new Hints(deps.clock, deps.random)
    const { learntMs, learntIntervals } = LIMITS
    const isRegtest = options.network === 'regtest'
    this.#learntMs = isRegtest ? Math.min(learntMs, learntIntervals * options.intervalMs) : learntMs
    for (const { address, source, askedS = 0 } of this.#known.list()) {
      if (source === 'configured') continue
      const leftMs = this.#learntMs - (deps.clock.nowMs() - 1_000 * askedS)
      this.#dueMs.set(address, deps.clock.monotonicMs() + Math.min(this.#learntMs, Math.max(0, leftMs)))
    }
  }

  /** By address. */
  list(): TrackerRecord[] {
    return this.#known.list()
  }

  /** Changes whenever a record has. */
  get revision(): number {
    return this.#known.revision
  }

  /** Since the start. */
  get hintCounts(): Readonly<Record<HintOutcome, number>> {
    return this.#hintCounts
  }

  /** The client `from` says that a tracker is at `address`, `port`. Costs nothing now and little later. */
  hint(address: string, port: number, from: object): void {
    if (address === '') return // it asks, and is none
    // The reference tracker tells its host without the port; in tests with it.
    const target = parseHostPort(address) ?? parseHostPort(`${address}:${port}`)
    const outcome = target ? this.#take(target, from) : 'refused'
    this.#hintCounts[outcome]++
    if (outcome === 'taken') this.#bell.ring()
  }

  #take(target: HostPort, from: object): HintOutcome {
    if (this.#isKnown(target)) return 'known'
    if (this.#deps.dials.isResting(target) || !this.#hints.mayAdd(target, from)) return 'refused'
    const { allowTestAddresses, socks } = this.#options
    const isTest = allowTestAddresses && target.host === '127.0.0.1'
    // Whether it is an onion name takes longest to say: it is asked for the few that get this far.
    const mayBeDialled = isTest || (socks !== undefined && isOnionHost(target.host))
    return mayBeDialled && this.#hints.add(target, from) ? 'taken' : 'refused'
  }

  /** Ourselves, and every host that has a tracker we know: one is enough. */
  #isKnown(target: HostPort): boolean {
    return this.#known.hasHost(target) || this.#deps.selves().some((self) => dialledHost(target) === dialledHost(self))
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
        this.#visitKnown(signal)
        this.#followHints(signal)
        await this.#bell.wait(LIMITS.lookMs)
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      await Promise.all([this.#configuredTasks.ended(), this.#otherTasks.ended()])
    }
  }

  /** Whom the operator has forgotten is not to be learnt again within the hour. */
  #noticeForgotten(): void {
    for (const address of this.#known.noticeForgotten()) {
      this.#deps.dials.rest(parseHostPort(address)!)
      this.#deps.log.info({ tracker: address }, 'tracker forgotten')
    }
    for (const memory of [this.#dueMs, this.#read, this.#otherBlock]) {
      for (const address of memory.keys()) if (!this.#known.get(address)) memory.delete(address)
    }
  }

  #visitKnown(signal: AbortSignal): void {
    const nowMs = this.#deps.clock.monotonicMs()
    const due = this.#known
      .list()
      .map((record) => ({ ...record, dueMs: this.#dueMs.get(record.address) ?? 0 }))
      .filter(({ dueMs }) => dueMs <= nowMs)
      .sort((a, b) => a.dueMs - b.dueMs)
    for (const { address, source } of due) {
      const isConfigured = source === 'configured'
      const tasks = isConfigured ? this.#configuredTasks : this.#otherTasks
      const atOnce = isConfigured ? LIMITS.configuredAtOnce : LIMITS.othersAtOnce
      if (tasks.size >= atOnce || tasks.has(address)) continue
      if (isConfigured || this.#mayAskLearnt(address)) tasks.start(address, this.#visit(address, signal), signal)
    }
  }

  /** Strangers have named it, so it counts among their dials. Where learnt ones are asked more often, tests are running. */
  #mayAskLearnt(address: string): boolean {
    return this.#learntMs < DIAL_LIMITS.perHostMs || this.#deps.dials.take(parseHostPort(address)!)
  }

  #followHints(signal: AbortSignal): void {
    const { dials } = this.#deps
    while (this.#otherTasks.size < LIMITS.othersAtOnce && dials.hasRoom()) {
      const target = this.#hints.take((hinted) => !this.#isKnown(hinted) && !dials.isResting(hinted))
      if (!target || !dials.take(target)) return
      this.#otherTasks.start(formatHostPort(target), this.#lookAt(target, signal), signal)
    }
  }

  /** Dials back where a stranger says that a tracker is, and keeps the one that is there. */
  async #lookAt(target: HostPort, signal: AbortSignal): Promise<void> {
    const { log } = this.#deps
    const address = formatHostPort(target)
    const answer = await this.#ask(target, false, signal)
    if (answer instanceof TransientError) {
      log.debug({ tracker: address, detail: describeError(answer) }, 'a Ping came from nowhere')
      return
    }
    if (this.#isKnown(target)) return
    const record = {
      address,
      source: 'learnt' as const,
      addedS: this.#nowS(),
      failures: 0,
      ...this.#heard(address, answer),
    }
    this.#known.learn(record)
    log.info({ tracker: address, version: record.version }, 'tracker learnt')
    this.#schedule(record, answer.kind === 'pong' && !answer.compared)
  }

  /** Asks one that is known, and keeps what it said. */
  async #visit(address: string, signal: AbortSignal): Promise<void> {
    const isConfigured = this.#known.get(address)?.source === 'configured'
    const answer = await this.#ask(parseHostPort(address)!, isConfigured, signal)
    const before = this.#known.get(address)
    if (!before) return // forgotten meanwhile
    if (answer instanceof TransientError) return this.#noteFailure(before, answer)
    const { failure: _, ...rest } = before
    const record: TrackerRecord = { ...rest, failures: 0, ...this.#heard(address, answer) }
    this.#known.keep(record)
    const compared = answer.kind === 'pong' ? answer.compared : undefined
    this.#schedule(record, answer.kind === 'pong' && !compared)
    if (isConfigured && compared && before.compared?.agrees !== compared.agrees) this.#tell(address, compared)
  }

  /** What goes wrong with another tracker is its answer; anything else is thrown. */
  async #ask(target: HostPort, mayDialTwice: boolean, signal: AbortSignal): Promise<TrackerAnswer | TransientError> {
    const tracker = formatHostPort(target)
    const { clock, log } = this.#deps
    const startMs = clock.monotonicMs()
    const tell = (said: object) =>
      log.debug({ tracker, ...said, tookMs: Math.round(clock.monotonicMs() - startMs) }, 'tracker asked')
    try {
      const visit = { target, read: this.#read.get(tracker), mayDialTwice }
      const answer = await visitTracker(visit, this.#options, this.#deps, signal)
      tell({ answer: answer.kind })
      return answer
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      tell({ detail: printable(describeError(error), LIMITS.failureChars) })
      return error
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

  #tell(tracker: string, { agrees, height, onlyOurs, onlyTheirs }: Comparison): void {
    const fields = { tracker, height, onlyOurs: onlyOurs.length, onlyTheirs: onlyTheirs.length }
    if (agrees) this.#deps.log.info(fields, 'tracker agrees')
    else this.#deps.log.warn(fields, 'tracker disagrees: compare with the verify verb')
  }

  #noteFailure(record: TrackerRecord, error: TransientError): void {
    const nowS = this.#nowS()
    const silentMs = 1_000 * (nowS - (record.seenS ?? record.addedS))
    const isOver = error instanceof NoSuchTracker || silentMs > LIMITS.forgetMs
    if (record.source === 'learnt' && isOver) return this.#known.forget(record.address)
    const failure = printable(describeError(error), LIMITS.failureChars)
    const failed = { ...record, failures: record.failures + 1, failure, askedS: nowS }
    this.#known.keep(failed)
    this.#schedule(failed, false)
  }

  #schedule({ address, source, failures }: TrackerRecord, wasElsewhere: boolean): void {
    const { clock, random } = this.#deps
    const { intervalMs } = this.#options
    const isLearnt = source === 'learnt'
    const mayTrySoon = !isLearnt || this.#learntMs < DIAL_LIMITS.perHostMs
    const tries = wasElsewhere && mayTrySoon ? (this.#otherBlock.get(address) ?? 0) + 1 : 0
    const isSoon = tries > 0 && tries <= LIMITS.otherBlockTries
    if (isSoon) this.#otherBlock.set(address, tries)
    else this.#otherBlock.delete(address)
    const usualMs = isLearnt ? this.#learntMs : intervalMs
    const fullMs = isSoon
      ? Math.min(intervalMs, LIMITS.otherBlockMs)
      : Math.min(Math.max(usualMs, LIMITS.pauseMsMax), usualMs * 2 ** Math.min(failures, 10))
    const jitter = isLearnt ? 1 + 0.2 * random() : 0.8 + 0.4 * random() // of an hour nothing is taken away
    this.#dueMs.set(address, clock.monotonicMs() + fullMs * jitter)
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1000)
  }
}
