/**
 * What an operator can get wrong, each met as he would meet it: one line that names the setting and what to do, with the
 * exit code of its fate (2 for him to change, 69 for something that is away, 74 for the database), or a wait.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { REGTEST_INFO, startFakeBitcoind } from '../support/fake-bitcoind.ts'

function tempDir(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'ft-life-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Runs `start` to its end and checks its last words: one line, no stack. */
async function startFails(code: number, says: RegExp, args: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  using dir = tempDir()
  const [port] = await freePorts(1)
  const defaults = ['--network', 'regtest', '--no-tor', '--datadir', dir.path, '--address', `127.0.0.1:${port}`]
  defaults.push('--http', 'off', '--nostr', 'off')
  const result = await runVerb(['start', ...defaults, ...args], env)
  assert.equal(result.code, code, `${result.stderr}${result.stdout}`)
  assert.match(result.stderr, says)
  assert.equal(result.stderr.trim().split('\n').length, 1, `one line: ${result.stderr}`)
}

test('settings that are wrong in themselves: exit code 2', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'config.toml')
  writeFileSync(file, 'nettwork = "regtest"\n')
  await startFails(2, /nettwork in .*config\.toml is no setting/, ['--config', file])
  writeFileSync(file, 'retention-blocks = "many"\n')
  await startFails(2, /retention-blocks in .*config\.toml: "many" .*whole number from 1 to 25920/, ['--config', file])
  writeFileSync(file, 'network = = 1\n')
  await startFails(2, /--config .*config\.toml can't be read: line 1, column 11/, ['--config', file])
  await startFails(2, /FIDELITY_TRACKER_RCP in the environment is no setting: did you mean FIDELITY_TRACKER_RPC/, [], {
    FIDELITY_TRACKER_RCP: 'x',
  })
  await startFails(2, /--rpc: "1\.2\.3" .*host:port/, ['--rpc', '1.2.3'])
  await startFails(2, /--rpc: "https:\/\/h:1" .*speaks no TLS/, ['--rpc', 'https://h:1'])
  await startFails(2, /--network: "bitcoin" .*main/, ['--network', 'bitcoin'])
  await startFails(2, /--auth: .*user:password/, ['--auth', 'nocolon'])
  await startFails(2, /--no-tor .*refused on --network main/, ['--network', 'main'])
  await startFails(2, /--probe-interval 59 is for tests: at least 60/, [
    '--network',
    'signet',
    '--probe-interval',
    '59',
  ])
  await startFails(2, /--circuit-ids needs an onion service that torrc manages/, ['--circuit-ids'])
  await startFails(2, /--streams-per-circuit: "0" .*from 1 to 65535/, ['--streams-per-circuit', '0'])
  await startFails(2, /--auth and --cookie-file/, ['--auth', 'a:b', '--cookie-file', '/x'])
  const unknown = await runVerb(['start', '--nonsense'])
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /unknown option '--nonsense'/)
})

test('a misspelt verb, option or word is told in one line, with a guess or with what there is', async () => {
  const slips: [string[], string][] = [
    [['bonsd'], "unknown verb 'bonsd': did you mean bonds? (fidelity-tracker --help)"],
    [['help', 'bonsd'], "unknown verb 'bonsd': did you mean bonds? (fidelity-tracker --help)"],
    [['bonds', '--jsno'], "unknown option '--jsno': did you mean --json? (fidelity-tracker bonds --help)"],
    [['bonds', '--datdir', '/x'], "unknown option '--datdir': did you mean --datadir? (fidelity-tracker bonds --help)"],
    [
      ['export', 'maker'],
      "command-argument value 'maker' is invalid for argument 'what'. Allowed choices are bonds, makers, trackers, relays. (fidelity-tracker export --help)",
    ],
  ]
  for (const [args, said] of slips) {
    assert.deepEqual(await runVerb(args), { code: 2, stdout: '', stderr: `fidelity-tracker: ${said}\n` })
  }
})

test('a password that was typed into the wrong place is repeated nowhere', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'config.toml')
  writeFileSync(file, 'network = "regtest"\nauth = "user:sesame\n')
  const slips: [string[], NodeJS.ProcessEnv?][] = [
    [['start', '--config', file]],
    [['doctor', '--json', '--config', file]],
    [['start', '--rpc', 'http://user:sesame@127.0.0.1:8332']],
    [['start', '--socks-port', 'socks5://user:sesame@127.0.0.1:9050']],
    [['start', '--auth', 'sesame']],
    [['start', '--auht=user:sesame']],
    [['start', '-Xsesame']],
    [['start', 'user:sesame']],
    [['status', '--network', 'regtest'], { FIDELITY_TRACKER_ADDRESS: 'user:sesame@127.0.0.1' }],
    [['print-config', '--webhook-url', 'https://h/sesame', '--webhook-secret', 'sesame']],
  ]
  for (const [args, env] of slips) {
    const { stdout, stderr, code } = await runVerb(args, env)
    assert.equal(code, args[0] === 'print-config' ? 0 : 2, args.join(' '))
    assert.doesNotMatch(stdout + stderr, /sesame/, args.join(' '))
  }
})

test('what Kubernetes and empty fields of a form put into the environment stops no start', async () => {
  const env = {
    FIDELITY_TRACKER_SERVICE_HOST: '10.0.48.109',
    FIDELITY_TRACKER_SERVICE_PORT: '8080',
    FIDELITY_TRACKER_PORT: 'tcp://10.0.48.109:8080',
    FIDELITY_TRACKER_PORT_8080_TCP: 'tcp://10.0.48.109:8080',
    FIDELITY_TRACKER_TOR_AUTH_PASSWORD: '',
    FIDELITY_TRACKER_CONFIG: '',
  }
  const { stdout, stderr, code } = await runVerb(['print-config', '--network', 'testnet'], env)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^network = "testnet3" {2}# flag$/m)
  await startFails(2, /FIDELITY_TRACKER_PORT in the environment is no setting/, [], { FIDELITY_TRACKER_PORT: '8080' })
})

test('flags win over the environment, that over the file, that over defaults; print-config says which, and hides secrets', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'config.toml')
  writeFileSync(file, 'network = "signet"\nrpc = "10.0.0.1:1"\nsocks-port = 19050\nauth = "user:sesame"\n')
  const { stdout, code } = await runVerb(['print-config', '--config', file, '--network', 'regtest'], {
    FIDELITY_TRACKER_RPC: '10.0.0.2:2',
    FIDELITY_TRACKER_NETWORK: 'testnet4',
  })
  assert.equal(code, 0)
  assert.match(stdout, /^network = "regtest" {2}# flag$/m)
  assert.match(stdout, /^rpc = "10\.0\.0\.2:2" {2}# environment$/m)
  assert.match(stdout, /^socks-port = 19050 {2}# file$/m)
  assert.match(stdout, /^control-port = 9051 {2}# default$/m)
  assert.doesNotMatch(stdout, /sesame/)
  writeFileSync(file, stdout)
  const again = await runVerb(['print-config', '--config', file])
  assert.equal(again.code, 0, again.stderr)
})

test('a data directory that cannot be made, is held, is of another network, is newer, or is damaged', async () => {
  await startFails(2, /--datadir \/dev\/null\/x can't be/, ['--datadir', '/dev/null/x'])
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const { dataDir } = tracker
  await startFails(2, /--datadir .* is in use by another fidelity-tracker/, ['--datadir', dataDir])
  assert.equal(await tracker.stop(), 0)
  await startFails(2, /belongs to network regtest, but --network is signet/, [
    '--datadir',
    dataDir,
    '--network',
    'signet',
  ])
  const file = join(dataDir, 'tracker.sqlite')
  const db = new Database(file)
  db.pragma('user_version = 999')
  db.close()
  await startFails(2, /has schema 999, .*upgrade fidelity-tracker/, ['--datadir', dataDir])
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  writeFileSync(file, 'this is no database, and never was one. '.repeat(100))
  await startFails(74, /tracker\.sqlite can't be opened .*SQLITE_NOTADB/, ['--datadir', dataDir])
})

test('an address that is taken: exit code 2', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  await startFails(2, /--address 127\.0\.0\.1:\d+ can't be listened on: another program/, [
    '--address',
    `127.0.0.1:${port}`,
  ])
  other.close()
})

test('a node that refuses us, or is another one: exit code 2', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  const rpc = ['--rpc', `127.0.0.1:${node.rpcPort}`]
  await startFails(2, /refuses user and password: check --auth/, [...rpc, '--auth', 'user:wrong'])
  await startFails(2, /is on network regtest, but --network is signet/, [
    ...rpc,
    '--network',
    'signet',
    '--cookie-file',
    node.cookieFile,
  ])
  await using old = await startFakeBitcoind({
    getblockchaininfo: () => REGTEST_INFO,
    getnetworkinfo: () => ({ version: 240_100, subversion: '/Satoshi:24.1.0/' }),
  })
  await startFails(2, /Satoshi:24\.1\.0.*Bitcoin Core 25\.0 or later/, [
    '--rpc',
    `127.0.0.1:${old.port}`,
    '--auth',
    'a:b',
  ])
})

test('bitcoind, its cookie or Tor away: waits, and with --start-timeout leaves with exit code 69', async () => {
  const [port] = await freePorts(1)
  const wait = ['--rpc', `127.0.0.1:${port}`, '--start-timeout', '5']
  await startFails(69, /bitcoind did not answer within 5 s \(--start-timeout\): .*--rpc.*ECONNREFUSED/, [
    ...wait,
    '--auth',
    'a:b',
  ])
  await startFails(69, /no cookie at .*start bitcoind, or name its cookie with --cookie-file/, [
    ...wait,
    '--cookie-file',
    '/nonexistent/.cookie',
  ])
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, { args: ['--control-port', String(port), '--start-timeout', '10'] })
  assert.equal(await tracker.exited(), 69)
  assert.match(tracker.stderr, /Tor did not answer within 10 s .*--control-port.*is Tor running\?/)
})

test('a node in initial download: no list, no watch, and it says so; once it has caught up, both', async () => {
  await using node = await Regtest.start({ blocks: 0 }) // its tip, the genesis block, is years old
  await using tracker = await Tracker.start(node)
  await tracker.said('waiting: bitcoind is in initial download')
  const status = await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(status.synced, false)
  await assert.rejects(tracker.addresses(), /closed without a reply/, 'a v1 taker knows no errors')
  const outpoint = { txid: '11'.repeat(32) as never, vout: 0 }
  const refused = await tracker.ask({ type: 'Watch', outpoint }, 'Error')
  assert.equal(refused.code, 'not_synced')
  assert.match(refused.message, /initial download/)
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [])
  assert.deepEqual((await tracker.ask({ type: 'Watch', outpoint }, 'WatchResponse')).transactions, [])
})

test('it serves at once, says why it is not ready, and ends cleanly in any state', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  await tracker.stop()
  await node.stop()

  tracker.launch()
  await waitUntil('it answers', () => tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined), { everyMs: 10 })
  await waitUntil('the reason is told', async () => {
    const { stdout } = await runVerb(['status', '--network', 'regtest', '--datadir', tracker.dataDir])
    return /NOT READY/.test(stdout) && /--cookie-file/.test(stdout)
  })
  assert.equal(await tracker.stop(), 0)

  const { stdout } = await runVerb(['status', '--json', '--network', 'regtest', '--datadir', tracker.dataDir])
  const status = JSON.parse(stdout)
  assert.equal(status.running, false)
  assert.equal(status.height, 5)
  const bonds = await runVerb(['bonds', '--network', 'regtest', '--datadir', tracker.dataDir])
  assert.match(bonds.stdout, /no bonds at block 5/)
  const none = await runVerb(['status', '--network', 'regtest', '--datadir', '/nonexistent'])
  assert.equal(none.code, 2)
})

test('the usual port of the Nostr relay is taken: only who has asked for it is stopped by that', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  // One of the two has it, or another program of this machine.
  await using first = await Tracker.start(node, { nostr: 'unsaid' })
  await first.caughtUp(node)
  await using second = await Tracker.start(node, { nostr: 'unsaid' })
  await second.caughtUp(node)
  const { detail } = await second.said('no Nostr relay: its usual port can not be had')
  assert.match(String(detail), /^--nostr 127\.0\.0\.1:8082 can't be listened on: another program listens there/)
  await second.ask({ type: 'Status' }, 'Status')
  await startFails(2, /--nostr 127\.0\.0\.1:8082 can't be listened on/, ['--nostr', '127.0.0.1:8082'])
})

test('secrets are neither in the log nor in the list of processes; a password may hold a colon', async () => {
  await using node = await Regtest.start({
    blocks: 5,
    // user ann, password "open:sesame" (rpcauth's HMAC form)
    args: [`-rpcauth=ann:${'00'.repeat(16)}$${rpcAuthHash('00'.repeat(16), 'open:sesame')}`],
  })
  using dir = tempDir()
  const [port] = await freePorts(1)
  await using tracker = await Tracker.start(node, {
    args: ['--no-tor', '--log-level', 'trace'],
    env: { FIDELITY_TRACKER_AUTH: 'ann:open:sesame' },
    cookie: false,
    dataDir: dir.path,
    port: port!,
  })
  await tracker.caughtUp(node)
  assert.doesNotMatch(JSON.stringify(tracker.log) + tracker.stderr, /sesame/)
  await using visible = await Tracker.start(node, {
    args: ['--no-tor', '--auth', 'ann:open:sesame'],
    cookie: false,
  })
  await visible.caughtUp(node)
  assert.doesNotMatch(readFileSync(`/proc/${visible.pid}/cmdline`, 'latin1'), /sesame/)
})

function rpcAuthHash(salt: string, password: string): string {
  return createHmac('sha256', salt).update(password).digest('hex')
}
