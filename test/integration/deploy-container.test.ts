/**
 * What can be seen of the container without an engine for it: the daemon configured by the environment alone, with nothing
 * but its data directory writable, its health check, and whether Dockerfile and compose.yaml agree with the program.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { MAIN, runVerb } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { tempDir } from '../support/temp-dir.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const dockerfile = readFileSync(join(ROOT, 'deploy/Dockerfile'), 'utf8')
const compose = readFileSync(join(ROOT, 'deploy/compose.yaml'), 'utf8')

test('environment alone, everything else read-only: it serves, health says so, and only the data directory has files', async () => {
  await using node = await Regtest.start({ blocks: 20 })
  using dir = tempDir()
  const [port, nostrPort] = await freePorts(2)
  const env = {
    FIDELITY_TRACKER_NETWORK: 'regtest',
    FIDELITY_TRACKER_RPC: `127.0.0.1:${node.rpcPort}`,
    FIDELITY_TRACKER_COOKIE_FILE: node.cookieFile,
    FIDELITY_TRACKER_ADDRESS: `127.0.0.1:${port}`,
    FIDELITY_TRACKER_DATADIR: dir.path,
    FIDELITY_TRACKER_TOR: 'false',
    FIDELITY_TRACKER_HTTP: 'off',
    FIDELITY_TRACKER_NOSTR: `127.0.0.1:${nostrPort}`,
  }
  const readOnly = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && ! touch /ft-probe 2>/dev/null && exec "$@"'
  const asRoot = process.getuid?.() === 0 ? '-m' : '-rm'
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', asRoot, 'sh', '-c', readOnly, dir.path, process.execPath, MAIN, 'start'],
    { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const exited = once(child, 'exit')
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  await waitUntil('it is healthy', async () => {
    assert.equal(child.exitCode, null, stderr)
    return (await runVerb(['health'], env)).code === 0
  })
  const names = readdirSync(dir.path).filter((name) => !/-(wal|shm|journal)$/.test(name))
  assert.deepEqual(names.sort(), ['lock', 'tracker.key', 'tracker.sqlite'])
  child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
  assert.equal((await runVerb(['health'], env)).code, 1)
})

test('what the Dockerfile copies exists and is let through by .dockerignore; its health check is a verb', async () => {
  const allowed = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
  const copied = [
    ...`${dockerfile}${readFileSync(join(ROOT, 'deploy/tor.Dockerfile'), 'utf8')}`.matchAll(
      /^COPY (?!--from)(.*) \S+$/gm,
    ),
  ]
  const paths = copied.flatMap(([, list]) => list!.split(' '))
  assert.ok(paths.length > 8)
  for (const path of paths) {
    assert.ok(existsSync(join(ROOT, path)), path)
    assert.ok(allowed.split('\n').includes(`!${path}`), `${path} is not in the build context`)
  }
  const [, check] = /HEALTHCHECK .* CMD (\[.*\])/.exec(dockerfile)!
  assert.deepEqual(JSON.parse(check!), ['fidelity-tracker', 'health'])
  assert.match(dockerfile, /^USER 8080:8080$/m)
  assert.equal((await runVerb(['health', '--help'])).code, 0)
})

test('compose.yaml sets settings that exist, to values that are taken; only Tor has a way out', async () => {
  const settings = [...compose.matchAll(/^ {6}(FIDELITY_TRACKER_\w+): (.*)$/gm)].map(([, name, value]) => [
    name!,
    value!,
  ])
  assert.ok(settings.length >= 6)
  const env = Object.fromEntries(
    settings.map(([name, value]) => [name, value!.replace(/\$\{RPC_PASSWORD:[^}]*\}/, 'x')]),
  )
  const { code, stdout, stderr } = await runVerb(['print-config'], { ...env, FIDELITY_TRACKER_DATADIR: '/data' })
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^nostr = "172\.30\.80\.4:8082" {2}# environment$/m)
  assert.match(stdout, /^address = "172\.30\.80\.4:8080" {2}# environment$/m)
  assert.match(stdout, /^datadir = "\/data" {2}# environment$/m)

  const services = compose
    .slice(compose.indexOf('\nservices:'), compose.indexOf('\nnetworks:'))
    .split(/\n {2}(?=\w+:\n)/)
  const outside = services.filter((service) => /^ {6}outside: /m.test(service)).map((service) => service.split(':')[0])
  assert.deepEqual(outside, ['tor'])
  assert.match(compose, /^ {2}inside:\n {4}internal: true$/m)
  assert.doesNotMatch(compose, /^ {4}ports:/m)
})

test('compose.scale.yaml: settings of both trackers are taken, addresses differ and ports do not; a way out has Tor alone', async () => {
  const scale = readFileSync(join(ROOT, 'deploy/compose.scale.yaml'), 'utf8')
  const services = new Map(
    scale
      .slice(scale.indexOf('\nservices:'), scale.indexOf('\nvolumes:'))
      .split(/\n {2}(?=[\w-]+:\n)/)
      .slice(1)
      .map((text) => [text.slice(0, text.indexOf(':')), text]),
  )
  const settingsOf = (text: string) =>
    Object.fromEntries(
      [...text.matchAll(/^ {6}(FIDELITY_TRACKER_\w+): (.*)$/gm)].map(([, name, value]) => [
        name!,
        value!.replace(/\$\{\w+_PASSWORD:[^}]*\}/, 'x').replaceAll("'", ''),
      ]),
    )
  const first = { ...settingsOf(compose), ...settingsOf(services.get('tracker')!) }
  const second = { ...first, ...settingsOf(services.get('tracker-b')!) }
  assert.match(services.get('tracker-b')!, /<<: \*shared/)
  assert.notEqual(first.FIDELITY_TRACKER_ADDRESS, second.FIDELITY_TRACKER_ADDRESS)
  const portOf = (address = '') => address.split(':')[1]
  assert.equal(portOf(first.FIDELITY_TRACKER_ADDRESS), portOf(second.FIDELITY_TRACKER_ADDRESS))
  for (const env of [first, second]) {
    const { code, stdout, stderr } = await runVerb(['print-config'], { ...env, FIDELITY_TRACKER_DATADIR: '/data' })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^onion-lease = true {2}# environment$/m)
    assert.match(stdout, /^# shared-store = "<secret>" {2}# environment$/m)
  }
  const outside = [...services].filter(([, text]) => /^ {6}outside: /m.test(text)).map(([name]) => name)
  assert.deepEqual(outside, ['tor-b'])
  assert.doesNotMatch(scale, /^ {4}ports:/m)
  assert.match(scale, /^ {4}image: postgres:\d+\.\d+/m)
  // bitcoind lets both in, and no other.
  const allowed = [...compose.matchAll(/-rpcallowip=(\S+)/g)].map(([, address]) => address)
  const of = (address = '') => address.split(':')[0]
  assert.deepEqual(allowed, [of(first.FIDELITY_TRACKER_ADDRESS), of(second.FIDELITY_TRACKER_ADDRESS)])
})

test('Tor takes the torrc of compose.yaml, also with what compose.scale.yaml adds', () => {
  using dir = tempDir()
  for (const more of [[], ['--ControlPort', '172.30.80.13:9051']]) {
    const { status, stdout } = spawnSync(
      'tor',
      [
        ...['--defaults-torrc', '/dev/null', '-f', join(ROOT, 'deploy/torrc.compose')],
        ...['--DataDirectory', dir.path, '--verify-config', ...more],
      ],
      { encoding: 'utf8', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } },
    )
    assert.equal(status, 0, stdout)
    assert.match(stdout, /Configuration was valid/)
  }
})
