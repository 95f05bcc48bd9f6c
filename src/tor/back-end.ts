/**
 * A back end of Onionbalance as its Tor has it: a service with a folder and a name of its own, for which clients come that
 * know the public name alone. What Tor is told to have it, to lose it, and how one sees whether it is there. ADD_ONION can
 * make no such service (512), SETCONF can; it replaces all services of that Tor's torrc, so that Tor is ours alone.
 * Sources: tor(1) HiddenServiceOnionBalanceInstance, control-spec 3.1 (SETCONF), 3.2 (RESETCONF) and 3.3 (GETCONF).
 */
import { dirname } from 'node:path'
import { TransientError } from '../errors.ts'
import { formatHostPort, type HostPort } from './address.ts'
import type { TorControl } from './control.ts'
import { NOSTR_VIRTUAL_PORT } from './torrc.ts'

export interface BackEndService {
  /** Its HiddenServiceDir. */
  dir: string
  virtualPort: number
  target: HostPort
  nostr: HostPort | undefined
  streamsPerCircuit: number
  circuitIds: boolean
}

/** Tor reads the public name from here, and refuses the service without it. */
export const FRONT_FILE = 'ob_config'

/** The folder of a service, by its hostname file. */
export function dirOf(hostnameFile: string): string {
  return dirname(hostnameFile)
}

/**
 * The service's lines, in the order in which Tor takes them. No proof of work: who comes by the public name knows of
 * none. The group may read the folder, which is how we learn the name.
 */
export function backEndLines(service: BackEndService): [name: string, value: string][] {
  const { dir, virtualPort, target, nostr, streamsPerCircuit, circuitIds } = service
  return [
    ['HiddenServiceDir', dir],
    ['HiddenServiceVersion', '3'],
    ['HiddenServicePort', `${virtualPort} ${formatHostPort(target)}`],
    ...(nostr ? [['HiddenServicePort', `${NOSTR_VIRTUAL_PORT} ${formatHostPort(nostr)}`] as [string, string]] : []),
    ['HiddenServiceDirGroupReadable', '1'],
    ['HiddenServiceMaxStreams', String(streamsPerCircuit)],
    ['HiddenServiceMaxStreamsCloseCircuit', '1'],
    ...(circuitIds ? [['HiddenServiceExportCircuitID', 'haproxy'] as [string, string]] : []),
    ['HiddenServiceOnionBalanceInstance', '1'],
  ]
}

/** Gives it to Tor. Throws TorRefusal. */
export async function putService(control: TorControl, service: BackEndService): Promise<void> {
  const words = backEndLines(service).map(([name, value]) => `${name}="${value.replace(/(["\\])/g, '\\$1')}"`)
  await control.must(`SETCONF ${words.join(' ')}`)
}

/**
 * Whether Tor has it just now. Throws TransientError where torrc has another service, which we would end: then this Tor is
 * not ours to use. Throws TorRefusal.
 */
export async function hasService(control: TorControl, dir: string): Promise<boolean> {
  const { lines } = await control.must('GETCONF HiddenServiceDir')
  const dirs = lines.flatMap((line) => /^HiddenServiceDir=(.+)$/.exec(line)?.[1] ?? [])
  const other = dirs.find((one) => !isSameDir(one, dir))
  if (other === undefined) return dirs.length > 0
  throw new TransientError(
    `this Tor has the onion service ${other} in its torrc, which would end: a back end of Onionbalance needs a Tor of its own (on Debian: sudo tor-instance-create fidelity), or --onion-hostname-file ${other.replace(/\/$/, '')}/hostname if that is the tracker's`,
  )
}

/** Takes it from Tor, if it is there: nobody comes by it any more. Throws as `hasService`. */
export async function withdrawService(control: TorControl, dir: string): Promise<boolean> {
  if (!(await hasService(control, dir))) return false
  await control.must('RESETCONF HiddenServiceOptions')
  return true
}

function isSameDir(one: string, other: string): boolean {
  return one.replace(/\/+$/, '') === other.replace(/\/+$/, '')
}

/** The public name in an ob_config; undefined where it names none. */
export function frontIn(text: string): string | undefined {
  return /^[ \t]*MasterOnionAddress[ \t]+(\S+)/im.exec(text)?.[1]?.toLowerCase()
}
