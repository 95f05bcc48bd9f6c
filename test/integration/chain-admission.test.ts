/** First contact with a bitcoind that forbids calls, leaves Bitcoin's chain, has no room, or publishes elsewhere. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { NEEDED_CALLS, OPTIONAL_CALLS } from '../../src/chain/admission.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { assertFinding, doctor, nodeFlags } from '../support/doctor.ts'
import { REGTEST_INFO, startFakeBitcoind } from '../support/fake-bitcoind.ts'
import { NodeLine, reply } from '../support/node-line.ts'
import { onionHost } from '../support/onions.ts'
import { Wallet } from '../support/subscriber.ts'
import { tempDir } from '../support/temp-dir.ts'

const NEEDED = NEEDED_CALLS.map(({ method }) => method)
const NOT_SO = 'bitcoind is not as it should be'

/** Arguments of a bitcoind that lets in `operator:sesame`, and allows nothing but `calls`. */
function allowing(calls: readonly string[]): string[] {
  const hash = createHmac('sha256', '00ff').update('sesame').digest('hex')
  return [`-rpcauth=operator:00ff$${hash}`, `-rpcwhitelist=operator:${calls.join(',')}`, '-rpcwhitelistdefault=0']
}
const asOperator = {
  args: ['--no-tor', '--allow-test-addresses'],
  env: { FIDELITY_TRACKER_AUTH: 'operator:sesame' },
  cookie: false,
}

async function askDoctor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  using dir = tempDir()
  const [port] = await freePorts(1)
  return doctor(['--no-tor', '--datadir', dir.path, '--address', `127.0.0.1:${port}`, ...args], { env })
}

test('a whitelist that lacks calls: every one of them is named at once, by start and by doctor; then they are added', async () => {
  const some = NEEDED.filter((method) => !/^gettx/.test(method))
  await using node = await Regtest.start({ blocks: 5, args: allowing(some) })
  const flags = ['--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`]
  await using refused = await Tracker.start(node, asOperator)
  assert.equal(await refused.exited(), 2)
  assert.match(
    refused.stderr,
    /bitcoind at \S+ \(--rpc\) forbids gettxout, gettxoutproof, gettxspendingprevout: its rpcwhitelist lacks them/,
  )
  assert.equal(refused.stderr.trim().split('\n').length, 1)
  const lacking = await askDoctor(flags, asOperator.env)
  const fix = assertFinding(lacking.of('bitcoind-auth'), 'failure', /forbids gettxout, gettxoutproof, gettxspending/)
  const [, advised = ''] = /^rpcwhitelist=<this user>:(\S+) in bitcoin\.conf/.exec(fix) ?? []
  assert.deepEqual(advised.split(','), [...NEEDED, ...Object.keys(OPTIONAL_CALLS)])

  await node.stop()
  await node.launch(allowing(advised.split(',')))
  assert.equal((await askDoctor(flags, asOperator.env)).code, 0)
  await using let_in = await Tracker.start(node, asOperator)
  await let_in.caughtUp(node)
  assert.equal(let_in.logged(NOT_SO), undefined)
})

test('with the needed calls alone everything works, and what is done otherwise is said', async () => {
  await using node = await Regtest.start({ args: allowing(NEEDED) })
  await using tracker = await Tracker.start(node, asOperator)
  await tracker.caughtUp(node)
  const told = tracker.log.filter(({ msg }) => msg === NOT_SO).map(({ detail }) => String(detail))
  const expected = Object.entries(OPTIONAL_CALLS).flatMap(([method, text]) =>
    text ? [`forbids ${method}: ${text}`] : [],
  )
  assert.deepEqual(
    told.map((text) => text.slice(text.indexOf('forbids'))),
    expected,
  )
  const bond = await node.fundBond({ key: bondKey('n'), format: 'D', address: `${onionHost('n')}:21` })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  const proof = await tracker.ask({ type: 'BondProof', outpoint: bond.outpoint }, 'BondProof')
  assert.ok(proof.merkle.length > 0)
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [bond.outpoint] }, 'Spends')
  assert.equal(spends[0]?.state, 'unspent')
})

test('a node that is going to leave Bitcoin is warned of, one that has left is refused', async () => {
  await using node = await Regtest.start({ blocks: 20, args: ['-testactivationheight=blake2b@30'] })
  const { blake2b } = await node.rpc<{ blake2b?: { active: boolean } }>('getdeploymentinfo')
  assert.equal(blake2b?.active, false, 'this bitcoind knows the deployment')
  await using warned = await Tracker.start(node)
  await warned.caughtUp(node)
  assert.match(
    String((await warned.said(NOT_SO)).detail),
    /leaves Bitcoin's chain at block 30 \(its deployment blake2b\)/,
  )
  const soon = await askDoctor(nodeFlags(node))
  assert.equal(soon.code, 1)
  assert.match(
    assertFinding(soon.of('bitcoind-chain'), 'warning', /leaves Bitcoin's chain at block 30/),
    /Bitcoin Core/,
  )

  await node.mine(9)
  await using refused = await Tracker.start(node)
  assert.equal(await refused.exited(), 2)
  assert.match(refused.stderr, /follows a chain that is no longer Bitcoin's \(its deployment blake2b is active\)/)
  const late = await askDoctor(nodeFlags(node))
  assert.equal(late.code, 2)
  assertFinding(late.of('bitcoind-chain'), 'failure', /follows a chain that is no longer Bitcoin's/)

  // Who followed it so far takes no block of the other chain, and says why.
  await node.mine(3)
  const detail = await waitUntil('it says what it waits for', () => {
    const told = warned.log.map((line) => String(line.detail)).find((text) => /no longer Bitcoin's/.test(text))
    return told
  })
  assert.match(detail, /follows a chain that is no longer Bitcoin's .*use Bitcoin Core 30 or later/)
  const { height, synced } = await warned.ask({ type: 'Status' }, 'Status')
  assert.deepEqual([height, synced], [29, false])
  assert.ok(warned.isRunning)
})

test('whatever names such a deployment, or has headers of another length, is refused; who tells nothing is not', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using proxy = await NodeLine.before(node)
  const at = (method: string, result: unknown) => {
    proxy.fate = (asked) => {
      const call = asked.calls[0]
      const isRaw = call?.method === 'getblockheader' && call.params[1] === false
      return call?.method === method && (method !== 'getblockheader' || isRaw)
        ? { say: reply(asked, result) }
        : undefined
    }
  }
  for (const [method, result] of [
    ['getdeploymentinfo', { deployments: { blake2b: { type: 'buried', active: true, height: 3 } } }],
    ['getdeploymentinfo', { deployments: {}, BLAKE2b_pow: { height: 3, active: true } }],
    ['getblockheader', '00'.repeat(164)],
  ] as const) {
    at(method, result)
    await using refused = await Tracker.start(node, { via: proxy })
    assert.equal(await refused.exited(), 2)
    assert.match(refused.stderr, /follows a chain that is no longer Bitcoin's/)
  }
  for (const result of [{ deployments: {} }, { deployments: { taproot: { active: true } }, odd: 7 }]) {
    at('getdeploymentinfo', result)
    await using fine = await Tracker.start(node, { via: proxy })
    await fine.caughtUp(node)
    assert.equal(fine.logged(NOT_SO), undefined)
  }
})

test('a chain that is called signet and begins with another block', async () => {
  await using fake = await startFakeBitcoind({
    getblockchaininfo: () => ({ ...REGTEST_INFO, chain: 'signet' }),
    getnetworkinfo: () => ({ version: 300_000, subversion: '/Satoshi:30.0.0/' }),
    getblockhash: () => '0f'.repeat(32),
  })
  await using node = await Regtest.start({ blocks: 0 })
  const args = ['--no-tor', '--network', 'signet', '--rpc', `127.0.0.1:${fake.port}`, '--auth', 'a:b']
  await using refused = await Tracker.start(node, { args, cookie: false })
  assert.equal(await refused.exited(), 2)
  assert.match(refused.stderr, /calls its chain signet, but it begins with block 0f0f/)
})

test('a bitcoind with one thread and room for one: no loss is told, and every block is read by REST', async () => {
  await using node = await Regtest.start({ blocks: 600 })
  await node.stop()
  await node.launch(['-rpcthreads=1', '-rpcworkqueue=1'])
  await using tracker = await Tracker.start(node)
  await waitUntil('it is at the tip', async () => {
    const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
    return status?.synced && status.height === 600
  })
  const messages = tracker.log.filter(({ level }) => level >= 40).map(({ msg, detail }) => `${msg}: ${detail}`)
  assert.deepEqual(messages, [])
  assert.equal((await tracker.said('bitcoind connected')).blocksBy, 'rest')
})

test('a gateway that lets RPC alone pass: whatever it says to REST, blocks come by RPC', async () => {
  await using node = await Regtest.start({ blocks: 5, zmq: false })
  await using proxy = await NodeLine.before(node)
  for (const status of [200, 302, 401, 403, 404, 405, 502]) {
    const page = { status, body: Buffer.from('<html>no</html>') }
    proxy.fate = ({ path }) => (path.startsWith('/rest/') ? { say: page } : undefined)
    await using tracker = await Tracker.start(node, { via: proxy })
    await tracker.caughtUp(node)
    assert.equal((await tracker.said('bitcoind connected')).blocksBy, 'rpc', String(status))
    assert.deepEqual(
      tracker.log.filter(({ level }) => level >= 40),
      [],
    )
  }
})

test('refused once among many, REST is asked again: work queue exceeded is no reason for RPC', async () => {
  await using node = await Regtest.start({ blocks: 300, zmq: false })
  await using proxy = await NodeLine.before(node)
  let blocks = 0
  proxy.fate = ({ path }) =>
    path.startsWith('/rest/block/') && ++blocks % 50 < 3
      ? { say: { status: 503, body: Buffer.from('Work queue depth exceeded') } }
      : undefined
  await using tracker = await Tracker.start(node, { via: proxy })
  await tracker.caughtUp(node)
  assert.ok(proxy.met > 5)
  assert.equal(proxy.counts.get('getblock'), 1, 'the one call of the contact')
  assert.deepEqual(
    tracker.log.filter(({ level }) => level >= 40),
    [],
  )
})

test('ZMQ on [::1], on an interface by its name, and on every interface is heard; where nobody publishes it is said', async () => {
  const [a, b, c] = await freePorts(3)
  await using node = await Regtest.start({
    zmq: false,
    args: [`-zmqpubhashblock=tcp://[::1]:${a}`, `-zmqpubsequence=tcp://lo:${b}`, `-zmqpubrawtx=tcp://*:${c}`],
  })
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 1)
  await tracker.caughtUp(node)
  assert.deepEqual((await tracker.said('bitcoind connected')).zmq, { blocks: true, mempoolEvents: true })
  assert.equal(tracker.logged(NOT_SO), undefined)
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe(coins)
  const spent = await spend(node, coins)
  await wallet.told(tracker, coins[0]!, { state: 'mempool', txid: spent.txid })
  assertFinding(
    (await askDoctor(nodeFlags(node))).of('bitcoind-zmq'),
    'ok',
    /announces by pubhashblock and pubsequence/,
  )

  await using proxy = await NodeLine.before(node)
  const [nobody] = await freePorts(1)
  proxy.fate = (asked) =>
    asked.calls[0]?.method === 'getzmqnotifications'
      ? {
          say: reply(asked, [
            { type: 'pubhashblock', address: `tcp://127.0.0.1:${nobody}` },
            { type: 'pubsequence', address: 'no address at all' },
          ]),
        }
      : undefined
  await using deaf = await Tracker.start(node, { via: proxy })
  await deaf.caughtUp(node)
  assert.deepEqual((await deaf.said('bitcoind connected')).zmq, { blocks: false, mempoolEvents: false })
  assert.match(String((await deaf.said(NOT_SO)).detail), /nobody publishes at tcp:\/\/127\.0\.0\.1:\d+, which bitcoind/)
  await node.mine(1)
  await deaf.caughtUp(node)
})
