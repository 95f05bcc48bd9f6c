/**
 * How this tracker's onion address comes to be published: by its own Tor as soon as it runs, only while it holds the lease
 * of an address that several trackers share, or by torrc. Writes the cells that tell of it.
 */
import { join } from 'node:path'
import { runBackEnd } from './balancing.ts'
import { runAll } from './concurrency.ts'
import type { Config } from './config.ts'
import type { Core } from './core.ts'
import { AddressLease, type LeaseState } from './tor/address-lease.ts'
import { ONION_KEY_FILE } from './tor/key.ts'
import { OnionService, type OnionState } from './tor/onion.ts'
import { targetFor } from './tor/targets.ts'
import { NOSTR_VIRTUAL_PORT } from './tor/torrc.ts'
import { runTorrcOnion } from './tor/torrc-onion.ts'
import { currentReadiness, isAnswered } from './views/status.ts'
import { sleep } from './world.ts'

const LIMITS = {
  /** How often a standby looks whether its Tor would do. */
  lookMs: 5_000,
  /** A holder that has not published for so long lets others try: an upload takes seconds. */
  publishMs: 15_000,
  /** How long it then leaves the lease to them. */
  asideMs: 30_000,
}

/** Runs until the signal. Throws ConfigError where the operator has to do something. */
export async function runOnion(core: Core, signal: AbortSignal): Promise<void> {
  const { clock, random, cells, canary, config } = core
  const { tor } = config
  const deps = {
    clock,
    random,
    log: core.log.child({ room: 'tor' }),
    report: (state: OnionState) => {
      cells.onion = state
      if ('onionHost' in state) cells.onionHost = state.onionHost
      if (isAnswered(state)) canary?.published()
      else canary?.lost(state.detail)
    },
  }
  if (tor.kind === 'none') return
  if (tor.kind === 'torrc') {
    const { hostnameFile, publicOnion } = tor
    if (publicOnion !== undefined) return await runBackEnd(core, tor, deps, signal)
    return await runTorrcOnion({ hostnameFile, virtualPort: core.wire!.port }, deps, signal)
  }
  const service = newService(core, tor, deps)
  if (tor.lease) return await new SharedAddress(core, service, deps).run(signal)
  await service.run(signal)
}

type Reporting = Pick<Core, 'clock' | 'random' | 'log'> & { report: (state: OnionState) => void }

/** Publishes the service, and again when the canary finds that nobody reaches it. */
function newService(
  { cells, clock, healing, door, wire, config }: Core,
  place: Extract<Config['tor'], { kind: 'control' }>,
  deps: Reporting,
): OnionService {
  const nostr = door && {
    virtualPort: NOSTR_VIRTUAL_PORT,
    target: (localHost: string | undefined) => targetFor('nostr', door, place, localHost),
  }
  return new OnionService(
    {
      ...place,
      keyFile: join(config.dataDir, ONION_KEY_FILE),
      virtualPort: wire!.port,
      target: (localHost) => targetFor('address', wire!, place, localHost),
      nostr,
    },
    {
      ...deps,
      uploaded() {
        cells.descriptor = { uploadedMs: clock.monotonicMs() }
      },
      healing,
      republished() {
        cells.republished = (cells.republished ?? 0) + 1
        cells.republishedAtMs = clock.nowMs()
      },
    },
  )
}

const NOT_ASKED = 'Tor was not asked yet'

/** The service published only while we hold the lease, and this tracker's fitness to hold it. */
class SharedAddress {
  readonly #core: Core
  readonly #service: OnionService
  readonly #deps: Reporting
  #lease: LeaseState = { kind: 'standby', isHeld: false, why: 'starting' }
  /** What our Tor was like at the last look; undefined before the first. */
  #tor: { torVersion?: string; fault?: string } | undefined
  /** Since when the lease has been ours without the address being published; undefined while it is. */
  #unpublishedSinceMs: number | undefined
  #asideUntilMs = Number.NEGATIVE_INFINITY

  constructor(core: Core, service: OnionService, deps: Reporting) {
    this.#core = core
    this.#service = service
    this.#deps = deps
  }

  async run(signal: AbortSignal): Promise<void> {
    const lease = new AddressLease({
      ...this.#deps,
      onionHost: this.#core.cells.onionHost!, // made with the key, at the latest when the core was opened
      leases: this.#core.leases!,
      unfit: () => this.#unfit(),
      report: (state) => this.#become(state),
    })
    await runAll(signal, {
      lease: (s) => lease.run((tenure) => this.#service.run(tenure.signal, (...to) => tenure.openLine(...to)), s),
      look: (s) => this.#lookAtTor(s),
    })
  }

  #become(state: LeaseState): void {
    const { cells, clock, canary } = this.#core
    this.#lease = state
    cells.lease = state
    // Another's descriptor is no longer ours to tell of, and ours not yet: the canary begins anew.
    delete cells.descriptor
    canary?.lost('the onion address changes hands')
    this.#unpublishedSinceMs = state.kind === 'holder' ? clock.monotonicMs() : undefined
    if (state.kind === 'standby') this.#tell()
    else
      this.#deps.report({ kind: 'publishing', onionHost: cells.onionHost!, detail: 'this tracker takes the address' })
  }

  /** What a standby says of the address. */
  #tell(): void {
    const { kind } = this.#lease
    if (kind !== 'standby') return
    const { isHeld, why } = this.#lease
    if (!this.#tor) return this.#deps.report({ kind: 'starting', detail: NOT_ASKED })
    const { torVersion, fault } = this.#tor
    if (fault !== undefined) return this.#deps.report({ kind: 'unreachable', detail: fault })
    const version = torVersion === undefined ? {} : { torVersion }
    this.#deps.report({ kind: 'standby', isHeld, ...version, detail: why })
  }

  async #lookAtTor(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#lease.kind === 'standby') {
        const before = JSON.stringify(this.#tor)
        const seen = await this.#service.look(signal)
        if (this.#lease.kind === 'standby') {
          this.#tor = seen
          if (JSON.stringify(seen) !== before) this.#tell()
        }
      }
      await sleep(LIMITS.lookMs, signal)
    }
  }

  /** Why this tracker must not hold the address. The canary has no say: it needs a service that is published. */
  #unfit(): string | undefined {
    const { clock, cells } = this.#core
    const { database, bitcoind, sync } = currentReadiness(this.#core).checks
    const failing = [database, bitcoind, sync].find(({ ok }) => !ok)
    if (failing) return `this tracker is not ready: ${failing.detail}`
    const nowMs = clock.monotonicMs()
    if (this.#lease.kind === 'standby') {
      if (nowMs < this.#asideUntilMs) return 'this tracker could not publish it a moment ago'
      return this.#tor ? this.#tor.fault : NOT_ASKED
    }
    const { onion } = cells
    if (onion.kind === 'published') {
      this.#unpublishedSinceMs = undefined
      this.#tor = onion.torVersion === undefined ? {} : { torVersion: onion.torVersion }
    } else this.#unpublishedSinceMs ??= nowMs
    if (onion.kind === 'unreachable') {
      // Given back in a moment, unless Tor comes back: whether it does is then looked for by #lookAtTor.
      this.#tor = { fault: onion.detail }
      return onion.detail
    }
    if (this.#unpublishedSinceMs === undefined || nowMs - this.#unpublishedSinceMs < LIMITS.publishMs) return undefined
    this.#asideUntilMs = nowMs + LIMITS.asideMs
    return `not published within ${LIMITS.publishMs / 1000} s: ${onion.detail}`
  }
}
