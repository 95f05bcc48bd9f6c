/**
 * The loop that keeps our onion service published: hold a control connection, add the service with the saved key, wait
 * for its descriptor's upload, watch; when the connection or Tor goes, do it again. The service is attached to the
 * connection (no Detach), so it ends with us.
 */
import { readFile } from 'node:fs/promises'
import { raceAbort, ScopedAbort } from '../concurrency.ts'
import { AccessRefused, ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { after, Backoff, sleep, type World } from '../world.ts'
import { formatHostPort, type HostPort, isOnionHost } from './address.ts'
import { type ControlOptions, TorControl } from './control.ts'
import { openOnionKey } from './key.ts'
import type { Login } from './login.ts'
import { TorRefusal } from './refusals.ts'
import { defencesToTry } from './torrc.ts'

const LIMITS = {
  /** Tor is on this machine: come back soon after it does. */
  backoff: { firstMs: 250, maxMs: 5_000 },
  /** A descriptor is uploaded within seconds; without one after this, the service is added anew. */
  uploadMs: 180_000,
  /** Other services of this Tor whose uploads are kept until our own name is known: milliseconds, so there are few. */
  uploadsSeen: 100,
  /** How often the service is looked for in Tor's own list. */
  checkMs: 30_000,
  /** How often a torrc-managed hostname file is read again. */
  hostnamePollMs: 5_000,
}

export type OnionState =
  | { kind: 'starting' | 'unreachable'; detail: string }
  | { kind: 'publishing' | 'published'; onionHost: string; torVersion?: string; detail: string }

interface OnionDeps extends World {
  /** Called on every change. */
  report: (state: OnionState) => void
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

/**
 * Runs until the signal. Throws ConfigError when the key is unusable, or Tor lets nobody in at first contact. Whatever
 * else Tor says no to (a filter before its control port, a mode, an address that it still has) is weather: it is told in
 * Tor's words, and tried again.
 */
export async function runOnion(options: OnionOptions, deps: OnionDeps, signal: AbortSignal): Promise<void> {
  const { log } = deps
  const key = openOnionKey(options.keyFile)
  const backoff = new Backoff(LIMITS.backoff, deps.random)
  let wasPublished = false
  let lastDetail: string | undefined
  let lastLacking = ''
  let demandsProof = false
  for (;;) {
    try {
      await holdService({ ...options, demandsProof }, key, deps, signal, {
        onLogin({ method }) {
          demandsProof ||= method !== 'NULL'
        },
        onAdded(lacking) {
          if (lacking.length > 0 && String(lacking) !== lastLacking) log.info({ lacking }, LACKING)
          lastLacking = String(lacking)
        },
        onPublished() {
          wasPublished = true
          lastDetail = undefined
          backoff.reset()
        },
      })
    } catch (error) {
      if (isAbort(error, signal)) throw error
      const isWeather =
        error instanceof TransientError ||
        error instanceof TorRefusal ||
        (error instanceof AccessRefused && wasPublished)
      if (!isWeather) throw error
      const detail = describeError(error)
      if (detail !== lastDetail) log.warn({ detail }, 'onion service down')
      lastDetail = detail
      deps.report({ kind: 'unreachable', detail })
      await sleep(backoff.nextMs(), signal)
    }
  }
}

const LACKING = 'this Tor does not know all defences of an onion service: published without'

function describeLacking(lacking: readonly string[]): string {
  return lacking.length === 0 ? '' : `, without ${lacking.join(', ')}: this Tor does not know it`
}

/** One control connection's life. Always ends by throwing. */
async function holdService(
  options: OnionOptions,
  key: Secret,
  deps: OnionDeps,
  signal: AbortSignal,
  {
    onLogin,
    onAdded,
    onPublished,
  }: { onLogin: (login: Login) => void; onAdded: (lacking: readonly string[]) => void; onPublished: () => void },
): Promise<never> {
  using control = new TorControl(options)
  using life = new ScopedAbort(signal)
  void control.closed.then((reason) => life.abort(reason))
  const orEnd = <T>(work: Promise<T>): Promise<T> => raceAbort(work, life.signal)

  await orEnd(control.connect())
  onLogin(control.authenticated!)
  const torVersion = (await orEnd(infoIfAllowed(control, 'version')))?.split(' ', 1)[0]
  const uploads = new Uploads()
  const unwatched = await orEnd(watchIfAllowed(control, uploads))
  const { onionHost, lacking } = await orEnd(addService(control, options, key))
  const serviceId = onionHost.replace(/\.onion$/, '')
  if (!isOnionHost(onionHost)) throw new TransientError(`Tor named the service ${onionHost}, which is no v3 address`)
  const known = torVersion === undefined ? { onionHost } : { onionHost, torVersion }
  deps.report({ kind: 'publishing', ...known, detail: 'waiting for the first descriptor upload' })
  deps.log.info(known, 'onion service added')
  onAdded(lacking)

  if (unwatched) deps.log.warn({ detail: unwatched.message }, 'whether the descriptor is uploaded is not seen')
  else {
    const cancel = after(LIMITS.uploadMs, () =>
      life.abort(
        new TransientError(`no descriptor was uploaded within ${LIMITS.uploadMs / 1000} s: has Tor a network?`),
      ),
    )
    await orEnd(uploads.of(serviceId)).finally(cancel)
  }
  onPublished()
  const uploaded = unwatched ? `added; its upload is not seen: ${unwatched.message}` : 'descriptor uploaded'
  deps.report({ kind: 'published', ...known, detail: `${uploaded}${describeLacking(lacking)}` })
  deps.log.info(
    { onionAddress: formatHostPort({ host: onionHost, port: options.virtualPort }) },
    'onion service published',
  )

  for (;;) {
    await sleep(LIMITS.checkMs, life.signal)
    const current = await orEnd(infoIfAllowed(control, 'onions/current'))
    if (current !== undefined && !current.split('\n').includes(serviceId)) {
      throw new TransientError('Tor no longer lists the service')
    }
  }
}

/** Whose descriptors Tor has uploaded, as its events say: until ours is known all are kept, and then no other. */
class Uploads {
  readonly #seen = new Set<string>()
  #awaited: { id: string; resolve: () => void } | undefined

  note(line: string): void {
    const id = /^HS_DESC UPLOADED (\S+) /.exec(line)?.[1]
    if (id === undefined) return
    if (this.#awaited?.id === id) this.#awaited.resolve()
    else if (!this.#awaited && this.#seen.size < LIMITS.uploadsSeen) this.#seen.add(id)
  }

  /** Resolves at the first upload of the service. */
  of(id: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#awaited = { id, resolve }
    if (this.#seen.has(id)) resolve()
    this.#seen.clear()
    return promise
  }
}

/** What was refused where Tor, or a filter before its control port, does not tell us of uploads. */
async function watchIfAllowed(control: TorControl, uploads: Uploads): Promise<TorRefusal | undefined> {
  try {
    await control.subscribe(['HS_DESC'], (line) => uploads.note(line))
    return undefined
  } catch (error) {
    if (error instanceof TorRefusal) return error
    throw error
  }
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

/** The alternative without a control port: torrc has the service, we read its name. Runs until the signal. */
export async function runTorrcOnion(
  { hostnameFile, virtualPort }: { hostnameFile: string; virtualPort: number },
  deps: OnionDeps,
  signal: AbortSignal,
): Promise<void> {
  let last: string | undefined | null = null // not looked yet
  for (;;) {
    const found = await readHostname(hostnameFile)
    if (found !== last) {
      if (found === undefined) {
        const detail = `--onion-hostname-file ${hostnameFile} is not there yet: is the HiddenServiceDir in torrc, and Tor running?`
        deps.log.warn({ detail }, 'onion service down')
        deps.report({ kind: 'unreachable', detail })
      } else {
        deps.log.info(
          { onionAddress: formatHostPort({ host: found, port: virtualPort }) },
          'onion service managed by torrc',
        )
        deps.report({ kind: 'published', onionHost: found, detail: 'managed by torrc: Tor publishes it' })
      }
    }
    last = found
    await sleep(LIMITS.hostnamePollMs, signal)
  }
}

async function readHostname(file: string): Promise<string | undefined> {
  let text: string
  try {
    text = (await readFile(file, 'utf8')).trim()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return undefined
    throw new ConfigError(
      `--onion-hostname-file ${file} can't be read (${describeError(error)}): give this user read access to it and its folder`,
    )
  }
  if (!isOnionHost(text)) {
    throw new ConfigError(
      `--onion-hostname-file ${file} holds no v3 onion host name: name Tor's own hostname file, or a copy of it`,
    )
  }
  return text
}
