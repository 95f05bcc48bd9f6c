/**
 * Every way into a real Tor: password alone, cookie, a cookie that changes with Tor, sockets for both ports, a filter before
 * the control port; and what is said where there is none: a Tor without anonymity, one that lets in everybody although a
 * password is given, a socket that is closed or no socket.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pino from 'pino'
import { AccessRefused } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { formatTorPort, type TorPort } from '../../src/tor/address.ts'
import { type ControlOptions, TorControl } from '../../src/tor/control.ts'
import { Healing } from '../../src/tor/healing.ts'
import { OnionService, type OnionState } from '../../src/tor/onion.ts'
import { dial, ProxyUnreached } from '../../src/tor/socks.ts'
import { systemClock } from '../../src/world.ts'
import { LoneTor } from '../sandbox/lone-tor.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { startControlFilter } from '../support/control-filter.ts'
import { unprivileged } from '../support/doctor.ts'
import { tempDir } from '../support/temp-dir.ts'

const COOKIE = ['CookieAuthentication 1', 'CookieAuthFileGroupReadable 1']

function hostPort(port: number) {
  return { host: '127.0.0.1', port }
}

/** Logs in; returns by what. */
async function logIn(options: Omit<ControlOptions, 'password'> & { password?: Secret }) {
  using control = new TorControl({ password: undefined, ...options })
  await control.connect()
  assert.match(await control.info('version'), /^0\.4\./)
  return control.authenticated!.method
}

/** Runs the publishing loop until it says so, and returns what it said last; what ends it is thrown. */
async function untilOnion(
  options: Omit<ControlOptions, 'password'>,
  isThere: (states: OnionState[]) => boolean,
  between: (states: OnionState[]) => Promise<void> = async () => {},
): Promise<OnionState> {
  using dir = tempDir()
  const states: OnionState[] = []
  const stop = new AbortController()
  const running = new OnionService(
    {
      password: undefined,
      ...options,
      keyFile: join(dir.path, 'key'),
      virtualPort: 8080,
      target: () => hostPort(1),
      nostr: { virtualPort: 80, target: () => hostPort(2) },
      streamsPerCircuit: 16,
    },
    {
      clock: systemClock,
      random: Math.random,
      log: pino({ level: 'silent' }),
      report: (state) => void states.push(state),
      healing: new Healing(1_000, systemClock),
      uploaded() {},
      republished() {},
    },
  ).run(stop.signal)
  running.catch(() => {})
  try {
    await Promise.race([running, between(states).then(() => waitUntil('the state comes', () => isThere(states)))])
    return states.at(-1)!
  } finally {
    stop.abort(new Error('stop'))
    await running.catch(() => {})
  }
}

const isAdded = (states: OnionState[]) => states.at(-1)?.kind === 'publishing'
const isRefused = (states: OnionState[]) => states.at(-1)?.kind === 'unreachable'

test('by password alone; by cookie; and by the cookie of the next Tor', async () => {
  await using tor = await LoneTor.at()
  const control = hostPort(tor.controlPort)
  const port = `ControlPort 127.0.0.1:${tor.controlPort}`
  const hashed = execFileSync('tor', ['--quiet', '--hash-password', 'se"sa\\me'], { encoding: 'utf8' }).trim()
  await tor.start([port, 'SocksPort 0', `HashedControlPassword ${hashed}`])
  assert.equal(await logIn({ control, password: new Secret('se"sa\\me') }), 'password')
  await assert.rejects(logIn({ control, password: new Secret('open') }), AccessRefused)
  await tor.stop()

  await tor.start([port, 'SocksPort 0', ...COOKIE])
  assert.equal(await logIn({ control }), 'cookie')
  assert.equal(await logIn({ control, cookieFile: tor.cookieFile }), 'cookie')
  const stale = join(tor.dir, 'stale')
  writeFileSync(stale, Buffer.alloc(32))
  await assert.rejects(logIn({ control, cookieFile: stale }), /does not know its cookie/)
  await untilOnion({ control }, isAdded, async (states) => {
    await waitUntil('it is added', () => isAdded(states))
    await tor.stop()
    await waitUntil('Tor is missed', () => isRefused(states))
    await tor.start([port, 'SocksPort 0', ...COOKIE])
  })
})

test('a Tor that lets in everybody gets no key from who was given a password', async () => {
  await using tor = await LoneTor.at()
  await tor.start([`ControlPort 127.0.0.1:${tor.controlPort}`, 'SocksPort 0'])
  const control = hostPort(tor.controlPort)
  assert.equal(await logIn({ control }), 'NULL')
  await assert.rejects(logIn({ control, password: new Secret('sesame') }), (error) => {
    assert.ok(error instanceof AccessRefused)
    assert.match(error.message, /lets in everybody, and --tor-auth-password is given: who listens there may not be Tor/)
    return true
  })
})

test('what was entered by a cookie is not entered without one: whoever takes the port meanwhile gets no key', async () => {
  await using tor = await LoneTor.at()
  const lines = [`ControlPort 127.0.0.1:${tor.controlPort}`, 'SocksPort 0']
  await tor.start([...lines, ...COOKIE])
  const last = await untilOnion(
    { control: hostPort(tor.controlPort) },
    (states) => /which it did not before/.test(states.at(-1)?.detail ?? ''),
    async (states) => {
      await waitUntil('it is added', () => isAdded(states))
      await tor.stop()
      await tor.start(lines)
    },
  )
  assert.equal(last.kind, 'unreachable')
})

test('a Tor without anonymity is told so', async () => {
  await using tor = await LoneTor.at()
  const modes = ['HiddenServiceNonAnonymousMode 1', 'HiddenServiceSingleHopMode 1']
  await tor.start([`ControlPort 127.0.0.1:${tor.controlPort}`, 'SocksPort 0', ...COOKIE, ...modes])
  const { detail } = await untilOnion({ control: hostPort(tor.controlPort) }, isRefused)
  assert.match(
    detail,
    /Tor runs without anonymity and refuses ADD_ONION \(512 .*\): remove HiddenServiceNonAnonymousMode/,
  )
})

test('a filter before the control port: named where it lets too little through, and else done without', async () => {
  await using tor = await LoneTor.at()
  await tor.start([`ControlPort 127.0.0.1:${tor.controlPort}`, 'SocksPort 0', ...COOKIE])
  await using filter = await startControlFilter(hostPort(tor.controlPort), () => undefined)
  const { control } = filter
  const filtering = (pattern: RegExp) => {
    filter.answer = (command) => (pattern.test(command) ? '510 Command filtered' : undefined)
  }
  filtering(/^(GETINFO|SETEVENTS)/)
  const { kind, detail } = await untilOnion({ control }, (states) => states.at(-1)?.kind === 'published')
  assert.equal(kind, 'published')
  assert.match(detail, /its upload is not seen: a filter before Tor's control port refuses SETEVENTS HS_DESC \(510/)
  filtering(/^ADD_ONION .*(Flags|MaxStreams|PoW)/) // an exact pattern, as onion-grater has them
  assert.equal((await untilOnion({ control }, isAdded)).kind, 'publishing')
  for (const command of ['PROTOCOLINFO', 'AUTHCHALLENGE', 'AUTHENTICATE', 'ADD_ONION']) {
    filtering(new RegExp(`^${command}`))
    const refused = await untilOnion({ control }, isRefused)
    assert.match(refused.detail, new RegExp(`a filter before Tor's control port refuses ${command}\\b.*\\(510`))
    assert.match(refused.detail, /needed are PROTOCOLINFO, AUTHCHALLENGE, AUTHENTICATE, ADD_ONION/)
  }
})

test('sockets for both ports; what is wrong with one is said', async () => {
  await using tor = await LoneTor.at()
  const dir = join(tor.dir, 'my run') // quoted in torrc
  mkdirSync(dir, { mode: 0o750 })
  const control = { path: join(dir, 'control') }
  const socks = { path: join(dir, 'socks') }
  const reasons = async (port: TorPort) => {
    const byControl = await logIn({ control: port }).catch((error: Error) => error.message)
    const signal = AbortSignal.timeout(5_000)
    const bySocks = await dial({ host: 'x.example', port: 1 }, { socks: port, timeoutMs: 5_000, signal }).catch(
      (error: unknown) => {
        assert.ok(error instanceof ProxyUnreached, String(error))
        return error.message
      },
    )
    for (const text of [byControl, bySocks]) assert.ok(String(text).includes(formatTorPort(port)), String(text))
    return `${byControl}\n${bySocks}`
  }
  assert.match(await reasons(control), /there is no \S+ run\/control: .*\n.*there is no \S+ run\/control: /)
  writeFileSync(join(dir, 'file'), '')
  assert.match(await reasons({ path: join(dir, 'file') }), /run\/file is no socket\n.*run\/file is no socket/)
  await tor.start([
    `ControlPort unix:"${control.path}" GroupWritable RelaxDirModeCheck`,
    `SocksPort unix:"${socks.path}" IsolateSOCKSAuth GroupWritable RelaxDirModeCheck`,
    ...COOKIE,
  ])
  assert.equal(await logIn({ control }), 'cookie')
  assert.equal((await untilOnion({ control }, isAdded)).kind, 'publishing')
  await tor.stop() // as a crash: the sockets stay
  assert.match(await reasons(control), /nobody listens at \S+ run\/control, which a Tor before has left behind/)
})

test('a socket that is not for this user', async () => {
  using dir = tempDir()
  chmodSync(dir.path, 0o755)
  await using tor = await LoneTor.at()
  const path = join(tor.dir, 'closed')
  mkdirSync(path, { mode: 0o700 })
  await tor.start([`ControlPort unix:${path}/control`, 'SocksPort 0', ...COOKIE])
  chmodSync(path, 0o000)
  const source = new URL('../../src/tor/control.ts', import.meta.url).href
  const code = `import(${JSON.stringify(source)}).then(({ TorControl }) =>
    new TorControl({ control: { path: '${path}/control' }, password: undefined }).connect().catch((e) => console.log(e.message)))`
  const [program, ...args] = [...unprivileged(), process.execPath, '-e', code]
  const said = execFileSync(program!, args, { encoding: 'utf8' })
  chmodSync(path, 0o700)
  assert.match(said, /this user may not use \S+\/closed\/control: add it to Tor's group/)
})

test('the daemon behind two sockets: published, and reached by its own canary', async () => {
  using dir = tempDir()
  const [control, socks] = [join(dir.path, 'control'), join(dir.path, 'socks')]
  const extraTorrc = `ControlPort unix:${control} RelaxDirModeCheck\nSocksPort unix:${socks} RelaxDirModeCheck`
  await using _network = await TorNetwork.start({ clients: 1, extraTorrc })
  await using node = await Regtest.start({ blocks: 5 })
  const args = ['--control-port', `unix:${control}`, '--socks-port', socks, '--probe-interval', '30']
  await using tracker = await Tracker.start(node, { args })
  const isReached = () => {
    const { onion } = tracker.status() ?? {}
    return onion?.state === 'published' && onion.canary?.state === 'green'
  }
  await tracker.said('listening')
  await waitUntil('the service is published and reached', isReached, { timeoutMs: 90_000 })
})
