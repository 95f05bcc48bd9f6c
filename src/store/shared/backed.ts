/**
 * The shared store of a tracker that shares with others: what they have in common (`CommonStore`), with this tracker's own
 * file behind it. Registrations are committed there first, then here. While it is away, whoever asks goes on alone,
 * except with registrations.
 */
import { TransientError } from '../../errors.ts'
import { after, breathe, type Clock } from '../../world.ts'
import type { Db } from '../open.ts'
import { type Registration, upsertRegistration } from './registrations.ts'
import type { Claim, CommonStore, OwnShared, SharedNews } from './store.ts'

const LIMITS = {
  /** Rows written to our file in one go: some 2 ms. */
  rowsAtOnce: 200,
  /** Between two claims: so that the load on the shared store has a bound, however fast probes end. */
  claimGapMs: 250,
}

export class BackedShared implements OwnShared {
  readonly #db: Db
  readonly #common: CommonStore
  readonly #isUp: () => boolean
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #pause: (ms: number) => Promise<void>
  readonly #registering = new Set<Promise<void>>()
  #nextClaimMs = Number.NEGATIVE_INFINITY

  /** `pause`: how it waits. */
  constructor(
    db: Db,
    common: CommonStore,
    isUp: () => boolean,
    clock: Pick<Clock, 'monotonicMs'>,
    pause = (ms: number) => new Promise<void>((resolve) => void after(ms, resolve)),
  ) {
    this.#db = db
    this.#isUp = isUp
    this.#common = common
    this.#clock = clock
    this.#pause = pause
  }

  get isAway(): boolean {
    return !this.#isUp()
  }

  async register(registrations: readonly Registration[]): Promise<void> {
    const registering = this.#register(registrations)
    this.#registering.add(registering)
    try {
      await registering
    } finally {
      this.#registering.delete(registering)
    }
  }

  async #register(registrations: readonly Registration[]): Promise<void> {
    if (registrations.length === 0) return
    await this.#common.register(registrations)
    for (let at = 0; at < registrations.length; at += LIMITS.rowsAtOnce) {
      if (at > 0) await breathe()
      this.#db.transaction(() => {
        for (const row of registrations.slice(at, at + LIMITS.rowsAtOnce)) upsertRegistration(this.#db, row)
      })
    }
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#registering)
  }

  merge(news: SharedNews): Promise<void> {
    return this.#common.merge(news)
  }

  /** Waits for its turn. While nobody can be asked, each probes for itself. */
  async claim(hosts: readonly string[], leaseMs: number): Promise<Claim[]> {
    const nowMs = this.#clock.monotonicMs()
    const atMs = Math.max(nowMs, this.#nextClaimMs)
    this.#nextClaimMs = atMs + LIMITS.claimGapMs
    if (atMs > nowMs) await this.#pause(atMs - nowMs)
    try {
      return await this.#common.claim(hosts, leaseMs)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      return hosts.map((host) => ({ host, isOurs: true, waitMs: 0 }))
    }
  }

  release(host: string, freeInMs: number): Promise<void> {
    return this.#common.release(host, freeInMs)
  }

  take(name: string, lengthMs: number): Promise<boolean> {
    return this.#common.take(name, lengthMs)
  }

  drop(name: string): Promise<void> {
    return this.#common.drop(name)
  }
}
