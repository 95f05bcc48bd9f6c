/**
 * The loop that keeps a back end of Onionbalance in Tor while this tracker is ready, and out of it while it is not: the
 * balancer never asks whether anybody answers, so a service whose daemon can't is met by its full share of all clients.
 * The service is told to Tor by SETCONF (back-end.ts) and stands in no torrc: a Tor that starts has none until we are
 * ready. What becomes of it when this process can't do it any more is the guard's (back-end-guard.ts).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { raceAbort, ScopedAbort } from '../concurrency.ts'
import { AccessRefused, ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import { after, Backoff, sleep } from '../world.ts'
import { formatHostPort, type HostPort } from './address.ts'
import { type BackEndService, dirOf, FRONT_FILE, frontIn, hasService, putService, withdrawService } from './back-end.ts'
import { BackEndGuard } from './back-end-guard.ts'
import { type ControlOptions, TorControl } from './control.ts'
import type { Healing } from './healing.ts'
import type { OnionDeps } from './onion.ts'
import { TorRefusal } from './refusals.ts'
import { readHostname } from './torrc-onion.ts'
import { Uploads } from './uploads.ts'

const LIMITS = {
  /** Tor is on this machine: come back soon after it does. */
  backoff: { firstMs: 250, maxMs: 5_000 },
  /** How often is looked whether we are ready, and whether Tor has the service: a reload of torrc ends it. */
  lookMs: 1_000,
  /**
   * Once ready, not ready for so long is met by withdrawing. A pause of bitcoind or of the disk is shorter, and who is
   * withdrawn gets no client before the balancer has seen the new introduction points, up to a quarter of an hour later.
   */
  patienceMs: 20_000,
  /** A descriptor is uploaded within seconds; without one after this, the service is put into Tor anew. */
  uploadMs: 180_000,
  /** Of a stop, for telling Tor: it is on this machine. */
  farewellMs: 2_000,
}

export interface BalancedOptions extends ControlOptions {
  /** In the service's folder; Tor writes it. */
  hostnameFile: string
  /** What clients know: host.onion. */
  publicOnion: string
  virtualPort: number
  /** Where Tor finds us; `localHost` is our own side of the control connection. */
  target: (localHost: string | undefined) => HostPort
  nostr: ((localHost: string | undefined) => HostPort) | undefined
  streamsPerCircuit: number
  circuitIds: boolean
}

export interface BalancedDeps extends OnionDeps {
  /** Why nobody is to be led here just now, in words; undefined when ready. Nothing of Tor is asked in it. */
  whyNotReady: () => string | undefined
  healing: Healing
  /** Called whenever a directory has taken a descriptor of ours. */
  uploaded: () => void
  /** Called when the service is taken down to be published again. */
  republished: () => void
  /** Called when it is taken from Tor as we are not ready. */
  withdrawn: () => void
}

export class BalancedOnion {
  readonly #options: BalancedOptions
  readonly #deps: BalancedDeps
  readonly #dir: string
  /** Since when we are not ready, monotonic; undefined while we are. */
  #notReadySinceMs: number | undefined
  #wasReady = false
  #wasLetIn = false
  #lastDetail: string | undefined

  constructor(options: BalancedOptions, deps: BalancedDeps) {
    this.#options = options
    this.#deps = deps
    this.#dir = dirOf(options.hostnameFile)
  }

  /** Runs until the signal, and takes the service from Tor then. Throws ConfigError for what only the operator can mend. */
  async run(signal: AbortSignal): Promise<void> {
    const { report, log, random } = this.#deps
    await readHostname(this.#options.hostnameFile)
    using _guard = new BackEndGuard(this.#options, this.#dir)
    const backoff = new Backoff(LIMITS.backoff, random)
    for (;;) {
      try {
        await this.#hold(signal, () => backoff.reset())
      } catch (error) {
        if (isAbort(error, signal)) throw error
        const isWeather =
          error instanceof TransientError ||
          error instanceof TorRefusal ||
          (error instanceof AccessRefused && this.#wasLetIn)
        if (!isWeather) throw error
        const detail = describeError(error)
        if (detail !== this.#lastDetail) log.warn({ detail }, 'onion service down')
        this.#lastDetail = detail
        report({ kind: 'unreachable', detail })
        await sleep(backoff.nextMs(), signal)
      }
    }
  }

  /** One control connection's life. Always ends by throwing. */
  async #hold(signal: AbortSignal, onLetIn: () => void): Promise<never> {
    using control = new TorControl({ ...this.#options, log: this.#deps.log })
    using life = new ScopedAbort(signal)
    void control.closed.then((reason) => life.abort(reason))
    const orEnd = <T>(work: Promise<T>): Promise<T> => raceAbort(work, life.signal)
    await orEnd(control.connect())
    this.#wasLetIn = true
    try {
      return await this.#keep(control, orEnd, onLetIn, life.signal)
    } finally {
      if (signal.aborted) await this.#farewell(control)
    }
  }

  async #keep(
    control: TorControl,
    orEnd: <T>(work: Promise<T>) => Promise<T>,
    onLetIn: () => void,
    signal: AbortSignal,
  ): Promise<never> {
    const { report, log, healing, republished, withdrawn, clock } = this.#deps
    const torVersion = (await orEnd(control.info('version'))).split(' ', 1)[0]!
    const uploads = new Uploads(this.#deps.uploaded)
    await orEnd(uploads.listen(control))
    /** What was reported last, so that each change is told once. */
    let told = ''
    /** Since it was put into Tor and until its descriptor is seen to be uploaded. */
    let upload: { sinceMs: number; outcome: boolean | undefined } | undefined
    for (;;) {
      const isThere = await orEnd(hasService(control, this.#dir))
      onLetIn()
      this.#lastDetail = undefined
      const why = this.#whyWithdraw(isThere)
      const order = healing.take()
      if (why !== undefined) {
        if (isThere && (await orEnd(withdrawService(control, this.#dir)))) {
          withdrawn()
          log.warn({ detail: why }, 'onion service withdrawn, so that nobody is led here')
        }
        upload = undefined
        if (told !== 'withdrawn')
          report({ kind: 'withdrawn', torVersion, detail: 'withdrawn until this tracker is ready' })
        told = 'withdrawn'
      } else if (isThere && order !== undefined) {
        republished()
        log.warn({ detail: order }, 'onion service is taken down and published again')
        await orEnd(withdrawService(control, this.#dir))
        continue
      } else {
        if (!isThere) {
          upload = { sinceMs: clock.monotonicMs(), outcome: undefined }
          await orEnd(this.#put(control))
        }
        const onionHost = await this.#ownName()
        if (!isThere) {
          const begun = upload!
          void uploads.of(onionHost.replace(/\.onion$/, '')).then((isTaken) => {
            begun.outcome = isTaken
          })
        }
        const isWaiting = upload !== undefined && upload.outcome !== true
        const state = `${isWaiting ? 'publishing' : 'published'} ${onionHost}`
        const front = this.#options.publicOnion
        const detail = isWaiting
          ? `back end ${onionHost}: waiting for the first descriptor upload`
          : `back end ${onionHost} of ${front} is published`
        if (state !== told) {
          report({ kind: isWaiting ? 'publishing' : 'published', onionHost, torVersion, detail })
          const onionAddress = formatHostPort({ host: front, port: this.#options.virtualPort })
          if (!isWaiting) log.info({ onionAddress, backEnd: onionHost }, 'onion service published')
        }
        told = state
        if (isWaiting && (upload!.outcome === false || clock.monotonicMs() - upload!.sinceMs > LIMITS.uploadMs)) {
          await orEnd(withdrawService(control, this.#dir))
          throw new TransientError(`no directory took the descriptor of ${onionHost}: journalctl -u tor@default -n 50`)
        }
      }
      await sleep(LIMITS.lookMs, signal)
    }
  }

  /** What has to be said no to now; a daemon that was ready is given some time. */
  #whyWithdraw(isThere: boolean): string | undefined {
    const nowMs = this.#deps.clock.monotonicMs()
    const why = this.#deps.whyNotReady()
    if (why === undefined) {
      this.#notReadySinceMs = undefined
      this.#wasReady = true
      return undefined
    }
    this.#notReadySinceMs ??= nowMs
    const isPatient = isThere && this.#wasReady && nowMs - this.#notReadySinceMs < LIMITS.patienceMs
    return isPatient ? undefined : why
  }

  async #put(control: TorControl): Promise<void> {
    const { virtualPort, target, nostr, streamsPerCircuit, circuitIds } = this.#options
    const { localHost } = control
    this.#assertFront()
    const service: BackEndService = {
      dir: this.#dir,
      virtualPort,
      target: target(localHost),
      nostr: nostr?.(localHost),
      streamsPerCircuit,
      circuitIds,
    }
    try {
      await putService(control, service)
    } catch (error) {
      if (!(error instanceof TorRefusal && error.code === 513)) throw error
      throw new TransientError(
        `Tor does not take ${this.#dir} as a back end of Onionbalance (513 ${error.words}): the folder must be its own user's, with ${FRONT_FILE} in it, which names the public address: fidelity-tracker print-torrc --onionbalance has the commands; its log says more`,
        { cause: error },
      )
    }
  }

  /** Where we may read it, ob_config is to name the address that we tell; else it is Tor alone who sees it. */
  #assertFront(): void {
    const { publicOnion } = this.#options
    const file = join(this.#dir, FRONT_FILE)
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      return
    }
    const front = frontIn(text)
    if (front === publicOnion) return
    throw new TransientError(
      `${file} names ${front ?? 'no address'}, and --public-onion is ${publicOnion}: clients of that one would not be answered; make the file say: MasterOnionAddress ${publicOnion}`,
    )
  }

  async #ownName(): Promise<string> {
    const { hostnameFile, publicOnion } = this.#options
    const name = await readHostname(hostnameFile)
    if (name === undefined) throw new TransientError(`Tor has the service, and ${hostnameFile} is not there`)
    if (name === publicOnion) {
      throw new ConfigError(
        `--public-onion ${publicOnion} is the name of this back end itself (${hostnameFile}): give the one of the balancer's key, which clients know`,
      )
    }
    return name
  }

  /** The stop: from here on nobody answers. */
  async #farewell(control: TorControl): Promise<void> {
    const cancel = after(LIMITS.farewellMs, () => control[Symbol.dispose]())
    try {
      if (await withdrawService(control, this.#dir)) this.#deps.log.info('onion service withdrawn')
    } catch (error) {
      // The guard tries on.
      this.#deps.log.warn({ detail: describeError(error) }, 'Tor could not be told that we stop')
    } finally {
      cancel()
    }
  }
}
