/**
 * The events that the door has: one for each bond that today's takers should find, signed by us, as prepared JSON. Kept in
 * memory alone. What is on the shelf follows the market at our tip; a bond that ends is taken off it, and that is all that
 * is ever said of its end.
 */
import type { ConfirmedBond } from '../bonds/types.ts'
import type { Following } from '../chain/following.ts'
import type { Network, Txid } from '../chain/types.ts'
import { Bell } from '../concurrency.ts'
import type { CurrentMarket, Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import type { Lane } from '../wire/work.ts'
import type { World } from '../world.ts'
import { announceable } from './announceable.ts'
import { SHELF_LIMITS as LIMITS } from './door-limits.ts'
import { bondEventDraft, type NostrEvent } from './event.ts'
import type { EventSigner } from './signatures.ts'

export interface ServedEvent {
  readonly txid: Txid
  readonly event: NostrEvent
  /** As it is sent. */
  readonly json: string
  /** Counts bonds as they come onto the shelf; the same when one is signed anew. */
  readonly arrival: number
  /** When it is to be signed anew, Unix seconds. */
  readonly dueS: number
}

export interface ShelfDeps extends Pick<World, 'clock' | 'random'> {
  market: CurrentMarket
  liveness: Pick<Liveness, 'reachOf' | 'revision'>
  network: Network
  notSynced: () => string | undefined
  following: Pick<Following, 'takenBack'>
  signer: EventSigner
}

export class Shelf {
  readonly #deps: ShelfDeps
  readonly #bell = new Bell()
  /** In the order of arrival. */
  readonly #served = new Map<Txid, ServedEvent>()
  #arrivals = 0
  #signatures = 0
  /** On the market, and without an event as yet. */
  #unsigned: ConfirmedBond[] = []
  /** Somebody was told that it is not whole. */
  #isAwaited = true
  /** What the shelf was last compared with. */
  #ofMarket: Market | undefined
  #ofRevision = -1
  /** Made when they are asked for. */
  #newest: readonly ServedEvent[] | undefined
  #inOrder: readonly ServedEvent[] | undefined

  constructor(deps: ShelfDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#served.size
  }

  /** Signatures made since the start. */
  get signatures(): number {
    return this.#signatures
  }

  /** Of the youngest on the shelf, or of one that is gone. */
  get lastArrival(): number {
    return this.#arrivals
  }

  /**
   * Whether what is here is what is on the market at our tip, all of it. While we are behind, or in the midst of a reorg,
   * it is not.
   */
  isWhole(): boolean {
    const isWhole = this.#looksWhole()
    if (!isWhole) this.#isAwaited = true
    if (this.#unsigned.length > 0) this.#bell.ring()
    return isWhole
  }

  #looksWhole(): boolean {
    if (this.#deps.notSynced() !== undefined || this.#deps.following.takenBack) return false
    this.#compare()
    return this.#ofMarket !== undefined && this.#unsigned.length === 0
  }

  /** The present event of a bond; undefined when it is served no more. */
  of(txid: Txid): ServedEvent | undefined {
    return this.#served.get(txid)
  }

  /** All, newest first, of the same second by id: the same list until something changes. */
  newest(): readonly ServedEvent[] {
    this.#newest ??= [...this.#served.values()].sort(byAge)
    return this.#newest
  }

  /** At most `count` that came after `arrival`, in the order in which they came. */
  cameAfter(arrival: number, count: number): readonly ServedEvent[] {
    this.#inOrder ??= [...this.#served.values()]
    let low = 0
    let high = this.#inOrder.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#inOrder[middle]!.arrival <= arrival) low = middle + 1
      else high = middle
    }
    return this.#inOrder.slice(low, low + count)
  }

  /** Signs what comes and what is due, a few in a piece; `onNews` is called when there is something to tell. */
  async run(lane: Lane, signal: AbortSignal, onNews: () => Promise<void>): Promise<void> {
    const wake = () => this.#bell.ring()
    signal.addEventListener('abort', wake, { once: true })
    let told = -1
    try {
      for (;;) {
        signal.throwIfAborted()
        if (!this.#looksWhole() && this.#unsigned.length > 0) await lane.piece(() => this.#signSome())
        else {
          await this.#signAnew(lane)
          if (this.#looksWhole() && (this.#isAwaited || told !== this.#arrivals)) {
            this.#isAwaited = false
            told = this.#arrivals
            await onNews()
          }
          if (this.#unsigned.length === 0) await this.#bell.wait(LIMITS.lookMs)
        }
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  /** Takes off what has ended, and notes what has come. */
  #compare(): void {
    const { market, liveness, network } = this.#deps
    const now = market.atTip()
    if (now === this.#ofMarket && liveness.revision === this.#ofRevision) return
    this.#ofMarket = now
    this.#ofRevision = liveness.revision
    const wanted = new Map((now ? announceable(now, liveness, network) : []).map((bond) => [bond.outpoint.txid, bond]))
    for (const txid of this.#served.keys()) {
      if (wanted.delete(txid)) continue
      this.#served.delete(txid)
      this.#forgetLists()
    }
    this.#unsigned = [...wanted.values()]
  }

  #signSome(): void {
    for (const { outpoint } of this.#unsigned.splice(0, LIMITS.signaturesPerPiece)) {
      this.#sign(outpoint.txid, ++this.#arrivals)
    }
  }

  /** Those whose time it is, and any from the future, which takers skip: the clock was set back. */
  async #signAnew(lane: Lane): Promise<void> {
    const nowS = this.#nowS()
    const due = [...this.#served.values()].filter(({ event, dueS }) => dueS <= nowS || event.created_at > nowS)
    while (due.length > 0) {
      await lane.piece(() => {
        for (const { txid } of due.splice(0, LIMITS.signaturesPerPiece)) {
          const before = this.#served.get(txid)
          if (before) this.#sign(txid, before.arrival)
        }
      })
    }
  }

  #sign(txid: Txid, arrival: number): void {
    const { signer, network, random } = this.#deps
    const nowS = this.#nowS()
    const event = signer.sign(bondEventDraft({ txid, vout: 0 }, network, nowS))
    const dueS = nowS + LIMITS.signedAnewS * (0.5 + random() / 2)
    this.#served.set(txid, { txid, event, json: JSON.stringify(event), arrival, dueS })
    this.#signatures++
    this.#forgetLists()
  }

  #forgetLists(): void {
    this.#newest = undefined
    this.#inOrder = undefined
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1000)
  }
}

function byAge({ event: a }: ServedEvent, { event: b }: ServedEvent): number {
  return b.created_at - a.created_at || (a.id < b.id ? -1 : 1)
}
