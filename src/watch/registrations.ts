/**
 * Registered outpoints: watched until a height, whatever happens to us or to the connection meanwhile. A place is kept to
 * its end. One whose outpoint no transaction has made yet is kept for a day, until it is funded: made-up outpoints don't
 * fill the table. Half of all places are free; from there on a registration brings an effort (effort.ts). Rows are on the
 * disk before the client is told.
 */
import type { NodeApi } from '../chain/node-reader.ts'
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import { describeError, PeerFault, TransientError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import { slicesOf } from '../slices.ts'
import { readRecentBlocks } from '../store/local/tip.ts'
import type { Db } from '../store/open.ts'
import { firstRegistrationEnd, type Registration, readRegistration } from '../store/shared/registrations.ts'
import type { OwnShared } from '../store/shared/store.ts'
import type { Untold } from '../store/shared/untold.ts'
import type { Lane } from '../wire/work.ts'
import type { World } from '../world.ts'
import { askForEffort, EFFORT_LIMITS, effortBits, effortBitsAsked } from './effort.ts'
import type { SpendRecorder } from './recorder.ts'
import { RegistrationEnds } from './registration-ends.ts'
import type { Subscription } from './subscription.ts'
import type { Watcher, WatchLimits } from './watcher.ts'

export const REGISTRATION_LIMITS = {
  /** Blocks a registration may be asked for: a year. */
  blocksMax: 52_560,
  /** Blocks an outpoint is kept that no transaction has made: a day. Wallets register a swap's contract as they sign it. */
  unfundedBlocks: 144,
  /** Blocks a v1 `Watch` keeps watching: two weeks. It is prolonged once a day, not with every question. */
  v1Blocks: 2_016,
  v1RenewBlocks: 144,
  /** Outpoints of a request that are read, or take their places, in one piece: a millisecond or two. */
  piece: 50,
}

/** Why a registration was refused. */
export const REGISTRATION_REFUSALS = ['effort', 'full', 'connection'] as const
export type RegistrationRefusal = (typeof REGISTRATION_REFUSALS)[number]

export interface RegisterAsked {
  outpoints: readonly Outpoint[]
  ttlBlocks: number
  /** 8 bytes; see effort.ts. */
  effort?: Uint8Array | undefined
}

export interface Registered {
  count: number
  /** The lowest until which one of them is asked for to be watched, now or before. */
  untilHeight: Height
  /** How many no transaction has made yet; with it, until when the first of these is kept unless one does. */
  unfunded?: number
  unfundedUntil?: Height
}

interface RegistrationsDeps extends World {
  db: Db
  indexer: Indexer
  recorder: SpendRecorder
  watcher: Watcher
  api: NodeApi
  limits: Pick<WatchLimits, 'registrationsPerConnection' | 'watchesMax'>
  shared: OwnShared
  untold: Pick<Untold, 'registration'>
}

export class Registrations {
  readonly refused: Record<RegistrationRefusal, number> = { effort: 0, full: 0, connection: 0 }
  readonly #deps: RegistrationsDeps
  readonly ends: RegistrationEnds
  /** Places of requests that were admitted and are still being looked up. */
  #reserved = 0

  constructor(deps: RegistrationsDeps) {
    this.#deps = deps
    this.ends = new RegistrationEnds(deps)
  }

  /** Ends registrations, and sees their fundings. Runs until the signal. */
  run(signal: AbortSignal): Promise<void> {
    return this.ends.run(signal)
  }

  /** Outpoints registered. */
  get count(): number {
    return this.#deps.recorder.registrations
  }

  /** Bits that the next one asks for, when it is for two weeks. */
  get effortBits(): number {
    return effortBitsAsked({ ...this.#places, fresh: 1, prolonged: 0, ttlBlocks: EFFORT_LIMITS.blocks })
  }

  get #places() {
    return { taken: this.count + this.#reserved, max: this.#deps.limits.watchesMax }
  }

  /**
   * Watches outpoints for `ttlBlocks` from now on, restarts included. Resolves once the past is known too and the watch is
   * on the disk: the client may commit its money. Throws PeerFault.
   */
  async register(asked: RegisterAsked, client: Subscription, lane: Lane): Promise<Registered> {
    const { outpoints, ttlBlocks } = asked
    if (ttlBlocks < 1 || ttlBlocks > REGISTRATION_LIMITS.blocksMax) {
      throw new PeerFault('bad_request', `Register.ttl_blocks: expected 1 to ${REGISTRATION_LIMITS.blocksMax}`)
    }
    this.#deps.watcher.assertFew(outpoints)
    if (this.#deps.shared.isAway) throw cannotBeKept()
    return this.#keep(asked, await this.#read(outpoints, ttlBlocks, client, lane), client, lane)
  }

  /** What a v1 `Watch` asks along with its question: registers `outpoint` for two weeks where that is free, and says nothing. */
  async registerIfFree(outpoint: Outpoint, client: Subscription, lane: Lane): Promise<void> {
    const asked = { outpoints: [outpoint], ttlBlocks: REGISTRATION_LIMITS.v1Blocks }
    try {
      const present = await this.#read(asked.outpoints, asked.ttlBlocks, client, lane)
      const row = present.rows.get(outpoint)
      const left = row ? row.untilHeight - this.#tip().height : 0
      if (row && row.unfundedUntil === undefined && left > asked.ttlBlocks - REGISTRATION_LIMITS.v1RenewBlocks) return
      await this.#keep(asked, present, client, lane)
    } catch (error) {
      if (!(error instanceof PeerFault)) throw error
    }
  }

  #tip() {
    const tip = this.#deps.indexer.tip()
    if (!tip) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    return tip
  }

  /** Every outpoint once, with its registration if it has one. */
  async #read(outpoints: readonly Outpoint[], ttlBlocks: number, client: Subscription, lane: Lane): Promise<Present> {
    const { db, recorder } = this.#deps
    const { height } = this.#tip()
    const unique = [...new Map(outpoints.map((outpoint) => [formatOutpoint(outpoint), outpoint])).values()]
    const present: Present = { rows: new Map(), fresh: 0, prolonged: 0, others: 0 }
    for (const some of slicesOf(unique, REGISTRATION_LIMITS.piece)) {
      await lane.piece(() => {
        for (const outpoint of some) {
          const row = readRegistration(db, outpoint)
          present.rows.set(outpoint, row)
          if (!recorder.isRegisteredBy(outpoint, client)) present.others++
          if (!recorder.isRegistered(outpoint)) present.fresh++
          else if (row && isShorter(row, height, ttlBlocks)) present.prolonged++
        }
      })
    }
    return present
  }

  /** Throws PeerFault `limit` where there is no place for them, or the effort is too little. */
  #admit({ outpoints, ttlBlocks, effort }: RegisterAsked, present: Present, client: Subscription): void {
    const { db, limits } = this.#deps
    const { fresh, prolonged, others } = present
    if (client.registered.size + others > limits.registrationsPerConnection) {
      this.refused.connection++
      const message = `a connection may register ${limits.registrationsPerConnection} outpoints: open another for more`
      throw new PeerFault('limit', message)
    }
    const { taken, max } = this.#places
    if (fresh > 0 && taken + fresh > max) {
      this.refused.full++
      const message = `this tracker has room for ${max} registered outpoints, and ${this.#taken}; the next one ends after block ${firstRegistrationEnd(db)}`
      throw new PeerFault('limit', message)
    }
    const bits = effortBitsAsked({ taken, max, fresh, prolonged, ttlBlocks })
    if (bits === 0) return
    const brought = effort && this.#bitsOf(outpoints, effort)
    if (brought !== undefined && brought >= bits) return
    this.refused.effort++
    const had = brought === undefined ? 'it had none' : `it had ${brought}`
    throw new PeerFault('limit', `${askForEffort({ bits, blockHash: this.#tip().hash })}: ${had}, and ${this.#taken}`)
  }

  get #taken(): string {
    const { taken, max } = this.#places
    return `${taken} of ${max} places are taken`
  }

  /** The most over our tip or one of the blocks before. */
  #bitsOf(outpoints: readonly Outpoint[], effort: Uint8Array): number {
    const tips = readRecentBlocks(this.#deps.db, EFFORT_LIMITS.tips)
    return Math.max(...tips.map(({ hash }) => effortBits({ blockHash: hash, outpoints }, effort)))
  }

  /**
   * Takes places for them once they are known, and says so when that is on the disk. What is refused changes nothing; where
   * bitcoind goes away in the middle some may be kept, and are free when the client comes again.
   */
  async #keep(asked: RegisterAsked, present: Present, client: Subscription, lane: Lane): Promise<Registered> {
    const { watcher } = this.#deps
    this.#admit(asked, present, client)
    const outpoints = [...present.rows.keys()]
    const taking: Taking = { ...asked, present, client, reserved: present.fresh, rows: [], changed: [], fresh: [] }
    this.#reserved += taking.reserved // nobody else is admitted to these places
    try {
      await watcher.whenKnown(outpoints, lane, () => {}) // all at once, as that costs bitcoind least
      for (const some of slicesOf(outpoints, REGISTRATION_LIMITS.piece))
        await watcher.whenKnown(some, lane, (isMade) => this.#take(taking, some, isMade))
    } finally {
      this.#reserved -= taking.reserved
      await this.#commit(taking)
    }
    const { rows } = taking
    const unfunded = rows.flatMap(({ unfundedUntil, untilHeight }) =>
      unfundedUntil === undefined ? [] : [Math.min(unfundedUntil, untilHeight)],
    )
    return {
      count: rows.length,
      untilHeight: lowest(rows.map(({ untilHeight }) => untilHeight)) ?? this.#tip().height + asked.ttlBlocks,
      ...(unfunded.length > 0 && { unfunded: unfunded.length, unfundedUntil: lowest(unfunded)! }),
    }
  }

  /** Throws PeerFault `busy` where nobody knows whether they are registered: then they are free when the client comes again. */
  async #commit({ changed, fresh }: Taking): Promise<void> {
    const { db, recorder, log } = this.#deps
    try {
      await this.ends.register(changed)
    } catch (error) {
      // If they were registered after all, that is learnt from the shared store.
      for (const outpoint of fresh) {
        if (!this.ends.isPending(outpoint) && !readRegistration(db, outpoint)) recorder.untrack(outpoint, 'registered')
      }
      if (!(error instanceof TransientError)) throw error
      log.debug({ detail: describeError(error) }, 'not registered')
      throw cannotBeKept(error)
    }
  }

  /** From here on they are watched; at one moment with what is known of them. */
  #take(taking: Taking, outpoints: readonly Outpoint[], isMade: (outpoint: Outpoint) => boolean): void {
    const { recorder } = this.#deps
    const { height } = this.#tip()
    for (const outpoint of outpoints) {
      const isRegistered = recorder.isRegistered(outpoint)
      const before = isRegistered ? taking.present.rows.get(outpoint) : undefined
      const isFunded = isMade(outpoint) || (before !== undefined && before.unfundedUntil === undefined)
      const row = registrationFor(outpoint, height, taking.ttlBlocks, isFunded, before)
      taking.rows.push(row)
      if (!isRegistered) {
        recorder.track(outpoint, 'registered')
        taking.fresh.push(outpoint)
        if (taking.reserved > 0) {
          taking.reserved--
          this.#reserved--
        }
      }
      recorder.noteRegisteredBy(outpoint, taking.client)
      if (before && isSame(row, before)) continue
      taking.changed.push(row)
      this.ends.expect(row)
    }
  }
}

function cannotBeKept(cause?: unknown): PeerFault {
  return new PeerFault('busy', 'registrations can not be kept just now: try again in a few seconds', { cause })
}

/** What is registered already of what a request asks for. */
interface Present {
  /** Every outpoint once. */
  rows: Map<Outpoint, Registration | undefined>
  /** How many need a place, and how many others are to be kept for longer. */
  fresh: number
  prolonged: number
  /** How many the connection has not registered itself. */
  others: number
}

/** A request that was admitted. */
interface Taking {
  readonly ttlBlocks: number
  readonly present: Present
  readonly client: Subscription
  /** Places that are kept for it and not taken yet. */
  reserved: number
  /** How its outpoints are kept now, and those of them whose row is new. */
  readonly rows: Registration[]
  readonly changed: Registration[]
  /** Those that nobody had registered before. */
  readonly fresh: Outpoint[]
}

/** How an outpoint is to be kept that is registered at `height` for `ttlBlocks`, and perhaps was `before`: never less. */
function registrationFor(
  outpoint: Outpoint,
  height: Height,
  ttlBlocks: number,
  isFunded: boolean,
  before: Registration | undefined,
): Registration {
  const untilHeight = Math.max(height + ttlBlocks, before?.untilHeight ?? 0)
  if (isFunded) return { outpoint, untilHeight }
  const unfundedUntil = Math.max(height + REGISTRATION_LIMITS.unfundedBlocks, before?.unfundedUntil ?? 0)
  return { outpoint, untilHeight, unfundedUntil }
}

/** Whether a registration at `height` for `ttlBlocks` is longer than `row`. */
function isShorter(row: Registration, height: Height, ttlBlocks: number): boolean {
  const { untilHeight, unfundedUntil = untilHeight } = row
  const anew = Math.min(untilHeight, height + REGISTRATION_LIMITS.unfundedBlocks)
  return untilHeight < height + ttlBlocks || unfundedUntil < anew
}

function lowest(heights: readonly Height[]): Height | undefined {
  return heights.length > 0 ? heights.reduce((a, b) => Math.min(a, b)) : undefined
}

function isSame(a: Registration, b: Registration): boolean {
  return a.untilHeight === b.untilHeight && a.unfundedUntil === b.unfundedUntil
}
