/**
 * The ends of registrations: at their height, or, where no transaction has made the outpoint in time, a day after they
 * were asked for; and the fundings that are seen before that. Their rows, on the way to the disk.
 */

import { KeyTable } from '../chain/key-table.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { asTxid, type Outpoint, type Txid } from '../chain/types.ts'
import { Bell } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import type { Indexer, IndexListener } from '../indexer.ts'
import { hasSpends } from '../store/local/spends.ts'
import type { Db } from '../store/open.ts'
import {
  deleteRegistration,
  markFunded,
  type Registration,
  readEndedRegistrations,
  readOverdueRegistrations,
  readUnfundedAfter,
  readUnfundedOf,
  type UnfundedPlace,
} from '../store/shared/registrations.ts'
import type { SharedStore } from '../store/shared/store.ts'
import type { Untold } from '../store/shared/untold.ts'
import { Backoff, breathe, sleep, type World } from '../world.ts'
import type { SpendRecorder } from './recorder.ts'

export const ENDS_LIMITS = {
  /** Rows written, or ended, in one go: some 2 ms. */
  rowsAtOnce: 200,
  /** Rows read in one go at the start. */
  readAtOnce: 1_000,
  /** Outputs that bitcoind is asked about at once. */
  lookAtOnce: 50,
  /** How often it is looked whether something is due, without a block or a transaction that says so. */
  roundMs: 1_000,
  backoff: { firstMs: 1_000, maxMs: 30_000 },
}

interface EndsDeps extends World {
  db: Db
  indexer: Indexer
  recorder: SpendRecorder
  api: NodeApi
  shared: Pick<SharedStore, 'register' | 'settled'>
  untold: Pick<Untold, 'registration'>
}

export class RegistrationEnds implements IndexListener {
  readonly #deps: EndsDeps
  /** Transactions of which a row is on its way to the disk: none is to be ended by what an older row says. */
  readonly #pending = new Map<Txid, number>()
  /** Keys of transactions (as of their first outputs) whose outputs are registered and not made yet. */
  readonly #unfunded = new KeyTable()
  /** Those of them that may have come. */
  readonly #arrived = new Set<Txid>()
  /** All of them may have come: how far they were looked at since, `last` being the last. */
  #round: { last: UnfundedPlace | undefined } | undefined
  readonly #bell = new Bell()

  constructor(deps: EndsDeps) {
    this.#deps = deps
    const { db, indexer } = deps
    for (let last: UnfundedPlace | undefined, isEnd = false; !isEnd; ) {
      const some = readUnfundedAfter(db, last, ENDS_LIMITS.readAtOnce)
      for (const { txid } of some) this.#noteUnfunded(txid)
      isEnd = some.length < ENDS_LIMITS.readAtOnce
      last = some.at(-1)
    }
    this.#arriveAll() // while nobody was watching
    indexer.listen(this)
  }

  /** From here on the row is what counts, though it is on no disk yet: it is to be written soon. */
  expect({ outpoint, unfundedUntil }: Registration): void {
    this.#pending.set(outpoint.txid, (this.#pending.get(outpoint.txid) ?? 0) + 1)
    if (unfundedUntil !== undefined) this.#noteUnfunded(outpoint.txid)
  }

  #noteUnfunded(txid: string): void {
    const { hi, lo } = this.#keyOf(txid)
    if (!this.#unfunded.has(hi, lo)) this.#unfunded.add(hi, lo)
  }

  #isUnfunded(txid: Txid): boolean {
    const { hi, lo } = this.#keyOf(txid)
    return this.#unfunded.has(hi, lo)
  }

  /** Of its hex digits, in whatever case. */
  #keyOf(txid: string) {
    return this.#deps.recorder.keys.ofHex(txid, 0)
  }

  /** Whether a row of its transaction is to be written yet. */
  isPending({ txid }: Outpoint): boolean {
    return this.#pending.has(txid)
  }

  /** Resolves once the rows, which were expected, are registered: see SharedStore, also for what it throws. */
  register(rows: readonly Registration[]): Promise<void> {
    return this.write(rows, (some) => this.#deps.shared.register(some))
  }

  /** Resolves once `write` has written the rows, which were expected. */
  async write(
    rows: readonly Registration[],
    write: (rows: readonly Registration[]) => Promise<void> | void,
  ): Promise<void> {
    try {
      if (rows.length > 0) await write(rows)
      for (const { outpoint } of rows) this.#deps.recorder.noteWritten(outpoint)
    } finally {
      for (const { outpoint, unfundedUntil } of rows) {
        const left = this.#pending.get(outpoint.txid)! - 1
        if (left > 0) this.#pending.set(outpoint.txid, left)
        else this.#pending.delete(outpoint.txid)
        if (unfundedUntil === undefined) this.#forgetIfFunded(outpoint.txid)
      }
    }
  }

  // ---- what the indexer says ----

  get wantsTransactions(): boolean {
    return this.#unfunded.size > 0
  }

  onSpends(): void {}

  onTransactions(txids: Iterable<Txid>): void {
    for (const txid of txids) if (this.#isUnfunded(txid)) this.#arrived.add(txid)
    if (this.#arrived.size > 0) this.#bell.ring()
  }

  onUnknownTransactions(): void {
    this.#arriveAll()
  }

  onBlock(): void {
    this.#bell.ring()
  }

  onReorg(): void {}

  onSettled(): void {
    this.#bell.ring()
  }

  #arriveAll(): void {
    if (this.#unfunded.size > 0) this.#round = { last: undefined }
  }

  // ---- ends and fundings ----

  /** Ends what has come to its end and looks for fundings. Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(ENDS_LIMITS.backoff, this.#deps.random)
    signal.addEventListener('abort', () => this.#bell.ring(), { once: true })
    for (;;) {
      signal.throwIfAborted()
      await this.#bell.wait(ENDS_LIMITS.roundMs)
      await this.#endEnded(signal)
      if (!this.#deps.indexer.isSettled) continue
      try {
        await this.#seeArrived(signal)
        await this.#seeNextOfAll(signal)
        await this.#seeOverdue(signal)
        backoff.reset()
      } catch (error) {
        if (!(error instanceof TransientError)) throw error
        this.#deps.log.debug({ detail: describeError(error) }, 'registered outpoints not looked up')
        await sleep(backoff.nextMs(), signal)
      }
    }
  }

  /** Those whose height has passed. */
  async #endEnded(signal: AbortSignal): Promise<void> {
    const { db, indexer } = this.#deps
    for (;;) {
      signal.throwIfAborted()
      const ended = readEndedRegistrations(db, indexer.tip()?.height ?? 0, ENDS_LIMITS.rowsAtOnce)
      if (this.end(ended) === 0) return
      await breathe()
    }
  }

  /** Returns how many have ended: not those that are being prolonged. */
  end(outpoints: readonly Outpoint[]): number {
    const { db, recorder } = this.#deps
    const ending = outpoints.filter((outpoint) => !this.#pending.has(outpoint.txid))
    if (ending.length === 0) return 0
    db.transaction(() => {
      for (const outpoint of ending) {
        deleteRegistration(db, outpoint)
        recorder.untrack(outpoint, 'registered')
      }
    })
    for (const { txid } of ending) this.#forgetIfFunded(txid)
    return ending.length
  }

  /** Looks whether the transactions that have come have made registered outputs. */
  async #seeArrived(signal: AbortSignal): Promise<void> {
    const { db } = this.#deps
    if (this.#arrived.size === 0) return
    await this.#deps.shared.settled() // a registration may have come just before its funding
    const txids = [...this.#arrived]
    this.#arrived.clear()
    try {
      let batch: Outpoint[] = []
      const see = async () => {
        if (batch.length > 0) this.#markFunded((await this.#look(batch, signal)).made)
        batch = []
      }
      for (const txid of txids) {
        for (let after = -1; ; ) {
          const some = readUnfundedOf(db, txid, after, ENDS_LIMITS.lookAtOnce - batch.length)
          batch.push(...some)
          if (batch.length < ENDS_LIMITS.lookAtOnce) break
          after = some.at(-1)!.vout
          await see()
        }
      }
      await see()
    } catch (error) {
      for (const txid of txids) this.#arrived.add(txid)
      throw error
    }
    for (const txid of txids) this.#forgetIfFunded(txid)
  }

  /** Where all may have come, the next few of them: what is due is not kept waiting by a million. */
  async #seeNextOfAll(signal: AbortSignal): Promise<void> {
    const round = this.#round
    if (!round) return
    await this.#deps.shared.settled()
    const some = readUnfundedAfter(this.#deps.db, round.last, ENDS_LIMITS.lookAtOnce)
    if (some.length > 0) {
      const { made } = await this.#look(some.map(outpointOf), signal)
      this.#markFunded(made)
    }
    round.last = some.at(-1)
    // Another one may have begun meanwhile.
    if (some.length < ENDS_LIMITS.lookAtOnce && this.#round === round) this.#round = undefined
    if (this.#round) this.#bell.ring()
  }

  /** Those that no transaction has made in time: looked for once more, then ended. */
  async #seeOverdue(signal: AbortSignal): Promise<void> {
    const { db, indexer } = this.#deps
    for (;;) {
      const tip = indexer.tip()
      if (!tip) return
      const overdue = readOverdueRegistrations(db, tip.height, ENDS_LIMITS.lookAtOnce)
      if (overdue.length === 0) return
      const { made, missing, at } = await this.#look(overdue, signal)
      this.#markFunded(made)
      if (made.length > 0) continue
      // What bitcoind said of another block than ours is asked again.
      if (!indexer.isSettled || indexer.tip()?.hash !== at || this.end(missing) === 0) return
    }
  }

  /** Which of them a transaction has made, by what is recorded and what bitcoind says at block `at`. */
  async #look(outpoints: readonly Outpoint[], signal: AbortSignal) {
    const { api, db } = this.#deps
    await breathe()
    signal.throwIfAborted()
    const { at, found } = await api.look(outpoints)
    const isMade = (outpoint: Outpoint, i: number) => found[i]!.kind !== 'absent' || hasSpends(db, outpoint)
    const made = outpoints.filter(isMade)
    return { at, made, missing: outpoints.filter((outpoint) => !made.includes(outpoint)) }
  }

  #markFunded(outpoints: readonly Outpoint[]): void {
    const { db, untold } = this.#deps
    if (outpoints.length === 0) return
    db.transaction(() => {
      for (const outpoint of outpoints) {
        markFunded(db, outpoint)
        untold.registration(outpoint)
      }
    })
    for (const { txid } of outpoints) this.#forgetIfFunded(txid)
  }

  /** Nothing more is to be waited for of the transaction. */
  #forgetIfFunded(txid: Txid): void {
    if (!this.#isUnfunded(txid) || this.#pending.has(txid)) return
    if (readUnfundedOf(this.#deps.db, txid, -1, 1).length > 0) return
    const { hi, lo } = this.#keyOf(txid)
    this.#unfunded.delete(hi, lo)
  }
}

function outpointOf({ txid, vout }: UnfundedPlace): Outpoint {
  return { txid: asTxid(txid.toLowerCase()), vout }
}
