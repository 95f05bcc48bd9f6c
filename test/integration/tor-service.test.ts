/**
 * The onion service against a real, private Tor network: published, reached by a taker that speaks the reference
 * client's bytes, and again under the same address after Tor was killed. One network for the whole file.
 */
import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { formatHostPort, type HostPort, parseHostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { dial } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask as askHttp } from '../support/http.ts'
import { readFrame, socksConnect } from '../support/raw-socks.ts'
import { tempDir } from '../support/temp-dir.ts'
import { wireVector } from '../support/vectors.ts'

let tor: TorNetwork
let node: Regtest
before(async () => {
  // One after the other: of two at once, the one that starts is never ended when the other does not.
  tor = await TorNetwork.start({ clients: 2 })
  node = await Regtest.start()
})
after(async () => {
  await tor?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

function torFlags(...more: string[]): string[] {
  const { control, socks } = tor.clients[0]!
  return [
    '--control-port',
    formatHostPort(control),
    '--socks-port',
    formatHostPort(socks),
    '--allow-test-addresses',
    ...more,
  ]
}

async function published(tracker: Tracker, after = 0): Promise<HostPort> {
  const line = await waitUntil(
    'the service is published',
    () => {
      if (!tracker.isRunning) throw new Error(`the tracker has ended: ${tracker.stderr}`)
      return tracker.log.slice(after).find(({ msg }) => msg === 'onion service published')
    },
    { timeoutMs: 60_000 },
  )
  return parseHostPort(String(line.onionAddress))!
}

/** Tor holds a stream for two minutes when a circuit dies under it; a taker would have come again by then. */
const ATTEMPT_MS = 15_000

/** Tries again while Tor loses circuits, as every client of it must; fails with what the last attempt met. */
async function throughTor<T>(what: string, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
  let met: unknown
  const tryOnce = async () => {
    try {
      return { value: await attempt(AbortSignal.timeout(ATTEMPT_MS)) }
    } catch (error) {
      met = error
      return undefined
    }
  }
  try {
    return (await waitUntil(what, tryOnce, { timeoutMs: 120_000 })).value
  } catch (error) {
    throw new Error(`${what}: gave up`, { cause: met ?? error })
  }
}

/** One request of a v1 taker: new connection through its own Tor, one frame out, one frame in. */
function converse(address: HostPort, requestFrame: string): Promise<string> {
  return throughTor('the onion service answers', async (signal) => {
    const socket = await socksConnect(tor.clients[1]!.socks, address, signal)
    try {
      socket.write(Buffer.from(requestFrame, 'hex'))
      return (await readFrame(socket)).toString('hex')
    } finally {
      socket.destroy()
    }
  })
}

test('the reference client’s conversation, byte for byte, over SOCKS and the onion; the address survives Tor', async () => {
  await using tracker = await Tracker.start(node, { args: torFlags() })
  const address = await published(tracker)
  await tracker.caughtUp(node)
  assert.equal(await converse(address, wireVector('get').frame), wireVector('address_0').frame)
  await node.fundBond({ key: bondKey('1'), format: 'B', address: '127.0.0.1:6102', amountSats: 90_000 })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.equal(await converse(address, wireVector('get').frame), wireVector('address_1').frame)
  await node.fundBond({ key: bondKey('2'), format: 'B', address: '127.0.0.1:16102', amountSats: 80_000 })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.equal(await converse(address, wireVector('get').frame), wireVector('address_2').frame)
  assert.equal(await converse(address, wireVector('watch_vout0').frame), wireVector('watch_response_0').frame)

  const asked = await runVerb([
    'query',
    formatHostPort(address),
    'get',
    '--socks-port',
    formatHostPort(tor.clients[1]!.socks),
  ])
  assert.deepEqual([asked.code, asked.stdout], [0, '127.0.0.1:6102\n127.0.0.1:16102\n'], asked.stderr)
  const ping = await runVerb([
    'query',
    formatHostPort(address),
    'ping',
    '--json',
    '--socks-port',
    formatHostPort(tor.clients[1]!.socks),
  ])
  assert.equal(JSON.parse(ping.stdout).address, formatHostPort(address), 'a Pong names the onion address')

  const keyFile = join(tracker.dataDir, 'onion.key')
  assert.equal(statSync(keyFile).mode & 0o777, 0o600)
  const secret = readFileSync(keyFile, 'utf8').trim().slice('ED25519-V3:'.length)
  assert.ok(!JSON.stringify(tracker.log).includes(secret), 'the key is not in the log')

  const before = tracker.log.length
  await tor.kill(0)
  await tracker.said('onion service down', before)
  tor.restart(0)
  assert.deepEqual(await published(tracker, before), address, 'the same address')
  assert.equal(await converse(address, wireVector('get').frame), wireVector('address_2').frame)

  assert.equal(await tracker.stop('SIGTERM'), 0)
  const stopped = tracker.log.length
  tracker.launch()
  assert.deepEqual(await published(tracker, stopped), address, 'the same address after our own restart')
})

test('authentication by password; a wrong one, and an onion key open to others, end the start with exit code 2', async () => {
  const env = { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: tor.clients[0]!.password }
  await using tracker = await Tracker.start(node, { args: torFlags(), env })
  await published(tracker)
  await tracker.stop()
  await using wrong = await Tracker.start(node, {
    args: torFlags(),
    env: { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: 'wr"o\\ng' },
  })
  assert.equal(await wrong.exited(), 2)
  assert.match(wrong.stderr, /--control-port.* refuses the password: check --tor-auth-password/)

  const dataDir = mkdtempSync(join(tmpdir(), 'ft-key-'))
  copyFileSync(join(tracker.dataDir, 'onion.key'), join(dataDir, 'onion.key'))
  chmodSync(join(dataDir, 'onion.key'), 0o644)
  await using open = await Tracker.start(node, { args: torFlags(), dataDir })
  assert.equal(await open.exited(), 2)
  assert.match(open.stderr, /onion\.key is open to other users: chmod 600/)
  rmSync(dataDir, { recursive: true })
})

test('a service that torrc manages: its hostname is read, once it is there', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-torrc-'))
  const file = join(dir, 'hostname')
  await using tracker = await Tracker.start(node, {
    args: ['--onion-hostname-file', file, '--allow-test-addresses'],
  })
  assert.match(String((await tracker.said('onion service down')).detail), /--onion-hostname-file .* is not there yet/)

  using control = new TorControl({ control: tor.clients[0]!.control, password: new Secret(tor.clients[0]!.password) })
  await control.connect()
  await control.must(
    `SETCONF HiddenServiceDir="${join(dir, 'service')}" HiddenServicePort="${tracker.port} 127.0.0.1:${tracker.port}"`,
  )
  const made = await waitUntil('Tor has made the service', () => {
    try {
      return readFileSync(join(dir, 'service', 'hostname'), 'utf8')
    } catch {
      return false
    }
  })
  writeFileSync(`${file}.new`, made)
  renameSync(`${file}.new`, file) // at once: what is half written is no name
  const line = await tracker.said('onion service managed by torrc')
  await tracker.caughtUp(node)
  const frame = await converse(parseHostPort(String(line.onionAddress))!, wireVector('get').frame)
  assert.equal(frame, wireVector('address_2').frame)
  rmSync(dir, { recursive: true })
})

/** A connection to the tracker that has been answered, over the circuit of `isolation`. */
function streamTo(address: HostPort, isolation: string): Promise<Socket> {
  return throughTor(`a stream of ${isolation}`, async (signal) => {
    const socket = await dial(address, { socks: tor.clients[1]!.socks, isolation, timeoutMs: ATTEMPT_MS, signal })
    try {
      await ask(socket, { type: 'Status' }, { timeoutMs: ATTEMPT_MS, signal })
      return socket
    } catch (error) {
      socket.destroy()
      throw error
    }
  })
}

test('circuits of a service in torrc are told apart: --circuit-ids, as print-torrc writes it', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'service', 'hostname')
  await using tracker = await Tracker.start(node, {
    args: ['--onion-hostname-file', file, '--circuit-ids', '--allow-test-addresses'],
    http: true,
  })
  const printed = await runVerb(['print-torrc', '--onion-hostname-file', file, '--circuit-ids'])
  const [, exported] = /^HiddenServiceExportCircuitID (\w+)$/m.exec(printed.stdout) ?? assert.fail(printed.stdout)
  using control = new TorControl({ control: tor.clients[0]!.control, password: new Secret(tor.clients[0]!.password) })
  await control.connect()
  const service = [
    `HiddenServiceDir="${join(dir.path, 'service')}"`,
    `HiddenServicePort="${tracker.port} 127.0.0.1:${tracker.port}"`,
    `HiddenServiceExportCircuitID=${exported}`,
  ]
  await control.must(`SETCONF ${service.join(' ')}`)
  const address = parseHostPort(String((await tracker.said('onion service managed by torrc')).onionAddress))!
  await using open = new AsyncDisposableStack()
  for (const isolation of ['one', 'one', 'other']) {
    const socket = await streamTo(address, isolation)
    open.defer(() => void socket.destroy())
  }
  assert.equal((await tracker.ask({ type: 'Status' }, 'Status')).type, 'Status', 'who comes from here has no line')
  const { clients } = (await askHttp(tracker.httpPort!, '/api/v1/clients')).json
  const circuits: string[] = clients.flatMap(({ circuit }: { circuit: string | null }) => circuit ?? [])
  assert.match(circuits.join('\n'), /^(fc00:dead:beef:4dad:[0-9a-f:]+\n?){3,}$/)
  const streams = circuits.map((circuit) => circuits.filter((other) => other === circuit).length)
  assert.ok(streams.includes(2) && streams.includes(1), `two over one circuit, another over another: ${circuits}`)
})

test('dials isolated from each other never share a circuit; a deadline and a stop leave no connection', async () => {
  await using tracker = await Tracker.start(node, { args: torFlags() })
  const address = await published(tracker)
  await converse(address, wireVector('get').frame)
  const taker = tor.clients[1]!
  using control = new TorControl({ control: taker.control, password: undefined })
  await control.connect()
  const circuits = new Map<string, Set<string>>()
  await control.subscribe(['STREAM'], (line) => {
    const circuit = /^STREAM \d+ SUCCEEDED (\d+) /.exec(line)?.[1]
    const user = /SOCKS_USERNAME="([^"]*)"/.exec(line)?.[1]
    if (circuit === undefined || user === undefined) return
    circuits.set(user, (circuits.get(user) ?? new Set()).add(circuit))
  })
  const signal = new AbortController().signal
  for (const isolation of ['ann', 'bob', 'ann', 'bob']) {
    const socket = await throughTor(`a dial of ${isolation}`, (signal) =>
      dial(address, { socks: taker.socks, isolation, timeoutMs: ATTEMPT_MS, signal }),
    )
    assert.equal(socket.timeout, 0, 'the deadline was for connecting: a connection may be quiet')
    socket.destroy()
  }
  await waitUntil('both have had a circuit', () => circuits.size === 2)
  const [ann, bob] = [circuits.get('ann')!, circuits.get('bob')!]
  assert.ok(
    [...ann].every((circuit) => !bob.has(circuit)),
    `${[...ann]} and ${[...bob]}`,
  )

  const nobody = { host: address.host, port: 1 }
  await throughTor('the port is refused', (signal) =>
    assert.rejects(
      dial(nobody, { socks: taker.socks, isolation: 'x', timeoutMs: ATTEMPT_MS, signal }),
      /refused the port/,
    ),
  )
  const unknown = { host: `${'a'.repeat(55)}d.onion`, port: 1 }
  await assert.rejects(
    dial(unknown, { socks: taker.socks, isolation: 'x', timeoutMs: 60_000, signal }),
    /not known, or its descriptor is gone/,
  )
  await assert.rejects(
    dial(address, { socks: { host: '127.0.0.1', port: 1 }, isolation: 'x', timeoutMs: 60_000, signal }),
    /--socks-port/,
  )
  await assert.rejects(
    dial(address, { socks: taker.socks, isolation: 'late', timeoutMs: 1, signal }),
    /no connection within/,
  )
  const stopper = new AbortController()
  const stopping = dial(address, {
    socks: taker.socks,
    isolation: 'stopped',
    timeoutMs: 60_000,
    signal: stopper.signal,
  })
  stopper.abort(new Error('stop'))
  await assert.rejects(stopping, /stop/)
})

test('one circuit has 16 streams: with one more Tor closes it, and nobody else’s', async () => {
  await using tracker = await Tracker.start(node, { args: torFlags() })
  const address = await published(tracker)
  await using open = new AsyncDisposableStack()
  const connect = async (isolation: string) => {
    const socket = await streamTo(address, isolation)
    open.defer(() => void socket.destroy())
    let hasEnded = false
    const noteEnd = () => {
      hasEnded = true
    }
    socket.on('end', noteEnd).on('close', noteEnd).resume()
    return { socket, hasEnded: () => hasEnded }
  }
  const bystander = await connect('bystander')
  const crowd: Awaited<ReturnType<typeof connect>>[] = []
  for (let i = 0; i < 16; i++) crowd.push(await connect('crowd'))
  assert.deepEqual(
    crowd.map(({ hasEnded }) => hasEnded()),
    crowd.map(() => false),
    'sixteen have their place',
  )
  const more = await connect('crowd') // over a circuit of its own: the one that was full is gone
  await waitUntil('the full circuit is closed', () => crowd.every(({ hasEnded }) => hasEnded()))
  assert.ok(!more.hasEnded())
  assert.ok(!bystander.hasEnded())
  bystander.socket.removeAllListeners('data')
  assert.equal((await ask(bystander.socket, { type: 'Status' }, { timeoutMs: ATTEMPT_MS })).type, 'Status')
})
