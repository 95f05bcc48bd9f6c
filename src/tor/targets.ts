/** Where the onion service leads to: our listeners, as they are reached from where Tor runs. Pure. */
import {
  formatHostPort,
  formatTorPort,
  type HostPort,
  isLoopback,
  isUnixSocket,
  reachableAddress,
  type TorPort,
} from './address.ts'

/** What is known of where Tor runs. */
export interface TorPlace {
  /** Undefined where torrc has the service, and no control port is used. */
  control: TorPort | undefined
  /** --onion-target: where Tor finds --address; other listeners are at the same host. */
  onionTarget: HostPort | undefined
}

/** Where a Tor of this machine listens. Further addresses of 127/8 are given to tunnels and to ports of containers. */
const USUAL_HOSTS: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost'])

/** Probably another machine's, or another container's: Tor's 127.0.0.1 is not ours. */
function isElsewhere(control: TorPort | undefined): control is HostPort {
  return control !== undefined && !isUnixSocket(control) && !USUAL_HOSTS.has(control.host)
}

/** `localHost`: our own address as Tor's machine sees it; known once the control connection is there. */
export function targetFor(
  door: 'address' | 'nostr',
  listen: HostPort,
  { control, onionTarget }: TorPlace,
  localHost?: string,
): HostPort {
  if (onionTarget) return door === 'address' ? onionTarget : { host: onionTarget.host, port: listen.port }
  const isWildcard = listen.host === '0.0.0.0' || listen.host === '::'
  if (isWildcard && isElsewhere(control) && localHost !== undefined) return { host: localHost, port: listen.port }
  return reachableAddress(listen)
}

/** What to tell the operator where the service would lead into Tor's own machine; undefined where nothing is amiss. */
export function targetWarning(listen: HostPort, place: TorPlace): { text: string; fix: string } | undefined {
  const { control, onionTarget } = place
  const target = onionTarget ?? listen
  if (!isElsewhere(control) || !isLoopback(target.host)) return undefined
  const { port } = listen
  return {
    text: `the onion service leads to ${formatHostPort(target)}, which Tor takes for its own machine or container, and its control port ${formatTorPort(control)} seems to be of another than this one`,
    fix: `--address <address of this machine>:${port}, where Tor reaches it and nobody else does; or --onion-target, if Tor finds it under another name`,
  }
}
