/** Tor as the daemon will use it: the SOCKS port, the control port and its lock, the version, what the daemon published. */
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import type { Config } from '../config.ts'
import { AccessRefused, describeError } from '../errors.ts'
import { formatHostPort, type HostPort, isOnionHost, reachableAddress } from '../tor/address.ts'
import { TorControl } from '../tor/control.ts'
import { dial } from '../tor/socks.ts'
import { NOSTR_VIRTUAL_PORT } from '../tor/torrc.ts'
import type { StatusRow } from '../views/schemas.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const LIMITS = {
  /** Tor is on this machine or near: it answers at once. */
  dialMs: 5_000,
  /** The first Tor that takes PoWDefensesEnabled for a service added over the control port. */
  powVersion: [0, 4, 9, 2],
}

/** RFC 1928: version 5, one method offered: user and password, by which streams are kept apart. */
const SOCKS_GREETING = Buffer.of(5, 1, 2)

const RELOAD = 'then: sudo systemctl reload tor'
const ADD_LINES = `fidelity-tracker print-torrc | sudo tee -a /etc/tor/torrc; ${RELOAD}`

type Tor = Exclude<Config['tor'], { kind: 'none' }>

/** `nostr`: where the Nostr relay listens, if there is one. */
export async function torFindings(tor: Tor, circuitIds: boolean, nostr: HostPort | undefined): Promise<Finding[]> {
  const socks = await socksFinding(tor.socks)
  if (tor.kind === 'control') return [socks, ...(await controlFindings(tor))]
  return [socks, hostnameFinding(tor.hostnameFile), ...torrcFindings(readTorrc(), tor.hostnameFile, circuitIds, nostr)]
}

async function socksFinding(socks: HostPort): Promise<Finding> {
  const where = `${formatHostPort(socks)} (--socks-port)`
  try {
    const never = new AbortController().signal
    const socket = await dial(socks, { socks: undefined, timeoutMs: LIMITS.dialMs, signal: never })
    socket.setTimeout(LIMITS.dialMs, () => socket.destroy())
    socket.write(SOCKS_GREETING)
    const answer = await Promise.race([
      once(socket, 'data').then(([chunk]) => chunk as Buffer),
      once(socket, 'close').then(() => Buffer.alloc(0)),
    ])
    socket.destroy()
    if (answer[0] === 5 && answer[1] === 2) return well('tor-socks', `the proxy at ${where} keeps streams apart`)
    return broken(
      'tor-socks',
      `what listens at ${where} is no SOCKS proxy of Tor's`,
      'give --socks-port the one that SocksPort in torrc names',
    )
  } catch (error) {
    return broken(
      'tor-socks',
      `Tor's SOCKS port does not answer: ${describeError(error)}`,
      `sudo apt install tor; sudo systemctl start tor; or give --socks-port the one that SocksPort in torrc names`,
    )
  }
}

async function controlFindings(tor: Extract<Tor, { kind: 'control' }>): Promise<Finding[]> {
  using control = new TorControl({ control: tor.control, password: tor.password })
  const where = `${formatHostPort(tor.control)} (--control-port)`
  try {
    await control.connect()
  } catch (error) {
    return [controlRefusal(where, error)]
  }
  const findings = [well('tor-control', `the control port ${where} answers`), authFinding(control)]
  const version = (await control.info('version')).split(' ', 1)[0]!
  findings.push(bootstrapFinding(version, await control.info('status/bootstrap-phase')), powFinding(version))
  return findings
}

function controlRefusal(where: string, error: unknown): Finding {
  const text = describeError(error)
  if (!(error instanceof AccessRefused)) {
    const fix = /cookie/.test(text)
      ? 'sudo systemctl restart tor'
      : `sudo systemctl start tor; if it has no control port: ${ADD_LINES}`
    return broken('tor-control', text, fix)
  }
  if (/wants its cookie/.test(text)) {
    const cookieFile = /cookie (\S+),/.exec(text)?.[1] ?? '/run/tor/control.authcookie'
    const user = userInfo().username
    return broken(
      'tor-auth',
      `the cookie ${cookieFile} of ${where} can't be read by ${user}`,
      `sudo usermod -aG debian-tor ${user}, and log in anew (a service: restart it); CookieAuthFileGroupReadable 1 in torrc, ${RELOAD}`,
    )
  }
  if (/refuses the password/.test(text)) {
    return broken(
      'tor-auth',
      text,
      'correct FIDELITY_TRACKER_TOR_AUTH_PASSWORD, or remove it and use the cookie: CookieAuthentication 1 in torrc',
    )
  }
  return broken(
    'tor-auth',
    text,
    `CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, ${RELOAD}; or FIDELITY_TRACKER_TOR_AUTH_PASSWORD=<password>`,
  )
}

function authFinding({ authenticated }: TorControl): Finding {
  const { method, cookieFile } = authenticated!
  if (method === 'NULL') {
    return worth(
      'tor-auth',
      'the control port lets in everybody on this machine, and whoever controls Tor sees through it',
      `CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, ${RELOAD}`,
    )
  }
  if (cookieFile !== undefined && existsSync(cookieFile) && (statSync(cookieFile).mode & 0o007) !== 0) {
    return worth(
      'tor-auth',
      `the cookie ${cookieFile} can be read by everybody on this machine`,
      `sudo chmod o= ${cookieFile}`,
    )
  }
  return well('tor-auth', `lets us in by ${method}${cookieFile === undefined ? '' : ` ${cookieFile}`}`)
}

function bootstrapFinding(version: string, phase: string): Finding {
  const progress = Number(/PROGRESS=(\d+)/.exec(phase)?.[1] ?? 0)
  if (progress === 100) return well('tor-network', `Tor ${version} is connected to its network`)
  const summary = /SUMMARY="([^"]*)"/.exec(phase)?.[1] ?? 'unknown'
  return worth(
    'tor-network',
    `Tor ${version} is not connected yet: ${progress} %, ${summary}`,
    'wait a minute; else: journalctl -u tor@default -n 30 (a wrong clock, a firewall, or bridges needed)',
  )
}

/** `version` as Tor gives it: 0.4.9.11. */
export function powFinding(version: string): Finding {
  const numbers = version.split(/[.-]/).map(Number)
  const at = LIMITS.powVersion.findIndex((n, i) => (numbers[i] ?? 0) !== n)
  const isNewEnough = at < 0 || (numbers[at] ?? 0) > LIMITS.powVersion[at]!
  if (isNewEnough) return well('tor-pow', 'the onion service has the proof-of-work defence against floods')
  return worth(
    'tor-pow',
    `Tor ${version} has no proof-of-work defence for services added over the control port`,
    `upgrade Tor to ${LIMITS.powVersion.join('.')} or later (https://support.torproject.org/apt); until then a flood can make the service slow`,
  )
}

function hostnameFinding(file: string): Finding {
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
function readTorrc(): string | undefined {
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

/** What the running daemon says of its onion service. */
export function onionFinding(status: StatusRow | undefined): Finding {
  if (!status)
    return worth(
      'onion',
      'the daemon is not running',
      'sudo systemctl start fidelity-tracker, or fidelity-tracker start',
    )
  const { state, detail, address, canary } = status.onion
  if (state === 'published') {
    if (canary?.state === 'red') {
      const fix = 'sudo journalctl -u tor@default -n 50; a service that was just published takes a minute to be found'
      return broken('onion', `published, but not reached through Tor (canary): ${canary.detail}`, fix)
    }
    if (canary?.state === 'untried')
      return worth('onion', `${address}: ${canary.detail}`, 'wait a minute, and look again')
    return well('onion', `published: ${address}${canary ? ', reached through Tor by our own canary' : ''}`)
  }
  if (state === 'publishing') return worth('onion', `${address}: ${detail}`, 'wait: an upload takes up to a minute')
  if (state === 'disabled') {
    return broken('onion', `the running daemon has no onion service (${detail})`, 'start it without --no-tor')
  }
  return broken('onion', `the daemon's onion service is ${state}: ${detail}`, 'see the lines about Tor above')
}
