/** Webhooks as a receiver meets them: what is told, signed; tried again, in order; over Tor where the target is an onion. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import pino from 'pino'
import { WEBHOOK_LIMITS, Webhook, type WebhookEvent } from '../../src/events/webhook.ts'
import { Secret } from '../../src/secret.ts'
import { formatHostPort, type HostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { type Clock, systemClock } from '../../src/world.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { serveMaker } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { SocksProxy } from '../support/socks-proxy.ts'
import { Receiver, SECRET } from '../support/webhook-receiver.ts'

const world = { clock: systemClock, random: () => 0, log: pino({ level: 'silent' }) }
const BLOCK = { height: 2, block_hash: 'ab'.repeat(32) }
const event = (depth: number): WebhookEvent => ({
  event: 'reorg',
  data: { depth, fork_height: 1, from: BLOCK, to: BLOCK, ...BLOCK },
})

/** A sender at work; ends with the block. */
function sending(
  url: string,
  { socks, clock = systemClock }: { socks?: HostPort; clock?: Clock } = {},
): Webhook & AsyncDisposable {
  const options = {
    url: new URL(url),
    secret: new Secret(SECRET),
    socks,
    direct: false,
    reorgDepth: 3,
    tracker: () => 'us.onion:8080',
  }
  const sender = new Webhook(options, { ...world, clock })
  const stopping = new AbortController()
  const running = sender.run(stopping.signal).catch(() => {})
  return Object.assign(sender, {
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('stop'))
      await running
    },
  })
}

test('tried again after failures, in order; refused ones are dropped; a full queue drops the oldest', async () => {
  const [port] = await freePorts(1)
  await using sender = sending(`http://127.0.0.1:${port}/`)
  for (let depth = 0; depth < WEBHOOK_LIMITS.queue + 3; depth++) sender.send(event(depth))
  assert.deepEqual([sender.waiting, sender.dropped], [WEBHOOK_LIMITS.queue, 3])
  await using receiver = await Receiver.start(port) // nobody was there before
  receiver.answers = [500, 'hang up', 429, 400]
  await waitUntil('all are through', () => sender.waiting === 0, { timeoutMs: 120_000 })
  const depths = receiver.told.map(({ data }) => data.depth)
  // 0 to 2 were pushed out, 3 was refused.
  assert.deepEqual(
    depths,
    Array.from({ length: WEBHOOK_LIMITS.queue - 1 }, (_, i) => i + 4),
  )
  assert.equal(sender.dropped, 4)
  assert.equal(new Set(receiver.told.map(({ id }) => id)).size, depths.length)
  assert.equal(receiver.told[0]!.tracker, 'us.onion:8080')
})

test('a canary that comes and goes does not flood, and what is so in the end is told, signed and in its order', async () => {
  await using receiver = await Receiver.start()
  const clock = { ...systemClock, atMs: 0, monotonicMs: () => clock.atMs }
  await using sender = sending(receiver.url, { clock })
  const { atOnce, everyMs } = WEBHOOK_LIMITS.flaps
  const readiness = (ready: boolean) =>
    sender.tell([{ kind: 'readiness', data: { ready, not_ready: ready ? [] : ['canary: no answer'], height: 7 } }])
  const key = (elsewhere: boolean) =>
    sender.tell([{ kind: 'onion_key', data: { address: 'us.onion:8080', elsewhere, detail: 'seen', height: 7 } }])
  for (let i = 0; i < 100; i++) readiness(i % 2 === 0)
  key(true)
  const expected = [
    ...Array.from({ length: atOnce }, (_, i) => (i % 2 === 0 ? 'ready' : 'not_ready')),
    'onion_key_elsewhere',
  ]
  await waitUntil('what is told at once is', () => receiver.told.length === expected.length)
  assert.deepEqual(receiver.events(), expected)
  assert.deepEqual(receiver.told[1]!.data, { ready: false, not_ready: ['canary: no answer'], height: 7 })

  readiness(true) // held back: the last one told is `not_ready`
  key(false)
  expected.push('onion_key_ours')
  await waitUntil('one does not hold up the other', () => receiver.told.length === expected.length)
  clock.atMs += everyMs
  sender.send(event(3)) // whoever rings lets go of what is due
  await waitUntil('the rest is told', () => receiver.told.length === expected.length + 2)
  assert.deepEqual(receiver.events(), [...expected, 'reorg', 'ready'])
  assert.equal(sender.dropped, 0)
})

test('the daemon tells of bonds that end, makers that go and come, deep reorgs; the log has them for the morning', async (t) => {
  await using node = await Regtest.start()
  await using receiver = await Receiver.start()
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const lasting = await node.fundBond({ key: bondKey('m'), format: 'B', address })
  // The longest lock whose end is not told twice: the reorgs below go back to where 10 blocks are left, not before.
  const ending = await node.fundBond({ key: bondKey('e'), format: 'B', address: '127.0.0.1:9', lockBlocks: 14 })
  await node.mine(1)
  const confHeight = await node.height()
  const offered = { ...lasting, confHeight, certAddress: address }
  const serve = () => serveMaker({ listenPort: port!, bond: offered, otherKey: bondKey('m', 1), pongAddress: address })
  const maker = await serve()
  let isServing = true
  const leave = async () => {
    if (isServing) await maker[Symbol.asyncDispose]()
    isServing = false
  }
  t.after(leave)
  await using tracker = await Tracker.start(node, {
    args: [
      ...['--no-tor', '--allow-test-addresses', '--probe-interval', '1', '--probe-timeout', '2'],
      ...['--webhook-url', receiver.url, '--webhook-expiring-blocks', '10'],
    ],
    env: { FIDELITY_TRACKER_WEBHOOK_SECRET: SECRET },
  })
  await tracker.caughtUp(node)
  const reachOf = async () =>
    (await tracker.ask({ type: 'Bonds' }, 'Bonds')).bonds.find((row) => row.address === address)
  await waitUntil('the maker is up', async () => (await reachOf())?.reach === 'up')

  await tracker.said('webhook: what happens from here on is told')
  await node.mine(5)
  const expiring = await waitUntil('its end is told', () =>
    receiver.told.find(({ event }) => event === 'bond_expiring'),
  )
  assert.equal(expiring.data.outpoint, `${ending.txid}:0`)
  assert.ok((expiring.data.blocks_left as number) <= 10)

  await node.replaceTip({ drop: 2, mine: 3 })
  await tracker.caughtUp(node)
  const replaced = await node.replaceTip({ drop: 3, mine: 4 })
  const reorg = await waitUntil('the reorg is told', () => receiver.told.find(({ event }) => event === 'reorg'))
  assert.equal(reorg.data.depth, 3, 'and the one of two blocks was not')
  assert.ok(replaced.includes(reorg.data.block_hash as string), 'one of the new blocks: they come one by one')

  receiver.answers = [503, 503]
  await leave()
  await waitUntil('the loss of the maker is told', () =>
    receiver.told.some(({ event, data }) => event === 'maker_down' && data.address === address),
  )
  await using _again = await serve()
  await waitUntil('its return is told', () =>
    receiver.told.some(({ event, data }) => event === 'maker_up' && data.address === address),
  )
  assert.equal(receiver.events().filter((name) => name === 'bond_expiring').length, 1)

  const of = (msg: string, field: string, value: string) => () =>
    tracker.log.find((line) => line.msg === msg && line[field] === value)
  const began = await tracker.said('the market is known: from here on its changes are told')
  assert.deepEqual([began.bonds, began.makers, tracker.logged('bond found')], [2, 2, undefined], 'of a scan the sum')
  assert.ok((await tracker.said('scan done')).blocks)
  assert.equal((await tracker.said('ready')).level, 30)
  const found = await node.fundBond({ key: bondKey('f'), format: 'B', address: '127.0.0.1:8', amountSats: 70_000 })
  await node.mine(10)
  const line = await waitUntil('a bond is found', of('bond found', 'outpoint', `${found.txid}:0`))
  assert.deepEqual([line.level, line.maker, line.amountSats], [30, '127.0.0.1:8', 70_000])
  await waitUntil('one is past its end', of('bond expired', 'outpoint', `${ending.txid}:0`))
  const { txid } = await node.spendBond(ending)
  await node.mine(1)
  const spent = await waitUntil('it is spent', of('bond spent', 'outpoint', `${ending.txid}:0`))
  assert.equal(spent.by, txid)
  const down = of('maker down', 'maker', address)()!
  const back = await waitUntil('the maker is back', () =>
    tracker.log.findLast(({ msg, maker, lastUp }) => msg === 'maker up' && maker === address && lastUp === down.lastUp),
  )
  assert.deepEqual([back.level, down.level, typeof back.downS], [30, 30, 'number'])

  assert.equal(tracker.logged('maker probed'), undefined)
  process.kill(tracker.pid, 'SIGUSR2')
  await tracker.said('maker probed')
  assert.ok(!JSON.stringify(tracker.log).includes(SECRET))
  const shown = await runVerb(['print-config', '--webhook-url', receiver.url], {
    FIDELITY_TRACKER_WEBHOOK_SECRET: SECRET,
  })
  assert.match(shown.stdout, /webhook-url = "http:\/\/127\.0\.0\.1/)
  assert.ok(!shown.stdout.includes(SECRET))
})

test('settings that can not work are refused with what to do', async () => {
  for (const [args, wanted] of [
    [['--webhook-url', 'https://example.com/'], /--webhook-url needs --webhook-secret/],
    [['--webhook-secret', 'x'], /without --webhook-url/],
    [['--webhook-url', 'ftp://example.com/', '--webhook-secret', 'x'], /webhook-url.*expected http/],
    [['--webhook-url', 'http://user:pass@example.com/', '--webhook-secret', 'x'], /without a user name/],
    [
      ['--webhook-url', `http://${'a'.repeat(56)}.onion/`, '--webhook-secret', 'x', '--no-tor', '--network', 'regtest'],
      /onion address, which needs Tor/,
    ],
    [['--webhook-url', 'http://192.168.1.9/', '--webhook-secret', 'x'], /192\.168\.1\.9.*give --webhook-direct/],
  ] as const) {
    const { code, stderr } = await runVerb(['print-config', ...args])
    assert.deepEqual([code, wanted.test(stderr)], [2, true], stderr)
  }
})

test('what is no host of this machine is reached through the proxy, by a name that nobody has looked up', async () => {
  await using receiver = await Receiver.start()
  await using proxy = await SocksProxy.start(receiver.port)
  proxy.refusals = 1
  await using sender = sending('http://hooks.example:8000/hook', { socks: proxy.address })
  sender.send(event(3))
  sender.send(event(4))
  await waitUntil('both have arrived', () => receiver.told.length === 2)
  assert.deepEqual(
    proxy.asked.map(({ host, port, addressType }) => [host, port, addressType]),
    Array(3).fill(['hooks.example', 8000, 3]),
  )
  const [refused, first, second] = proxy.asked.map(({ user }) => user)
  assert.notEqual(first, refused, 'after a failure another circuit')
  assert.equal(second, first)
})

test('HTTPS goes through the proxy too, with the certificate of the name that was asked for', async () => {
  const file = new URL('../vectors/hooks.example.pem', import.meta.url)
  await using node = await Regtest.start()
  await using receiver = await Receiver.start(0, readFileSync(file))
  await using proxy = await SocksProxy.start(receiver.port)
  const [control] = await freePorts(1)
  const start = (url: string, env = {}) =>
    Tracker.start(node, {
      args: [
        ...['--control-port', String(control), '--socks-port', formatHostPort(proxy.address)],
        ...['--webhook-url', url],
      ],
      env: { FIDELITY_TRACKER_WEBHOOK_SECRET: SECRET, ...env },
    })
  {
    await using tracker = await start('https://hooks.example/hook', { NODE_EXTRA_CA_CERTS: file.pathname })
    await tracker.caughtUp(node)
    await tracker.said('webhook: what happens from here on is told')
    await node.replaceTip({ drop: 3, mine: 4 })
    await waitUntil('the reorg is told', () => receiver.events().includes('reorg'))
    const asked = proxy.asked.find(({ port }) => port === 443)
    assert.deepEqual([asked?.host, asked?.addressType], ['hooks.example', 3])
  }
  // The proxy can't pass somebody else off as the receiver.
  const told = receiver.told.length
  await using deceived = await start('https://other.example/hook', { NODE_EXTRA_CA_CERTS: file.pathname })
  await deceived.caughtUp(node)
  await deceived.said('webhook: what happens from here on is told')
  await node.replaceTip({ drop: 3, mine: 4 })
  const line = await deceived.said('webhook not delivered: trying again')
  assert.match(String(line.detail), /other\.example.*(altnames|certificate)/i)
  assert.equal(receiver.told.length, told)
})

test('an onion target is reached through Tor', async () => {
  await using tor = await TorNetwork.start({ clients: 2 })
  await using receiver = await Receiver.start()
  const host = tor.clients[1]!
  using control = new TorControl({ control: host.control, password: new Secret(host.password) })
  await control.connect()
  const { lines } = await control.must(`ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=80,127.0.0.1:${receiver.port}`)
  const id = lines.find((line) => line.startsWith('ServiceID='))!.slice('ServiceID='.length)
  await using sender = sending(`http://${id}.onion/hook`, { socks: tor.clients[0]!.socks })
  sender.send(event(7))
  await waitUntil('it has arrived', () => receiver.told.length === 1, { timeoutMs: 300_000 })
  assert.equal(receiver.told[0]!.data.depth, 7)
  await waitUntil('the sender knows', () => sender.waiting === 0)
})
