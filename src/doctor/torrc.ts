/** An onion service that torrc manages: its hostname file, and its lines in torrc where they can be read. */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describeError } from '../errors.ts'
import { formatHostPort, type HostPort, isOnionHost, reachableAddress } from '../tor/address.ts'
import { NOSTR_VIRTUAL_PORT } from '../tor/torrc.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const RELOAD = 'then: sudo systemctl reload tor'

export function hostnameFinding(file: string): Finding {
  try {
    const host = readFileSync(file, 'utf8').trim()
    if (isOnionHost(host)) return well('tor-service', `torrc manages ${host}`)
    return broken(
      'tor-service',
      `${file} (--onion-hostname-file) holds no v3 onion host name`,
      'name the hostname file in HiddenServiceDir',
    )
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const fix =
      code === 'ENOENT'
        ? `fidelity-tracker print-torrc --onion-hostname-file ${file} | sudo tee -a /etc/tor/torrc; ${RELOAD}`
        : `sudo install -m 644 ${file} /var/lib/fidelity-tracker/hostname, and name that file instead`
    return broken('tor-service', `${file} (--onion-hostname-file) can't be read: ${describeError(error)}`, fix)
  }
}

/** Debian's, which everybody may read; undefined where there is none, or it is kept to itself. */
export function readTorrc(): string | undefined {
  try {
    return readFileSync('/etc/tor/torrc', 'utf8')
  } catch {
    return undefined
  }
}

/**
 * Whether the service of `hostnameFile` bounds the streams of a circuit, names circuits where we are told to expect that,
 * and leads to the Nostr relay. Nothing where `torrc` doesn't have the service: it may stand in another file, or the
 * hostname file be a copy.
 */
export function torrcFindings(
  torrc: string | undefined,
  hostnameFile: string,
  circuitIds: boolean,
  nostr: HostPort | undefined,
): Finding[] {
  const sections = (torrc ?? '').split(/^[ \t]*HiddenServiceDir[ \t]+/im).slice(1)
  const dirOf = (section: string) => /^"?([^"\n]*?)\/?"?[ \t]*(?:#.*)?$/m.exec(section)?.[1]
  const section = sections.find((one) => dirOf(one) === dirname(hostnameFile))
  if (section === undefined) return []
  return [streamsFinding(section, circuitIds), ...(nostr ? [nostrPortFinding(section, nostr)] : [])]
}

const PUT_LINES = `put them after HiddenServiceDir in /etc/tor/torrc, ${RELOAD}`

/** `section`: the service's lines of torrc. */
function streamsFinding(section: string, circuitIds: boolean): Finding {
  const has = (line: string) => new RegExp(`^[ \\t]*${line}\\b`, 'im').test(section)
  const again = `fidelity-tracker print-torrc shows the lines: ${PUT_LINES}`
  if (has('HiddenServiceExportCircuitID[ \\t]+haproxy') !== circuitIds) {
    return circuitIds
      ? broken('tor-streams', 'torrc does not name the circuits that --circuit-ids expects', again)
      : broken(
          'tor-streams',
          'torrc names circuits, which is not expected: every request is refused',
          'set --circuit-ids',
        )
  }
  if (has('HiddenServiceMaxStreams[ \\t]+[1-9]\\d*') && has('HiddenServiceMaxStreamsCloseCircuit[ \\t]+1')) {
    return well('tor-streams', 'one Tor circuit has a bounded number of connections')
  }
  return worth('tor-streams', 'one Tor circuit may take every connection: torrc has no HiddenServiceMaxStreams', again)
}

function nostrPortFinding(section: string, nostr: HostPort): Finding {
  const [, target] =
    new RegExp(`^[ \\t]*HiddenServicePort[ \\t]+${NOSTR_VIRTUAL_PORT}(?:[ \\t]+(\\S+))?[ \\t]*(?:#.*)?$`, 'im').exec(
      section,
    ) ?? []
  const line = `HiddenServicePort ${NOSTR_VIRTUAL_PORT} ${formatHostPort(reachableAddress(nostr))}`
  const fix = `${line} after HiddenServiceDir in /etc/tor/torrc, ${RELOAD}; or --nostr off`
  if (target === undefined) {
    return worth(
      'tor-nostr',
      `torrc leads nobody to the Nostr relay: the service has no port ${NOSTR_VIRTUAL_PORT}`,
      fix,
    )
  }
  // Tor takes a bare port for one of this machine.
  const port = Number(/(\d+)$/.exec(target)?.[1])
  if (port !== nostr.port) {
    return worth('tor-nostr', `torrc leads port ${NOSTR_VIRTUAL_PORT} to ${target}, where the Nostr relay is not`, fix)
  }
  return well('tor-nostr', `port ${NOSTR_VIRTUAL_PORT} of the service leads to the Nostr relay`)
}
