/**
 * What is known of every maker's life, in memory and in the store: reach, uptime, offers, proofs. The only writer of these
 * rows; over a database that is only read it answers just as well.
 * `revision` changes whenever a maker becomes `down` or ceases to be, or a bond becomes proven: lists made before are
 * out of date then.
 */
import type { ProofCheck, ProofVerdict } from '../bonds/proof.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import { type BlockRef, formatOutpoint, type Outpoint } from '../chain/types.ts'
import { BrokenInvariant } from '../errors.ts'
import type { CurrentMarket } from '../market.ts'
import type { Db } from '../store/open.ts'
import { mergeNews, mergeProof } from '../store/shared/local.ts'
import {
  deleteMakersBefore,
  deleteOffer,
  isLater,
  makerNews,
  type ProvenBond,
  readMakers,
  readOffers,
  readProofs,
  takeProofBack,
  upsertMaker,
  upsertOffer,
  upsertProof,
} from '../store/shared/makers.ts'
import {
  hourOf,
  insertProbe,
  PROBE_HISTORY_LIMITS,
  type ProbeRow,
  pruneProbes,
  readUptime,
} from '../store/shared/probes.ts'
import type { MakerNews, SharedNews } from '../store/shared/store.ts'
import type { Untold } from '../store/shared/untold.ts'
import type { Clock } from '../world.ts'
import { afterProbe, isDown, type ProbeFinding, type ReachRules, reachOf } from './reach.ts'
import type { MakerRecord, Offer, OfferTerms, OfferVerdict, ProbeResult, Reach, Uptime } from './types.ts'

const DAY_MS = 86_400_000
const UNOBSERVED: Uptime = { answered: 0, observed: 0 }

/** Checks that fail by what became of the bond, not by what the maker shows. */
const OF_THE_CHAIN: readonly ProofCheck[] = ['spent', 'unconfirmed', 'lock-passed']

/** What probes say of a maker. */
export interface MakerLife {
  reach: Reach
  /** The last valid answer, Unix seconds. */
  lastUpS?: number
  /** Of the last day, and of the last 30 days; to the hour. */
  day: Uptime
  month: Uptime
}

/** `source`: by which this process counts, see store/shared/store.ts. */
export interface OwnProbes {
  source: number
  untold: Untold
}

export class Liveness {
  readonly #db: Db
  readonly #clock: Clock
  readonly #market: CurrentMarket
  readonly #rules: ReachRules
  readonly #own: OwnProbes | undefined
  readonly #records: Map<string, MakerRecord>
  readonly #proofs: Map<string, ProvenBond>
  /** Good for the hour they were made in. */
  readonly #uptimes = new Map<string, { day: Uptime; month: Uptime; hour: number }>()
  readonly #offers: Map<string, OfferTerms>
  #revision = 0
  #changes = 0

  /** `own`: what is noted of the probes that are made here; undefined where the database is only read. */
  constructor(db: Db, market: CurrentMarket, rules: ReachRules, clock: Clock, own?: OwnProbes) {
    this.#db = db
    this.#own = own
    this.#market = market
    this.#rules = rules
    this.#clock = clock
    this.#records = new Map(readMakers(db).map((record) => [record.address, record]))
    this.#proofs = readProofs(db)
    this.#offers = readOffers(db)
  }

  get revision(): number {
    return this.#revision
  }

  /** Changes with everything that is stored here, each single probe too. */
  get changes(): number {
    return this.#changes
  }

  /** The terms of the maker's last offer; undefined where it had none, or one with a fault. */
  offerOf(address: string): OfferTerms | undefined {
    return this.#offers.get(address)
  }

  record(address: string): MakerRecord | undefined {
    return this.#records.get(address)
  }

  isDown(address: string): boolean {
    const record = this.#records.get(address)
    return record !== undefined && isDown(record, this.#rules)
  }

  reachOf(address: string): Reach {
    return reachOf(this.#records.get(address), this.#clock.nowMs(), this.#rules)
  }

  /** By an offer or a Post, in the block it is in now; one that is pending is not. */
  isProven({ outpoint, conf }: { outpoint: Outpoint; conf?: BlockRef }): boolean {
    const proof = this.#proofs.get(formatOutpoint(outpoint))
    return proof !== undefined && proof.confHash === conf?.hash
  }

  /** Answered from memory but for the first time in an hour. */
  lifeOf(address: string): MakerLife {
    const { day, month } = this.#uptime(address)
    const lastUpMs = this.#records.get(address)?.lastUpMs
    return {
      reach: this.reachOf(address),
      ...(lastUpMs !== undefined && { lastUpS: Math.floor(lastUpMs / 1000) }),
      day,
      month,
    }
  }

  /** Makers of the market by reach. */
  counts(): Record<Reach, number> {
    const counts = { up: 0, down: 0, unknown: 0 }
    for (const address of this.#market.makers().keys()) counts[this.reachOf(address)]++
    return counts
  }

  #uptime(address: string): { day: Uptime; month: Uptime } {
    if (!this.#records.has(address)) return { day: UNOBSERVED, month: UNOBSERVED }
    const nowMs = this.#clock.nowMs()
    const hour = hourOf(nowMs)
    let uptime = this.#uptimes.get(address)
    if (uptime?.hour !== hour) {
      const day = readUptime(this.#db, address, nowMs - DAY_MS)
      uptime = { day, month: readUptime(this.#db, address, nowMs - 30 * DAY_MS), hour }
      this.#uptimes.set(address, uptime)
    }
    return uptime
  }

  /** One probe that began at `atMs`: its row, its hour, and the maker's record. */
  recordProbe(address: string, atMs: number, finding: ProbeFinding, result: ProbeResult): MakerRecord {
    const wasDown = this.isDown(address)
    const record = afterProbe(this.#records.get(address), address, atMs, finding, wasDown)
    if (result.hasPinged) record.pingedMs = atMs
    const row: ProbeRow = { atMs, outcome: finding.outcome, latencyMs: result.latencyMs }
    if (result.kind === 'answered') row.dialect = result.dialect
    else {
      row.failure = result.failure
      row.text = result.text
    }
    const { source, untold } = this.#ownProbes
    this.#db.transaction(() => {
      const makerId = upsertMaker(this.#db, record)
      const id = insertProbe(this.#db, makerId, row, source)
      untold.maker(address)
      untold.probe(id, { makerId, hour: hourOf(atMs), source })
    })
    this.#records.set(address, record)
    this.#uptimes.delete(address)
    this.#changes++
    if (wasDown !== this.isDown(address)) this.#revision++
    return record
  }

  /** The offer was asked for and did not come, or (`fault`) what came can't be read: then the last one is out of date. */
  recordNoOffer(address: string, atMs: number, fault?: string): void {
    const before = this.#records.get(address)
    if (!before) return
    const record: MakerRecord = { ...before, offerAskedMs: atMs, ...(fault !== undefined && { offerFault: fault }) }
    this.#db.transaction(() => {
      this.#keepTerms(address, upsertMaker(this.#db, record), undefined, fault)
      this.#ownProbes.untold.maker(address)
    })
    this.#records.set(address, record)
  }

  /** Within a transaction. An offer with a fault is not shown, and neither is the one before it. */
  #keepTerms(address: string, makerId: number, terms: OfferTerms | undefined, fault: string | undefined): void {
    if (fault !== undefined) {
      deleteOffer(this.#db, makerId)
      this.#offers.delete(address)
    } else if (terms) {
      upsertOffer(this.#db, makerId, terms)
      this.#offers.set(address, terms)
    } else return
    this.#changes++
  }

  /** The offer with the verdict on its proof; `bond` is the announced one the proof is about, `fault` what is wrong else. */
  recordOffer(
    address: string,
    atMs: number,
    offer: Offer,
    verdict: ProofVerdict,
    bond: ConfirmedBond | undefined,
    fault?: string,
  ): void {
    const before = this.#records.get(address)
    if (!before) return
    const { outpoint } = offer.proof
    // The maker itself no longer shows it. A stranger's Post can't take a proof away, nor can another maker's offer, nor
    // the chain: what is spent or past its lock was proven all the same.
    const isRevoked = !verdict.ok && bond?.address === address && !OF_THE_CHAIN.includes(verdict.failed)
    const { offerFault: _, ...rest } = before
    const record: MakerRecord = {
      ...rest,
      offerAskedMs: atMs,
      verdict: { atMs, outpoint, ...outcomeOf(verdict) },
      ...(fault !== undefined && { offerFault: fault }),
    }
    const { proof: __, tweakablePoint: ___, tweakChainCode: ____, ...terms } = offer
    this.#db.transaction(() => {
      this.#keepTerms(address, upsertMaker(this.#db, record), { ...terms, atMs }, fault)
      if (bond && verdict.ok) upsertProof(this.#db, provenBond(bond, verdict.era, 'offer', atMs))
      else if (isRevoked) takeProofBack(this.#db, outpoint, atMs)
      const { untold } = this.#ownProbes
      untold.maker(address)
      if ((bond && verdict.ok) || isRevoked) untold.proof(outpoint)
    })
    this.#records.set(address, record)
    if (bond && verdict.ok) this.#keep(provenBond(bond, verdict.era, 'offer', atMs))
    else if (isRevoked && this.#proofs.delete(formatOutpoint(outpoint))) this.#revision++
  }

  /** A proof that somebody brought and that was found good. */
  recordPost(bond: ConfirmedBond, era: ProvenBond['era'], atMs: number): void {
    if (this.isProven(bond)) return
    const proof = provenBond(bond, era, 'post', atMs)
    this.#db.transaction(() => {
      upsertProof(this.#db, proof)
      this.#ownProbes.untold.proof(proof.outpoint)
    })
    this.#changes++
    this.#keep(proof)
  }

  #keep(proof: ProvenBond): void {
    const name = formatOutpoint(proof.outpoint)
    if (this.#proofs.get(name)?.confHash !== proof.confHash) this.#revision++
    this.#proofs.set(name, proof)
  }

  get #ownProbes(): OwnProbes {
    if (!this.#own) throw new BrokenInvariant('a database that is only read is not written to')
    return this.#own
  }

  /** What other trackers of this market have found out. Returns the makers of which they know more than we did. */
  learn({ makers = [], proofs = [], probes = [], hours = [] }: SharedNews): MakerRecord[] {
    const later = makers.filter((news) => isLater(news, this.#newsOf(news.record.address)))
    const changed = this.#db.transaction(() => {
      mergeNews(this.#db, { makers: later, probes, hours })
      return proofs.map((proof) => [proof, mergeProof(this.#db, proof)] as const)
    })
    for (const [{ outpoint }, proof] of changed) {
      if (proof === 'taken back') {
        if (this.#proofs.delete(formatOutpoint(outpoint))) this.#revision++
      } else if (proof) this.#keep(proof)
    }
    for (const maker of later) this.#learnMaker(maker)
    for (const { address } of hours) this.#uptimes.delete(address)
    if (later.length + proofs.length + probes.length + hours.length > 0) this.#changes++
    return later.map(({ record }) => record)
  }

  #newsOf(address: string): MakerNews | undefined {
    const record = this.#records.get(address)
    return record && makerNews(record, this.#offers.get(address))
  }

  #learnMaker({ record, offer }: MakerNews): void {
    const { address } = record
    const wasDown = this.isDown(address)
    this.#records.set(address, record)
    if (offer) this.#offers.set(address, offer)
    else this.#offers.delete(address)
    this.#uptimes.delete(address)
    if (wasDown !== this.isDown(address)) this.#revision++
  }

  /** Forgets what is past its time; a bounded step, to be called now and then. */
  prune(): void {
    const nowMs = this.#clock.nowMs()
    this.#db.transaction(() => {
      pruneProbes(this.#db, nowMs)
      deleteMakersBefore(this.#db, nowMs - PROBE_HISTORY_LIMITS.hoursMs)
    })
    for (const [address, { lastProbeMs }] of this.#records) {
      if (lastProbeMs >= nowMs - PROBE_HISTORY_LIMITS.hoursMs) continue
      this.#records.delete(address)
      this.#offers.delete(address)
      this.#uptimes.delete(address)
    }
  }
}

function outcomeOf(verdict: ProofVerdict): Pick<OfferVerdict, 'failed' | 'text'> {
  if (!verdict.ok) return { failed: verdict.failed, text: verdict.text }
  return verdict.note === undefined ? {} : { text: verdict.note }
}

function provenBond(
  { outpoint, conf }: ConfirmedBond,
  era: ProvenBond['era'],
  source: ProvenBond['source'],
  atMs: number,
): ProvenBond {
  return { outpoint, confHash: conf.hash, era, source, atMs }
}
