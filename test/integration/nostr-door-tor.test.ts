/**
 * The Nostr door over the private Tor network, as today's programs reach it: ws://<onion> without a port, by our control
 * port or by a torrc that names circuits; makers behind onion services, one of them down. One network and one chain for
 * the whole file.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { describeError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { formatHostPort, parseHostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { startMakers } from '../sandbox/maker-process.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Taker } from '../sandbox/nostr/sim-taker.ts'
import { chainOf } from '../sandbox/nostr/taker-rules.ts'
import type { Route } from '../sandbox/nostr/wire.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { DoorVisitor, mineBonds } from '../support/nostr-door.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

const PATIENT = { timeoutMs: 120_000 }

let tor: TorNetwork
let node: Regtest
let alive: FundedBond
let gone: FundedBond

before(async () => {
  ;[tor, node] = await Promise.all([TorNetwork.start({ clients: 2 }), Regtest.start({ args: ['-txindex'] })])
  ;[alive, gone] = (await mineBonds(node, ['alive', 'gone'])) as [FundedBond, FundedBond]
})

after(async () => {
  await node?.[Symbol.asyncDispose]()
  await tor?.[Symbol.asyncDispose]()
})

const routes = (): Record<string, Route> => {
  const { socks, password } = tor.clients[1]!
  return { 'without a password': { socks }, 'with a password': { socks, password } }
}

/**
 * A first circuit to a service may fail that has just been published, or published again; and what failed a Tor keeps in
 * mind for a quarter of an hour. So each further attempt is that of somebody who knows nothing of it.
 */
async function reached(url: string, route: Route): Promise<DoorVisitor> {
  const { control: port, password } = tor.clients[1]!
  using control = new TorControl({ control: port, password: new Secret(password) })
  await control.connect()
  const met: string[] = []
  const attempt = async () => {
    if (met.length > 0) await control.must('SIGNAL NEWNYM')
    return DoorVisitor.open(url, { ...route, timeoutMs: 20_000 }).catch((error: unknown) => {
      met.push(describeError(error))
      return undefined
    })
  }
  return await waitUntil('the door is reached through Tor', attempt, PATIENT).catch((error: unknown) => {
    throw new Error(`${error}; met: ${met.join('; ')}`)
  })
}

test('ws://<onion>: a maker is content, a taker finds who is alive, and is told of a new bond', async () => {
  const { control, socks } = tor.clients[0]!
  const at = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
  const args = [...at, '--probe-interval', '1', '--allow-test-addresses']
  await using _maker = await startMakers([
    {
      name: 'alive',
      reach: { control, virtualPort: 21 },
      bond: {
        outpoint: `${alive.txid}:0`,
        amountSats: alive.amountSats,
        lockHeight: alive.lockHeight,
        confHeight: await node.height(),
        certAddress: onionHost('alive'),
      },
    },
  ])
  await using tracker = await Tracker.start(node, { nostr: true, args })
  const { host } = parseHostPort(String((await tracker.said('onion service published')).onionAddress))!
  const url = `ws://${host}`
  await tracker.caughtUp(node)
  await waitUntil(
    'one is up, the other down',
    () => tracker.logged('maker up') && tracker.logged('maker down'),
    PATIENT,
  )
  for (const [what, route] of Object.entries(routes())) {
    using visitor = await reached(url, route)
    assert.equal((await visitor.ask('x', {})).length, 1, what)
    const announced = await announce(url, makerEvent(gone.txid), route)
    assert.ok(announced.isAccepted, `${what}: ${JSON.stringify(announced.attempts)}`)
    const taker = await new Taker({ url, chain: chainOf(node), route, eoseWaitMs: 60_000 }).run()
    assert.ok(taker.hasEose, what)
    assert.deepEqual(
      [...taker.found.values()].map(({ host }) => host),
      [onionHost('alive')],
      what,
    )
    assert.ok(taker.events.every(({ isEchoed }) => isEchoed))
  }
  using visitor = await reached(url, routes()['without a password']!)
  await visitor.ask('live', {})
  const [bond] = await mineBonds(node, ['young'])
  const [type, id, event] = await visitor.message()
  assert.deepEqual([type, id, event.content], ['EVENT', 'live', `${bond!.txid}:0`])
  const status = await waitUntil('the status is stored', () => tracker.status()?.nostr)
  assert.equal(status.url, url)
})

test('a service that torrc keeps: port 80 as print-torrc writes it, with the line that names circuits first', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'service', 'hostname')
  const args = ['--onion-hostname-file', file, '--circuit-ids', '--allow-test-addresses']
  await using tracker = await Tracker.start(node, { nostr: true, args })
  const printed = await runVerb([
    ...['print-torrc', '--onion-hostname-file', file, '--circuit-ids'],
    ...['--address', `127.0.0.1:${tracker.port}`, '--nostr', `127.0.0.1:${tracker.nostrPort}`],
  ])
  const ports = printed.stdout.split('\n').filter((line) => line.startsWith('HiddenServicePort '))
  assert.deepEqual(ports, [
    `HiddenServicePort ${tracker.port} 127.0.0.1:${tracker.port}`,
    `HiddenServicePort 80 127.0.0.1:${tracker.nostrPort}`,
  ])
  using control = new TorControl({ control: tor.clients[0]!.control, password: new Secret(tor.clients[0]!.password) })
  await control.connect()
  const service = [
    `HiddenServiceDir="${join(dir.path, 'service')}"`,
    ...ports.map((line) => `HiddenServicePort="${line.slice('HiddenServicePort '.length)}"`),
    'HiddenServiceExportCircuitID=haproxy',
  ]
  await control.must(`SETCONF ${service.join(' ')}`)
  const { host } = parseHostPort(String((await tracker.said('onion service managed by torrc')).onionAddress))!
  await tracker.caughtUp(node)
  using visitor = await reached(`ws://${host}`, routes()['with a password']!)
  assert.ok((await visitor.ask('x', {})).length >= 2)
  const maker = await announce(`ws://${host}`, makerEvent(alive.txid), routes()['with a password']!)
  assert.ok(maker.isAccepted, JSON.stringify(maker.attempts))
  using local = await DoorVisitor.open(`ws://127.0.0.1:${tracker.nostrPort}`)
  assert.ok((await local.ask('x', {})).length >= 2, 'who comes from here has no line')
  await control.must('RESETCONF HiddenServiceDir')
})
