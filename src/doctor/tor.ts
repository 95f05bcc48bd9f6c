/**
 * Tor as the daemon will use it: the SOCKS port, the control port and its lock, the version, the network, what the daemon
 * published. Whoever listens there may say anything: each check has a finding, and nothing is thrown.
 */
import { statSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { Config } from '../config.ts'
import { AccessRefused, describeError } from '../errors.ts'
import { printable } from '../format.ts'
import { formatTorPort, type HostPort, type TorPort } from '../tor/address.ts'
import { type ControlOptions, TorControl } from '../tor/control.ts'
import { describeConnectFault } from '../tor/port-fault.ts'
import { BE_ANONYMOUS, LET_THROUGH, TorRefusal } from '../tor/refusals.ts'
import { targetWarning } from '../tor/targets.ts'
import { RELOAD_TOR, torControlFix } from './advice.ts'
import { aloneFinding, backEndFindings } from './back-end.ts'
import { broken, type Finding, well, worth } from './finding.ts'
import { answersSocks, findTor } from './tor-places.ts'
import { hostnameFinding, readTorrc, torrcFindings } from './torrc.ts'

const LIMITS = {
  /** The first Tor that takes PoWDefensesEnabled for a service added over the control port. */
  powVersion: [0, 4, 9, 2],
  /** Of what Tor says; it is short. */
  textChars: 200,
  /** Tor itself forgives a clock so much. */
  clockOffMs: 600_000,
}

type Tor = Exclude<Config['tor'], { kind: 'none' }>

export interface TorExamined {
  tor: Tor
  circuitIds: boolean
  listen: HostPort
  /** Where the Nostr relay listens, if there is one. */
  nostr: HostPort | undefined
}

/** `nowMs`: of this machine's clock. */
export async function torFindings(examined: TorExamined, nowMs: number): Promise<Finding[]> {
  const { tor, circuitIds, listen, nostr } = examined
  const socks = await socksFinding(tor.socks)
  const { hostnameFile = '', publicOnion } = tor.kind === 'torrc' ? tor : {}
  const role = tor.kind === 'control' ? 'publishes' : publicOnion === undefined ? 'asks' : { backEnd: hostnameFile }
  const control = tor.control ? await controlFindings({ ...tor, control: tor.control }, role, nowMs) : []
  if (publicOnion !== undefined) {
    return [socks, ...control, ...backEndFindings({ hostnameFile, publicOnion }, readTorrc())]
  }
  if (tor.kind === 'control') return [socks, ...control, ...targetFindings(listen, tor)]
  const service = [
    hostnameFinding(tor.hostnameFile),
    ...torrcFindings(readTorrc(), tor.hostnameFile, circuitIds, nostr),
  ]
  return [socks, ...control, ...service]
}

async function socksFinding(socks: TorPort): Promise<Finding> {
  const where = `${formatTorPort(socks)} (--socks-port)`
  const elsewhere = async () => (await findTor('socks', socks)) ?? ''
  try {
    if (await answersSocks(socks)) return well('tor-socks', `the proxy at ${where} keeps streams apart`)
    return broken(
      'tor-socks',
      `what listens at ${where} is no SOCKS proxy of Tor's`,
      `${await elsewhere()}give --socks-port the one that SocksPort in torrc names`,
    )
  } catch (error) {
    return broken(
      'tor-socks',
      `Tor's SOCKS port ${where} does not answer: ${describeConnectFault(socks, error)}`,
      `${await elsewhere()}sudo apt install tor; sudo systemctl start tor; or give --socks-port the one that SocksPort in torrc names`,
    )
  }
}

/**
 * What the daemon does there: adds its onion service, only asks, or keeps a back end of Onionbalance (by its hostname file).
 */
type Role = 'publishes' | 'asks' | { backEnd: string }

async function controlFindings(options: ControlOptions, role: Role, nowMs: number): Promise<Finding[]> {
  using control = new TorControl(options)
  const where = `${formatTorPort(options.control)} (--control-port)`
  try {
    await control.connect()
  } catch (error) {
    return [await controlRefusal(options, where, error)]
  }
  const findings = [well('tor-control', `the control port ${where} answers`), authFinding(control)]
  try {
    findings.push(...(await askedFindings(control, role, nowMs)))
  } catch (error) {
    const fix = 'give --control-port the one that ControlPort in torrc names; sudo journalctl -u tor@default -n 30'
    findings.push(broken('tor-control', `the control port ${where} lets us in, and then: ${describeError(error)}`, fix))
  }
  return findings
}

/** What is asked once we are in. Throws TransientError when the answers are none. */
async function askedFindings(control: TorControl, role: Role, nowMs: number): Promise<Finding[]> {
  const publishes = role === 'publishes'
  const refused: TorRefusal[] = []
  /** Undefined where a filter, or an older Tor, refuses to tell. */
  const ifAllowed = async <T>(asked: Promise<T>): Promise<T | undefined> => {
    try {
      return await asked
    } catch (error) {
      if (!(error instanceof TorRefusal)) throw error
      refused.push(error)
      return undefined
    }
  }
  const version = (await ifAllowed(control.info('version')))?.split(' ', 1)[0]
  const phase = await ifAllowed(control.info('status/bootstrap-phase'))
  const validAfter = await ifAllowed(control.info('consensus/valid-after'))
  const validUntil = await ifAllowed(control.info('consensus/valid-until'))
  const nonAnonymous = await ifAllowed(control.setting('HiddenServiceNonAnonymousMode'))
  await ifAllowed(control.subscribe(['HS_DESC'], () => {}))
  // Without arguments nothing is added: Tor misses them (512), a filter that doesn't know the command refuses it.
  if (publishes) await ifAllowed(control.must('ADD_ONION'))
  const alone = typeof role === 'object' ? await ifAllowed(aloneFinding(control, role.backEnd)) : undefined
  return [
    ...(phase === undefined ? [] : [bootstrapFinding(version, phase)]),
    ...clockFindings(validAfter, validUntil, nowMs),
    ...(alone ? [alone] : []),
    ...(version === undefined || typeof role === 'object' ? [] : [powFinding(printable(version, LIMITS.textChars))]),
    ...(publishes && nonAnonymous === '1'
      ? [broken('tor-anonymity', 'Tor runs without anonymity (HiddenServiceNonAnonymousMode)', BE_ANONYMOUS)]
      : []),
    ...filterFindings(refused),
  ]
}

function filterFindings(refused: readonly TorRefusal[]): Finding[] {
  const filtered = refused.filter(({ code }) => code === 510).map(({ command }) => command)
  if (filtered.length === 0) return []
  const text = `a filter before Tor's control port refuses ${filtered.join(', ')} (510)`
  if (!filtered.includes('ADD_ONION')) return [worth('tor-filter', `${text}, which is done without`, LET_THROUGH)]
  return [worth('tor-filter', `${text}: without ADD_ONION no onion service is published`, LET_THROUGH)]
}

async function controlRefusal({ control }: ControlOptions, where: string, error: unknown): Promise<Finding> {
  const text = describeError(error)
  const user = userInfo().username
  const { check, fix } = torControlFix(text, user, error instanceof AccessRefused)
  if (/wants its cookie/.test(text)) {
    const cookieFile = /cookie (\S+),/.exec(text)?.[1] ?? '/run/tor/control.authcookie'
    return broken(check, `the cookie ${cookieFile} of ${where} can't be read by ${user}`, fix)
  }
  const isAway = fix.startsWith('sudo systemctl start tor')
  return broken(check, text, `${(isAway && (await findTor('control', control))) || ''}${fix}`)
}

function authFinding({ authenticated }: TorControl): Finding {
  const { method, cookieFile } = authenticated!
  if (method === 'NULL') {
    return worth(
      'tor-auth',
      'the control port lets in everybody on this machine, and whoever controls Tor sees through it; who takes the port while Tor is down is given the onion key',
      `CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, ${RELOAD_TOR}`,
    )
  }
  if (cookieFile !== undefined && isOpenToAll(cookieFile)) {
    return worth(
      'tor-auth',
      `the cookie ${cookieFile} can be read by everybody on this machine`,
      `sudo chmod o= ${cookieFile}`,
    )
  }
  return well('tor-auth', `lets us in by ${method}${cookieFile === undefined ? '' : ` ${cookieFile}`}`)
}

function isOpenToAll(file: string): boolean {
  try {
    return (statSync(file).mode & 0o007) !== 0
  } catch {
    return false // it was there a moment ago: Tor writes it anew
  }
}

/** `phase` as Tor has it: `NOTICE BOOTSTRAP PROGRESS=10 TAG=conn_dir SUMMARY="Connecting" WARNING="No route to host"`. */
export function bootstrapFinding(version: string | undefined, phase: string): Finding {
  const name = version === undefined ? 'Tor' : `Tor ${printable(version, LIMITS.textChars)}`
  const progress = Number(/PROGRESS=(\d{1,3})\b/.exec(phase)?.[1] ?? 0)
  if (progress === 100) return well('tor-network', `${name} is connected to its network`)
  const word = (key: string) => {
    const found = new RegExp(`\\b${key}="((?:[^"\\\\]|\\\\.)*)"`).exec(phase)?.[1]
    return found === undefined ? undefined : printable(found, LIMITS.textChars)
  }
  const warning = word('WARNING')
  return worth(
    'tor-network',
    `${name} is not connected yet: ${progress} %, ${word('SUMMARY') ?? 'unknown'}${warning === undefined ? '' : ` (${warning})`}`,
    'wait a minute; else: journalctl -u tor@default -n 30 (a wrong clock, a firewall, or bridges needed)',
  )
}

/**
 * Our clock beside the times of the network's consensus, as Tor has them (`2026-11-27 02:00:00`, UTC). Nothing where they
 * agree, or are not known.
 */
export function clockFindings(
  validAfter: string | undefined,
  validUntil: string | undefined,
  nowMs: number,
): Finding[] {
  const [fromMs, toMs] = [validAfter, validUntil].map((time) => Date.parse(`${time?.trim().replace(' ', 'T')}Z`))
  const behindMs = fromMs! - nowMs
  const aheadMs = nowMs - toMs!
  const offMs = Math.max(behindMs || 0, aheadMs || 0)
  if (offMs < LIMITS.clockOffMs) return []
  const minutes = Math.round(offMs / 60_000)
  const text =
    offMs === behindMs
      ? `the clock of this machine is about ${minutes} minutes off: it is behind what Tor's network agreed on`
      : `the clock of this machine is about ${minutes} minutes off: it is ahead of what Tor's network agreed on, or Tor has not heard from it for so long`
  return [worth('tor-clock', text, 'timedatectl; sudo timedatectl set-ntp true; then: sudo systemctl restart tor')]
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

function targetFindings(listen: HostPort, tor: Extract<Tor, { kind: 'control' }>): Finding[] {
  const astray = targetWarning(listen, tor)
  return astray ? [worth('tor-target', astray.text, astray.fix)] : []
}
