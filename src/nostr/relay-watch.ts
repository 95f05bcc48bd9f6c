/**
 * Watches one relay: connects, reads what it has of the market and goes on listening, reads everything anew now and then,
 * and sends what the mender decides. Whatever the relay does ends a connection at the worst: one sentence, and another try
 * later.
 */
import type { Network, Txid } from '../chain/types.ts'
import { runAll } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { RelayPast } from '../store/relays.ts'
import type { HostPort } from '../tor/address.ts'
import { freshIsolation } from '../tor/socks.ts'
import type { Lane, Work } from '../wire/work.ts'
import { Backoff, sleep, type World } from '../world.ts'
import { BOND_KINDS } from './event.ts'
import type { Mender, MenderPause } from './mender.ts'
import { NAMED_TRACKER_LIMITS, NamedTrackers } from './named-trackers.ts'
import { RelayConnection } from './relay-client.ts'
import { type EventJudge, keyOfText } from './relay-events.ts'
import { askRelayInformation, type RelayInformation } from './relay-information.ts'
import { type MendedRelay, type Mending, mendRelay } from './relay-mending.ts'
import { RelaySession, type SessionListener } from './relay-session.ts'
import { type HeldBond, type RelayCounts, RelayView, relayCounts } from './relay-view.ts'
import { TRACKER_KIND } from './tracker-event.ts'

export const RELAY_WATCH_LIMITS = {
  /**
   * How often everything is read anew, as a taker reads it that was just started: a relay may have lost what it had. In
   * between, and after a reconnect or a restart, only what is newer than the last event. On regtest tests are running.
   */
  wholeMs: 3_600_000,
  wholeRegtestMs: 15_000,
  /** Read again before the newest event: relays get them in any order, some minutes late. */
  overlapS: 600,
  /** Between two tries; begun anew once a connection has lasted `lastingMs`. */
  backoff: { firstMs: 5_000, maxMs: 900_000 },
  lastingMs: 60_000,
  /** How often is looked whether something is due. */
  lookMs: 1_000,
  /** How often a relay is asked what it says of itself. */
  informationMs: 86_400_000,
  /** Different things that it said, kept. */
  noticesKept: 5,
  /** New bonds whose delay is kept. */
  delaysKept: 50,
  /** So long a relay that sent too fast is told to. */
  slowedMs: 60_000,
  /** A new bond that is not seen for so long is waited for no longer: makers announce every half hour. */
  expectMs: 86_400_000,
  failureChars: 200,
}

/** connecting, reading what is stored, listening, or waiting for the next try. */
export const RELAY_STATES = ['connecting', 'reading', 'live', 'waiting'] as const
export type RelayState = (typeof RELAY_STATES)[number]

/** All that is told of a relay. Times are Unix seconds. */
export interface RelayRecord {
  url: string
  state: RelayState
  stateSinceS: number
  /** It sends faster than it is read. */
  isSlowed: boolean
  /** When everything was read last. */
  readS?: number
  /** Absent while our own list is not whole, or the relay was not read for long. */
  counts?: RelayCounts
  delaysS: readonly number[]
  /** In a row. */
  failures: number
  failure?: string
  /** The newest first. */
  notices: readonly string[]
  information?: RelayInformation
  /** Absent where nothing is sent. */
  mending?: { counts: Mender['counts']; pause: MenderPause | undefined }
}

export interface RelayWatchOptions {
  network: Network
  socks: HostPort | undefined
}

export interface RelayWatchDeps extends World {
  work: Work
  judge: EventJudge
  /** Whether the chain has a bond in output 0 of this transaction, whatever its state. */
  isKnown(txid: Txid): boolean
  /** An event there says that a tracker is at `at`; `from` stands for the relay. */
  onTracker(at: HostPort, from: object): void
  /** Absent where nothing is sent. */
  mending?: Mending
}

export class RelayWatch {
  readonly url: string
  /** Of its row. */
  readonly id: number
  readonly #options: RelayWatchOptions
  readonly #deps: RelayWatchDeps
  readonly #wholeMs: number
  readonly #trackers: NamedTrackers
  #view: RelayView
  /** What a reading of everything has seen so far. */
  #fresh: RelayView | undefined
  #cursorS: number | undefined
  #readS: number | undefined
  readonly #delaysS: number[]
  /** New bonds that were not seen yet, and when the chain had them, on the monotonic clock. */
  readonly #expected = new Map<Txid, number>()
  /** Whose rows are out of date. */
  readonly #dirty = new Set<Txid>()
  #state: RelayState = 'connecting'
  #stateSinceS: number
  /** On the monotonic clock, as all that follow: when it was read, and since when; when it was slowed. */
  #liveMs = Number.NEGATIVE_INFINITY
  #liveSinceMs: number | undefined
  #slowedMs = Number.NEGATIVE_INFINITY
  #wholeDueMs: number
  #informedMs = Number.NEGATIVE_INFINITY
  #information: RelayInformation | undefined
  #counts: RelayCounts | undefined
  #countedOf = ''
  #failures = 0
  #failure: string | undefined
  #notices: readonly string[] = []

  /** `held`: what the relay was seen to have, as of `past`. */
  constructor(
    past: RelayPast,
    held: Iterable<readonly [Txid, HeldBond]>,
    options: RelayWatchOptions,
    deps: RelayWatchDeps,
  ) {
    const { clock } = deps
    this.url = past.url
    this.id = past.id
    this.#options = options
    this.#deps = deps
    this.#trackers = new NamedTrackers(options.network, deps.random)
    this.#view = new RelayView(held, past.faults)
    this.#cursorS = past.cursorS
    this.#readS = past.readS
    this.#delaysS = [...past.delaysS]
    this.#stateSinceS = this.#nowS()
    const { wholeMs, wholeRegtestMs } = RELAY_WATCH_LIMITS
    this.#wholeMs = options.network === 'regtest' ? wholeRegtestMs : wholeMs
    const agoMs = past.readS === undefined ? Number.POSITIVE_INFINITY : clock.nowMs() - past.readS * 1_000
    // A clock that was set back says nothing of when it was.
    this.#wholeDueMs = clock.monotonicMs() + (agoMs < 0 ? 0 : Math.max(0, this.#wholeMs - agoMs))
    if (past.readS !== undefined && agoMs >= 0) this.#liveMs = clock.monotonicMs() - agoMs
  }

  /** Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, log, work } = this.#deps
    const backoff = new Backoff(RELAY_WATCH_LIMITS.backoff, random)
    const lane = work.lane(signal)
    for (;;) {
      this.#enter('connecting')
      try {
        await this.#connect(lane, signal)
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (!(error instanceof TransientError)) throw error
        this.#failure = printable(describeError(error), RELAY_WATCH_LIMITS.failureChars)
      }
      signal.throwIfAborted()
      const liveSinceMs = this.#liveSinceMs
      this.#liveSinceMs = undefined
      this.#fresh = undefined
      if (liveSinceMs !== undefined) {
        this.#liveMs = this.#nowMs()
        if (this.#liveMs - liveSinceMs > RELAY_WATCH_LIMITS.lastingMs) backoff.reset()
      }
      if (this.#failures++ === 0) log.warn({ relay: this.url, detail: this.#failure }, 'relay not read: trying again')
      this.#enter('waiting')
      await sleep(backoff.nextMs(), signal)
    }
  }

  /** One connection, to its end. Throws TransientError. */
  async #connect(lane: Lane, signal: AbortSignal): Promise<void> {
    const { clock, mending } = this.#deps
    const { socks } = this.#options
    // A circuit of its own for each connection: no relay learns from Tor what another one sees, or who came before.
    const route = { socks, isolation: freshIsolation() }
    using connection = await RelayConnection.open(this.url, route, clock, signal)
    const session = new RelaySession(connection, lane, this.#listener(), clock)
    try {
      await runAll(signal, {
        messages: (s) => session.run(s),
        readings: (s) => this.#read(session, s),
        information: (s) => this.#inform(route, s),
        trackers: (s) => this.#nameTrackers(s),
        ...(mending && {
          mending: (s: AbortSignal) => mendRelay(mending, this.#mendable(), session, lane, this.#deps, s),
        }),
      })
    } finally {
      mending?.mender.lost()
    }
  }

  // ---- reading -------------------------------------------------------------------------------------------------------

  /** First what is newer than what is known, or everything; then everything whenever that is due. */
  async #read(session: RelaySession, signal: AbortSignal): Promise<void> {
    const { log } = this.#deps
    this.#enter('reading')
    if (this.#isWholeDue()) await this.#readWhole(session, 'bonds', signal)
    else await session.read('bonds', { ...this.#filter(), ...this.#since() }, signal)
    this.#enter('live')
    this.#liveSinceMs = this.#nowMs()
    if (this.#failures > 0) log.info({ relay: this.url, failures: this.#failures }, 'relay read again')
    this.#failures = 0
    this.#failure = undefined
    session.listen('trackers', {
      kinds: [TRACKER_KIND],
      '#n': [this.#options.network],
      limit: NAMED_TRACKER_LIMITS.kept,
    })
    for (;;) {
      await sleep(RELAY_WATCH_LIMITS.lookMs, signal)
      if (!this.#isWholeDue()) continue
      await this.#readWhole(session, 'all', signal)
      session.close('all')
    }
  }

  /** Afterwards we know what a taker sees that was just started: nothing more. */
  async #readWhole(session: RelaySession, id: string, signal: AbortSignal): Promise<void> {
    const fresh = new RelayView()
    this.#fresh = fresh
    await session.read(id, this.#filter(), signal)
    this.#fresh = undefined
    for (const [txid, { untilS }] of this.#view.held()) if (fresh.get(txid)?.untilS !== untilS) this.#dirty.add(txid)
    for (const [txid] of fresh.held()) if (!this.#view.get(txid)) this.#dirty.add(txid)
    this.#view = fresh
    this.#countedOf = ''
    this.#readS = this.#nowS()
    this.#wholeDueMs = this.#nowMs() + this.#wholeMs * (0.9 + 0.2 * this.#deps.random())
  }

  #isWholeDue(): boolean {
    return this.#readS === undefined || this.#nowMs() >= this.#wholeDueMs
  }

  #filter() {
    return { kinds: [BOND_KINDS[this.#options.network]] }
  }

  #since() {
    return this.#cursorS === undefined ? {} : { since: Math.max(0, this.#cursorS - RELAY_WATCH_LIMITS.overlapS) }
  }

  #listener(): SessionListener {
    return {
      onEvent: (event, frame) => this.#take(event, frame),
      onSaid: (kind, text) => {
        const said = text === '' ? kind : `${kind}: ${text}`
        const others = this.#notices.filter((notice) => notice !== said)
        this.#notices = [said, ...others].slice(0, RELAY_WATCH_LIMITS.noticesKept)
      },
      onSlowed: () => {
        this.#slowedMs = this.#nowMs()
      },
    }
  }

  /** `event`: undefined where its frame was too long. */
  #take(event: unknown, frame: string): void {
    const nowS = this.#nowS()
    const views = this.#fresh ? [this.#view, this.#fresh] : [this.#view]
    if (event === undefined) {
      const key = keyOfText(frame)
      for (const view of views) view.refuse(key, 'shape')
      return
    }
    if (this.#trackers.take(event, nowS)) return this.#nameTracker()
    const judged = this.#deps.judge.judge(event, frame, nowS)
    if (!judged.ok) {
      for (const view of views) view.refuse(judged.key, judged.fault)
      return
    }
    const { txid, held, createdAtS } = judged
    const isKnown = this.#deps.isKnown(txid)
    for (const view of views) if (view.take(txid, held, isKnown) && view === this.#view) this.#dirty.add(txid)
    this.#cursorS = Math.max(this.#cursorS ?? 0, Math.min(createdAtS, nowS))
    if (held.isOwn) this.#deps.mending?.mender.served(txid)
    else this.#noteSeen(txid)
  }

  // ---- other trackers ------------------------------------------------------------------------------------------------

  async #nameTrackers(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(NAMED_TRACKER_LIMITS.everyMs, signal)
      this.#nameTracker()
    }
  }

  #nameTracker(): void {
    const at = this.#trackers.next(this.#nowS())
    if (at) this.#deps.onTracker(at, this)
  }

  // ---- new bonds -----------------------------------------------------------------------------------------------------

  /** The chain has new bonds, which takers should find here soon. */
  expect(txids: readonly Txid[]): void {
    if (this.#state !== 'live') return // when they come nobody could tell
    for (const txid of txids) {
      this.#expected.set(txid, this.#nowMs())
      if (this.#view.at(txid, this.#nowS())?.isOwn === false) this.#noteSeen(txid)
    }
  }

  #noteSeen(txid: Txid): void {
    const sinceMs = this.#expected.get(txid)
    if (sinceMs === undefined) return
    this.#expected.delete(txid)
    this.#delaysS.push(Math.round((this.#nowMs() - sinceMs) / 1_000))
    if (this.#delaysS.length > RELAY_WATCH_LIMITS.delaysKept) this.#delaysS.shift()
  }

  // ---- counting ------------------------------------------------------------------------------------------------------

  /**
   * Compares what the relay has with the chain. `wanted`: the bonds that takers should find, undefined while our own list
   * is not whole; `of`: changes with everything that is not the relay's.
   */
  count(wanted: ReadonlySet<Txid> | undefined, isDead: (txid: Txid) => boolean, of: string): void {
    const nowS = this.#nowS()
    const isRead = this.#readS !== undefined && this.#isFresh()
    if (!wanted || !isRead) {
      this.#counts = undefined
      this.#countedOf = ''
      return
    }
    for (const txid of this.#view.prune(nowS)) this.#dirty.add(txid)
    const countedOf = `${of} ${this.#view.revision}`
    if (this.#countedOf === countedOf) return
    this.#counts = relayCounts(this.#view, wanted, isDead, nowS)
    this.#countedOf = countedOf
    this.#deps.mending?.mender.forgetOthers(wanted)
    const tooLongMs = this.#nowMs() - RELAY_WATCH_LIMITS.expectMs
    for (const [txid, sinceMs] of this.#expected) {
      if (sinceMs < tooLongMs || !wanted.has(txid)) this.#expected.delete(txid)
    }
  }

  /** Listened to just now, or not long ago. */
  #isFresh(): boolean {
    return this.#liveSinceMs !== undefined || this.#nowMs() - this.#liveMs < RELAY_WATCH_LIMITS.wholeMs
  }

  /** True when it is known that no valid event announces the bond here. */
  lacks(txid: Txid): boolean {
    return this.#counts !== undefined && this.#view.at(txid, this.#nowS()) === undefined
  }

  #mendable(): MendedRelay {
    return {
      url: this.url,
      network: this.#options.network,
      isReady: () => this.#state === 'live' && this.#counts !== undefined,
      at: (txid) => this.#view.at(txid, this.#nowS()),
    }
  }

  // ---- what it says of itself ----------------------------------------------------------------------------------------

  async #inform(route: Parameters<typeof askRelayInformation>[1], signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#nowMs() - this.#informedMs >= RELAY_WATCH_LIMITS.informationMs) {
        this.#informedMs = this.#nowMs()
        try {
          this.#information = await askRelayInformation(this.url, route, signal)
        } catch (error) {
          if (!(error instanceof TransientError)) throw error // else it says nothing: that is its right
        }
      }
      await sleep(RELAY_WATCH_LIMITS.informationMs, signal)
    }
  }

  // ---- telling -------------------------------------------------------------------------------------------------------

  record(): RelayRecord {
    const mender = this.#deps.mending?.mender
    const record: RelayRecord = {
      url: this.url,
      state: this.#state,
      stateSinceS: this.#stateSinceS,
      isSlowed: this.#nowMs() - this.#slowedMs < RELAY_WATCH_LIMITS.slowedMs,
      delaysS: this.#delaysS,
      failures: this.#failures,
      notices: this.#notices,
    }
    if (this.#readS !== undefined) record.readS = this.#readS
    if (this.#counts) record.counts = this.#counts
    if (this.#failure !== undefined) record.failure = this.#failure
    if (this.#information) record.information = this.#information
    if (mender) record.mending = { counts: mender.counts, pause: mender.pause }
    return record
  }

  /** What another start goes on from. */
  past(): RelayPast {
    const past: RelayPast = { id: this.id, url: this.url, delaysS: this.#delaysS, faults: this.#view.faults() }
    if (this.#cursorS !== undefined) past.cursorS = this.#cursorS
    if (this.#readS !== undefined) past.readS = this.#readS
    const newsS = this.#deps.mending?.ownNews.saidS
    if (newsS !== undefined) past.newsS = newsS
    return past
  }

  /** Bonds whose rows are out of date, at most so many, and what they have to say; they are out of date no more. */
  takeChanges(max: number): [Txid, HeldBond?][] {
    const changes: [Txid, HeldBond?][] = []
    for (const txid of this.#dirty) {
      if (changes.length === max) break
      this.#dirty.delete(txid)
      const held = this.#view.get(txid)
      changes.push(held ? [txid, held] : [txid])
    }
    return changes
  }

  #enter(state: RelayState): void {
    this.#state = state
    this.#stateSinceS = this.#nowS()
  }

  #nowMs(): number {
    return this.#deps.clock.monotonicMs()
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1_000)
  }
}
