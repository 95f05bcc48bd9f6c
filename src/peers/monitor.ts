/**
 * The loop that keeps every maker's liveness fresh: of those whose turn it is (probe-turns.ts), at most so many at once,
 * the most overdue first. How a probe is made is probe.ts, what it means reach.ts, and whether our own network can be
 * trusted canary.ts. That a maker has said something of itself is a hint to ask it earlier, within dial-budget.ts.
 */

import type { FidelityProof, OfferedKeys } from '../bonds/proof.ts'
import { Bell, TaskGroup } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import type { CurrentMarket, MarketMaker } from '../market.ts'
import type { SharedStore } from '../store/shared/store.ts'
import { formatHostPort, type HostPort, parseHostPort, type TorPort } from '../tor/address.ts'
import { routeTo } from '../tor/socks.ts'
import type { World } from '../world.ts'
import { attemptsFor } from './attempts.ts'
import type { OwnNetwork } from './canary.ts'
import type { DialBudget } from './dial-budget.ts'
import { Hints } from './hints.ts'
import type { Judgement } from './judge.ts'
import type { Liveness } from './liveness.ts'
import { probe } from './probe.ts'
import { type DueProbe, ProbeTurns } from './probe-turns.ts'
import { mayPing, type ProbeFinding, type ProbeRules, wantsOffer } from './reach.ts'
import type { MakerRecord, ProbeOutcome, ProbeResult } from './types.ts'

const LIMITS = {
  /** How soon a maker that has just come onto the market is seen. */
  lookMs: 1_000,
  /** How often the history is pruned: a bounded step each time. */
  pruneMs: 60_000,
  /**
   * Who took more than this part of the deadline last time is slow, and has this part of the places at the most: a hundred
   * makers that answer at the last moment don't keep the others waiting.
   */
  slowShare: 0.25,
  slowPlaces: 0.5,
}

export interface MonitorOptions {
  rules: ProbeRules
  atOnce: number
  timeoutMs: number
  /** Undefined: without Tor. */
  socks: TorPort | undefined
}

export interface MonitorDeps extends World {
  market: CurrentMarket
  liveness: Liveness
  network: OwnNetwork
  /** What may be dialled because strangers ask for it. */
  dials: DialBudget
  judge: (proof: FidelityProof, keys: OfferedKeys, address: string) => Promise<Judgement>
  /** False until the scan has reached the node's tip: before, the market is one of the past. */
  hasMarket: () => boolean
  /** Who of several trackers probes a host. */
  turns: Pick<SharedStore, 'claim' | 'release'>
  /** Our own address, which v1 pings tell. */
  self: () => HostPort
  /** Called after each probe is stored; what it does must be quick. */
  onProbe?: (outcome: ProbeOutcome, latencyMs: number) => void
}

export class Monitor {
  readonly #options: MonitorOptions
  readonly #deps: MonitorDeps
  readonly #bell = new Bell()
  readonly #turns: ProbeTurns
  readonly #hints: Hints
  /** From a probe's start until its result is stored, by host; failures that wait for the canary are no connections. */
  readonly #tasks = new TaskGroup(() => this.#bell.ring())
  readonly #counts: Record<ProbeOutcome, number> = { answered: 0, failed: 0, unjudged: 0 }
  /** Connections just now, and how many of them to makers that were slow. */
  #open = 0
  #openSlow = 0
  /** Addresses of the market that were slow last time. */
  readonly #slow = new Set<string>()

  constructor(options: MonitorOptions, deps: MonitorDeps) {
    this.#options = options
    this.#deps = deps
    this.#turns = new ProbeTurns(options.rules, deps.random)
    this.#hints = new Hints(deps.clock, deps.random)
  }

  /** Probes stored since the start, by outcome. */
  get counts(): Readonly<Record<ProbeOutcome, number>> {
    return this.#counts
  }

  /**
   * The client `from` has brought word of a maker of the market. One that isn't known to be up is asked earlier than its
   * schedule says, as far as strangers can make us dial; of one that is up, the schedule knows enough.
   */
  hint(address: string, from: object): void {
    const target = parseHostPort(address)
    if (!target || !this.#wantsHint(address) || this.#deps.dials.isResting(target)) return
    if (this.#hints.add(target, from)) this.#bell.ring()
  }

  #wantsHint(address: string): boolean {
    return this.#deps.market.makers().has(address) && this.#deps.liveness.reachOf(address) !== 'up'
  }

  /** Puts those forward that may be dialled now. */
  #followHints(nowMs: number): void {
    const { dials } = this.#deps
    while (this.#hints.size > 0 && dials.hasRoom()) {
      const target = this.#hints.take((one) => this.#wantsHint(formatHostPort(one)) && !dials.isResting(one))
      if (!target) return
      if (this.#turns.putForward(formatHostPort(target), nowMs)) dials.take(target)
    }
  }

  /** Runs until the signal; rejects when a result can't be stored. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, hasMarket, liveness } = this.#deps
    const failing = new AbortController()
    const stopping = AbortSignal.any([signal, failing.signal])
    stopping.addEventListener('abort', () => this.#bell.ring(), { once: true })
    let prunedMs = clock.monotonicMs()
    try {
      for (;;) {
        signal.throwIfAborted()
        this.#tasks.throwIfFailed()
        const waitMs = hasMarket() ? await this.#startDue(stopping) : LIMITS.lookMs
        if (clock.monotonicMs() - prunedMs > LIMITS.pruneMs) {
          liveness.prune()
          prunedMs = clock.monotonicMs()
        }
        await this.#bell.wait(waitMs)
      }
    } finally {
      failing.abort(new DOMException('probing has ended', 'AbortError'))
      await this.#tasks.ended()
    }
  }

  /** Starts what is due as far as there is room. Returns how long nothing more will be due. */
  async #startDue(signal: AbortSignal): Promise<number> {
    const { market, clock, liveness } = this.#deps
    const nowMs = clock.nowMs()
    const makers = market.makers()
    this.#followHints(nowMs)
    for (const address of this.#slow) if (!makers.has(address)) this.#slow.delete(address)
    const { due, nextMs } = this.#turns.due(
      makers.keys(),
      (address) => liveness.record(address),
      (host) => this.#tasks.has(host),
      nowMs,
    )
    const wanted = this.#withRoom(due)
    const claims = wanted.length > 0 ? await this.#claim(wanted, nowMs) : []
    signal.throwIfAborted()
    for (const { address, host } of claims) {
      this.#tasks.start(host, this.#probe(makers.get(address)!, host, signal), signal)
    }
    return Math.max(1, Math.min(nextMs - nowMs, LIMITS.lookMs))
  }

  /** Of those that are due, as many as there are places for; a probe that ends rings. */
  #withRoom(due: readonly DueProbe[]): DueProbe[] {
    const { atOnce } = this.#options
    const slowMax = Math.max(1, Math.floor(atOnce * LIMITS.slowPlaces))
    let open = this.#open
    let openSlow = this.#openSlow
    return due.filter(({ address }) => {
      const isSlow = this.#slow.has(address)
      if (open >= atOnce || (isSlow && openSlow >= slowMax)) return false
      open++
      if (isSlow) openSlow++
      return true
    })
  }

  /** Those that are ours to probe; the others are left to whoever probes them. */
  async #claim(wanted: readonly DueProbe[], nowMs: number): Promise<DueProbe[]> {
    const hosts = wanted.map(({ host }) => host)
    const claims = await this.#deps.turns.claim(hosts, this.#options.rules.intervalMs)
    const byHost = new Map(claims.map((claim) => [claim.host, claim]))
    return wanted.filter(({ host }) => {
      const claim = byHost.get(host)
      if (claim && !claim.isOurs) this.#turns.leaveUntil(host, nowMs + claim.waitMs)
      return claim?.isOurs === true
    })
  }

  /** What another tracker has found out of a maker: its turn comes later. */
  learnt(record: MakerRecord, before: MakerRecord | undefined): void {
    this.#turns.probed(record, before, false)
  }

  async #probe(maker: MarketMaker, host: string, signal: AbortSignal): Promise<void> {
    const { address, bonds, format } = maker
    const isSlow = this.#slow.has(address)
    const { clock, liveness, network, self } = this.#deps
    const { rules, timeoutMs, socks } = this.#options
    const target = parseHostPort(address)
    const route = target && routeTo(target.host, socks)
    const atMs = clock.nowMs()
    if (!target || route === undefined) {
      this.#turns.postpone(address, atMs)
      return
    }
    const before = liveness.record(address)
    const listedBy = bonds[0]!.bond
    const attempts = attemptsFor(format, {
      mayPing: mayPing(before, atMs, rules),
      ...(before?.dialect !== undefined && { lastAnswered: before.dialect }),
    })
    const isOfferDue = wantsOffer(before, liveness.isProven(listedBy), atMs, rules)
    const mark = route === 'direct' ? undefined : network.mark()
    this.#open++
    if (isSlow) this.#openSlow++
    let result: ProbeResult
    try {
      const options = { socks, timeoutMs, self: self(), clock, signal }
      result = await probe({ address: target, attempts, wantsOffer: isOfferDue }, options)
    } finally {
      this.#open--
      if (isSlow) this.#openSlow--
      this.#bell.ring() // the slot is free; a verdict may take longer
    }
    const finding = await this.#findingOf(result, mark, signal)
    this.#counts[finding.outcome]++
    const record = liveness.recordProbe(address, atMs, finding, result)
    // Who closes was tried again at once, and is due as anybody else.
    this.#turns.probed(record, before, finding.outcome === 'unjudged' && finding.closed === undefined)
    if (result.latencyMs > LIMITS.slowShare * timeoutMs) this.#slow.add(address)
    else this.#slow.delete(address)
    this.#tell(address, finding, result)
    this.#deps.onProbe?.(finding.outcome, result.latencyMs)
    if (result.kind === 'answered' && isOfferDue) await this.#judge(address, clock.nowMs(), result)
    await this.#release(host)
  }

  async #release(host: string): Promise<void> {
    const { turns, clock, log } = this.#deps
    try {
      await turns.release(host, Math.max(0, this.#turns.freeMs(host) - clock.nowMs()))
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      log.debug({ host, detail: describeError(error) }, 'turn not given back: it ends by itself')
    }
  }

  /** `mark`: of our network before the probe; absent when there was no network of ours to fail. */
  async #findingOf(result: ProbeResult, mark: number | undefined, signal: AbortSignal): Promise<ProbeFinding> {
    if (result.kind === 'answered') {
      return { outcome: 'answered', dialect: result.dialect, protocols: result.protocols }
    }
    const { failure, text } = result
    if (failure === 'proxy') {
      this.#deps.network.lost(text)
      return { outcome: 'unjudged' }
    }
    if (failure === 'closed') return { outcome: 'unjudged', closed: text }
    const isOurs = mark !== undefined && !(await this.#deps.network.workedSince(mark, signal))
    return isOurs ? { outcome: 'unjudged' } : { outcome: 'failed', failure, text }
  }

  async #judge(address: string, atMs: number, result: Extract<ProbeResult, { kind: 'answered' }>): Promise<void> {
    const { liveness, judge, log } = this.#deps
    const { offer, offerFault, noOffer } = result
    if (offerFault !== undefined) log.debug({ maker: address, detail: offerFault }, 'offer refused')
    if (!offer) {
      if (noOffer !== undefined) log.debug({ maker: address, detail: noOffer }, 'no offer')
      return liveness.recordNoOffer(address, atMs, offerFault)
    }
    try {
      const { verdict, bond } = await judge(offer.proof, offer, address)
      liveness.recordOffer(address, atMs, offer, verdict, bond, offerFault)
      if (!verdict.ok) log.debug({ maker: address, failed: verdict.failed, detail: verdict.text }, 'proof refused')
    } catch (error) {
      if (!(error instanceof TransientError)) throw error // bitcoind is away: the next probe asks again
    }
  }

  /** Each probe; what it changes is told by whoever listens to changes. */
  #tell(maker: string, { outcome }: ProbeFinding, result: ProbeResult): void {
    const { liveness, log } = this.#deps
    if (!log.isLevelEnabled('debug')) return
    const { kind, latencyMs } = result
    const said = kind === 'answered' ? { dialect: result.dialect } : { failure: result.failure, detail: result.text }
    log.debug(
      { maker, outcome, reach: liveness.reachOf(maker), ...said, tookMs: Math.round(latencyMs) },
      'maker probed',
    )
  }
}
