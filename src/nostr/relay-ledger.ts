/**
 * What is known of one relay: the bonds that it announces, up to which event it was read and when as a whole, how long new
 * bonds took to be seen, and what is not in the store yet. Knows no connection.
 */
import type { Txid } from '../chain/types.ts'
import type { RelayPast } from '../store/local/relays.ts'
import type { Clock } from '../world.ts'
import { type EventJudge, keyOfFrame } from './relay-events.ts'
import { type HeldBond, type RelayCounts, RelayView, relayCounts } from './relay-view.ts'

export const RELAY_LEDGER_LIMITS = {
  /** New bonds whose delay is kept. */
  delaysKept: 50,
  /** A new bond that is not seen for so long is waited for no longer: makers announce every half hour. */
  expectMs: 86_400_000,
}

export interface RelayLedgerDeps {
  clock: Clock
  judge: EventJudge
  /** Whether the chain has a bond in output 0 of this transaction, whatever its state. */
  isKnown(txid: Txid): boolean
}

export class RelayLedger {
  /** Of its row. */
  readonly id: number
  readonly #url: string
  readonly #deps: RelayLedgerDeps
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
  #counts: RelayCounts | undefined
  /** What they were made of. */
  #countedOf = ''

  /** `held`: what the relay was seen to have, as of `past`. */
  constructor(past: RelayPast, held: Iterable<readonly [Txid, HeldBond]>, deps: RelayLedgerDeps) {
    this.id = past.id
    this.#url = past.url
    this.#deps = deps
    this.#view = new RelayView(held, past.faults)
    this.#cursorS = past.cursorS
    this.#readS = past.readS
    this.#delaysS = [...past.delaysS]
  }

  /** The newest event read, Unix seconds. */
  get cursorS(): number | undefined {
    return this.#cursorS
  }

  /** When everything was read last, Unix seconds. */
  get readS(): number | undefined {
    return this.#readS
  }

  get delaysS(): readonly number[] {
    return this.#delaysS
  }

  /** Undefined while not known. */
  get counts(): RelayCounts | undefined {
    return this.#counts
  }

  /** What announces the bond there; undefined where nothing does. */
  at(txid: Txid): HeldBond | undefined {
    return this.#view.at(txid, this.#nowS())
  }

  /** True when it is known that nothing announces the bond there. */
  lacks(txid: Txid): boolean {
    return this.#counts !== undefined && this.at(txid) === undefined
  }

  // ---- reading -------------------------------------------------------------------------------------------------------

  /** From now on everything that the relay has comes; what was known holds until all has come. */
  beginWhole(): void {
    this.#fresh = new RelayView()
  }

  /** All has come: we know what a taker sees that was just started, nothing more. */
  endWhole(): void {
    const fresh = this.#fresh
    if (!fresh) return
    for (const [txid, { untilS }] of this.#view.held()) if (fresh.get(txid)?.untilS !== untilS) this.#dirty.add(txid)
    for (const [txid] of fresh.held()) if (!this.#view.get(txid)) this.#dirty.add(txid)
    this.#view = fresh
    this.#fresh = undefined
    this.#countedOf = ''
    this.#readS = this.#nowS()
  }

  /** Not all will come. */
  dropWhole(): void {
    this.#fresh = undefined
  }

  /** An event has come in `frame`; undefined: one too long to be read. Returns the bond that a valid one announces. */
  take(event: unknown, frame: string): { txid: Txid; isOwn: boolean } | undefined {
    const nowS = this.#nowS()
    const views = this.#fresh ? [this.#view, this.#fresh] : [this.#view]
    const judged =
      event === undefined
        ? { ok: false as const, key: keyOfFrame(frame), fault: 'shape' as const }
        : this.#deps.judge.judge(event, frame, nowS)
    if (!judged.ok) {
      for (const view of views) view.refuse(judged.key, judged.fault)
      return undefined
    }
    const { txid, held, createdAtS } = judged
    const isKnown = this.#deps.isKnown(txid)
    for (const view of views) if (view.take(txid, held, isKnown) && view === this.#view) this.#dirty.add(txid)
    this.#cursorS = Math.max(this.#cursorS ?? 0, Math.min(createdAtS, nowS))
    if (!held.isOwn) this.#noteSeen(txid)
    return { txid, isOwn: held.isOwn }
  }

  // ---- new bonds -----------------------------------------------------------------------------------------------------

  /** The chain has new bonds, which takers should find here soon. Only while the relay is listened to. */
  expect(txids: readonly Txid[]): void {
    for (const txid of txids) {
      this.#expected.set(txid, this.#nowMs())
      if (this.at(txid)?.isOwn === false) this.#noteSeen(txid)
    }
  }

  #noteSeen(txid: Txid): void {
    const sinceMs = this.#expected.get(txid)
    if (sinceMs === undefined) return
    this.#expected.delete(txid)
    this.#delaysS.push(Math.round((this.#nowMs() - sinceMs) / 1_000))
    if (this.#delaysS.length > RELAY_LEDGER_LIMITS.delaysKept) this.#delaysS.shift()
  }

  // ---- counting ------------------------------------------------------------------------------------------------------

  /** Compares with `wanted`, the bonds that takers should find. `of`: changes with everything that is not the relay's. */
  count(wanted: ReadonlySet<Txid>, isDead: (txid: Txid) => boolean, of: string): void {
    const nowS = this.#nowS()
    for (const txid of this.#view.prune(nowS)) this.#dirty.add(txid)
    const countedOf = `${of} ${this.#view.revision}`
    if (this.#counts && this.#countedOf === countedOf) return
    this.#counts = relayCounts(this.#view, wanted, isDead, nowS)
    this.#countedOf = countedOf
    const tooLongMs = this.#nowMs() - RELAY_LEDGER_LIMITS.expectMs
    for (const [txid, sinceMs] of this.#expected) {
      if (sinceMs < tooLongMs || !wanted.has(txid)) this.#expected.delete(txid)
    }
  }

  /** Nothing is known just now. */
  uncount(): void {
    this.#counts = undefined
  }

  // ---- the store -----------------------------------------------------------------------------------------------------

  /** What another start goes on from. */
  past(): RelayPast {
    const past: RelayPast = { id: this.id, url: this.#url, delaysS: this.#delaysS, faults: this.#view.faults() }
    if (this.#cursorS !== undefined) past.cursorS = this.#cursorS
    if (this.#readS !== undefined) past.readS = this.#readS
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

  #nowMs(): number {
    return this.#deps.clock.monotonicMs()
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1_000)
  }
}
