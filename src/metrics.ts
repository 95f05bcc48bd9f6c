/**
 * Every metric by name. Gauges read the status and the market when they are scraped, so they cannot drift; counters that
 * others keep are copied then. Only durations are noted as they happen. Labels are few and closed; addresses and txids
 * belong in the log. prom-client appears only here.
 */
import { statSync } from 'node:fs'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Core } from './core.ts'
import { MENDED_OUTCOMES } from './nostr/mender.ts'
import { VERSION } from './version.ts'
import { relayLabels } from './views/relays.ts'
import { currentReadiness } from './views/status.ts'

const PREFIX = 'fidelity_tracker_'

/** Made before what it measures; `expose` is called once everything is there. */
export class Meters {
  readonly registry = new Registry()
  readonly #requestSeconds: Histogram<'kind'>
  readonly #probes: Counter<'outcome'>
  readonly #probeSeconds: Histogram

  constructor() {
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
    new Gauge({
      name: `${PREFIX}build_info`,
      help: 'Always 1; the label tells the version',
      labelNames: ['version'],
      registers,
    }).set({ version: VERSION }, 1)
    collectDefaultMetrics({ register: this.registry })
  }

  noteRequest(kind: string, tookMs: number): void {
    this.#requestSeconds.observe({ kind }, tookMs / 1000)
  }

  /** A probe of a maker has ended; `tookMs` where it was answered. */
  noteProbe(outcome: string, tookMs?: number): void {
    this.#probes.inc({ outcome })
    if (tookMs !== undefined) this.#probeSeconds.observe(tookMs / 1000)
  }

  /** Registers all that is read when scraped. Once. */
  expose(core: Core): void {
    const { cells, market, liveness, trackers, dials } = core
    const { following } = cells
    const checks = () => currentReadiness(core).checks
    this.#gauge('tip_height', "Height of bitcoind's best block, as last seen", () => following.best?.height)
    this.#gauge('scanned_height', 'Height of the last block scanned', () => market.read()?.tip.height)
    this.#gauge('synced', '1 while lists are answered', () => Number(checks().sync.ok))
    this.#gauge('ready', '1 while takers get answers through Tor', () => Number(currentReadiness(core).ready))
    this.#gauge('bitcoind_up', '1 while bitcoind answers', () => Number(checks().bitcoind.ok))
    this.#gauge('onion_up', '1 while the onion service is published', () => Number(cells.onion.kind === 'published'))
    this.#gauge(
      'onion_lease_holder',
      '1 while this tracker holds the lease of the onion address; no value where none is shared',
      () => cells.lease && Number(cells.lease.kind === 'holder'),
    )
    this.#gauge('canary_up', '1 while our own onion service is reached through Tor; no value without Tor', () =>
      cells.canary ? Number(cells.canary.kind === 'green') : undefined,
    )
    this.#gauge(
      'onion_descriptor_age_seconds',
      'Since Tor last uploaded a descriptor of our onion service; no value where it does not tell',
      () => cells.descriptor && (core.clock.monotonicMs() - cells.descriptor.uploadedMs) / 1000,
    )
    this.#gauge('shared_store_up', '1 while the shared store is there and read; no value without one', () =>
      core.sharing ? Number(core.sharing.check.ok) : undefined,
    )
    this.#gauge(
      'shared_store_untold',
      'Rows that are not known to be in the shared store yet; no value without one',
      () => core.sharing?.untold,
    )
    this.#counter(
      'onion_republished_total',
      'Times that the onion service was taken down and published again because it was not reached',
      [],
      (counter) => counter.inc(cells.republished ?? 0),
    )
    this.#counter(
      'onion_withdrawn_total',
      'Times that this back end of Onionbalance was taken from its Tor because it was not ready',
      [],
      (counter) => counter.inc(cells.withdrawn ?? 0),
    )
    this.#labelled('bonds', 'Bonds known, by state', 'state', () => Object.entries(market.read()?.counts ?? {}))
    this.#labelled('makers', 'Makers with a live bond, by reach', 'reach', () => Object.entries(liveness.counts()))
    this.#labelled('trackers', 'Configured trackers, by whether their list is ours', 'agrees', () => {
      const counts = { true: 0, false: 0, unknown: 0 }
      for (const { source, compared } of trackers.list()) {
        if (source !== 'configured') continue
        counts[compared === undefined ? 'unknown' : compared.agrees ? 'true' : 'false']++
      }
      return Object.entries(counts)
    })
    this.#gauge(
      'trackers_learnt',
      'Trackers learnt from Pings',
      () => trackers.list().filter(({ source }) => source === 'learnt').length,
    )
    this.#exposeRelays(core)
    this.#gauge('connections', 'Connections of takers', core.connections)
    this.#gauge('nostr_door_connections', 'Connections to the Nostr relay of this tracker; no value without it', () =>
      core.door?.connections(),
    )
    this.#gauge(
      'nostr_door_subscriptions',
      'Subscriptions at the Nostr relay of this tracker; no value without it',
      () => core.door?.subscriptions(),
    )
    this.#gauge('nostr_door_events', 'Bonds that the Nostr relay of this tracker announces; no value without it', () =>
      core.door?.events(),
    )
    this.#counter(
      'nostr_door_messages_total',
      'Messages at the Nostr relay of this tracker, by type and outcome',
      ['type', 'outcome'],
      (counter) => {
        for (const [key, times] of core.door?.counts ?? []) {
          const [type = '', outcome = ''] = key.split('/')
          counter.inc({ type, outcome }, times)
        }
      },
    )
    this.#gauge('subscriptions', 'Outpoints subscribed to by takers', core.subscriptions)
    this.#gauge('registrations', 'Outpoints registered by takers', core.registrations)
    this.#gauge(
      'registration_effort_bits',
      'Bits of effort that the next registration asks for, for two weeks; 0 while it is free',
      () => core.registered.effortBits,
    )
    this.#counter('registrations_refused_total', 'Registrations refused, by reason', ['reason'], (counter) => {
      for (const [reason, times] of Object.entries(core.registered.refused)) counter.inc({ reason }, times)
    })
    this.#gauge(
      'webhook_queue',
      'Webhook events that wait to be delivered; no value without a webhook',
      () => core.webhook?.waiting,
    )
    this.#counter(
      'webhook_dropped_total',
      'Webhook events dropped: too many waited, too old, or refused',
      [],
      (counter) => counter.inc(core.webhook?.dropped ?? 0),
    )
    this.#gauge(
      'reorg_depth_max',
      'Blocks taken back by the deepest reorg since the start',
      () => following.reorgDepthMax,
    )
    this.#gauge('mempool_transactions', "Transactions in bitcoind's mempool", () => following.mempool.size)
    this.#gauge('db_bytes', 'Size of the database files', () => databaseBytes(core.db.path))
    this.#counter('reorgs_total', 'Reorgs since the start', [], (counter) => counter.inc(following.reorgs))
    const { work } = core
    this.#labelled('work_waiting', 'Work of clients that waits for its turn, by queue', 'queue', () =>
      Object.entries(work.waiting),
    )
    this.#counter('work_units_total', 'Work that clients have asked for, in units', [], (counter) =>
      counter.inc(work.counts.units),
    )
    this.#counter('work_exhausted_total', 'Times that a client had spent its allowance', [], (counter) =>
      counter.inc(work.counts.exhausted),
    )
    this.#counter('work_refused_total', 'Requests told busy after a wait', [], (counter) =>
      counter.inc(work.counts.refused),
    )
    this.#gauge(
      'work_piece_seconds_max',
      'The longest piece of work on the serving thread since the start',
      () => work.counts.longestPieceMs / 1000,
    )
    this.#counter('evicted_total', 'Connections that made room for newcomers, by group', ['group'], (counter) => {
      for (const door of [core.wire, core.door]) {
        for (const [group, times] of Object.entries(door?.evicted ?? {})) counter.inc({ group }, times)
      }
    })
    this.#counter('hints_total', 'Pings that name a tracker, by what became of them', ['outcome'], (counter) => {
      for (const [outcome, times] of Object.entries(trackers.hintCounts)) counter.inc({ outcome }, times)
    })
    this.#counter('stranger_dials_total', 'Hosts dialled because strangers named them', [], (counter) =>
      counter.inc(dials.taken),
    )
    this.#gauge(
      'backlog_bytes',
      'Long replies on their way that clients have not taken yet',
      () => core.wire?.backlog.bytes,
    )
    this.#counter('backlog_cut_total', 'Clients cut off because long replies took too much room', [], (counter) =>
      counter.inc(core.wire?.backlog.cut ?? 0),
    )
    this.#counter('requests_total', 'Requests of takers, by kind and outcome', ['kind', 'outcome'], (counter) => {
      for (const [key, times] of core.wire?.counts ?? []) {
        const [kind = '', outcome = ''] = key.split('/')
        counter.inc({ kind, outcome }, times)
      }
    })
  }

  #exposeRelays({ config, relays }: Core): void {
    const labels = relayLabels(config.nostr.relays)
    this.#labelled('nostr_relay_up', '1 while a relay is listened to', 'relay', () =>
      relays.rows().map(({ url, state }) => [labels.get(url)!, Number(state === 'live')]),
    )
    this.#gauges(
      'nostr_relay_bonds',
      'Bonds at a relay: announced, missing, dead; and events that takers pass over, invalid; no value while not known',
      ['relay', 'state'],
      (gauge) => {
        for (const { url, announced, missing, dead, invalid } of relays.rows()) {
          for (const [state, value] of Object.entries({ announced, missing, dead, invalid })) {
            if (value !== null) gauge.set({ relay: labels.get(url)!, state }, value)
          }
        }
      },
    )
    this.#counter(
      'nostr_published_total',
      'Events of missing bonds sent to relays, by what became of them',
      ['relay', 'outcome'],
      (counter) => {
        for (const { url, publishing } of relays.rows()) {
          if (!publishing) continue
          for (const outcome of MENDED_OUTCOMES) counter.inc({ relay: labels.get(url)!, outcome }, publishing[outcome])
        }
      },
    )
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
    this.#gauges(name, help, [label], (gauge) => {
      for (const [word, value] of read()) gauge.set({ [label]: word }, value)
    })
  }

  #gauges(name: string, help: string, labelNames: string[], read: (gauge: Gauge) => void): void {
    new Gauge({
      name: PREFIX + name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        read(this)
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
