/**
 * When one relay is sent a missing bond's event, and which: at most so many a minute, after a time in which the maker may
 * send its own, and not while the relay refuses, is silent, or doesn't keep what it accepted. Decides; relay-mending.ts sends.
 */
import type { Network, Txid } from '../chain/types.ts'
import type { Clock } from '../world.ts'
import { type Acceptance, acceptanceOf } from './relay-messages.ts'
import type { HeldBond } from './relay-view.ts'

export const MENDER_LIMITS = {
  /** Events sent to one relay within a minute. */
  perMinute: 6,
  /** How long a relay may take to answer an event. */
  okMs: 30_000,
  /**
   * How long after its confirmation a bond is left to its maker, who announces it at once and, where that failed, every
   * half hour; on regtest, where makers come every half minute, shorter.
   */
  graceS: 2_400,
  graceRegtestS: 10,
  /** An event of ours is sent anew so long before it is over, if no other announces the bond. */
  renewS: 7_200,
  /** Pauses of the whole relay: after silence and what may be over soon, and after refusals that are not; they double. */
  pauseMs: 60_000,
  lastingPauseMs: 600_000,
  pauseMsMax: 21_600_000,
  /** A bond whose event the relay accepts, or finds wrong, without serving it, is sent again after this, doubling. */
  bondPauseMs: 3_600_000,
  bondPauseMsMax: 86_400_000,
}

const MINUTE_MS = 60_000

/** What became of the events that were sent: accepted, known already, refused, not answered; and of those accepted, not served. */
export const MENDED_OUTCOMES = ['accepted', 'duplicate', 'refused', 'silent', 'unserved'] as const
export type MendedOutcome = (typeof MENDED_OUTCOMES)[number]

export interface Mendable {
  txid: Txid
  /** When the chain had it, Unix seconds: by its block's header or by our own clock, whichever is earlier. */
  sinceS: number
}

export interface MenderPause {
  why: string
  /** Unix seconds. */
  untilS: number
}

export class Mender {
  readonly counts: Record<MendedOutcome, number> = { accepted: 0, duplicate: 0, refused: 0, silent: 0, unserved: 0 }
  readonly #graceS: number
  readonly #clock: Clock
  readonly #random: () => number
  /** When the last ones were sent, on the monotonic clock. */
  #sentMs: number[] = []
  #pausedUntilMs = Number.NEGATIVE_INFINITY
  #refusals = 0
  #pause: MenderPause | undefined
  /** Bonds that are left alone for a while. */
  readonly #bondPauses = new Map<Txid, { untilMs: number; times: number }>()
  /** What is on its way: a bond's event, or another of ours. */
  #pending: { txid?: Txid } | undefined

  constructor(network: Network, clock: Clock, random: () => number) {
    this.#graceS = network === 'regtest' ? MENDER_LIMITS.graceRegtestS : MENDER_LIMITS.graceS
    this.#clock = clock
    this.#random = random
  }

  /** Why nothing is sent just now, as the relay says it, and until when; undefined while there is no reason. */
  get pause(): MenderPause | undefined {
    return this.#clock.monotonicMs() < this.#pausedUntilMs ? this.#pause : undefined
  }

  /** Whether an event may be sent just now. */
  get isReady(): boolean {
    const nowMs = this.#clock.monotonicMs()
    this.#sentMs = this.#sentMs.filter((sentMs) => sentMs > nowMs - MINUTE_MS)
    return nowMs >= this.#pausedUntilMs && this.#sentMs.length < MENDER_LIMITS.perMinute
  }

  /** The first of these bonds that is missing and due; undefined when none is, or nothing may be sent now. */
  next<B extends Mendable>(bonds: readonly B[], heldAt: (txid: Txid) => HeldBond | undefined): B | undefined {
    if (!this.isReady) return undefined
    const nowMs = this.#clock.monotonicMs()
    const nowS = this.#clock.nowMs() / 1000
    const { renewS } = MENDER_LIMITS
    return bonds.find(({ txid, sinceS }) => {
      const held = heldAt(txid)
      const isMissing = held === undefined || (held.isOwn && held.untilS < nowS + renewS)
      return isMissing && nowS >= sinceS + this.#graceS && (this.#bondPauses.get(txid)?.untilMs ?? 0) <= nowMs
    })
  }

  /** An event goes out now: the bond's, or one that is about none. */
  sent(txid?: Txid): void {
    this.#sentMs.push(this.#clock.monotonicMs())
    this.#pending = txid === undefined ? {} : { txid }
  }

  /** The relay's `OK`; undefined: none came. `notice`: what it said meanwhile. True when the relay should have the event. */
  answered(ok: { isAccepted: boolean; text: string } | undefined, notice?: string): boolean {
    const pending = this.#pending
    this.#pending = undefined
    if (!pending) return false
    if (!ok) {
      const said = notice === undefined ? '' : `, and said: ${notice}`
      this.#silent(pending.txid, `it did not answer an event within ${MENDER_LIMITS.okMs / 1000} s${said}`)
      return false
    }
    const acceptance = acceptanceOf(ok)
    if (acceptance.kind === 'refused') {
      this.#refused(pending.txid, acceptance)
      return false
    }
    this.#count(acceptance.kind, pending.txid)
    this.#refusals = 0
    return true
  }

  /** The connection has ended: whoever was waiting for an answer gets none. */
  lost(): void {
    const pending = this.#pending
    this.#pending = undefined
    if (pending) this.#silent(pending.txid, 'it ended the connection when it got an event')
  }

  #silent(txid: Txid | undefined, why: string): void {
    this.#count('silent', txid)
    this.#pauseRelay(MENDER_LIMITS.pauseMs, why)
  }

  #refused(txid: Txid | undefined, { text, isLasting }: Extract<Acceptance, { kind: 'refused' }>): void {
    this.#count('refused', txid)
    if (txid === undefined && isLasting) return // it may well take bonds
    this.#pauseRelay(isLasting ? MENDER_LIMITS.lastingPauseMs : MENDER_LIMITS.pauseMs, text)
    // What it finds wrong with one event, it may not with the next.
    if (txid !== undefined && /^(invalid|error)\b/i.test(text)) this.#pauseBond(txid)
  }

  /** Of bonds alone. */
  #count(outcome: MendedOutcome, txid: Txid | undefined): void {
    if (txid !== undefined) this.counts[outcome]++
  }

  /** It accepted the bond's event, and has it not when it is asked. */
  unserved(txid: Txid): void {
    this.#count('unserved', txid)
    this.#pauseBond(txid)
  }

  /** The relay serves it: whatever was is over. */
  served(txid: Txid): void {
    this.#bondPauses.delete(txid)
  }

  /** Bonds beyond `wanted` need no memory. */
  forgetOthers(wanted: ReadonlySet<Txid>): void {
    for (const txid of this.#bondPauses.keys()) if (!wanted.has(txid)) this.#bondPauses.delete(txid)
  }

  #pauseRelay(firstMs: number, why: string): void {
    const fullMs = Math.min(MENDER_LIMITS.pauseMsMax, firstMs * 2 ** Math.min(this.#refusals++, 20))
    const pauseMs = fullMs * (1 + 0.2 * this.#random())
    this.#pausedUntilMs = this.#clock.monotonicMs() + pauseMs
    this.#pause = { why, untilS: Math.ceil((this.#clock.nowMs() + pauseMs) / 1_000) }
  }

  #pauseBond(txid: Txid): void {
    const times = this.#bondPauses.get(txid)?.times ?? 0
    const pauseMs = Math.min(MENDER_LIMITS.bondPauseMsMax, MENDER_LIMITS.bondPauseMs * 2 ** Math.min(times, 20))
    this.#bondPauses.set(txid, { untilMs: this.#clock.monotonicMs() + pauseMs, times: times + 1 })
  }
}
