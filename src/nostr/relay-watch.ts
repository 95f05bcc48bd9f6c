/**
 * Watches one relay: connects, reads what it has of the market and goes on listening, reads everything anew now and then,
 * and sends what the mender decides. Whatever the relay does ends a connection at the worst: one sentence, and another try
 * later.
 */
import type { Network, Txid } from '../chain/types.ts'
import { runAll } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { RelayPast } from '../store/local/relays.ts'
import type { HostPort, TorPort } from '../tor/address.ts'
import { freshIsolation } from '../tor/socks.ts'
import type { Lane, Work } from '../wire/work.ts'
import { Backoff, sleep, type World } from '../world.ts'
import { BOND_KINDS } from './event.ts'
import type { Mender, MenderPause } from './mender.ts'
import { NAMED_TRACKER_LIMITS, NamedTrackers } from './named-trackers.ts'
import { RelayConnection, type RelayRoute } from './relay-client.ts'
import { askRelayInformation, type RelayInformation } from './relay-information.ts'
import type { RelayLedger } from './relay-ledger.ts'
import { type MendedRelay, type Mending, mendRelay } from './relay-mending.ts'
import { RelaySession, type SessionListener } from './relay-session.ts'
import type { RelayCounts } from './relay-view.ts'
import { TRACKER_KIND } from './tracker-event.ts'

export const RELAY_WATCH_LIMITS = {
  /**
   * How often everything is read anew, as a taker reads it that was just started: a relay may have lost what it had. In
   * between, and after a reconnect or a restart, only what is newer than the last event. On regtest tests are running.
   */
  wholeMs: 3_600_000,
  wholeRegtestMs: 15_000,
  /** What was seen of a relay is told for so long after it was listened to last. */
  knownMs: 3_600_000,
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
  /** So long a relay that sent too fast is told to. */
  slowedMs: 60_000,
  /** Of what happened last. */
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
  url: string
  network: Network
  socks: TorPort | undefined
}

export interface RelayWatchDeps extends World {
  work: Work
  ledger: RelayLedger
  /** An event there says that a tracker is at `at`; `from` stands for the relay. */
  onTracker(at: HostPort, from: object): void
  /** Absent where nothing is sent. */
  mending?: Mending
}

export class RelayWatch {
  readonly ledger: RelayLedger
  readonly #options: RelayWatchOptions
  readonly #deps: RelayWatchDeps
  readonly #wholeMs: number
  readonly #trackers: NamedTrackers
  #state: RelayState = 'connecting'
  #stateSinceS: number
  /** On the monotonic clock, as all that follow: when it was listened to last, and since when it is. */
  #liveMs = Number.NEGATIVE_INFINITY
  #liveSinceMs: number | undefined
  #slowedMs = Number.NEGATIVE_INFINITY
  #wholeDueMs = Number.NEGATIVE_INFINITY
  #informedMs = Number.NEGATIVE_INFINITY
  #information: RelayInformation | undefined
  #failures = 0
  #failure: string | undefined
  #notices: readonly string[] = []

  constructor(options: RelayWatchOptions, deps: RelayWatchDeps) {
    const { clock, ledger } = deps
    this.ledger = ledger
    this.#options = options
    this.#deps = deps
    this.#trackers = new NamedTrackers(options.network, deps.random)
    this.#stateSinceS = this.#nowS()
    const { wholeMs, wholeRegtestMs } = RELAY_WATCH_LIMITS
    this.#wholeMs = options.network === 'regtest' ? wholeRegtestMs : wholeMs
    if (ledger.readS === undefined) return
    const agoMs = clock.nowMs() - ledger.readS * 1_000
    if (agoMs < 0) return // a clock that was set back says nothing of when it was
    this.#liveMs = clock.monotonicMs() - agoMs
    this.#wholeDueMs = this.#liveMs + this.#wholeMs
  }

  get url(): string {
    return this.#options.url
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
      this.ledger.dropWhole()
      if (this.#liveSinceMs !== undefined) {
        this.#liveMs = this.#nowMs()
        if (this.#liveMs - this.#liveSinceMs > RELAY_WATCH_LIMITS.lastingMs) backoff.reset()
        this.#liveSinceMs = undefined
      }
      if (this.#failures++ === 0) log.warn({ relay: this.url, detail: this.#failure }, 'relay not read: trying again')
      this.#enter('waiting')
      await sleep(backoff.nextMs(), signal)
    }
  }

  /** One connection, to its end. Throws TransientError. */
  async #connect(lane: Lane, signal: AbortSignal): Promise<void> {
    const { clock, mending } = this.#deps
    // A circuit of its own for each connection: no relay learns from Tor what another one sees, or who came before.
    const route = { socks: this.#options.socks, isolation: freshIsolation() }
    using connection = await RelayConnection.open(this.url, route, clock, signal)
    const session = new RelaySession(connection, lane, this.#listener(), clock)
    try {
      await runAll(signal, {
        messages: (s) => session.run(s),
        readings: (s) => this.#read(session, s),
        information: (s) => this.#inform(route, s),
        trackers: (s) => this.#nameTrackers(s),
        ...(mending && {
          mending: (s: AbortSignal) => mendRelay(mending, this.#mended(), session, lane, this.#deps, s),
        }),
      })
    } finally {
      mending?.mender.lost()
      await mending?.lease.giveBack() // who can't be reached from here may be from elsewhere
    }
  }

  // ---- reading -------------------------------------------------------------------------------------------------------

  /** First what is newer than what is known, or everything; then everything whenever that is due. */
  async #read(session: RelaySession, signal: AbortSignal): Promise<void> {
    this.#enter('reading')
    if (this.#isWholeDue()) await this.#readWhole(session, 'bonds', signal)
    else await session.read('bonds', { ...this.#filter(), ...this.#since() }, signal)
    this.#enter('live')
    this.#liveSinceMs = this.#nowMs()
    if (this.#failures > 0) this.#deps.log.info({ relay: this.url, failures: this.#failures }, 'relay read again')
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

  async #readWhole(session: RelaySession, id: string, signal: AbortSignal): Promise<void> {
    const startMs = this.#nowMs()
    this.ledger.beginWhole()
    await session.read(id, this.#filter(), signal)
    this.ledger.endWhole()
    this.#deps.log.debug({ relay: this.url, tookMs: Math.round(this.#nowMs() - startMs) }, 'relay read as a whole')
    this.#wholeDueMs = this.#nowMs() + this.#wholeMs * (0.9 + 0.2 * this.#deps.random())
  }

  #isWholeDue(): boolean {
    return this.#nowMs() >= this.#wholeDueMs
  }

  #filter() {
    return { kinds: [BOND_KINDS[this.#options.network]] }
  }

  #since() {
    const { cursorS } = this.ledger
    return cursorS === undefined ? {} : { since: Math.max(0, cursorS - RELAY_WATCH_LIMITS.overlapS) }
  }

  #listener(): SessionListener {
    return {
      onEvent: (event, frame) => {
        if (this.#trackers.take(event, this.#nowS())) return this.#nameTracker()
        const announced = this.ledger.take(event, frame)
        if (announced?.isOwn) this.#deps.mending?.mender.served(announced.txid)
      },
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

  // ---- counting ------------------------------------------------------------------------------------------------------

  /** The chain has new bonds, which takers should find here soon. */
  expect(txids: readonly Txid[]): void {
    if (this.#state === 'live') this.ledger.expect(txids) // else nobody could tell when they come
  }

  /** As the ledger's; `wanted` is undefined while our own list is not whole. */
  count(wanted: ReadonlySet<Txid> | undefined, isDead: (txid: Txid) => boolean, of: string): void {
    if (!wanted || this.ledger.readS === undefined || !this.#isFresh()) return this.ledger.uncount()
    this.ledger.count(wanted, isDead, of)
    this.#deps.mending?.mender.forgetOthers(wanted)
  }

  /** Listened to just now, or not long ago. */
  #isFresh(): boolean {
    return this.#liveSinceMs !== undefined || this.#nowMs() - this.#liveMs < RELAY_WATCH_LIMITS.knownMs
  }

  #mended(): MendedRelay {
    return {
      url: this.url,
      network: this.#options.network,
      isReady: () => this.#state === 'live' && this.ledger.counts !== undefined,
      at: (txid) => this.ledger.at(txid),
    }
  }

  // ---- telling -------------------------------------------------------------------------------------------------------

  /** What it says of itself, asked beside the conversation. */
  async #inform(route: RelayRoute, signal: AbortSignal): Promise<void> {
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

  record(): RelayRecord {
    const { readS, counts, delaysS } = this.ledger
    const mender = this.#deps.mending?.mender
    return {
      url: this.url,
      state: this.#state,
      stateSinceS: this.#stateSinceS,
      isSlowed: this.#nowMs() - this.#slowedMs < RELAY_WATCH_LIMITS.slowedMs,
      delaysS,
      failures: this.#failures,
      notices: this.#notices,
      ...(readS !== undefined && { readS }),
      ...(counts && { counts }),
      ...(this.#failure !== undefined && { failure: this.#failure }),
      ...(this.#information && { information: this.#information }),
      ...(mender && { mending: { counts: mender.counts, pause: mender.pause } }),
    }
  }

  /** What another start goes on from. */
  past(): RelayPast {
    const newsS = this.#deps.mending?.ownNews.saidS
    return { ...this.ledger.past(), ...(newsS !== undefined && { newsS }) }
  }

  #enter(state: RelayState): void {
    const { log } = this.#deps
    const waits = state === 'waiting' ? { failures: this.#failures, detail: this.#failure } : {}
    log.debug({ relay: this.url, state, bonds: this.ledger.counts, ...waits }, 'relay session')
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
