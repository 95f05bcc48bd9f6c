/** A tracker behind Onionbalance: the folder of its service, the public address in it, and that nobody else uses its Tor. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeError, TransientError } from '../errors.ts'
import { isOnionHost } from '../tor/address.ts'
import { dirOf, FRONT_FILE, frontIn, hasService } from '../tor/back-end.ts'
import type { TorControl } from '../tor/control.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const SETUP = 'fidelity-tracker print-torrc --onionbalance has the commands'

export interface BackEndExamined {
  hostnameFile: string
  publicOnion: string
}

/** What the files say. `torrc`: its text, where it can be read. */
export function backEndFindings({ hostnameFile, publicOnion }: BackEndExamined, torrc: string | undefined): Finding[] {
  const dir = dirOf(hostnameFile)
  const isInTorrc = (torrc ?? '')
    .split('\n')
    .some((line) => line.trim().match(/^HiddenServiceDir\s+"?(.*?)\/?"?$/i)?.[1] === dir)
  return [
    nameFinding(hostnameFile, publicOnion),
    frontFinding(join(dir, FRONT_FILE), publicOnion),
    ...(isInTorrc
      ? [
          worth(
            'tor-back-end',
            `torrc has ${dir} itself: when Tor starts it leads people here before this tracker is ready, or runs at all`,
            'remove its HiddenService lines from /etc/tor/torrc, then: sudo systemctl reload tor',
          ),
        ]
      : []),
  ]
}

function nameFinding(file: string, publicOnion: string): Finding {
  let name: string
  try {
    name = readFileSync(file, 'utf8').trim()
  } catch (error) {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isAbsent) {
      const text = `this back end has no name yet (${file}): Tor makes it when the tracker is ready for the first time`
      return worth('tor-service', text, 'sudo systemctl start fidelity-tracker, and wait until it is ready')
    }
    return broken(
      'tor-service',
      `${file} (--onion-hostname-file) can't be read: ${describeError(error)}`,
      `DataDirectoryGroupReadable 1 in torrc, sudo systemctl restart tor, and this user in Tor's group; ${SETUP}`,
    )
  }
  if (name === publicOnion) {
    const text = `--public-onion is the name of this back end itself (${file}), not the one that Onionbalance spreads`
    return broken('tor-service', text, 'give --public-onion the address of the balancer')
  }
  if (!isOnionHost(name)) return broken('tor-service', `${file} holds no v3 onion host name`, SETUP)
  return well('tor-service', `back end ${name} of ${publicOnion}; no proof of work defends an address that is spread`)
}

function frontFinding(file: string, publicOnion: string): Finding {
  const line = `echo MasterOnionAddress ${publicOnion} | sudo tee ${file}`
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isAbsent) return broken('tor-front', `${file} is missing: Tor takes no back end without it`, line)
    return worth('tor-front', `${file} can't be read, so what it names is not known: ${describeError(error)}`, SETUP)
  }
  const front = frontIn(text)
  if (front === publicOnion) return well('tor-front', `${file} names the public address`)
  return broken('tor-front', `${file} names ${front ?? 'no address'}, and --public-onion is ${publicOnion}`, line)
}

/** Whether Tor serves this back end and nothing else. Throws what TorControl throws, but for somebody else's service. */
export async function aloneFinding(control: TorControl, hostnameFile: string): Promise<Finding> {
  try {
    const isThere = await hasService(control, dirOf(hostnameFile))
    return well('tor-alone', `Tor has no other onion service${isThere ? '' : ', and this one is withdrawn just now'}`)
  } catch (error) {
    if (!(error instanceof TransientError) || !/in its torrc/.test(error.message)) throw error
    return broken('tor-alone', describeError(error), 'sudo tor-instance-create fidelity; --control-port of that one')
  }
}
