/**
 * The settings' values, read from flags, environment, a TOML file and defaults (in that order), judged by zod, frozen.
 * The environment is judged nowhere else. A value that is wrong, or a key that is unknown, is a ConfigError naming it.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import type { z } from 'zod'
import type { RpcAuth } from './chain/client.ts'
import { NETWORK_PARAMS } from './chain/networks.ts'
import type { NodeReaderOptions } from './chain/node-reader.ts'
import type { Network } from './chain/types.ts'
import { defaultDataDir } from './data-places.ts'
import { ConfigError, describeError } from './errors.ts'
import { refusalFor } from './file-access.ts'
import { printable } from './format.ts'
import { Secret } from './secret.ts'
import { isServiceLink } from './service-links.ts'
import { isOfOwnNetwork, type LogFormat, type LogLevel } from './setting-values.ts'
import {
  CONFIG_ENV,
  ENV_PREFIX,
  envName,
  flagName,
  isSecret,
  SETTING_NAMES,
  SETTINGS,
  type SettingName,
  setting,
} from './settings.ts'
import { nearestWord } from './suggest.ts'
import { formatHostPort, type HostPort, isLoopback, type TorPort, urlHost } from './tor/address.ts'
import { NOSTR_VIRTUAL_PORT } from './tor/torrc.ts'
import type { WatchLimits } from './watch/watcher.ts'
import { WIRE_LIMITS, type WireLimits } from './wire/limits.ts'

/** A maker of 0.1.x accepts one connection in three seconds, and serves one at a time. */
const PROBE_INTERVAL_S_MIN = 60

/** Each takes a connection, a circuit of Tor's and some megabytes; takers know two. */
const RELAYS_MAX = 16

type Values = { [N in SettingName]?: z.infer<(typeof SETTINGS)[N]['schema']> }
export type Source = 'flag' | 'environment' | 'file' | 'default'

/** Raw values by setting, as flags give them (`undefined` = not given). */
export type RawValues = { [N in SettingName]?: unknown }

export interface Config {
  readonly network: Network
  readonly dataDir: string
  /** For parsePostgresAddress, which takes it; undefined: nothing is shared. */
  readonly sharedStore: Secret | undefined
  readonly rpc: { readonly host: string; readonly port: number; readonly auth: RpcAuthConfig }
  readonly listen: HostPort
  /** Undefined: no HTTP server. `hosts`: names it answers to besides those of this machine. */
  readonly http: { readonly listen: HostPort; readonly hosts: readonly string[] } | undefined
  /**
   * `listen` undefined: no relay of our own. `isAskedFor`: the operator has said where, or that there is to be none.
   * `publish`: what is missing at `relays` is announced there.
   */
  readonly nostr: {
    readonly listen: HostPort | undefined
    readonly isAskedFor: boolean
    readonly relays: readonly string[]
    readonly publish: boolean
  }
  readonly tor:
    | { readonly kind: 'none' }
    | {
        readonly kind: 'control'
        readonly control: TorPort
        readonly password: Secret | undefined
        readonly cookieFile: string | undefined
        readonly socks: TorPort
        readonly onionTarget: HostPort | undefined
        readonly streamsPerCircuit: number
        /** Published only while we hold the lease of the address in the shared store. */
        readonly lease: boolean
      }
    | {
        readonly kind: 'torrc'
        readonly hostnameFile: string
        /** Only where it was given, or is needed: not to publish the service, but to ask for its descriptor. */
        readonly control: TorPort | undefined
        /** What clients are told: we are one of the back ends of Onionbalance, and `control` is there. */
        readonly publicOnion: string | undefined
        readonly password: Secret | undefined
        readonly cookieFile: string | undefined
        readonly socks: TorPort
        readonly onionTarget: HostPort | undefined
        readonly streamsPerCircuit: number
      }
  readonly allowTestAddresses: boolean
  /** Lists are given although blocks of the window were never read. */
  readonly servePartial: boolean
  readonly startTimeoutS: number
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
  readonly retentionBlocks: number
  /** Absent when nobody is to be told. */
  readonly webhook?: {
    readonly url: URL
    readonly secret: Secret
    /** Not through Tor. */
    readonly direct: boolean
    readonly expiringBlocks: number
    readonly reorgDepth: number
  }
  readonly trackers: { readonly configured: readonly HostPort[]; readonly intervalMs: number }
  readonly probes: { readonly intervalMs: number; readonly timeoutMs: number; readonly atOnce: number }
  readonly watch: WatchLimits
  /** `circuitIds`: each connection begins with a PROXY line that names its circuit. */
  readonly wire: WireLimits & { readonly circuitIds: boolean }
  /** Every setting as judged, with where it came from, for print-config. */
  readonly origins: readonly { readonly name: SettingName; readonly value: unknown; readonly source: Source }[]
}

export type RpcAuthConfig =
  | { readonly kind: 'cookie'; readonly file: string }
  | { readonly kind: 'password'; readonly user: string; readonly password: Secret }

export interface Sources {
  flags: RawValues
  env: NodeJS.ProcessEnv
  /** The TOML file that was named, if any. */
  configFile: string | undefined
}

/** Reads and judges everything. Throws ConfigError naming the setting, where it came from, and what is expected. */
export function readConfig({ flags, env, configFile }: Sources): Config {
  const fromEnv = readEnv(env)
  const fromFile = configFile === undefined ? {} : readFile(configFile)
  const values: Values = {}
  const origins: { name: SettingName; value: unknown; source: Source }[] = []
  for (const name of SETTING_NAMES) {
    const candidates: [Source, unknown, string][] = [
      ['flag', flags[name], flagName(name)],
      ['environment', fromEnv[name], `${envName(name)} in the environment`],
      ['file', fromFile[name], `${name} in ${configFile}`],
      ['default', setting(name).default, name],
    ]
    const [source, raw, where] = candidates.find(([, value]) => value !== undefined) ?? candidates[3]!
    const value = raw === undefined ? undefined : judge(name, raw, where)
    Object.assign(values, { [name]: value })
    origins.push({ name, value: value === undefined ? undefined : raw, source })
  }
  return assemble(values, origins)
}

function judge(name: SettingName, raw: unknown, where: string): unknown {
  const parsed = SETTINGS[name].schema.safeParse(raw)
  if (parsed.success) return parsed.data
  if (typeof raw === 'object' && !Array.isArray(raw)) {
    throw new ConfigError(
      `${where}: is not usable: it is a section, and settings stand in none: ${name} = … is a line by itself`,
    )
  }
  throw new ConfigError(`${where}:${isSecret(name) ? '' : shown(raw)} is not usable: ${reason(parsed.error)}`)
}

/** A wrong value as it was given, if it can't be a password in the wrong place: a word, a number, an address. */
function shown(raw: unknown): string {
  if (typeof raw === 'object') return '' // a table or a list of the file: no text of ours
  const isPlain = /^(?:[a-z]{1,8}:\/\/)?[\w.-]{0,80}(?::\d{0,5})?\/?$/i.test(String(raw))
  return isPlain ? ` ${JSON.stringify(raw)}` : ''
}

function reason(error: z.ZodError): string {
  const messages = error.issues.flatMap((issue) =>
    issue.code === 'invalid_union' && issue.errors.length > 0 && issue.message === 'Invalid input'
      ? issue.errors.flat().map((inner) => inner.message)
      : [issue.message],
  )
  return [...new Set(messages)].join('; ')
}

/** An empty variable is as good as none: container platforms set those that nobody filled in. */
function readEnv(env: NodeJS.ProcessEnv): RawValues {
  const known = new Map<string, SettingName>(SETTING_NAMES.map((name) => [envName(name), name]))
  const values: RawValues = {}
  for (const [key, value = ''] of Object.entries(env)) {
    if (key === CONFIG_ENV) continue
    const name = known.get(key)
    if (name) values[name] = value === '' ? undefined : value
    else if (isMeantForUs(key, value, [...known.keys()])) {
      throw new ConfigError(
        `${printable(key, 60)} in the environment is no setting${suggest(key, [...known.keys(), CONFIG_ENV])}`,
      )
    }
  }
  return values
}

/** Also where the slip is in the prefix: such a variable would be passed over without a word. */
function isMeantForUs(key: string, value: string, known: readonly string[]): boolean {
  if (isServiceLink(key, value)) return false
  return key.startsWith(ENV_PREFIX) || (/^fidel/i.test(key) && nearestWord(key, known) !== undefined)
}

function readFile(path: string): RawValues {
  let table: Record<string, unknown>
  try {
    table = parseToml(readFileSync(path, 'utf8').replace(/^\ufeff/, ''))
  } catch (error) {
    // The parser's message shows the line, which may hold a password.
    const why =
      error instanceof TomlError
        ? `line ${error.line}, column ${error.column}: no TOML, which has lines such as network = "signet" and http = "off"`
        : (refusalFor(path, 'read') ?? describeError(error).replace(/^EISDIR.*/, 'it is a folder: name the file'))
    throw new ConfigError(`--config ${path} can't be read: ${why}`)
  }
  for (const key of Object.keys(table)) {
    if (!SETTING_NAMES.includes(key as SettingName)) {
      throw new ConfigError(`${printable(key, 60)} in ${path} is no setting${suggest(key, SETTING_NAMES)}`)
    }
  }
  return table as RawValues
}

/** ": did you mean …?" where a known name is close. */
function suggest(word: string, known: readonly string[]): string {
  const isSame = (name: string) => name.replace(/[-_]/g, '') === word.replace(/[-_]/g, '') || name.startsWith(word)
  const near = known.find(isSame) ?? nearestWord(word, known)
  return near ? `: did you mean ${near}?` : `; known are ${known.join(', ')}`
}

function assemble(values: Values, origins: Config['origins']): Config {
  const network = values.network!
  const isMain = network === 'main'
  if (values.tor === false && isMain) {
    throw new ConfigError('--no-tor is for tests and refused on --network main: takers reach a tracker through Tor')
  }
  if (values['allow-test-addresses'] && isMain) {
    throw new ConfigError('--allow-test-addresses is for tests and refused on --network main')
  }
  if (values.auth && values['cookie-file']) {
    throw new ConfigError('--auth and --cookie-file are both set: give one of the two')
  }
  if (values['circuit-ids'] && !values['onion-hostname-file']) {
    throw new ConfigError(
      '--circuit-ids needs an onion service that torrc manages, as Tor tells circuits of no other: give --onion-hostname-file (see print-torrc), or leave it out',
    )
  }
  if (values['tracker-interval']! < PROBE_INTERVAL_S_MIN && network !== 'regtest') {
    throw new ConfigError(
      `--tracker-interval ${values['tracker-interval']} is for tests: at least ${PROBE_INTERVAL_S_MIN} where the trackers are not one's own`,
    )
  }
  if (values['probe-interval']! < PROBE_INTERVAL_S_MIN && network !== 'regtest') {
    throw new ConfigError(
      `--probe-interval ${values['probe-interval']} is for tests: at least ${PROBE_INTERVAL_S_MIN} where the makers are not one's own`,
    )
  }
  const webhook = webhookOf(values)
  const isGiven = (wanted: SettingName) => origins.some(({ name, source }) => name === wanted && source !== 'default')
  return Object.freeze({
    network,
    dataDir: values.datadir === undefined ? defaultDataDir(network) : resolve(values.datadir),
    sharedStore: values['shared-store'],
    rpc: {
      host: values.rpc?.host ?? '127.0.0.1',
      port: values.rpc?.port ?? NETWORK_PARAMS[network].defaultRpcPort,
      auth: rpcAuth(values, network),
    },
    listen: values.address!,
    http: http(values),
    nostr: nostr(values, isGiven('nostr')),
    tor: tor(values, isGiven('control-port')),
    allowTestAddresses: values['allow-test-addresses']!,
    servePartial: values['serve-partial']!,
    startTimeoutS: values['start-timeout']!,
    logLevel: values['log-level']!,
    logFormat: values['log-format']!,
    retentionBlocks: values['retention-blocks']!,
    ...(webhook && { webhook }),
    trackers: { configured: values.trackers ?? [], intervalMs: values['tracker-interval']! * 1000 },
    probes: {
      intervalMs: values['probe-interval']! * 1000,
      timeoutMs: values['probe-timeout']! * 1000,
      atOnce: values['probes-at-once']!,
    },
    watch: {
      outpointsMax: values['outpoints-per-request']!,
      subscriptionsPerConnection: values['subscriptions-per-connection']!,
      subscriptionsMax: values['subscriptions-max']!,
      registrationsPerConnection: values['registrations-per-connection']!,
      watchesMax: values['watches-max']!,
    },
    wire: {
      ...WIRE_LIMITS,
      connectionsMax: values['connections-max']!,
      frameBytesMax: values['frame-bytes-max']!,
      idleMsMax: values['idle-seconds-max']! * 1000,
      subscribedIdleMsMax: values['subscribed-idle-seconds-max']! * 1000,
      frameMsMax: values['frame-seconds-max']! * 1000,
      unitsPerS: values['units-per-second']!,
      unitsBurst: values['units-burst']!,
      circuitIds: values['circuit-ids']!,
    },
    origins,
  })
}

function tor(values: Values, isControlGiven: boolean): Config['tor'] {
  const hostnameFile = values['onion-hostname-file']
  const lease = values['onion-lease']!
  if (lease && (values.tor === false || hostnameFile !== undefined)) {
    const other = values.tor === false ? '--no-tor' : '--onion-hostname-file'
    throw new ConfigError(
      `--onion-lease and ${other} contradict each other: what only one tracker may publish at a time is published by Tor's control port (--control-port)`,
    )
  }
  if (lease && !values['shared-store']) {
    throw new ConfigError(
      '--onion-lease needs a store that all trackers with this address share, as the lease is kept there: give shared-store (FIDELITY_TRACKER_SHARED_STORE, or the file), or leave it out',
    )
  }
  const publicOnion = values['public-onion']
  if (values.tor === false) {
    if (hostnameFile !== undefined) {
      throw new ConfigError('--no-tor and --onion-hostname-file contradict each other: give one of the two')
    }
    if (values['onion-target']) {
      throw new ConfigError('--no-tor and --onion-target contradict each other: give one of the two')
    }
    if (publicOnion !== undefined) {
      throw new ConfigError('--no-tor and --public-onion contradict each other: give one of the two')
    }
    return { kind: 'none' }
  }
  if (publicOnion !== undefined && hostnameFile === undefined) {
    throw new ConfigError(
      '--public-onion needs --onion-hostname-file: the hostname file in the folder that Tor keeps of this back end (print-torrc --onionbalance has the commands that make it)',
    )
  }
  const password = values['tor-auth-password']
  const cookieFile = values['tor-cookie-file']
  if (password && cookieFile !== undefined) {
    throw new ConfigError('--tor-auth-password and --tor-cookie-file are both set: give one of the two')
  }
  const control = values['control-port']!
  const both = {
    password,
    cookieFile: cookieFile === undefined ? undefined : resolve(cookieFile),
    socks: values['socks-port']!,
    onionTarget: values['onion-target'],
    streamsPerCircuit: values['streams-per-circuit']!,
  }
  return hostnameFile === undefined
    ? { kind: 'control', control, lease, ...both }
    : {
        kind: 'torrc',
        hostnameFile: resolve(hostnameFile),
        control: isControlGiven || publicOnion !== undefined ? control : undefined,
        publicOnion,
        ...both,
      }
}

function http(values: Values): Config['http'] {
  const listen = values.http!
  if (listen === 'off') return undefined
  const hosts = values['http-hosts'] ?? []
  if (!isLoopback(listen.host) && hosts.length === 0) {
    throw new ConfigError(
      `--http ${formatHostPort(listen)} can be reached from other machines, and asks nobody for a password: listen on 127.0.0.1, or say under which names it is to be reached with --http-hosts`,
    )
  }
  return { listen, hosts }
}

function nostr(values: Values, isAskedFor: boolean): Config['nostr'] {
  const relays = values['nostr-relays'] ?? []
  const publish = values['nostr-publish']!
  if (relays.length > RELAYS_MAX) {
    throw new ConfigError(
      `--nostr-relays names ${relays.length} relays, at most ${RELAYS_MAX} are watched: leave some out`,
    )
  }
  if (publish && relays.length === 0) {
    throw new ConfigError('--nostr-publish needs to know where: name relays with --nostr-relays, or leave it out')
  }
  const onion = relays.find((url) => new URL(url).hostname.endsWith('.onion'))
  if (onion !== undefined && values.tor === false) {
    throw new ConfigError(`--nostr-relays names ${onion}, which needs Tor: leave out --no-tor`)
  }
  const listen = values.nostr === 'off' ? undefined : values.nostr
  const own = { isAskedFor, relays, publish }
  if (!listen || values.tor === false || values.address!.port !== NOSTR_VIRTUAL_PORT) return { listen, ...own }
  if (!isAskedFor) return { listen: undefined, ...own }
  throw new ConfigError(
    `--address ${formatHostPort(values.address!)} and --nostr both want port ${NOSTR_VIRTUAL_PORT} of the onion service: give --address another port, or --nostr off`,
  )
}

/** Doors that other machines reach: whoever finds one there has the onion service's address and this machine's together. */
export function exposedDoors({ tor, listen, http, nostr }: Pick<Config, 'tor' | 'listen' | 'http' | 'nostr'>): {
  flag: '--address' | '--http' | '--nostr'
  at: HostPort
}[] {
  const doors = [
    { flag: '--address' as const, at: listen },
    ...(http ? [{ flag: '--http' as const, at: http.listen }] : []),
    ...(nostr.listen ? [{ flag: '--nostr' as const, at: nostr.listen }] : []),
  ]
  return tor.kind === 'none' ? [] : doors.filter(({ at }) => !isLoopback(at.host))
}

function rpcAuth(values: Values, network: Network): RpcAuthConfig {
  if (values.auth) {
    const text = values.auth.reveal()
    const colon = text.indexOf(':') // a password may hold further ones
    return { kind: 'password', user: text.slice(0, colon), password: new Secret(text.slice(colon + 1)) }
  }
  const file = values['cookie-file'] ?? join(homedir(), '.bitcoin', NETWORK_PARAMS[network].cookieDir, '.cookie')
  return { kind: 'cookie', file: resolve(file) }
}

/** Tor's SOCKS port; undefined without Tor. */
export function socksOf({ tor }: Pick<Config, 'tor'>): TorPort | undefined {
  return tor.kind === 'none' ? undefined : tor.socks
}

/** What the node thread needs, the password itself included. `keySalt`: only where outpoints are looked for by key. */
export function nodeOptions({ rpc, network }: Config, keySalt: Uint8Array = new Uint8Array(16)): NodeReaderOptions {
  const { host, port, auth } = rpc
  const revealed: RpcAuth =
    auth.kind === 'cookie' ? auth : { kind: 'password', user: auth.user, password: auth.password.reveal() }
  return { rpc: { host, port, auth: revealed }, network, keySalt }
}

/** The effective settings as TOML, each with its source; secrets as `<secret>` in comments. Reads back as a config file. */
export function formatConfig(config: Config): string {
  const effective: Partial<Record<SettingName, string>> = {
    network: config.network,
    datadir: config.dataDir,
    rpc: formatHostPort(config.rpc),
    ...(config.webhook && { 'webhook-url': `${config.webhook.url.origin}/<secret>` }),
    ...(config.rpc.auth.kind === 'cookie' ? { 'cookie-file': config.rpc.auth.file } : {}),
  }
  const lines = config.origins.map(({ name, value, source }) => {
    const shown = effective[name] ?? value
    if (shown === undefined) return `# ${name} is not set`
    if (isSecret(name)) return `# ${name} = ${JSON.stringify(effective[name] ?? '<secret>')}  # ${source}`
    const isWord = typeof setting(name).default === 'boolean' || typeof setting(name).default === 'number'
    const literal = isWord && /^(\d+|true|false)$/.test(String(shown)) ? String(shown) : JSON.stringify(String(shown))
    return `${name} = ${literal}  # ${source}`
  })
  return `${lines.join('\n')}\n`
}

function webhookOf(values: Values): Config['webhook'] {
  const url = values['webhook-url']
  const secret = values['webhook-secret']
  if (!url) {
    if (secret) throw new ConfigError('--webhook-secret is given without --webhook-url: name both, or neither')
    return undefined
  }
  if (!secret)
    throw new ConfigError('--webhook-url needs --webhook-secret, which signs what is sent: choose a long one')
  if (url.hostname.endsWith('.onion') && values.tor === false) {
    throw new ConfigError('--webhook-url is an onion address, which needs Tor: leave out --no-tor')
  }
  const direct = values['webhook-direct']!
  if (!direct && values.tor !== false && !isLoopback(urlHost(url)) && isOfOwnNetwork(urlHost(url))) {
    throw new ConfigError(
      `--webhook-url names ${url.host}, an address of your own network, which Tor does not reach: give --webhook-direct (docs/webhooks.md says what the service needs for it)`,
    )
  }
  return {
    url,
    secret,
    direct,
    expiringBlocks: values['webhook-expiring-blocks']!,
    reorgDepth: values['webhook-reorg-depth']!,
  }
}
