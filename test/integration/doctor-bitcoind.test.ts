/**
 * Doctor on bitcoind: every way in which a node can be away, closed, the wrong one or short of something, met on a real
 * node; its advice is followed and seen to help. Only a node that is too old, and one that is newer than ours, are faked.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { assertFinding, type Diagnosis, doctor, follow, nodeFlags, unprivileged } from '../support/doctor.ts'
import { REGTEST_INFO, Refusal, startFakeBitcoind } from '../support/fake-bitcoind.ts'
import { NodeLine } from '../support/node-line.ts'
import { tempDir } from '../support/temp-dir.ts'
import { WEATHERS } from '../support/weathers.ts'

/** Doctor with a data directory that is well, so that only bitcoind is in question. */
async function ask(args: readonly string[], options: Parameters<typeof doctor>[1] = {}): Promise<Diagnosis> {
  using dir = tempDir()
  const [port] = await freePorts(1)
  return doctor(['--no-tor', '--datadir', dir.path, '--address', `127.0.0.1:${port}`, ...args], options)
}

test('bitcoind away, its cookie away or closed, and then all is well', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await node.stop()
  const away = await ask(nodeFlags(node))
  assert.equal(away.code, 2)
  const advice = assertFinding(
    away.of('bitcoind'),
    'failure',
    /nothing answers at 127\.0\.0\.1:\d+ \(--rpc\): .*ECONNREFUSED/,
  )
  assert.match(advice, /sudo systemctl start bitcoind/)
  await node.launch()
  assert.equal((await ask(nodeFlags(node))).code, 0)

  const noCookie = await ask([...nodeFlags(node), '--cookie-file', '/nonexistent/.cookie'])
  const where = assertFinding(noCookie.of('bitcoind-auth'), 'failure', /there is no cookie at \/nonexistent\/\.cookie/)
  assert.match(where, /give --cookie-file/)

  // As bitcoind makes it for its network: for itself alone.
  chmodSync(join(node.dataDir, 'regtest'), 0o600)
  if (process.getuid?.() === 0) {
    const ofRoot = await ask(nodeFlags(node), { before: unprivileged() })
    assert.match(assertFinding(ofRoot.of('bitcoind-auth'), 'failure', /is root's, and can't be read/), /^rpcauth=/)
    chownSync(join(node.dataDir, 'regtest'), 0, 1)
  }
  const shut = await ask(nodeFlags(node), { before: unprivileged() })
  const enter = assertFinding(shut.of('bitcoind-auth'), 'failure', /the folder \S+\/regtest, on the way to the cookie/)
  assert.match(enter, /sudo usermod -aG "\$\(stat -c %G \S+\/regtest\)"/)
  follow(enter.split('; ')[0]!)
  chmodSync(join(node.dataDir, 'regtest'), 0o700) // here the user is the owner, not of the group

  chmodSync(node.cookieFile, 0o000)
  const closed = await ask(nodeFlags(node), { before: unprivileged() })
  const open = assertFinding(closed.of('bitcoind-auth'), 'failure', /the cookie \S+ can't be read by/)
  assert.match(open, /^rpccookieperms=group in bitcoin\.conf, .*usermod -aG "\$\(stat -c %G \/\S+\)"/)
  await node.stop()
  await node.launch(['-rpccookieperms=group'])
  const opened = await ask(nodeFlags(node), { before: unprivileged() })
  assertFinding(opened.of('bitcoind-auth'), 'ok', /lets us in with the cookie/)
})

test('a password that is wrong, a cookie of another node, a method that is not allowed', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  const password = (value: string) => ({ env: { FIDELITY_TRACKER_AUTH: `operator:${value}` } })
  const byPassword = ['--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`]
  const wrong = await ask(byPassword, password('wrong'))
  assert.equal(wrong.code, 2)
  const advice = assertFinding(wrong.of('bitcoind-auth'), 'failure', /refuses user and password/)
  assert.match(advice, /FIDELITY_TRACKER_AUTH=user:password/)
  assert.doesNotMatch(JSON.stringify(wrong.findings), /operator|wrong"/)

  using dir = tempDir()
  const stale = join(dir.path, '.cookie')
  writeFileSync(stale, '__cookie__:of-another-node')
  const other = await ask([...nodeFlags(node), '--cookie-file', stale])
  assertFinding(other.of('bitcoind-auth'), 'failure', /refuses the cookie in/)

  // HMAC-SHA256 of `sesame` under the salt, as share/rpcauth/rpcauth.py makes it; a whitelist beside it.
  const hash = createHmac('sha256', '00ff').update('sesame').digest('hex')
  const rpcauth = `-rpcauth=operator:00ff$${hash}`
  await node.stop()
  await node.launch([rpcauth, '-rpcwhitelist=operator:getblockcount', '-rpcwhitelistdefault=0'])
  const narrow = await ask(byPassword, password('sesame'))
  assert.match(
    assertFinding(narrow.of('bitcoind-auth'), 'failure', /forbids getblockchaininfo/),
    /no rpcwhitelist against it/,
  )
  await node.stop()
  await node.launch([rpcauth])
  const right = await ask(byPassword, password('sesame'))
  assert.equal(right.code, 0, JSON.stringify(right.findings))
  assertFinding(right.of('bitcoind-auth'), 'ok', /lets us in with user and password/)
})

test("answers that are not bitcoind's: a finding that shows them, whatever they are", async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using proxy = await NodeLine.before(node)
  const flags = [...nodeFlags(node), '--rpc', `127.0.0.1:${proxy.rpcPort}`]
  for (const [name, words] of [
    ['HTTP 404', /answers getblockchaininfo with HTTP 404 Not Found: “<html>.*Sign in to your node/],
    ['HTTP 302', /answers getblockchaininfo with HTTP 302/],
    ['HTTP 200 with a page', /answers getblockchaininfo with HTTP 200 OK: “<html>/],
    ['code -9', /answers getblockchaininfo with code -9: a refusal \?\[31m/],
    ['replies cut in half', /does not answer getblockchaininfo: its answer broke off after \d+ bytes/],
    ['results that are null', /answers getblockchaininfo with what is not understood: .*expected object/],
  ] as const) {
    proxy.fate = WEATHERS[name]!
    const odd = await ask(flags)
    assert.equal(odd.code, 2, name)
    assertFinding(odd.of('bitcoind'), 'ok', /something listens/)
    const { level, text } = odd.findings.find((finding) => finding.level === 'failure')!
    assert.equal(level, 'failure')
    assert.match(text, words)
  }
  proxy.calm()
  assert.equal((await ask(flags)).code, 0)
})

test('the wrong network: the advice names the right one', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  const wrong = await ask([...nodeFlags(node), '--network', 'signet'])
  assert.equal(wrong.code, 2)
  const advice = assertFinding(
    wrong.of('bitcoind-network'),
    'failure',
    /is on network regtest, but --network is signet/,
  )
  const network = /^give --network (\S+),/.exec(advice)![1]!
  assert.equal((await ask([...nodeFlags(node), '--network', network])).code, 0)
})

test('no REST, no ZMQ: worth a look; with both, well', async () => {
  await using node = await Regtest.start({ blocks: 5, rest: false, zmq: false })
  const plain = await ask(nodeFlags(node))
  assert.equal(plain.code, 1)
  assert.match(assertFinding(plain.of('bitcoind-rest'), 'warning', /serves no REST/), /^rest=1 in bitcoin\.conf/)
  const zmq = assertFinding(plain.of('bitcoind-zmq'), 'warning', /announces no blocks and transactions over ZMQ/)
  const [blocks, sequence] = await freePorts(2)
  const settings = [...zmq.matchAll(/(zmqpub\w+)=tcp:\/\/127\.0\.0\.1:\d+/g)].map(([, topic]) => topic)
  assert.deepEqual(settings, ['zmqpubhashblock', 'zmqpubsequence'])
  await node.stop()
  await node.launch([
    '-rest=1',
    `-${settings[0]}=tcp://127.0.0.1:${blocks}`,
    `-${settings[1]}=tcp://127.0.0.1:${sequence}`,
  ])
  const both = await ask(nodeFlags(node))
  assert.equal(both.code, 0, JSON.stringify(both.findings))
  assertFinding(both.of('bitcoind-zmq'), 'ok', /announces by pubhashblock and pubsequence/)
  await node.stop()
  await node.launch(['-rest=1', `-zmqpubhashblock=tcp://127.0.0.1:${blocks}`])
  assertFinding((await ask(nodeFlags(node))).of('bitcoind-zmq'), 'warning', /announces no transactions over ZMQ/)
})

test('a node in initial download: wait; with a new block it is done', async () => {
  await using node = await Regtest.start({ blocks: 0 }) // its tip, the genesis block, is years old
  const waiting = await ask(nodeFlags(node))
  assert.equal(waiting.code, 1)
  assert.match(
    assertFinding(waiting.of('bitcoind-sync'), 'warning', /still in initial download: block 0 of 0/),
    /^wait/,
  )
  await node.mine(1)
  assertFinding((await ask(nodeFlags(node))).of('bitcoind-sync'), 'ok', /has the whole chain/)
})

test('a pruned node that lacks blocks of the window; with prune=0 and -reindex it fetches them again', async () => {
  const [p2p] = await freePorts(1)
  await using full = await Regtest.start({
    blocks: 1_000,
    args: ['-listen=1', `-bind=127.0.0.1:${p2p}`, '-fastprune'],
  })
  const peer = ['-fastprune', `-connect=127.0.0.1:${p2p}`]
  await using node = await Regtest.start({ blocks: 0, args: [...peer, '-prune=1'] })
  const caughtUp = () =>
    waitUntil('the node has the chain', async () => (await node.tipHash()) === (await full.tipHash()), {
      timeoutMs: 60_000,
    })
  await caughtUp()
  const lowest = 1 + (await node.rpc<number>('pruneblockchain', 600))
  assert.ok(lowest > 1, 'something was pruned')
  const pruned = await ask(nodeFlags(node))
  assert.equal(pruned.code, 1)
  const advice = assertFinding(
    pruned.of('bitcoind-prune'),
    'warning',
    new RegExp(`has pruned blocks 0 to ${lowest - 1} of the window`),
  )
  assert.match(advice, /prune=60000 \(or prune=0\).*-reindex/)
  await node.stop()
  await node.launch([...peer, '-prune=0', '-reindex'])
  await caughtUp()
  assertFinding((await ask(nodeFlags(node))).of('bitcoind-prune'), 'ok', /is not pruned/)
})

test('a chain from the future: this clock is behind', async () => {
  await using node = await Regtest.start({ blocks: 20 })
  const height = await node.height()
  await node.rpc('setmocktime', Math.floor(Date.now() / 1000) + 4 * 3600)
  await node.mine(11)
  const behind = await ask(nodeFlags(node))
  assert.equal(behind.code, 2)
  const advice = assertFinding(behind.of('clock'), 'failure', /clock is behind the chain's median time by 4 h/)
  assert.match(advice, /timedatectl set-ntp true/)
  // The clock stays as it is: the chain comes back to it.
  await node.rpc('invalidateblock', await node.rpc('getblockhash', height + 1))
  assertFinding((await ask(nodeFlags(node))).of('clock'), 'ok', /agrees with the chain's/)
})

test('a node that is too old, one that starts, one that is none, and the index of spenders', async () => {
  const [closed] = await freePorts(1)
  const newer = {
    getblockchaininfo: () => ({ ...REGTEST_INFO, mediantime: 1, time: 1 }),
    getnetworkinfo: () => ({ version: 310_000, subversion: '/Satoshi:31.0.0/' }),
    getzmqnotifications: () => [
      { type: 'pubhashblock', address: `tcp://127.0.0.1:${closed}` },
      { type: 'pubsequence', address: 'tcp://0.0.0.0:1' },
    ],
  }
  const flags = (port: number) => ['--network', 'regtest', '--rpc', `127.0.0.1:${port}`, '--auth', 'a:b']
  await using old = await startFakeBitcoind({
    ...newer,
    getnetworkinfo: () => ({ version: 240_100, subversion: '/Satoshi:24.1.0/' }),
  })
  const tooOld = await ask(flags(old.port))
  assert.equal(tooOld.code, 2)
  assert.match(
    assertFinding(tooOld.of('bitcoind-version'), 'failure', /Satoshi:24\.1\.0.* is too old/),
    /upgrade bitcoind to 25\.0/,
  )

  const index = (synced: boolean) => ({ getindexinfo: () => ({ txospenderindex: { synced, best_block_height: 7 } }) })
  await using building = await startFakeBitcoind({ ...newer, ...index(false) })
  const unready = await ask(flags(building.port))
  assertFinding(unready.of('bitcoind-spender-index'), 'warning', /still building txospenderindex: block 7/)
  assertFinding(unready.of('bitcoind-zmq'), 'warning', /pubhashblock is announced at .*, which can't be reached/)
  await using built = await startFakeBitcoind({ ...newer, ...index(true) })
  assertFinding((await ask(flags(built.port))).of('bitcoind-spender-index'), 'ok', /has txospenderindex/)
  await using without = await startFakeBitcoind({ ...newer, getindexinfo: () => ({}) })
  assertFinding(
    (await ask(flags(without.port))).of('bitcoind-spender-index'),
    'ok',
    /txospenderindex=1 in bitcoin\.conf/,
  )

  await using starting = await startFakeBitcoind({
    ...newer,
    getblockchaininfo: () => new Refusal(-28, 'Loading block index…'),
  })
  const warm = await ask(flags(starting.port))
  assert.equal(warm.code, 1)
  assert.match(
    assertFinding(warm.of('bitcoind-auth'), 'warning', /is starting: .*Loading block index/),
    /^wait: bitcoin-cli -rpcwait/,
  )

  await using other = await startFakeBitcoind({})
  const noNode = await ask(flags(other.port))
  assert.equal(noNode.code, 2)
  assert.match(noNode.findings.find(({ level }) => level === 'failure')!.fix!, /is --rpc really a bitcoind/)
})
