/**
 * Every setting, once: its name as a flag and in the file, what its value may be, its default, and what it is about.
 * The command line, the environment and the documentation are made from this table.
 */
import { z } from 'zod'
import { NETWORKS } from './chain/types.ts'
import { LOG_FORMATS, LOG_LEVELS, SETTING_VALUES } from './setting-values.ts'
import { ONION_LIMITS } from './tor/torrc.ts'
import { WIRE_LIMITS } from './wire/limits.ts'

const { text, flag, whole, network, secret, postgresAddress, userPass, hostNames, httpUrl, onionName, relayUrls } =
  SETTING_VALUES
const { hostPort, hostPorts, hostPortOrOff, torPort, rpcAddress } = SETTING_VALUES

interface Setting {
  schema: z.ZodType
  /** What it and the settings after it are about, as far as the next that begins a subject. */
  subject?: string
  /** What the flag looks like after its name; absent for a switch. */
  argument?: string
  short?: string
  /** The words it may be, where there are few. */
  choices?: readonly string[]
  /** Not on the command line, where `ps` would show a password to everybody. */
  isHidden?: true
  about: string
  /** Shown where the default isn't a plain value. */
  defaultText?: string
  default?: unknown
  /** A value for who has never seen one, where the default isn't a plain value. */
  example?: string | readonly string[]
}

/** Every setting, by the name it has as a flag and in the file. */
export const SETTINGS = {
  network: {
    subject: 'Network and data',
    schema: network,
    argument: '<name>',
    choices: NETWORKS,
    about: `Bitcoin network: ${NETWORKS.join(', ')}; mainnet is main, testnet is testnet3`,
    default: 'main',
  },
  datadir: {
    schema: text,
    argument: '<folder>',
    about: 'where the database and the onion key live',
    defaultText: '~/.fidelity-tracker, and a folder per network in it for all but main',
    example: '/var/lib/fidelity-tracker',
  },
  'shared-store': {
    schema: postgresAddress,
    argument: '<url>',
    isHidden: true,
    about:
      'PostgreSQL for what several trackers share, postgres://user:password@host:5432/database; further hosts behind commas, sslmode and sslrootcert as libpq has them',
    defaultText: 'none: the file in the datadir has all of it',
    example: 'postgres://tracker:password@127.0.0.1:5432/tracker',
  },
  rpc: {
    subject: 'bitcoind',
    schema: rpcAddress,
    argument: '<host:port>',
    short: '-r',
    about: "bitcoind, RPC and REST; a host alone is asked at the network's port",
    defaultText: "127.0.0.1 and the network's port",
    example: '127.0.0.1:8332',
  },
  auth: {
    schema: userPass,
    argument: '<user:pass>',
    short: '-a',
    about: 'RPC user and password; better given in the environment or the file, where ps does not show it',
    defaultText: 'the cookie',
    example: 'user:password',
  },
  'cookie-file': {
    schema: text,
    argument: '<file>',
    about: "bitcoind's .cookie, read again whenever bitcoind restarts",
    defaultText: "the network's under ~/.bitcoin",
    example: '/var/lib/bitcoind/.cookie',
  },
  address: {
    subject: 'Where it listens',
    schema: hostPort,
    argument: '<host:port>',
    short: '-s',
    about: 'where requests are taken; the onion service has the same port',
    default: '127.0.0.1:8080',
  },
  http: {
    schema: hostPortOrOff,
    argument: '<host:port>',
    about: 'dashboard, health, metrics and JSON API, for the operator; read only; "off" for none',
    default: '127.0.0.1:8081',
  },
  'http-hosts': {
    schema: hostNames,
    argument: '<names>',
    about: 'further names under which a browser may reach --http; needed to listen beyond this machine',
    defaultText: 'none: only names of this machine',
    example: ['tracker.lan'],
  },
  nostr: {
    schema: hostPortOrOff,
    argument: '<host:port>',
    about:
      'where takers and makers that speak Nostr find a relay with the bonds of this tracker; port 80 of the onion service leads there; "off" for none',
    default: '127.0.0.1:8082',
  },
  'nostr-relays': {
    subject: 'Public relays',
    schema: relayUrls,
    argument: '<urls>',
    about:
      'public relays to compare with the chain, wss:// or ws:// separated by commas; read through Tor, nothing is sent',
    defaultText: 'none',
    example: ['wss://nos.lol', 'wss://relay.damus.io'],
  },
  'nostr-publish': {
    schema: flag,
    about:
      'also announce there, under the key of this tracker, bonds that are missing, and this tracker itself (docs/nostr.md)',
    default: false,
  },
  'control-port': {
    subject: 'Tor and the onion service',
    schema: torPort,
    argument: '<port>',
    short: '-c',
    about: "Tor's control port, host:port, or unix:/path",
    default: 9051,
  },
  'tor-auth-password': {
    schema: secret,
    argument: '<password>',
    about: "password of Tor's control port, where it has one; better given in the environment or the file",
    defaultText: 'its cookie',
    example: 'password',
  },
  'tor-cookie-file': {
    schema: text,
    argument: '<file>',
    about: "cookie of Tor's control port as it is seen from here, where Tor names another path (another container)",
    defaultText: 'the file that Tor names',
    example: '/run/tor/control.authcookie',
  },
  'socks-port': {
    schema: torPort,
    argument: '<port>',
    about: "Tor's SOCKS port, host:port, or unix:/path",
    default: 9050,
  },
  'onion-hostname-file': {
    schema: text,
    argument: '<file>',
    about:
      'the hostname file of an onion service that torrc manages: no control port is needed then, one that is given is only asked about descriptors',
    example: '/var/lib/tor/fidelity-tracker/hostname',
  },
  'public-onion': {
    schema: onionName,
    argument: '<host.onion>',
    about:
      'the address that clients are told, where Onionbalance spreads it over several trackers; this one is a back end of it then, and its Tor serves nothing else (docs/scaling.md); needs --onion-hostname-file',
    defaultText: 'the own onion service',
    example: '5phwv3n7ioqteioqo3o6j4ytm4bdu37v4kgy4ty6mwni65dhwkd54byd.onion',
  },
  'onion-target': {
    schema: hostPort,
    argument: '<host:port>',
    about:
      'where Tor finds --address, if Tor runs in another container or on another host; --nostr is found at the same host',
    defaultText: '--address',
    example: 'tracker:8080',
  },
  'streams-per-circuit': {
    schema: whole(1, 65_535),
    argument: '<n>',
    about: 'connections at once over one Tor circuit; one more and Tor closes that circuit',
    default: ONION_LIMITS.streamsPerCircuit,
  },
  'onion-lease': {
    schema: flag,
    about:
      'publish the onion address only while no other tracker with the same onion.key and --shared-store does: one holds it, the others stand by',
    default: false,
  },
  'circuit-ids': {
    schema: flag,
    about:
      'read the PROXY line by which Tor names the circuit (HiddenServiceExportCircuitID haproxy), so that limits hold per circuit; needs --onion-hostname-file',
    default: false,
  },
  tor: {
    schema: flag,
    about: 'no onion service, outgoing connections are direct; for tests, not on main',
    default: true,
  },
  'serve-partial': {
    subject: 'How it runs',
    schema: flag,
    about:
      'give lists although bitcoind lacks blocks of the last 25,920: bonds confirmed in them are missing, which is told',
    default: false,
  },
  'start-timeout': {
    schema: whole(0, 86_400),
    argument: '<seconds>',
    about: 'leave with exit code 69 when bitcoind or Tor has not answered by then; 0 waits for ever',
    default: 0,
  },
  'log-level': {
    schema: z.enum(LOG_LEVELS),
    argument: '<level>',
    choices: LOG_LEVELS,
    about: LOG_LEVELS.join(', '),
    default: 'info',
  },
  'log-format': {
    schema: z.enum(LOG_FORMATS),
    argument: '<format>',
    choices: LOG_FORMATS,
    about: 'json, a line each; pretty, for people; auto: pretty on a terminal, else json',
    default: 'auto',
  },
  'probe-interval': {
    subject: 'Makers',
    schema: whole(1, 1_800),
    argument: '<seconds>',
    about: 'about how often each maker is asked whether it is alive; below 60 on regtest only',
    default: 600,
  },
  'probe-timeout': {
    schema: whole(1, 120),
    argument: '<seconds>',
    about: 'how long a maker may take to be reached; half of it to answer',
    default: 60,
  },
  'probes-at-once': {
    schema: whole(1, 1_000),
    argument: '<n>',
    about: 'makers probed at the same time, each over a circuit of its own',
    default: 16,
  },
  'allow-test-addresses': {
    schema: flag,
    about: 'also take bonds that announce 127.0.0.1:<port>; for tests, not on main',
    default: false,
  },
  trackers: {
    subject: 'Other trackers',
    schema: hostPorts,
    argument: '<addresses>',
    about:
      'other trackers to compare with, host:port separated by commas; those that ping us are learnt besides, and only shown',
    defaultText: 'none',
    example: ['z3zr4fmllhcjpue6jzkx7qryrbzrmkahu25vedsow6lov3w2dbbclwad.onion:8080'],
  },
  'tracker-interval': {
    schema: whole(1, 86_400),
    argument: '<seconds>',
    about:
      'about how often each of --trackers is asked for its block and list, learnt ones hourly; below 60 on regtest only',
    default: 300,
  },
  'webhook-url': {
    subject: 'Webhooks',
    schema: httpUrl,
    argument: '<url>',
    about: 'where to tell of readiness, bonds that end soon, makers down or back, deep reorgs, trackers that disagree',
    defaultText: 'none',
    example: 'https://example.org/hook',
  },
  'webhook-secret': {
    schema: secret,
    argument: '<secret>',
    about: 'signs what is sent to --webhook-url; better given in the environment or the file',
    defaultText: 'none',
    example: 'a long random text',
  },
  'webhook-direct': {
    schema: flag,
    about:
      'reach --webhook-url without Tor, so that it sees the address of this machine; one of this machine always is',
    default: false,
  },
  'webhook-expiring-blocks': {
    schema: whole(1, 25_920),
    argument: '<n>',
    about: 'tell of a bond when it has so many blocks left',
    default: 1_008,
  },
  'webhook-reorg-depth': {
    schema: whole(1, 1_000),
    argument: '<n>',
    about: 'tell of reorgs of at least so many blocks',
    default: 3,
  },
  'retention-blocks': {
    subject: 'Watching outpoints',
    schema: whole(1, 25_920),
    argument: '<n>',
    about: 'blocks whose spent outpoints are indexed, about 20 kB of disk each',
    default: 4_032,
  },
  'watches-max': {
    schema: whole(1, 10_000_000),
    argument: '<n>',
    about: 'outpoints registered at once, all clients together; each costs disk, and its spend up to 400 kB',
    default: 100_000,
  },
  'outpoints-per-request': {
    schema: whole(1, 100_000),
    argument: '<n>',
    about: 'outpoints one watch request may name',
    default: 1_000,
  },
  'subscriptions-per-connection': {
    schema: whole(1, 1_000_000),
    argument: '<n>',
    about: 'outpoints one connection may be subscribed to',
    default: 10_000,
  },
  'registrations-per-connection': {
    schema: whole(1, 10_000_000),
    argument: '<n>',
    about: 'outpoints one connection may register',
    default: 10_000,
  },
  'subscriptions-max': {
    schema: whole(1, 10_000_000),
    argument: '<n>',
    about: 'subscriptions of all connections together, about 1 kB of memory each; beyond it a connection may have 100',
    default: 200_000,
  },
  'connections-max': {
    subject: 'What one stranger may cost',
    schema: whole(1, 100_000),
    argument: '<n>',
    about: 'connections at once; beyond it one of the largest group of them makes room',
    default: WIRE_LIMITS.connectionsMax,
  },
  'frame-bytes-max': {
    schema: whole(256, 16_777_216),
    argument: '<n>',
    about: 'longest request taken',
    default: WIRE_LIMITS.frameBytesMax,
  },
  'idle-seconds-max': {
    schema: whole(1, 86_400),
    argument: '<n>',
    about: 'a connection without a request is closed after this',
    default: WIRE_LIMITS.idleMsMax / 1000,
  },
  'subscribed-idle-seconds-max': {
    schema: whole(1, 604_800),
    argument: '<n>',
    about: 'the same for a connection that is subscribed to something',
    default: WIRE_LIMITS.subscribedIdleMsMax / 1000,
  },
  'frame-seconds-max': {
    schema: whole(1, 3_600),
    argument: '<n>',
    about: 'a request must be whole this long after its first byte',
    default: WIRE_LIMITS.frameMsMax / 1000,
  },
  'units-per-second': {
    schema: whole(1, 1_000_000),
    argument: '<n>',
    about: 'work a connection may ask for in the long run, in units: a request, an outpoint or a kilobyte each is one',
    default: WIRE_LIMITS.unitsPerS,
  },
  'units-burst': {
    schema: whole(1, 10_000_000),
    argument: '<n>',
    about: 'work a connection may ask for at once, in units',
    default: WIRE_LIMITS.unitsBurst,
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[]

export function setting(name: SettingName): Setting {
  return SETTINGS[name]
}

/** The settings in order, by what they are about. */
export const SUBJECTS: readonly { readonly title: string; readonly names: readonly SettingName[] }[] = subjects()

function subjects(): { title: string; names: SettingName[] }[] {
  const all: { title: string; names: SettingName[] }[] = []
  for (const name of SETTING_NAMES) {
    const { subject } = setting(name)
    if (subject !== undefined) all.push({ title: subject, names: [] })
    all.at(-1)!.names.push(name)
  }
  return all
}

/** What holds where it isn't given, in words; undefined where nothing does. */
export function defaultOf(name: SettingName): string | undefined {
  const { defaultText, default: value } = setting(name)
  return defaultText ?? (value === undefined ? undefined : String(value))
}

/** The setting's flag. */
export function flagName(name: SettingName): string {
  return name === 'tor' ? '--no-tor' : `--${name}`
}

/** The flag as help has it, with its short form and its value. */
export function flagsOf(name: SettingName): string {
  const { short, argument } = setting(name)
  return [[short, flagName(name)].filter(Boolean).join(', '), argument].filter(Boolean).join(' ')
}

export const ENV_PREFIX = 'FIDELITY_TRACKER_'
/** Names the TOML file where --config doesn't. */
export const CONFIG_ENV = `${ENV_PREFIX}CONFIG`

/** The setting's environment variable. */
export function envName(name: SettingName): string {
  return ENV_PREFIX + name.toUpperCase().replaceAll('-', '_')
}

/** Settings whose values must not show; a webhook's URL often holds a token. */
const SECRETS: readonly SettingName[] = ['auth', 'shared-store', 'tor-auth-password', 'webhook-secret', 'webhook-url']

export function isSecret(name: SettingName): boolean {
  return SECRETS.includes(name)
}
