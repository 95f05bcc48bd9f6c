/**
 * Registrations that another tracker of this market has taken, or that an operator has ended: watched here too, from here on
 * and backwards as far as the index reaches, and then written to our file.
 */
import type { Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import { slicesOf } from '../slices.ts'
import type { Db } from '../store/open.ts'
import { type Registration, readRegistration, upsertRegistration } from '../store/shared/registrations.ts'
import type { Untold } from '../store/shared/untold.ts'
import type { Lane } from '../wire/work.ts'
import { breathe } from '../world.ts'
import type { SpendRecorder } from './recorder.ts'
import type { RegistrationEnds } from './registration-ends.ts'
import { REGISTRATION_LIMITS } from './registrations.ts'
import type { Watcher } from './watcher.ts'

interface LearningDeps {
  db: Db
  indexer: Pick<Indexer, 'tip'>
  recorder: SpendRecorder
  watcher: Watcher
  ends: RegistrationEnds
  untold: Pick<Untold, 'registration'>
}

export class LearntRegistrations {
  readonly #deps: LearningDeps

  constructor(deps: LearningDeps) {
    this.#deps = deps
  }

  /** Throws TransientError where bitcoind can't be asked: then some may be written already, and it is safe to call it again. */
  async learn(registrations: readonly Registration[], dropped: readonly Outpoint[], lane: Lane): Promise<void> {
    const { recorder, db, ends } = this.#deps
    for (const some of slicesOf(dropped, REGISTRATION_LIMITS.piece)) {
      ends.end(some.filter((outpoint) => recorder.isRegistered(outpoint)))
      await breathe()
    }
    for (const some of slicesOf(registrations, REGISTRATION_LIMITS.piece)) {
      const news = some.filter((row) => this.#isNews(row))
      const fresh = news.map(({ outpoint }) => outpoint).filter((outpoint) => !recorder.isRegistered(outpoint))
      const rows = await this.#whenKnown(fresh, lane, (isMade) => news.map((row) => this.#watch(row, isMade)))
      await ends.write(rows, () =>
        db.transaction(() => {
          for (const row of rows) upsertRegistration(db, row)
        }),
      )
    }
  }

  async #whenKnown<T>(
    outpoints: readonly Outpoint[],
    lane: Lane,
    build: (isMade: (outpoint: Outpoint) => boolean) => T,
  ): Promise<T> {
    if (outpoints.length === 0) return build(() => false)
    const asked = new Set(outpoints)
    try {
      return await this.#deps.watcher.whenKnown(outpoints, lane, (isMade) =>
        build((outpoint) => asked.has(outpoint) && isMade(outpoint)),
      )
    } catch (error) {
      if (error instanceof PeerFault) throw new TransientError(error.message, { cause: error })
      throw error
    }
  }

  /** Whether it says more than our file does, and has not come to its end. */
  #isNews({ outpoint, untilHeight, unfundedUntil }: Registration): boolean {
    if (untilHeight < (this.#deps.indexer.tip()?.height ?? 0)) return false
    const known = readRegistration(this.#deps.db, outpoint)
    if (!known || known.untilHeight < untilHeight) return true
    if (known.unfundedUntil === undefined) return false
    return unfundedUntil === undefined || unfundedUntil > known.unfundedUntil
  }

  /** Returns the row as it is to be kept: the others may not have seen yet what has made it. */
  #watch(row: Registration, isMade: (outpoint: Outpoint) => boolean): Registration {
    const { recorder, untold, ends } = this.#deps
    const { outpoint, untilHeight, unfundedUntil } = row
    recorder.track(outpoint, 'registered')
    const isNewlyFunded = unfundedUntil !== undefined && isMade(outpoint)
    if (isNewlyFunded) untold.registration(outpoint)
    const kept = isNewlyFunded ? { outpoint, untilHeight } : row
    ends.expect(kept)
    return kept
  }
}
