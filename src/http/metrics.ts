/**
 * Every metric by name. Gauges read the status and the store when they are scraped, so they cannot drift; counters that
 * others keep are copied then. Only durations are noted as they happen. Labels are few and closed; addresses and txids
 * belong in the log.
 */
import { statSync } from 'node:fs'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { whyNotSynced } from '../chain/following.ts'
import type { CurrentMarket } from '../market.ts'
import type { Status } from '../status.ts'
import type { Handle } from '../wire/server.ts'
import type { Clock } from '../world.ts'
import type { Probing } from './probing.ts'

const PREFIX = 'fidelity_tracker_'

export interface MeterDeps {
  status: Status
  market: CurrentMarket
  probing: Probing
  clock: Clock
  databasePath: string
  /** Connections of takers. */
  connections: () => number
  /** Outpoints that takers' connections have subscribed to. */
  subscriptions: () => number
  /** Requests of takers: `kind/outcome` → how often. */
  requestCounts: () => ReadonlyMap<string, number>
}

/** Made before what it measures; `expose` is called once everything is there. */
export class Meters {
  readonly registry = new Registry()
  readonly #clock: Clock
  readonly #requestSeconds: Histogram<'kind'>
  readonly #probes: Counter<'outcome'>
  readonly #probeSeconds: Histogram

  constructor(clock: Clock) {
    this.#clock = clock
    const registers = [this.registry]
    this.#requestSeconds = new Histogram({
      name: `${PREFIX}request_duration_seconds`,
      help: "From a taker's whole request to the reply's hand-over, by kind of request",
      labelNames: ['kind'],
      buckets: [0.0005, 0.002, 0.01, 0.05, 0.2, 1, 5, 20],
      registers,
    })
    this.#probes = new Counter({
      name: `${PREFIX}probes_total`,
      help: 'Probes of makers, by outcome',
      labelNames: ['outcome'],
      registers,
    })
    this.#probeSeconds = new Histogram({
      name: `${PREFIX}probe_duration_seconds`,
      help: 'From dialling a maker to its answer, answered probes only',
      buckets: [0.5, 1, 2, 4, 8, 15, 30, 60],
      registers,
    })
    collectDefaultMetrics({ register: this.registry })
  }

  /** `handle`, with the time it takes noted. */
  timed(handle: Handle): Handle {
    return async (request, peer) => {
      const startMs = this.#clock.monotonicMs()
      try {
        return await handle(request, peer)
      } finally {
        this.#requestSeconds.observe({ kind: request.type }, (this.#clock.monotonicMs() - startMs) / 1000)
      }
    }
  }

  /** A probe of a maker has ended; `tookMs` where it was answered. */
  noteProbe(outcome: string, tookMs?: number): void {
    this.#probes.inc({ outcome })
    if (tookMs !== undefined) this.#probeSeconds.observe(tookMs / 1000)
  }

  /** Registers all that is read when scraped. Once. */
  expose(deps: MeterDeps): void {
    const { status, market, probing, clock } = deps
    const { following } = status
    this.#gauge('tip_height', "Height of bitcoind's best block, as last seen", () => following.best?.height)
    this.#gauge('scanned_height', 'Height of the last block scanned', () => market.read()?.tip.height)
    this.#gauge('synced', '1 while lists are answered', () =>
      Number(whyNotSynced(following, clock.monotonicMs()) === undefined),
    )
    this.#labelled('bonds', 'Bonds known, by state', 'state', () => Object.entries(market.read()?.counts ?? {}))
    this.#labelled('makers', 'Makers with a live bond, by reach', 'reach', () => {
      const counts = { up: 0, down: 0, unknown: 0 }
      for (const address of market.makers().keys()) counts[probing.livenessOf(address).reach]++
      return Object.entries(counts)
    })
    this.#labelled('trackers', 'Other trackers, by whether their digest is ours', 'agrees', () => {
      const counts = { true: 0, false: 0, unknown: 0 }
      for (const { agrees } of probing.trackers().map(({ compared }) => ({ agrees: compared?.agrees })))
        counts[agrees === undefined ? 'unknown' : agrees ? 'true' : 'false']++
      return Object.entries(counts)
    })
    this.#gauge('connections', 'Connections of takers', deps.connections)
    this.#gauge('subscriptions', 'Outpoints subscribed to by takers', deps.subscriptions)
    this.#gauge(
      'reorg_depth_max',
      'Blocks taken back by the deepest reorg since the start',
      () => following.reorgDepthMax,
    )
    this.#gauge('mempool_transactions', "Transactions in bitcoind's mempool", () => following.mempool.size)
    this.#gauge('onion_up', '1 while the onion service is published', () => Number(status.onion.kind === 'published'))
    this.#gauge('bitcoind_up', '1 while bitcoind answers', () =>
      Number(following.node.kind === 'following' || following.node.kind === 'initial-download'),
    )
    this.#gauge('db_bytes', 'Size of the database files', () => databaseBytes(deps.databasePath))
    this.#counter('reorgs_total', 'Reorgs since the start', [], (counter) => counter.inc(following.reorgs))
    this.#counter('requests_total', 'Requests of takers, by kind and outcome', ['kind', 'outcome'], (counter) => {
      for (const [key, times] of deps.requestCounts()) {
        const [kind = '', outcome = ''] = key.split('/')
        counter.inc({ kind, outcome }, times)
      }
    })
  }

  /** Without a value nothing is said: not known is not 0. */
  #gauge(name: string, help: string, read: () => number | undefined): void {
    new Gauge({
      name: PREFIX + name,
      help,
      registers: [this.registry],
      collect() {
        const value = read()
        if (value === undefined) this.remove()
        else this.set(value)
      },
    })
  }

  #labelled(name: string, help: string, label: string, read: () => [string, number][]): void {
    new Gauge({
      name: PREFIX + name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [word, value] of read()) this.set({ [label]: word }, value)
      },
    })
  }

  #counter(name: string, help: string, labelNames: string[], count: (counter: Counter) => void): void {
    new Counter({
      name: PREFIX + name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        count(this)
      },
    })
  }
}

/** The file and its write-ahead log. */
function databaseBytes(path: string): number {
  return [path, `${path}-wal`].reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0)
}
