/**
 * The loop that keeps our onion service published: hold a control connection, add the service with the saved key, wait
 * for its descriptor's upload, watch; when the connection or Tor goes, or nobody reaches it any more, do it again. The
 * service is attached to the connection (no Detach), so it ends with us.
 */
import { raceAbort, ScopedAbort } from '../concurrency.ts'
import { AccessRefused, ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { after, Backoff, sleep, type World } from '../world.ts'
import { formatHostPort, type HostPort, isOnionHost } from './address.ts'
import { type ControlOptions, TorControl } from './control.ts'
import type { Healing } from './healing.ts'
import { openOnionKey } from './key.ts'
import { TorRefusal } from './refusals.ts'
import { defencesToTry } from './torrc.ts'
import { Uploads } from './uploads.ts'

const LIMITS = {
  /** Tor is on this machine: come back soon after it does. */
  backoff: { firstMs: 250, maxMs: 5_000 },
  /** A descriptor is uploaded within seconds; without one after this, the service is added anew. */
  uploadMs: 180_000,
  /** Tor does not try again by itself for an hour or two; the directories take what is newer than what they have. */
  rejectedMs: 60_000,
  /** How often the service is looked for in Tor's own list. */
  checkMs: 30_000,
}

export type OnionState =
  | { kind: 'starting' | 'unreachable'; detail: string }
  | { kind: 'publishing' | 'published'; onionHost: string; torVersion?: string; detail: string }
  /** Of several trackers with one key another has to publish it; `isHeld`: one does, for all that is known. */
  | { kind: 'standby'; isHeld: boolean; torVersion?: string; detail: string }
  /** A back end of Onionbalance that is not ready: Tor has no service of ours, on purpose. */
  | { kind: 'withdrawn'; torVersion: string; detail: string }

export interface OnionDeps extends World {
  /** Called on every change. */
  report: (state: OnionState) => void
}

interface OnionServiceDeps extends OnionDeps {
  /** Called whenever a directory has taken a descriptor of ours. */
  uploaded: () => void
  healing: Healing
  /** Called when the service is taken down to be published again. */
  republished: () => void
}

export interface OnionOptions extends ControlOptions {
  keyFile: string
  virtualPort: number
  /** Where Tor finds us; `localHost` is our own side of the control connection. */
  target: (localHost: string | undefined) => HostPort
  /** The same for the Nostr relay, if there is one. */
  nostr: { virtualPort: number; target: (localHost: string | undefined) => HostPort } | undefined
  /** Of one rendezvous circuit, at once; with one more Tor closes it. */
  streamsPerCircuit: number
}

/** Taken down by us, to be published again at once. */
class TakenDown extends TransientError {}

/** The directories keep a descriptor that is newer than ours. */
class UploadsRejected extends TransientError {}

const REJECTED =
  'the directories (HSDirs) refuse our descriptor, as they have a newer one of this address: another tracker publishes with a copy of our onion.key, or a clock was ahead. See that there is no other one, and that timedatectl says the right time; it is tried every minute, and is taken once that time has come'

const TAKEN_DOWN = 'onion service is taken down and published again'
const LACKING = 'this Tor does not know all defences of an onion service: published without'

/** The service that we publish by Tor's control port. */
export class OnionService {
  readonly #options: OnionOptions
  readonly #deps: OnionServiceDeps
  #wasLetIn = false
  /** It was let in by a proof once: who lets in everybody after that is not our Tor. */
  #demandsProof = false
  #lastDetail: string | undefined
  #lastLacking = ''

  constructor(options: OnionOptions, deps: OnionServiceDeps) {
    this.#options = options
    this.#deps = deps
  }

  /**
   * Runs until the signal; `openLine` as ControlOptions have it, for this run. Throws ConfigError when the key is
   * unusable, or Tor lets nobody in at first contact. Whatever else Tor says no to (a filter before its control port, a mode, an address that it still has) is weather: it is told
   * in Tor's words, and tried again.
   */
  async run(signal: AbortSignal, openLine?: ControlOptions['openLine']): Promise<void> {
    const { report, log, random } = this.#deps
    const key = openOnionKey(this.#options.keyFile)
    const backoff = new Backoff(LIMITS.backoff, random)
    for (;;) {
      try {
        await this.#hold(key, signal, openLine, () => backoff.reset())
      } catch (error) {
        if (isAbort(error, signal)) throw error
        if (error instanceof TakenDown) continue
        const isWeather =
          error instanceof TransientError ||
          error instanceof TorRefusal ||
          (error instanceof AccessRefused && this.#wasLetIn)
        if (!isWeather) throw error
        const detail = describeError(error)
        if (detail !== this.#lastDetail) log.warn({ detail }, 'onion service down')
        this.#lastDetail = detail
        report({ kind: 'unreachable', detail })
        await sleep(error instanceof UploadsRejected ? LIMITS.rejectedMs : backoff.nextMs(), signal)
      }
    }
  }

  /**
   * Whether Tor would publish for us just now, without asking it to: its version, and what is wrong with it, if something
   * is. Throws ConfigError when Tor lets nobody in at first contact.
   */
  async look(signal: AbortSignal): Promise<{ torVersion?: string; fault?: string }> {
    using control = this.#newControl()
    try {
      await raceAbort(this.#enter(control), signal)
      this.#wasLetIn = true
      const torVersion = (await raceAbort(infoIfAllowed(control, 'version'), signal))?.split(' ', 1)[0]
      const fault = await raceAbort(torFault(control), signal)
      return { ...(torVersion !== undefined && { torVersion }), ...(fault !== undefined && { fault }) }
    } catch (error) {
      const isWeather = error instanceof TransientError || (error instanceof AccessRefused && this.#wasLetIn)
      if (signal.aborted || !isWeather) throw error
      return { fault: describeError(error) }
    }
  }

  #newControl(openLine?: ControlOptions['openLine']): TorControl {
    return new TorControl({ ...this.#options, log: this.#deps.log, demandsProof: this.#demandsProof, openLine })
  }

  async #enter(control: TorControl): Promise<void> {
    await control.connect()
    this.#demandsProof ||= control.authenticated?.isProven === true
  }

  /** One control connection's life. Always ends by throwing. */
  async #hold(
    key: Secret,
    signal: AbortSignal,
    openLine: ControlOptions['openLine'],
    onPublished: () => void,
  ): Promise<never> {
    const { report, uploaded, log } = this.#deps
    using control = this.#newControl(openLine)
    using life = new ScopedAbort(signal)
    void control.closed.then((reason) => life.abort(reason))
    const orEnd = <T>(work: Promise<T>): Promise<T> => raceAbort(work, life.signal)

    await orEnd(this.#enter(control))
    const torVersion = (await orEnd(infoIfAllowed(control, 'version')))?.split(' ', 1)[0]
    const uploads = new Uploads(uploaded)
    const unseen = await orEnd(uploads.listen(control))
    const { onionHost, lacking } = await orEnd(addService(control, this.#options, key))
    const serviceId = onionHost.replace(/\.onion$/, '')
    if (!isOnionHost(onionHost)) throw new TransientError(`Tor named the service ${onionHost}, which is no v3 address`)
    const known = torVersion === undefined ? { onionHost } : { onionHost, torVersion }
    report({ kind: 'publishing', ...known, detail: 'waiting for the first descriptor upload' })
    log.info(known, 'onion service added')
    if (lacking.length > 0 && String(lacking) !== this.#lastLacking) log.info({ lacking }, LACKING)
    this.#lastLacking = String(lacking)

    if (unseen) log.warn({ detail: unseen.message }, 'whether the descriptor is uploaded is not seen')
    else {
      const cancel = after(LIMITS.uploadMs, () => life.abort(new TransientError(NO_UPLOAD)))
      if (!(await orEnd(uploads.of(serviceId)).finally(cancel))) throw new UploadsRejected(REJECTED)
    }
    this.#wasLetIn = true
    this.#lastDetail = undefined
    onPublished()
    const how = unseen ? `added; its upload is not seen: ${unseen.message}` : 'descriptor uploaded'
    let skew = describeSkew(uploads.skewS)
    const tell = () => {
      if (skew !== '') log.warn({ detail: skew }, 'the clock is wrong')
      report({ kind: 'published', ...known, detail: how + describeLacking(lacking) + (skew && `; ${skew}`) })
    }
    tell()
    uploads.onSkew = () => {
      const before = skew
      skew = describeSkew(uploads.skewS)
      if (skew !== before) tell()
    }
    const onionAddress = formatHostPort({ host: onionHost, port: this.#options.virtualPort })
    log.info({ onionAddress }, 'onion service published')

    for (;;) {
      const why = await orEnd(this.#deps.healing.ordered(LIMITS.checkMs))
      if (why !== undefined) await orEnd(this.#takeDown(control, known, why))
      const current = await orEnd(infoIfAllowed(control, 'onions/current'))
      if (current !== undefined && !current.split('\n').includes(serviceId)) {
        throw new TransientError('Tor no longer lists the service')
      }
    }
  }

  /** Throws TakenDown, unless Tor itself is not well: then publishing again would mend nothing. */
  async #takeDown(control: TorControl, known: { onionHost: string; torVersion?: string }, why: string): Promise<void> {
    const { log } = this.#deps
    const fault = await torFault(control)
    if (fault !== undefined) {
      log.warn({ detail: fault }, 'onion service is not published again: Tor itself is not well')
      return
    }
    this.#deps.republished()
    log.warn({ detail: why }, TAKEN_DOWN)
    this.#deps.report({ kind: 'publishing', ...known, detail: `taken down, to be published again: ${why}` })
    try {
      await control.must(`DEL_ONION ${known.onionHost.replace(/\.onion$/, '')}`)
    } catch (error) {
      if (!(error instanceof TorRefusal)) throw error // filtered: it ends with the connection, too
    }
    throw new TakenDown(why)
  }
}

const NO_UPLOAD = `no descriptor was uploaded within ${LIMITS.uploadMs / 1000} s: Tor reaches none of the directories (HSDirs) that keep it. Look at its log: journalctl -u tor@default -n 50`

/** Why Tor could not serve anybody; undefined when it can, or doesn't tell. */
async function torFault(control: TorControl): Promise<string | undefined> {
  if ((await infoIfAllowed(control, 'network-liveness')) === 'down') return 'Tor has no network'
  if ((await infoIfAllowed(control, 'status/circuit-established')) === '0') return 'Tor has built no circuit yet'
  return undefined
}

function describeLacking(lacking: readonly string[]): string {
  return lacking.length === 0 ? '' : `, without ${lacking.join(', ')}: this Tor does not know it`
}

/** Tor works with a clock that is off by an hour or two; what is published then may be refused for as long afterwards. */
function describeSkew(skewS: number | undefined): string {
  if (skewS === undefined) return ''
  const minutes = Math.round(Math.abs(skewS) / 60)
  return `Tor says that this machine's clock is ${minutes} minutes ${skewS > 0 ? 'ahead' : 'behind'}: sudo timedatectl set-ntp true`
}

/** A value that we can do without: undefined where Tor, or a filter before its control port, refuses to tell it. */
async function infoIfAllowed(control: TorControl, key: string): Promise<string | undefined> {
  try {
    return await control.info(key)
  } catch (error) {
    if (error instanceof TorRefusal) return undefined
    throw error
  }
}

/**
 * Adds the service with every defence that this Tor knows. Throws TorRefusal, or ConfigError when Tor says that the key
 * itself is no key.
 */
async function addService(
  control: TorControl,
  { virtualPort, target, nostr, keyFile, streamsPerCircuit }: OnionOptions,
  key: Secret,
): Promise<{ onionHost: string; lacking: readonly string[] }> {
  const { localHost } = control
  const further = nostr ? [`Port=${nostr.virtualPort},${formatHostPort(nostr.target(localHost))}`] : []
  let refusal: unknown
  for (const { arguments: some, lacking } of defencesToTry(streamsPerCircuit)) {
    try {
      return {
        onionHost: await control.addService(key, virtualPort, target(localHost), [...some, ...further]),
        lacking,
      }
    } catch (error) {
      refusal = error
      if (!(error instanceof TorRefusal && error.isArgumentFault)) break
    }
  }
  throw asFate(refusal, keyFile)
}

function asFate(error: unknown, keyFile: string): unknown {
  if (!(error instanceof TorRefusal && error.isKeyFault)) return error
  return new ConfigError(
    `Tor can't read the onion key ${keyFile} (${error.code} ${error.words}): put its copy back. Without a copy this address is lost, and only then: mv ${keyFile} ${keyFile}.damaged, and start makes a new one`,
  )
}
