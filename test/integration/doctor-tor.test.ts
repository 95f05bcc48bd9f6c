/**
 * Doctor on Tor: away, closed, open to everybody, not connected, and what the daemon published. A real Tor with a torrc
 * of the test's own (without network, where none is needed), and a private Tor network for the rest.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatHostPort } from '../../src/tor/address.ts'
import { LoneTor } from '../sandbox/lone-tor.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { startControlFilter } from '../support/control-filter.ts'
import { assertFinding, doctor, follow, nodeFlags, unprivileged } from '../support/doctor.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
before(async () => {
  node = await Regtest.start({ blocks: 5 })
})
after(() => node?.[Symbol.asyncDispose]())

/** Doctor with everything but Tor well; the daemon does not run. */
async function ask(args: readonly string[], options: Parameters<typeof doctor>[1] = {}) {
  using dir = tempDir()
  const [port] = await freePorts(1)
  return doctor([...nodeFlags(node), '--datadir', dir.path, '--address', `127.0.0.1:${port}`, ...args], options)
}

test('Tor absent; then as print-torrc wants it: both ports answer', async () => {
  await using tor = await LoneTor.at()
  const absent = await ask(tor.flags)
  assert.equal(absent.code, 2)
  assert.match(
    assertFinding(absent.of('tor-socks'), 'failure', /ECONNREFUSED/),
    /apt install tor; sudo systemctl start tor/,
  )
  const advice = assertFinding(absent.of('tor-control'), 'failure', /is not reachable \(is Tor running\?\)/)
  assert.match(advice, /fidelity-tracker print-torrc \| sudo tee -a \/etc\/tor\/torrc/)
  const { stdout } = await runVerb(['print-torrc', ...tor.flags])
  await tor.start(stdout.split('\n'))
  const present = await ask(tor.flags)
  assert.equal(present.code, 1, 'Tor has no network here, and no daemon runs')
  assertFinding(present.of('tor-socks'), 'ok', /keeps streams apart/)
  assertFinding(present.of('tor-control'), 'ok', /answers/)
  assertFinding(present.of('tor-auth'), 'ok', /lets us in by cookie/)
  assert.match(
    assertFinding(present.of('tor-network'), 'warning', /Tor 0\.4\.\S+ is not connected yet: \d+ %/),
    /^wait a minute/,
  )
  assert.match(
    assertFinding(present.of('onion'), 'warning', /the daemon is not running/),
    /systemctl start fidelity-tracker/,
  )
})

test('a control port that lets in everybody, or wants a password', async () => {
  await using tor = await LoneTor.at()
  const ports = [`SocksPort 127.0.0.1:${tor.socksPort}`, `ControlPort 127.0.0.1:${tor.controlPort}`]
  await tor.start(ports)
  const open = await ask(tor.flags)
  const advice = assertFinding(open.of('tor-auth'), 'warning', /lets in everybody on this machine/)
  const lines = advice.split(' in torrc')[0]!.split(' and ')
  assert.deepEqual(lines, ['CookieAuthentication 1', 'CookieAuthFileGroupReadable 1'])
  await tor.stop()
  await tor.start([...ports, ...lines])
  assertFinding((await ask(tor.flags)).of('tor-auth'), 'ok', /lets us in by cookie/)

  await tor.stop()
  const hashed = execFileSync('tor', ['--quiet', '--hash-password', 'sesame'], { encoding: 'utf8' }).trim()
  await tor.start([...ports, `HashedControlPassword ${hashed}`])
  const none = await ask(tor.flags)
  assert.equal(none.code, 2)
  assert.match(assertFinding(none.of('tor-auth'), 'failure', /wants a password/), /FIDELITY_TRACKER_TOR_AUTH_PASSWORD=/)
  const password = (value: string) => ({ env: { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: value } })
  const wrong = await ask(tor.flags, password('open'))
  assert.match(assertFinding(wrong.of('tor-auth'), 'failure', /refuses the password/), /correct FIDELITY_TRACKER_TOR/)
  assertFinding((await ask(tor.flags, password('sesame'))).of('tor-auth'), 'ok', /lets us in by password/)
})

test('Tor’s cookie: not readable, readable for everybody, gone', async () => {
  await using tor = await LoneTor.at()
  const lines = [
    `SocksPort 127.0.0.1:${tor.socksPort}`,
    `ControlPort 127.0.0.1:${tor.controlPort}`,
    'CookieAuthentication 1',
  ]
  await tor.start(lines)
  chmodSync(tor.cookieFile, 0o000)
  const closed = await ask(tor.flags, { before: unprivileged() })
  assert.equal(closed.code, 2)
  const advice = assertFinding(
    closed.of('tor-auth'),
    'failure',
    /the cookie \S+ of \S+ \(--control-port\) can't be read by/,
  )
  assert.match(advice, /sudo usermod -aG debian-tor \S+, .*CookieAuthFileGroupReadable 1 in torrc/)
  await tor.stop()
  await tor.start([...lines, 'CookieAuthFileGroupReadable 1'])
  assert.equal(statSync(tor.cookieFile).mode & 0o777, 0o640)
  assertFinding((await ask(tor.flags, { before: unprivileged() })).of('tor-auth'), 'ok', /by cookie/)

  chmodSync(tor.cookieFile, 0o644)
  follow(assertFinding((await ask(tor.flags)).of('tor-auth'), 'warning', /can be read by everybody/))
  assertFinding((await ask(tor.flags)).of('tor-auth'), 'ok', /by cookie/)

  rmSync(tor.cookieFile)
  assert.match(
    assertFinding((await ask(tor.flags)).of('tor-control'), 'failure', /is not there on this machine \(yet\)/),
    /^if Tor runs in another container or on another host: share its cookie file, and --tor-cookie-file <file>/,
  )
  await tor.stop()
  await tor.start(lines)
  assertFinding((await ask(tor.flags)).of('tor-auth'), 'ok', /by cookie/)
})

test('sockets as print-torrc wants them; a Tor without anonymity; a filter; nobody’s password', async () => {
  await using tor = await LoneTor.at()
  const flags = ['--control-port', `unix:${tor.dir}/control`, '--socks-port', `${tor.dir}/socks`]
  const absent = await ask(flags)
  assertFinding(absent.of('tor-socks'), 'failure', /there is no \S+\/socks: torrc has to name it/)
  assertFinding(absent.of('tor-control'), 'failure', /there is no \S+\/control: torrc has to name it/)
  const { stdout } = await runVerb(['print-torrc', ...flags])
  await tor.start(stdout.split('\n'))
  const present = await ask(flags)
  assertFinding(present.of('tor-socks'), 'ok', /unix:\S+\/socks \(--socks-port\) keeps streams apart/)
  assertFinding(present.of('tor-auth'), 'ok', /lets us in by cookie/)
  await tor.stop()

  const port = `ControlPort 127.0.0.1:${tor.controlPort}`
  await tor.start([port, 'SocksPort 0', 'HiddenServiceNonAnonymousMode 1', 'HiddenServiceSingleHopMode 1'])
  const open = await ask(tor.flags)
  assert.match(assertFinding(open.of('tor-anonymity'), 'failure', /without anonymity/), /^remove HiddenServiceNon/)
  const password = { env: { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: 'sesame' } }
  assertFinding(
    (await ask(tor.flags, password)).of('tor-auth'),
    'failure',
    /lets in everybody, and --tor-auth-password/,
  )

  const here = { host: '127.0.0.1', port: tor.controlPort }
  await using filter = await startControlFilter(here, (command) =>
    /^(GETINFO|GETCONF|SETEVENTS|ADD_ONION)/.test(command) ? '510 Command filtered' : undefined,
  )
  const filtered = await ask(['--control-port', String(filter.control.port)])
  assert.match(
    assertFinding(filtered.of('tor-filter'), 'warning', /refuses GETINFO version, .*ADD_ONION \(510\)/),
    /onion-grater/,
  )
})

test('ports that are something else', async () => {
  await using tor = await LoneTor.at()
  await tor.start([`SocksPort 127.0.0.1:${tor.socksPort}`, `ControlPort 127.0.0.1:${tor.controlPort}`])
  const swapped = await ask([...['--socks-port', String(tor.controlPort)], ...['--control-port', String(node.rpcPort)]])
  assertFinding(swapped.of('tor-socks'), 'failure', /is no SOCKS proxy of Tor's/)
  assertFinding(swapped.of('tor-control'), 'failure', /control port/)
})

test('an onion service that torrc manages: its hostname file', async () => {
  await using tor = await LoneTor.at()
  await tor.start([`SocksPort 127.0.0.1:${tor.socksPort}`])
  using dir = tempDir()
  const file = join(dir.path, 'hostname')
  const flags = ['--socks-port', String(tor.socksPort), '--onion-hostname-file', file]
  const absent = await ask(flags)
  const advice = assertFinding(absent.of('tor-service'), 'failure', /can't be read: ENOENT/)
  const verb = /^fidelity-tracker (.*?) \|/.exec(advice)![1]!.split(' ')
  assert.match((await runVerb(verb)).stdout, /^HiddenServiceDir /m)
  writeFileSync(file, 'example.onion\n')
  assertFinding((await ask(flags)).of('tor-service'), 'failure', /holds no v3 onion host name/)
  writeFileSync(file, `${onionHost('managed')}\n`)
  assertFinding((await ask(flags)).of('tor-service'), 'ok', /torrc manages \S+\.onion/)
  chmodSync(file, 0o000)
  const closed = await ask(flags, { before: unprivileged() })
  assert.match(assertFinding(closed.of('tor-service'), 'failure', /EACCES/), /sudo install -m 644/)
})

test('with a Tor network: all well while the daemon is published; Tor killed and back', async () => {
  await using network = await TorNetwork.start({ clients: 1 })
  const { control, socks } = network.clients[0]!
  const torFlags = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
  // With probes that often the canary, too, looks soon.
  await using tracker = await Tracker.start(node, { args: [...torFlags, '--probe-interval', '30'] })
  await tracker.said('listening')
  const isReached = () => {
    const { onion } = tracker.status() ?? {}
    return onion?.state === 'published' && onion.canary?.state === 'green'
  }
  await waitUntil('the service is published and reached', isReached, { timeoutMs: 90_000 })
  const flags = [
    ...nodeFlags(node),
    '--datadir',
    tracker.dataDir,
    '--address',
    `127.0.0.1:${tracker.port}`,
    ...torFlags,
  ]
  const well = await doctor(flags)
  assertFinding(well.of('onion'), 'ok', new RegExp(`published: \\S+\\.onion:${tracker.port}, reached through Tor`))
  assertFinding(well.of('tor-network'), 'ok', /is connected to its network/)
  assert.equal(well.findings.filter(({ level, check }) => level !== 'ok' && check !== 'tor-pow').length, 0)

  await network.kill(0)
  await waitUntil('the daemon has noticed', () => tracker.status()?.onion.state === 'unreachable')
  const away = await doctor(flags)
  assert.equal(away.code, 2)
  assert.match(assertFinding(away.of('onion'), 'failure', /onion service is unreachable/), /lines about Tor above/)
  assertFinding(away.of('tor-control'), 'failure', /is not reachable/)
  network.restart(0)
  await waitUntil('published and reached again', isReached, { timeoutMs: 90_000 })
  assertFinding((await doctor(flags)).of('onion'), 'ok', /published/)
  await tracker.stop()
  assertFinding((await doctor(flags)).of('onion'), 'warning', /the daemon is not running/)
})
