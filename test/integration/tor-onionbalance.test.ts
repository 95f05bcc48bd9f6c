/**
 * One address over three trackers: real Onionbalance, real Tor, three real daemons with a Tor each, and strangers that come
 * over a fresh circuit each time. What each of four deaths costs them, beside what it costs where nobody withdraws.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { formatHostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { dial } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import { Balancer } from '../sandbox/onionbalance.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { tempDir } from '../support/temp-dir.ts'

const BACK_ENDS = 3
/** Tor clients after those of the back ends. */
const BALANCERS_TOR = 3
const STRANGERS_TOR = 4

let node: Regtest
let net: TorNetwork
const balancer = new Balancer()
const dirs = tempDir()
const trackers: Tracker[] = []
let port: number

before(async () => {
  ;[node, net] = await Promise.all([
    Regtest.start({ blocks: 5 }),
    // Tor finds an introduction point by its relay: with few relays two back ends share one, and one gets nothing.
    TorNetwork.start({ clients: 5, relays: 8, votingIntervalS: 3_600 }),
  ])
  ;[port] = (await freePorts(1)) as [number]
  for (let i = 0; i < BACK_ENDS; i++) trackers.push(await startBackEnd(i))
})
after(async () => {
  for (const tracker of trackers) await tracker[Symbol.asyncDispose]()
  await balancer[Symbol.asyncDispose]()
  await net?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
  dirs[Symbol.dispose]()
})

const hostnameFile = (i: number) => join(dirs.path, `service${i}`, 'hostname')

/** All have the same port of the address, so each has an IP address of this machine for itself. */
function startBackEnd(i: number): Promise<Tracker> {
  const { socks, control, cookieFile } = net.clients[i]!
  mkdirSync(join(dirs.path, `service${i}`), { mode: 0o750 })
  writeFileSync(join(dirs.path, `service${i}`, 'ob_config'), `MasterOnionAddress ${balancer.onionHost}\n`)
  return Tracker.start(node, {
    http: true,
    args: [
      ...['--address', `127.0.0.${i + 2}:${port}`, '--public-onion', balancer.onionHost],
      ...['--onion-hostname-file', hostnameFile(i), '--control-port', formatHostPort(control)],
      ...['--socks-port', formatHostPort(socks), '--tor-cookie-file', cookieFile],
      ...['--probe-interval', '60', '--allow-test-addresses'],
    ],
  })
}

const isPublished = (tracker: Tracker, after = 0) =>
  waitUntil(
    'a back end is published',
    () => {
      if (!tracker.isRunning) throw new Error(`the daemon has ended: ${tracker.stderr}`)
      return tracker.log.slice(after).find(({ msg }) => msg === 'onion service published')
    },
    { timeoutMs: 90_000 },
  )

interface Visit {
  /** Which process answered; undefined: none did. */
  instance: string | undefined
  fault: string
  /** When it began, ms after the round's begin. */
  atMs: number
  ms: number
}

/** One stranger: a fresh circuit to the public address, a `Status`. */
async function visit(fromMs = performance.now()): Promise<Visit> {
  const began = performance.now()
  const at = { atMs: began - fromMs }
  const signal = AbortSignal.timeout(40_000)
  try {
    const target = { host: balancer.onionHost, port }
    const socket = await dial(target, { socks: net.clients[STRANGERS_TOR]!.socks, timeoutMs: 15_000, signal })
    try {
      const reply = await ask(socket, { type: 'Status' }, { timeoutMs: 10_000 })
      if (reply.type !== 'Status') throw new Error(JSON.stringify(reply))
      return { ...at, instance: Buffer.from(reply.instance!).toString('hex'), fault: '', ms: performance.now() - began }
    } finally {
      socket.destroy()
    }
  } catch (error) {
    return { ...at, instance: undefined, fault: String(error), ms: performance.now() - began }
  }
}

/** Visits by four strangers at once, until `count` have ended. */
async function visits(count: number): Promise<Visit[]> {
  const all: Visit[] = []
  const from = performance.now()
  let begun = 0
  const stranger = async () => {
    while (begun++ < count) all.push(await visit(from))
  }
  await Promise.all([stranger(), stranger(), stranger(), stranger()])
  return all
}

/** The strangers' Tor forgets the descriptors it has: who comes now is new to the address. */
async function forget(): Promise<void> {
  const { control: port, password } = net.clients[STRANGERS_TOR]!
  using control = new TorControl({ control: port, password: new Secret(password) })
  await control.connect()
  await control.must('SIGNAL NEWNYM')
}

/** Counts by who answered, and the times of the failures. */
function told(all: readonly Visit[]): string {
  const by = Map.groupBy(all, ({ instance }) => instance?.slice(0, 6) ?? 'FAILED')
  const times = all.filter(({ instance }) => instance).map(({ ms }) => Math.round(ms))
  times.sort((a, b) => a - b)
  const failed = all.filter(({ instance }) => !instance)
  const counts = [...by].map(([who, some]) => `${who} ${some.length}`).join(', ')
  const faults = failed.map(({ atMs, ms, fault }) => `+${Math.round(atMs)} ms for ${Math.round(ms)}: ${fault}`)
  return `${all.length} visits: ${counts}; p50 ${times[times.length >> 1]} ms, max ${times.at(-1)}${faults.map((fault) => `\n  ${fault}`).join('')}`
}

/**
 * Waits until `count` strangers in a row, all new to the address, are served. What a death costs until then is told, not
 * judged: it is Tor's way and chance. With one of three left a stranger's Tor may try several dead introduction
 * points before it meets one that lives.
 */
async function allServed(count: number): Promise<void> {
  let last: Visit[] = []
  await waitUntil(
    'strangers are served again',
    async () => {
      await forget()
      last = await visits(count)
      return last.every(({ instance }) => instance)
    },
    { timeoutMs: 200_000 },
  ).catch((error: unknown) => {
    throw new Error(`${error}: ${told(last)}`)
  })
}

test('one address over three trackers, and what each death costs', { timeout: 590_000 }, async (t) => {
  await Promise.all(trackers.map((tracker) => isPublished(tracker)))
  const names = trackers.map((_, i) => readFileSync(hostnameFile(i), 'utf8').trim())
  balancer.start(net.clients[BALANCERS_TOR]!.control, names)
  await waitUntil('the public address answers', async () => (await visit()).instance, { timeoutMs: 120_000 }).catch(
    (error: unknown) => {
      throw new Error(`${error}: ${balancer.log.slice(-3_000)}`)
    },
  )
  // The balancer may have published before it had all three.
  const seen = new Set<string>()
  await waitUntil(
    'all three are visited',
    async () => {
      await forget()
      for (const { instance } of await visits(8)) if (instance) seen.add(instance)
      return seen.size === BACK_ENDS
    },
    { timeoutMs: 150_000 },
  )
  const spread = await visits(36)
  t.diagnostic(`spread (in the lab 46/39/35 of 120): ${told(spread)}`)
  await allServed(12)

  await t.test('a daemon killed, its Tor alive', async (t) => {
    const before = trackers[0]!.log.length
    await trackers[0]!.stop('SIGKILL')
    const dead = await visits(32)
    t.diagnostic(`where nobody withdraws 21 of 56 fail, for as long as it lasts; here ${told(dead)}`)
    await allServed(12)
    trackers[0]!.launch()
    await isPublished(trackers[0]!, before)
    const since = performance.now()
    await waitUntil(
      'it is visited again',
      async () => {
        await forget()
        return (await visits(6)).some(({ instance }) => instance && !seen.has(instance))
      },
      { timeoutMs: 120_000 },
    )
    t.diagnostic(`it was visited again ${Math.round((performance.now() - since) / 1000)} s after it was published`)
  })

  await t.test('a Tor killed', async (t) => {
    await net.kill(1)
    const dead = await visits(24)
    t.diagnostic(`in the lab 0 of 102 fail; here ${told(dead)}`)
    await allServed(8)
  })

  await t.test('a back end that stops', async (t) => {
    await forget()
    await trackers[2]!.stop()
    const dead = await visits(24)
    t.diagnostic(`in the lab 0 of 32 fail; here ${told(dead)}`)
    await allServed(4)
  })

  await t.test('Onionbalance itself dead', async (t) => {
    await balancer.stop()
    await forget()
    const orphaned = await visits(16)
    t.diagnostic(`in the lab 15 of 16 served; here ${told(orphaned)}`)
    await allServed(4)
  })
})
