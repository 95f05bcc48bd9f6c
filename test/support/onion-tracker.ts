/** A tracker whose onion service is published through a Tor of the private network, and what it says of its reach. */
import { formatHostPort, type HostPort, parseHostPort } from '../../src/tor/address.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import type { TorClient } from '../sandbox/tor-network.ts'
import { Tracker, type TrackerOptions } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from './http.ts'

/** How often it looks whether it is reached follows from the interval: every two seconds at 10, more often in trouble. */
const QUICK = ['--probe-interval', '10', '--probe-timeout', '10', '--allow-test-addresses']

/** With its HTTP server; `control`: another way to the control port than straight. */
export function startOnionTracker(
  node: Regtest,
  { control, socks }: Pick<TorClient, 'control' | 'socks'>,
  options: TrackerOptions = {},
): Promise<Tracker> {
  const ports = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
  return Tracker.start(node, { http: true, ...options, args: [...ports, ...QUICK, ...(options.args ?? [])] })
}

/** The address, once the service is published (again, after the first `after` log lines). */
export async function published(tracker: Tracker, after = 0): Promise<HostPort> {
  const line = await waitUntil(
    'the service is published',
    () => {
      if (!tracker.isRunning) throw new Error(`the daemon has ended: ${tracker.stderr}`)
      return tracker.log.slice(after).find(({ msg }) => msg === 'onion service published')
    },
    { timeoutMs: 120_000, everyMs: 10 },
  )
  return parseHostPort(String(line.onionAddress))!
}

/** Waits until /health/ready and status both say so, and for the same reason. */
export async function ready(tracker: Tracker): Promise<void> {
  await readiness(tracker, 'it is ready', (reason) => reason === '')
}

/** As `ready`; the reason that it gives. */
export async function notReady(tracker: Tracker, reason: RegExp): Promise<string> {
  return await readiness(tracker, `it is not ready: ${reason}`, (said) => reason.test(said))
}

async function readiness(tracker: Tracker, what: string, isWanted: (reason: string) => boolean): Promise<string> {
  let reason = ''
  const isSo = async () => {
    if (!tracker.isRunning) throw new Error(`the daemon has ended: ${tracker.stderr}`)
    const { status } = await ask(tracker.httpPort!, '/health/ready')
    const row = (await ask(tracker.httpPort!, '/api/v1/status')).json
    reason = row.not_ready.join('; ')
    return row.ready === (reason === '') && (status === 200) === row.ready && isWanted(reason)
  }
  await waitUntil(what, isSo, { timeoutMs: 120_000 }).catch((error: unknown) => {
    throw new Error(`${error}: ${reason || 'ready'}; log: ${JSON.stringify(tracker.log.slice(-5))}`)
  })
  return reason
}
