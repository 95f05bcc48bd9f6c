/** Relays that are onion services, read over a private Tor network: each over circuits of its own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatHostPort, onionHostOf } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { expandSeed } from '../../src/tor/key.ts'
import type { RelayRow } from '../../src/views/schemas/relays.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'

test('two relays by their onions: read, counted, and not by one circuit', async () => {
  await using tor = await TorNetwork.start({ clients: 2 })
  await using node = await Regtest.start()
  await using stack = new AsyncDisposableStack()
  const bond = await node.fundBond({ key: bondKey('a'), format: 'D', address: `${onionHost('a')}:21` })
  await node.mine(1)
  using far = new TorControl({ control: tor.clients[1]!.control, password: undefined })
  await far.connect()
  const urls: string[] = []
  for (const seed of [41, 42]) {
    const relay = stack.use(await Relay.start())
    await announce(relay.url, makerEvent(bond.txid))
    const { expanded, publicKey } = expandSeed(Buffer.alloc(32, seed))
    await far.must(`ADD_ONION ED25519-V3:${expanded.toString('base64')} Port=80,127.0.0.1:${new URL(relay.url).port}`)
    urls.push(`ws://${onionHostOf(publicKey)}`)
  }

  const { control, socks } = tor.clients[0]!
  using near = new TorControl({ control, password: undefined })
  await near.connect()
  const succeeded: { circuit: string; target: string; user: string }[] = []
  await near.subscribe(['STREAM'], (event) => {
    const [, circuit, target] = /^STREAM \d+ SUCCEEDED (\d+) (\S+)/.exec(event) ?? []
    const user = /SOCKS_USERNAME="([^"]*)"/.exec(event)?.[1]
    if (circuit && target && user) succeeded.push({ circuit, target: target.split(':')[0]!, user })
  })
  await using tracker = await Tracker.start(node, {
    http: true,
    args: [
      ...['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)],
      ...['--nostr-relays', urls.join(',')],
    ],
  })
  await tracker.caughtUp(node)
  const rows = async () => (await ask(tracker.httpPort!, '/api/v1/relays')).json.relays as RelayRow[]
  await waitUntil('both are read', async () => (await rows()).every(({ announced }) => announced === 1), {
    timeoutMs: 180_000,
    everyMs: 500,
  })
  const of = (url: string) => succeeded.filter(({ target }) => url.includes(target.replace('.exit', '')))
  const [first, second] = urls.map(of)
  assert.ok(first!.length > 0 && second!.length > 0, JSON.stringify(succeeded))
  for (const one of first!) {
    assert.ok(second!.every(({ circuit, user }) => circuit !== one.circuit && user !== one.user))
  }
})
