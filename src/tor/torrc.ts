/** The lines an operator adds to torrc; also the text of torrc.example. What is asked of Tor for the onion service. */
import { dirname } from 'node:path'
import { formatHostPort, formatTorPort, type HostPort, isUnixSocket, type TorPort } from './address.ts'

export const ONION_LIMITS = {
  /**
   * Tor spends one rendezvous circuit on all streams of a client that don't isolate themselves: without a bound one
   * circuit, which costs a client nothing more, fills every slot. Takers have one request a connection, one after another.
   */
  streamsPerCircuit: 16,
}

/** The onion service's port for the Nostr relay: that of `ws://` without one. */
export const NOSTR_VIRTUAL_PORT = 80

export interface TorrcOptions {
  socks: TorPort
  control: TorPort
  virtualPort: number
  target: HostPort
  /** Where the Nostr relay listens, if there is one. */
  nostr: HostPort | undefined
  /** Tor manages the service itself: no control port. */
  managed: boolean
  /** Where Tor leaves the address then, in the folder of the service. */
  hostnameFile: string
  streamsPerCircuit: number
  /** Each connection begins with a line that names its circuit (--circuit-ids). */
  circuitIds: boolean
}

export const TORRC_DEFAULTS: TorrcOptions = {
  socks: { host: '127.0.0.1', port: 9050 },
  control: { host: '127.0.0.1', port: 9051 },
  virtualPort: 8080,
  target: { host: '127.0.0.1', port: 8080 },
  nostr: { host: '127.0.0.1', port: 8082 },
  managed: false,
  hostnameFile: '/var/lib/tor/fidelity-tracker/hostname',
  streamsPerCircuit: ONION_LIMITS.streamsPerCircuit,
  circuitIds: false,
}

export function torrcFor(options: TorrcOptions): string {
  const { socks, control, managed } = options
  const lines = [
    '# Lines for torrc (on Debian: /etc/tor/torrc), then: systemctl reload tor',
    '',
    '# The proxy fidelity-tracker dials out through; streams with other credentials get other circuits.',
    `SocksPort ${formatTorPort(quoted(socks))} IsolateSOCKSAuth${forGroup(socks)}`,
    '',
  ]
  if (managed) {
    lines.push(
      '# The onion service, kept by Tor. Start fidelity-tracker with',
      `# --onion-hostname-file ${options.hostnameFile}${options.circuitIds ? ' --circuit-ids' : ''}, readable for its user.`,
      ...serviceLines(options),
      '# Remove the PoW line if this Tor does not know it (before 0.4.8).',
    )
  } else {
    lines.push(
      '# The control port, through which fidelity-tracker publishes its onion service. The key stays in its data',
      "# directory. Its user must be in Tor's group (on Debian: adduser <user> debian-tor).",
      `ControlPort ${formatTorPort(quoted(control))}${forGroup(control)}`,
      'CookieAuthentication 1',
      'CookieAuthFileGroupReadable 1',
      ...(isUnixSocket(control)
        ? []
        : [
            "# Or a socket that only Tor's group may use (--control-port unix:/run/tor/control); Debian's Tor has it already.",
            `#ControlPort unix:/run/tor/control${FOR_GROUP}`,
          ]),
      '',
      '# Without a control port instead: let Tor keep the service, and start fidelity-tracker with',
      `# --onion-hostname-file ${options.hostnameFile}.`,
      ...serviceLines(options).map((line) => `#${line}`),
    )
  }
  lines.push(
    '',
    "# Tor's own counters of its onion services (tor_hs_*) for Prometheus, also drawn by the Grafana dashboard.",
    '#MetricsPort 127.0.0.1:9035',
    '#MetricsPortPolicy accept 127.0.0.1',
  )
  return `${lines.join('\n')}\n`
}

/** The ports alone, without a word about them. */
export function torPortLines({ socks, control }: Pick<TorrcOptions, 'socks' | 'control'>): string[] {
  return [
    `SocksPort ${formatTorPort(quoted(socks))} IsolateSOCKSAuth${forGroup(socks)}`,
    `ControlPort ${formatTorPort(quoted(control))}${forGroup(control)}`,
    'CookieAuthentication 1',
    'CookieAuthFileGroupReadable 1',
  ]
}

/** Sockets that Tor's group may use; without the second Tor wants a folder that nobody else can enter. */
const FOR_GROUP = ' GroupWritable RelaxDirModeCheck'

function forGroup(port: TorPort): string {
  return isUnixSocket(port) ? FOR_GROUP : ''
}

function quoted(port: TorPort): TorPort {
  return isUnixSocket(port) ? { path: quotedPath(port.path) } : port
}

function quotedPath(path: string): string {
  return /[\s#]/.test(path) ? `"${path}"` : path
}

/** One circuit has so many places and no more; a flood has to work for its circuits. */
function serviceLines({
  hostnameFile,
  virtualPort,
  target,
  nostr,
  streamsPerCircuit,
  circuitIds,
}: TorrcOptions): string[] {
  return [
    `HiddenServiceDir ${quotedPath(`${dirname(hostnameFile)}/`)}`,
    `HiddenServicePort ${virtualPort} ${formatHostPort(target)}`,
    ...(nostr ? [`HiddenServicePort ${NOSTR_VIRTUAL_PORT} ${formatHostPort(nostr)}`] : []),
    `HiddenServiceMaxStreams ${streamsPerCircuit}`,
    'HiddenServiceMaxStreamsCloseCircuit 1',
    'HiddenServicePoWDefensesEnabled 1',
    ...(circuitIds ? ['HiddenServiceExportCircuitID haproxy'] : []),
  ]
}

/** An argument of ADD_ONION that an older Tor may not know. */
interface Defence {
  argument: string
  /** What the service lacks without it. */
  what: string
}

/**
 * What is asked for beside key and port, from all there is to nothing: the first that a Tor takes is the best it knows.
 * `Flags` says what becomes of a circuit with one stream too many, so it never goes without `MaxStreams`.
 */
export function defencesToTry(streamsPerCircuit: number): { arguments: string[]; lacking: string[] }[] {
  const pow = { argument: 'PoWDefensesEnabled=1', what: 'proof-of-work defence' }
  const streams = { argument: `MaxStreams=${streamsPerCircuit}`, what: 'limit of streams a circuit' }
  const close = { argument: 'Flags=MaxStreamsCloseCircuit', what: 'end of a circuit with too many streams' }
  const all: Defence[] = [pow, streams, close]
  const wanted = [all, [streams, close], [pow, streams], [streams], [pow], []]
  return wanted.map((some) => ({
    arguments: some.map(({ argument }) => argument),
    lacking: all.filter((one) => !some.includes(one)).map(({ what }) => what),
  }))
}
