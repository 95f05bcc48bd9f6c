/**
 * The one accounting of what strangers cost us. Work is counted in units: one a request, one an outpoint, one a kilobyte
 * of a reply, more for a signature or a question to bitcoind (`PRICES`). Three things follow from them:
 *
 * - An **allowance** per client, a token bucket: who has spent it is not read until it has grown again. A client is a
 *   connection, or a Tor circuit where its id is known.
 * - An **order**: work that has to wait stands behind the work of whoever has asked for less lately, and large work
 *   behind small. A newcomer's first question is next; who asks all the time, or for much, waits for its turn.
 * - **Pieces**: what runs on the serving thread runs there in pieces of a few milliseconds, one after the other, with the
 *   sockets between them.
 *
 * Knows nothing of requests, connections and bonds.
 */
import PQueue from 'p-queue'
import { PeerFault } from '../errors.ts'
import { after, type Clock, sleep } from '../world.ts'
import { Pieces } from './pieces.ts'

export const WORK_LIMITS = {
  /** Pieces run in a row until they have taken this together; then sockets and timers have their turn. */
  piecesMs: 2,
  /** What one piece aims at: an honest client waits for the piece under way, and for no other. */
  pieceOutpoints: 50,
  /**
   * How far a unit spent lately puts a client's work behind that of others. A wallet that polls five outpoints every three
   * seconds is 50 ms behind a newcomer, who asks for a thousand at once 0.5 s, a loop of such requests many seconds.
   */
  behindMsPerUnit: 0.25,
  behindMsMax: 30_000,
  /** What was spent is forgotten by half in this time. */
  halfLifeMs: 30_000,
  /** A request of more units than this is a large one. */
  largeUnits: 60,
  /** Large requests being answered; the others wait. A thousand outpoints take 0.5 MB meanwhile. */
  largeAtOnce: 16,
  /** Questions at bitcoind for strangers, each about at most `pieceOutpoints` outputs: a batch of 5 ms or so. */
  questionsAtOnce: 2,
  /** Who has waited this long for bitcoind, or for other large requests, is told `busy`: takers themselves give up after 60 s. */
  waitMsMax: 15_000,
}

/** Units, beside one a request. */
export const PRICES = {
  outpoint: 1,
  /** A kilobyte of a reply or a push, begun ones included. */
  kilobyte: 1,
  /** One question to bitcoind, or one output of a question about many. */
  question: 1,
  /** A block that bitcoind reads from its disk: some 20 ms. */
  block: 20,
  /** A signature checked, with what bitcoind is asked for it: some 5 ms. */
  proof: 20,
  /** The signature of an event checked: 1.7 ms at the worst, a fifth of that by WebAssembly. */
  signature: 7,
  /** A row on the disk before the answer. */
  row: 1,
}

export interface AllowanceLimits {
  /** Units a client may spend for long. */
  unitsPerS: number
  /** Units it may spend at once. */
  unitsBurst: number
}

/** What has been refused or made to wait since the start. */
export interface WorkCounts {
  /** Times that a client had spent its allowance and was not read. */
  exhausted: number
  /** Requests that were told `busy` after a wait. */
  refused: number
  /** Units spent. */
  units: number
  /** The longest piece, ms. */
  longestPieceMs: number
}

/** What one client has left and has spent lately; that of a circuit is shared by its connections. */
export class Account {
  readonly #limits: AllowanceLimits
  readonly #clock: Clock
  #left: number
  #lately = 0
  #atMs: number

  constructor(limits: AllowanceLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
    this.#left = limits.unitsBurst
    this.#atMs = clock.monotonicMs()
  }

  #advance(): void {
    const nowMs = this.#clock.monotonicMs()
    const passedMs = nowMs - this.#atMs
    this.#atMs = nowMs
    this.#left = Math.min(this.#limits.unitsBurst, this.#left + (passedMs / 1000) * this.#limits.unitsPerS)
    this.#lately *= 0.5 ** (passedMs / WORK_LIMITS.halfLifeMs)
  }

  /** Below 1 it may ask nothing now; what a reply turned out to cost may have taken it below 0. */
  get left(): number {
    this.#advance()
    return this.#left
  }

  /** How long until it may ask; 0 when it may. */
  get waitMs(): number {
    const owed = 1 - this.left
    return owed <= 0 ? 0 : Math.ceil((owed / this.#limits.unitsPerS) * 1000)
  }

  /** Units spent of late, fading away. */
  get lately(): number {
    this.#advance()
    return this.#lately
  }

  spend(units: number): void {
    this.#advance()
    this.#left -= units
    this.#lately += units
  }
}

/** The work of all clients. */
export class Work {
  readonly counts: WorkCounts = { exhausted: 0, refused: 0, units: 0, longestPieceMs: 0 }
  readonly #limits: AllowanceLimits
  readonly #clock: Clock
  readonly #pieces: Pieces
  readonly #questions = new PQueue({ concurrency: WORK_LIMITS.questionsAtOnce })
  readonly #large = new PQueue({ concurrency: WORK_LIMITS.largeAtOnce })
  /** By circuit, for as long as one of its connections is open. */
  readonly #circuits = new Map<string, { account: Account; lanes: number }>()

  constructor(limits: AllowanceLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
    this.#pieces = new Pieces(WORK_LIMITS.piecesMs, clock, this.counts)
  }

  /** For a client that has come. `signal`: it has gone. `circuit`: the id by which its connections are one client. */
  lane(signal: AbortSignal, circuit?: string): Lane {
    const account = circuit === undefined ? new Account(this.#limits, this.#clock) : this.#accountOf(circuit, signal)
    return new Lane(this, account, signal)
  }

  #accountOf(circuit: string, signal: AbortSignal): Account {
    let shared = this.#circuits.get(circuit)
    if (!shared) {
      shared = { account: new Account(this.#limits, this.#clock), lanes: 0 }
      this.#circuits.set(circuit, shared)
    }
    const { account } = shared
    shared.lanes++
    signal.addEventListener(
      'abort',
      () => {
        if (--shared.lanes === 0) this.#circuits.delete(circuit)
      },
      { once: true },
    )
    return account
  }

  /** Pieces, questions and large requests that wait. */
  get waiting(): { pieces: number; questions: number; large: number } {
    return { pieces: this.#pieces.size, questions: this.#questions.size, large: this.#large.size }
  }

  /** When work that comes now is due: earlier for whoever has asked for little. On the monotonic clock. */
  dueMs(account: Account): number {
    const { behindMsPerUnit, behindMsMax } = WORK_LIMITS
    return this.#clock.monotonicMs() + Math.min(behindMsMax, account.lately * behindMsPerUnit)
  }

  /** See Lane.piece. */
  piece<T>(dueMs: number, signal: AbortSignal, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const takeBack = this.#pieces.add(dueMs, () => {
        signal.removeEventListener('abort', onGone)
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
      const onGone = () => {
        takeBack()
        reject(signal.reason)
      }
      signal.addEventListener('abort', onGone, { once: true })
    })
  }

  /** Whether it would be the turn of a piece that came now. */
  get isFree(): boolean {
    return this.#pieces.isFree
  }

  /** Runs a piece whose turn it is. */
  runNow<T>(work: () => T): T {
    return this.#pieces.run(work)
  }

  /** See Lane.ask. */
  ask<T>(dueMs: number, signal: AbortSignal, question: () => Promise<T>): Promise<T> {
    return this.#inTurn(this.#questions, dueMs, signal, question, 'bitcoind is asked by many just now')
  }

  /** See Lane.large. */
  large<T>(dueMs: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#inTurn(this.#large, dueMs, signal, work, 'many large requests are being answered just now')
  }

  /**
   * Waits for the turn, no longer than `waitMsMax` or until the client has gone; then throws PeerFault `busy`, or the
   * reason of its signal. Work that has begun keeps its place to its end, though nobody may want it any more: else who
   * comes and goes would have more than its share.
   */
  async #inTurn<T>(queue: PQueue, dueMs: number, client: AbortSignal, work: () => Promise<T>, why: string): Promise<T> {
    client.throwIfAborted()
    const waiting = new AbortController()
    const leave = () => waiting.abort(client.reason)
    client.addEventListener('abort', leave, { once: true })
    const stopTimer = after(WORK_LIMITS.waitMsMax, () => {
      this.counts.refused++
      waiting.abort(new PeerFault('busy', `${why}: try again in a few seconds`))
    })
    const stopWaiting = () => {
      stopTimer()
      client.removeEventListener('abort', leave)
    }
    const begin = () => {
      stopWaiting()
      return work()
    }
    try {
      return await queue.add(begin, { priority: -dueMs, signal: waiting.signal })
    } finally {
      stopWaiting()
    }
  }
}

/** One client's way to have something done. Rejects with the reason of the client's signal once it has gone. */
export class Lane {
  readonly account: Account
  readonly #work: Work
  readonly #signal: AbortSignal
  #units = 0
  /** When the small request that is being answered is due, with all that it needs: the longer it waits, the sooner. */
  #dueMs: number | undefined

  constructor(work: Work, account: Account, signal: AbortSignal) {
    this.#work = work
    this.account = account
    this.#signal = signal
  }

  /** Units spent since the client came. */
  get units(): number {
    return this.#units
  }

  /** Spends units of the allowance. */
  charge(units: number): void {
    this.account.spend(units)
    this.#units += units
    this.#work.counts.units += units
  }

  /** Resolves once it may ask: for a client that can't be left unread. */
  async afford(): Promise<void> {
    for (let waitMs = this.account.waitMs; waitMs > 0; waitMs = this.account.waitMs) {
      this.noteExhausted()
      await sleep(waitMs, this.#signal)
    }
  }

  /** Counted when the client has spent its allowance. */
  noteExhausted(): void {
    this.#work.counts.exhausted++
  }

  get #due(): number {
    return this.#dueMs ?? this.#work.dueMs(this.account)
  }

  /** Runs one piece of work on the serving thread in its turn: synchronous, a few milliseconds at the most. */
  piece<T>(work: () => T): Promise<T> {
    return this.#work.piece(this.#due, this.#signal, work)
  }

  /**
   * Begins the answer to a request in its turn, one at a time: what of it is synchronous is one piece. Whatever it needs
   * besides is due with it, unless it is `large`. Where nobody waits it is the turn of this one, and an answer without a
   * wait is returned, or thrown, at once: most are, and a promise each would cost more than they do.
   */
  begin<T>(answer: () => T | Promise<T>): T | Promise<T> {
    if (!this.#work.isFree) return this.#beginInTurn(answer)
    this.#signal.throwIfAborted()
    this.#dueMs = this.#work.dueMs(this.account)
    let isComing = false
    try {
      const coming = this.#work.runNow(answer)
      isComing = coming instanceof Promise
      return isComing ? this.#finish(coming as Promise<T>) : coming
    } finally {
      if (!isComing) this.#dueMs = undefined
    }
  }

  async #beginInTurn<T>(answer: () => T | Promise<T>): Promise<T> {
    this.#dueMs = this.#work.dueMs(this.account)
    const begun = this.piece(() => {
      const coming = answer()
      if (coming instanceof Promise) coming.catch(() => {}) // awaited a moment later
      return { coming }
    })
    return this.#finish(begun.then(({ coming }) => coming))
  }

  async #finish<T>(coming: Promise<T>): Promise<T> {
    try {
      return await coming
    } finally {
      this.#dueMs = undefined
    }
  }

  /** Asks bitcoind in its turn, about at most `pieceOutpoints` outputs at once. Throws PeerFault `busy` after a long wait. */
  ask<T>(question: () => Promise<T>): Promise<T> {
    return this.#work.ask(this.#due, this.#signal, question)
  }

  /**
   * Answers a request of more than `largeUnits` when there is room for it. However long it takes, each of its pieces waits
   * behind newcomers. Throws PeerFault `busy` after a long wait.
   */
  large<T>(answer: () => Promise<T>): Promise<T> {
    this.#dueMs = undefined
    return this.#work.large(this.#due, this.#signal, answer)
  }
}
