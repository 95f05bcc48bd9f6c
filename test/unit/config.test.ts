/** Settings out of flags, environment and file: what is understood, what is refused, and that no refusal repeats a secret. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Config, formatConfig, type RawValues, readConfig } from '../../src/config.ts'
import { ConfigError } from '../../src/errors.ts'
import { envName, SETTING_NAMES } from '../../src/settings.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

function read(flags: RawValues, env: NodeJS.ProcessEnv = {}, configFile?: string): Config {
  return readConfig({ flags: { network: 'regtest', ...flags }, env, configFile })
}

/** The message of the refusal. */
function refusal(...args: Parameters<typeof read>): string {
  try {
    read(...args)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message
  }
  assert.fail(`taken: ${JSON.stringify(args)}`)
}

test('networks also by the names that other programs give them; print-config shows ours', () => {
  for (const [given, ours] of [
    ['mainnet', 'main'],
    ['main', 'main'],
    ['testnet', 'testnet3'],
    ['testnet4', 'testnet4'],
  ] as const) {
    for (const config of [
      readConfig({ flags: { network: given }, env: {}, configFile: undefined }),
      readConfig({ flags: {}, env: { FIDELITY_TRACKER_NETWORK: given }, configFile: undefined }),
    ]) {
      assert.equal(config.network, ours)
      assert.match(formatConfig(config), new RegExp(`^network = "${ours}" `, 'm'))
    }
  }
  assert.match(refusal({ network: 'Main' }), /^--network: "Main" is not usable: .*main.*testnet3/)
})

test('bitcoind: host and port, with http:// or without; a host alone at the port of the network', () => {
  const taken: [string, string, number][] = [
    ['127.0.0.1:8332', '127.0.0.1', 8332],
    ['http://127.0.0.1:8332/', '127.0.0.1', 8332],
    ['HTTP://bitcoin_bitcoind_1:1', 'bitcoin_bitcoind_1', 1],
    ['bitcoind.embassy:65535', 'bitcoind.embassy', 65535],
    ['[::1]:8332', '::1', 8332],
    ['localhost', 'localhost', 18_443],
    ['http://bitcoind/', 'bitcoind', 18_443],
    ['[::1]', '::1', 18_443],
  ]
  for (const [rpc, host, port] of taken) assert.deepEqual({ ...read({ rpc }).rpc, auth: 0 }, { host, port, auth: 0 })
  const refused: [string, RegExp][] = [
    ['https://127.0.0.1:8332', /bitcoind speaks no TLS/],
    ['HTTPS://127.0.0.1:8332', /bitcoind speaks no TLS/],
    ['tcp://127.0.0.1:8332', /without tcp:\/\//],
    ['http://127.0.0.1:8332/wallet/w', /expected host:port/],
    ['::1:8332', /an IPv6 address stands in brackets/],
    ['[::::]:8332', /expected host:port/],
    ['1.2.3.256:8332', /expected host:port/],
    ['-:8332', /expected host:port/],
    ['38332', /of this machine it is 127\.0\.0\.1:38332/],
    ['::1', /an IPv6 address stands in brackets/],
    ['1.2.3', /a host alone for the network's port/],
    ['127.0.0.1:0', /expected host:port/],
    ['127.0.0.1:65536', /expected host:port/],
    ['127.0.0.1:08332', /expected host:port/],
    ['', /must not be empty/],
  ]
  for (const [rpc, says] of refused) assert.match(refusal({ rpc }), says, rpc)
  assert.equal(read({ rpc: 'localhost', network: 'signet' }).rpc.port, 38_332)
})

test('where it listens, and Tor: no scheme, no password, a port that there is', () => {
  const names = ['address', 'http', 'control-port', 'socks-port', 'trackers'] as const
  const refused: [string, RegExp][] = [
    ['http://127.0.0.1:9050', /without http:\/\//],
    ['https://127.0.0.1:9050', /without https:\/\//],
    ['socks5://127.0.0.1:9050', /without socks5:\/\//],
    ['tcp://10.0.0.1:9050', /without tcp:\/\//],
    ['::1:9050', /an IPv6 address stands in brackets/],
    ['0', /expected/],
    ['65536', /expected/],
    ['127.0.0.1:65536', /expected/],
  ]
  for (const name of names) {
    for (const [value, says] of refused) assert.match(refusal({ [name]: value }), says, `${name} ${value}`)
    assert.match(formatConfig(read({ [name]: '[::1]:9050' })), new RegExp(`^${name} = "\\[::1\\]:9050"`, 'm'))
  }
  assert.deepEqual(read({ 'socks-port': 19050 }).tor, read({ 'socks-port': '127.0.0.1:19050' }).tor)
  assert.match(refusal({ trackers: 'a.example:1,socks5://b.example:1' }), /separated by commas, without socks5:\/\//)
})

test('the ports of Tor may be sockets, as torrc names them', () => {
  for (const name of ['control-port', 'socks-port'] as const) {
    for (const [given, path] of [
      ['unix:/run/tor/control', '/run/tor/control'],
      ['/run/tor/control', '/run/tor/control'],
      ['unix:"/run/my tor/control"', '/run/my tor/control'],
      [`/${'x'.repeat(106)}`, `/${'x'.repeat(106)}`],
    ]) {
      const { tor } = read({ [name]: given })
      assert.ok(tor.kind === 'control')
      assert.deepEqual(name === 'control-port' ? tor.control : tor.socks, { path })
      using dir = tempDir()
      const configFile = join(dir.path, 'config.toml')
      writeFileSync(configFile, formatConfig(read({ [name]: given })))
      assert.deepEqual(readConfig({ flags: {}, env: {}, configFile }).tor, tor, 'print-config reads back')
    }
    for (const wrong of ['unix:', 'unix:run/tor/control', '//x'.repeat(40), 'unix:"/run/tor', '/\0']) {
      assert.match(refusal({ [name]: wrong }), /expected the absolute path of a socket, 107 bytes at most/, wrong)
    }
    assert.match(refusal({ [name]: 'sesame' }), /expected a port from 1 to 65535, host:port, or unix:\/path/)
  }
})

test('how Tor’s control port is entered: one way, and beside --onion-hostname-file only where it is given', () => {
  assert.match(
    refusal({ 'tor-auth-password': 'sesame', 'tor-cookie-file': '/run/tor/cookie' }),
    /--tor-auth-password and --tor-cookie-file are both set: give one of the two/,
  )
  const managed = { 'onion-hostname-file': '/var/lib/tor/ft/hostname', 'tor-cookie-file': '/run/shared/cookie' }
  const { tor } = read(managed)
  assert.ok(tor.kind === 'torrc')
  assert.equal(tor.control, undefined, 'the default is nobody’s wish')
  const asked = read({ ...managed, 'control-port': '9051' }).tor
  assert.deepEqual(asked, { ...tor, control: { host: '127.0.0.1', port: 9051 } })
  assert.ok(asked.kind === 'torrc' && asked.cookieFile === '/run/shared/cookie')
})

test('a public address needs a back end: its folder, and a control port, which is the usual one', () => {
  const front = onionHost('front')
  const { tor } = read({ 'public-onion': front.toUpperCase(), 'onion-hostname-file': '/var/lib/tor/ft/hostname' })
  assert.ok(tor.kind === 'torrc')
  assert.equal(tor.publicOnion, front)
  assert.deepEqual(tor.control, { host: '127.0.0.1', port: 9051 })
  assert.match(refusal({ 'public-onion': front }), /--public-onion needs --onion-hostname-file/)
  assert.match(refusal({ 'public-onion': front, tor: false }), /--no-tor and --public-onion contradict each other/)
  for (const wrong of [`${front}:8080`, front.replace(/^./, '1'), 'front.onion', '']) {
    assert.match(refusal({ 'public-onion': wrong }), /--public-onion:.* is not usable/, wrong)
  }
})

test('where Tor finds us', () => {
  const { tor } = read({ 'onion-target': 'tracker:8080' })
  assert.deepEqual(tor.kind === 'control' && tor.onionTarget, { host: 'tracker', port: 8080 })
  assert.match(refusal({ 'onion-target': 'tracker' }), /--onion-target: "tracker" is not usable: expected host:port/)
  const none = { tor: false, network: 'regtest', 'onion-target': 'tracker:8080' }
  assert.match(refusal(none), /--no-tor and --onion-target contradict each other/)
})

test('an address that several trackers share needs the store they share, and a control port to publish it by', () => {
  assert.match(refusal({ 'onion-lease': true }), /--onion-lease needs a store .*: give shared-store/)
  assert.match(
    refusal({ 'onion-lease': true, 'onion-hostname-file': '/var/lib/tor/ft/hostname' }),
    /--onion-lease and --onion-hostname-file contradict each other/,
  )
  assert.match(
    refusal({ 'onion-lease': true, tor: false, network: 'regtest' }),
    /--onion-lease and --no-tor contradict/,
  )
})

test('numbers: digits, as many as allowed', () => {
  for (const value of ['1_000', '1e3', '-1', '1.5', ' 1', '0x10', 1.5, '', true, 90_000]) {
    assert.match(refusal({ 'probe-interval': value }), /expected a whole number from 1 to 1800/, String(value))
  }
  assert.equal(read({ 'probe-interval': '0060' }).probes.intervalMs, 60_000)
})

// ---- secrets ---------------------------------------------------------------------------------------------------------

test('no refusal repeats what may be a password, wherever it was put', () => {
  const misplaced = [
    'user:hunter2',
    'http://user:hunter2@127.0.0.1:8332',
    'https://user:hunter2@127.0.0.1:8332',
    'user@hunter2',
    'http://us/er:hun@ter2 hunter2@h:1',
    'hunter2 with words',
    'hunter2://h:1',
  ]
  const elsewhere = SETTING_NAMES.filter((name) => name !== 'datadir' && !name.endsWith('-file'))
  for (const name of elsewhere) {
    for (const value of [...misplaced, [misplaced[0]], { password: 'hunter2' }]) {
      for (const [flags, env] of [
        [{ [name]: value }, {}],
        [{}, { [envName(name)]: String(value) }],
      ] as const) {
        try {
          const shown = formatConfig(read({ ...flags, ...(name === 'webhook-url' && { 'webhook-secret': 'x' }) }, env))
          if (['auth', 'tor-auth-password'].includes(name)) assert.doesNotMatch(shown, /hunter2/)
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error))
          assert.doesNotMatch(error.message, /hunter2(?!:\/\/)/, name)
        }
      }
    }
  }
  assert.match(refusal({ rpc: misplaced[1] }), /^--rpc: .*given by --auth/)
  assert.match(refusal({ auth: 'hunter2' }), /^--auth: is not usable: expected user:password$/)
})

test('a slip in the file is told by line and column, never by its text', () => {
  using dir = tempDir()
  const file = join(dir.path, 'config.toml')
  const slips: [string, RegExp][] = [
    ['network = "regtest"\nauth = "user:hunter2\n', /line 2, column \d+/],
    ['auth = user:hunter2\n', /line 1, column \d+/],
    ['auth = "user:hunter2" "hunter2"\n', /line 1, column \d+/],
    ['auth: "user:hunter2"\n', /line 1, column \d+/],
    ['\n\nauth = "user:\\hunter2"\n', /line 3, column \d+/],
    ['auth = "user:hunter2"\nauth = "user:hunter2"\n', /line 2, column \d+/],
    ['auth = ["user:hunter2"\n', /line \d+, column \d+/],
    ['tor-auth-password = 2024-99-99\nauth = "hunter2"\n', /line 1, column \d+/],
    ['auth = { user = "hunter2" }\n', /^auth in .*: is not usable/],
    ['auth = ["user:hunter2"]\n', /^auth in .*: is not usable/],
    ['rpc = "http://user:hunter2@h:1"\n', /^rpc in .*: is not usable/],
  ]
  for (const [text, says] of slips) {
    writeFileSync(file, text)
    const message = refusal({}, {}, file)
    assert.match(message, says, text)
    assert.doesNotMatch(message, /hunter2/, text)
  }
  writeFileSync(file, '\ufeffrpc = "127.0.0.1:1"\r\nprobe-interval = 1_000\r\n')
  assert.equal(read({}, {}, file).rpc.port, 1, 'with a byte order mark, as some editors write it')
})

test("of a webhook's URL scheme and host are shown, and what is printed reads back as a file", () => {
  using dir = tempDir()
  const secret = { 'webhook-secret': 'hunter2' }
  const shown = formatConfig(read({ ...secret, 'webhook-url': 'https://hooks.example:8443/T0/hunter2?token=hunter2' }))
  assert.match(shown, /^# webhook-url = "https:\/\/hooks\.example:8443\/<secret>" {2}# flag$/m)
  assert.doesNotMatch(shown, /hunter2/)
  const file = join(dir.path, 'config.toml')
  writeFileSync(file, shown)
  assert.equal(read({}, {}, file).webhook, undefined)
  for (const url of ['https://user:hunter2@h/', 'https://:hunter2@h/', 'ftp://h/hunter2', 'hunter2']) {
    assert.doesNotMatch(refusal({ ...secret, 'webhook-url': url }), /hunter2/)
  }
})

test('the shared store: taken as libpq writes it, refused with what is wrong, never shown', () => {
  const url = 'postgres://tracker:hunter2@db1,db2:6432/market?sslmode=verify-full'
  const config = read({}, { FIDELITY_TRACKER_SHARED_STORE: url })
  assert.equal(config.sharedStore?.reveal(), url)
  assert.match(formatConfig(config), /^# shared-store = "<secret>" {2}# environment$/m)
  assert.doesNotMatch(formatConfig(config), /hunter2/)
  assert.equal(read({}).sharedStore, undefined)
  const wrong = refusal({}, { FIDELITY_TRACKER_SHARED_STORE: 'postgres://tracker:hunter2@db/market?sslmode=yes' })
  assert.match(
    wrong,
    /^FIDELITY_TRACKER_SHARED_STORE in the environment: is not usable: sslmode is none of disable, prefer/,
  )
  assert.doesNotMatch(wrong, /hunter2/)
})

// ---- environment -----------------------------------------------------------------------------------------------------

test('an empty variable is none', () => {
  const empty = Object.fromEntries(SETTING_NAMES.map((name) => [envName(name), '']))
  const withoutEnv = formatConfig(read({}))
  assert.equal(formatConfig(read({}, { ...empty, FIDELITY_TRACKER_CONFIG: '' })), withoutEnv)
  assert.match(refusal({}, { FIDELITY_TRACKER_NOTHING: '' }), /^FIDELITY_TRACKER_NOTHING in the environment is no/)
})

/** As the kubelet sets them for a Service with a named port. */
const LINKS = {
  SERVICE_HOST: '10.0.48.109',
  SERVICE_PORT: '8080',
  SERVICE_PORT_WIRE: '8080',
  PORT: 'tcp://10.0.48.109:8080',
  PORT_8080_TCP: 'tcp://10.0.48.109:8080',
  PORT_8080_TCP_PROTO: 'tcp',
  PORT_8080_TCP_PORT: '8080',
  PORT_8080_TCP_ADDR: '10.0.48.109',
}

test('what Kubernetes tells of a Service of our name is none of our settings', () => {
  const v6 = { SERVICE_HOST: 'fd00::1', PORT: 'tcp://[fd00::1]:8080', PORT_53_UDP: 'udp://[fd00::1]:53' }
  for (const links of [LINKS, v6]) {
    for (const service of ['', 'DASHBOARD_', 'HTTP_']) {
      const env = Object.entries(links).map(([name, value]) => [`FIDELITY_TRACKER_${service}${name}`, value])
      assert.equal(formatConfig(read({}, Object.fromEntries(env))), formatConfig(read({})))
    }
  }
})

test('what Kubernetes tells of a Service whose name is near ours is nobody’s slip', () => {
  for (const service of ['FIDELITY_TRACKERS', 'FIDELITYTRACKER', 'FIDELITY_TRACK', 'FIDELITY_TRACKERS_HTTP']) {
    const env = Object.entries(LINKS).map(([name, value]) => [`${service}_${name}`, value])
    assert.equal(formatConfig(read({}, Object.fromEntries(env))), formatConfig(read({})), service)
  }
  assert.match(refusal({}, { FIDELITY_TRACKERS_HTTP: 'off' }), /did you mean FIDELITY_TRACKER_HTTP\?$/)
})

test('anything else that is no setting is refused, also where only the value is another', () => {
  const others: [string, string][] = [
    ['RCP', '127.0.0.1:1'],
    ['PORT', '8080'],
    ['PORT', '10.0.48.109:8080'],
    ['PORT', 'http://10.0.48.109:8080'],
    ['PORT', 'tcp://tracker:8080'],
    ['PORT_8080', 'tcp://10.0.48.109:8080'],
    ['PORT_8080_TCP_PROTO', 'http'],
    ['PORT_8080_TCP_PORT', '70000'],
    ['PORT_8080_TCP_ADDR', 'tracker'],
    ['PORT_8080_TCP_HOST', '10.0.48.109'],
    ['SERVICE_HOST', 'tracker'],
    ['SERVICE_HOSTS', '10.0.48.109'],
    ['SERVICE_PORT', 'http'],
    ['SERVICE', '10.0.48.109'],
  ]
  for (const [name, value] of others) {
    const message = refusal({}, { [`FIDELITY_TRACKER_${name}`]: value })
    assert.match(message, new RegExp(`^FIDELITY_TRACKER_${name} in the environment is no setting`), value)
  }
})

test('a slip in a name is told with the name that was meant; also in the prefix, where it would be passed over', () => {
  for (const [name, meant] of [
    ['FIDELITY_TRACKER_RCP', 'FIDELITY_TRACKER_RPC'],
    ['FIDELITY_TRACKER_NETWROK', 'FIDELITY_TRACKER_NETWORK'],
    ['FIDELITY_TRACKER_CONFG', 'FIDELITY_TRACKER_CONFIG'],
    ['FIDELITY_TRACKR_RPC', 'FIDELITY_TRACKER_RPC'],
    ['FIDELITYTRACKER_RPC', 'FIDELITY_TRACKER_RPC'],
    ['fidelity_tracker_rpc', 'FIDELITY_TRACKER_RPC'],
  ] as const) {
    assert.match(refusal({}, { [name]: 'x' }), new RegExp(`^${name} in .* is no setting: did you mean ${meant}\\?$`))
  }
  assert.match(refusal({}, { FIDELITY_TRACKER_FOO: 'x' }), /is no setting; known are FIDELITY_TRACKER_NETWORK, /)
  read({}, { FIDELITY_BITCOIND: '/usr/bin/bitcoind', FIDELITY_TRACKER2_SERVICE_HOST: '10.0.48.109' })
  using dir = tempDir()
  const file = join(dir.path, 'config.toml')
  writeFileSync(file, 'nettwork = "regtest"\n')
  assert.match(refusal({}, {}, file), /^nettwork in \S+ is no setting: did you mean network\?$/)
  writeFileSync(file, '[rpc]\nhost = "127.0.0.1"\n')
  assert.match(refusal({}, {}, file), /^rpc in \S+: is not usable: it is a section, and settings stand in none/)
})

test('relays: WebSocket addresses, each once, sixteen at the most; what can’t be is refused', () => {
  const read = (relays: string, more: Record<string, unknown> = {}) =>
    readConfig({ flags: { 'nostr-relays': relays, ...more }, env: {}, configFile: undefined }).nostr
  assert.deepEqual(read('wss://nos.lol/, ws://a.example:8000,wss://nos.lol').relays, [
    'wss://nos.lol',
    'ws://a.example:8000',
  ])
  const wrong = ['https://nos.lol', 'nos.lol', 'wss://user:pw@nos.lol', 'wss://nos.lol/#x', 'wss://', 'wss://a,,']
  for (const relays of wrong) assert.throws(() => read(relays), /--nostr-relays.* expected addresses of relays/, relays)
  const many = (count: number) => Array.from({ length: count }, (_, i) => `wss://relay-${i}.example`).join(',')
  assert.equal(read(many(16)).relays.length, 16)
  assert.throws(() => read(many(17)), /--nostr-relays names 17 relays, at most 16 are watched/)
  assert.throws(
    () => readConfig({ flags: { 'nostr-publish': true }, env: {}, configFile: undefined }),
    /needs to know where/,
  )
  const onion = `ws://${'a'.repeat(56)}.onion`
  assert.throws(() => read(onion, { tor: false, network: 'regtest' }), /which needs Tor: leave out --no-tor/)
})
