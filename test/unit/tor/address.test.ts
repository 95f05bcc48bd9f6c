import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError } from '../../../src/errors.ts'
import { isOnionHost, isOnionLabel, onionHostOf, parseHostPort } from '../../../src/tor/address.ts'
import { expandSeed, openOnionKey } from '../../../src/tor/key.ts'
import { TORRC_DEFAULTS, type TorrcOptions, torrcFor } from '../../../src/tor/torrc.ts'

const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'
const PUBLIC_KEY = 'e4c2d43d39541b739d431b90532f71a6221bedb1991cd0ac4f9f1fe6759bd72b'

test('a v3 name is 56 lower-case base32 characters with version 3 and the right checksum', () => {
  assert.equal(onionHostOf(Buffer.from(PUBLIC_KEY, 'hex')), `${LABEL}.onion`)
  assert.ok(isOnionLabel(LABEL))
  assert.ok(isOnionHost(`${LABEL}.onion`))
  assert.ok(isOnionLabel('duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad'))
  const wrong = [
    LABEL.slice(1),
    `${LABEL}a`,
    LABEL.toUpperCase(),
    `${LABEL.slice(0, 55)}e`,
    `${LABEL.slice(0, -1)}1`,
    '',
  ]
  for (const label of wrong) assert.ok(!isOnionLabel(label), label)
  for (let i = 0; i < LABEL.length; i++) {
    const bent = LABEL.slice(0, i) + (LABEL[i] === 'a' ? 'b' : 'a') + LABEL.slice(i + 1)
    assert.ok(!isOnionLabel(bent), `character ${i}`)
  }
  assert.ok(!isOnionHost(LABEL))
  assert.ok(!isOnionHost(`www.${LABEL}.onion`))
})

test('host:port in canonical form only', () => {
  assert.deepEqual(parseHostPort('127.0.0.1:8080'), { host: '127.0.0.1', port: 8080 })
  assert.deepEqual(parseHostPort('[::1]:1'), { host: '::1', port: 1 })
  for (const text of ['', ':1', 'a', 'a:', 'a:0', 'a:65536', 'a:01', 'a:+1', 'a: 1', 'a b:1', '::1:80', 'a:1:2']) {
    assert.equal(parseHostPort(text), undefined, text)
  }
})

test('the expanded key of RFC 8032, test 1', () => {
  const { expanded, publicKey } = expandSeed(
    Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'),
  )
  assert.equal(publicKey.toString('hex'), 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  assert.equal(
    expanded.subarray(0, 32).toString('hex'),
    '307c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de94f',
  )
})

test('the onion key is made once, kept with mode 0600, and refused when others can read it or it is damaged', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-key-'))
  try {
    const file = join(dir, 'deep', 'onion.key')
    const key = openOnionKey(file)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.ok(!existsSync(`${file}.new`))
    assert.equal(openOnionKey(file).reveal(), key.reveal())
    assert.equal(String(key), '<secret>')
    chmodSync(file, 0o640)
    assert.throws(
      () => openOnionKey(file),
      (error) => error instanceof ConfigError && /chmod 600/.test(error.message),
    )
    chmodSync(file, 0o600)
    for (const text of ['', 'ED25519-V3:', 'ED25519-V3:AAAA', key.reveal().slice(0, -4), `x${key.reveal()}`]) {
      writeFileSync(file, text)
      assert.throws(
        () => openOnionKey(file),
        (error) => error instanceof ConfigError && /damaged/.test(error.message),
      )
      assert.equal(readFileSync(file, 'utf8'), text, 'a damaged key is left as it is')
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('torrc.example is what print-torrc prints for the defaults', () => {
  assert.equal(readFileSync(new URL('../../../torrc.example', import.meta.url), 'utf8'), torrcFor(TORRC_DEFAULTS))
})

test('sockets are for Tor’s group, and stand in torrc as tor(1) has them', () => {
  const socks = { path: '/run/tor/socks' }
  const lines = torrcFor({ ...TORRC_DEFAULTS, socks, control: { path: '/run/my tor/control' } }).split('\n')
  assert.ok(lines.includes('SocksPort unix:/run/tor/socks IsolateSOCKSAuth GroupWritable RelaxDirModeCheck'))
  assert.ok(lines.includes('ControlPort unix:"/run/my tor/control" GroupWritable RelaxDirModeCheck'))
})

test('a service that torrc keeps: its streams are bounded, and its circuits named where that is asked for', () => {
  const lines = (more: Partial<TorrcOptions>) => torrcFor({ ...TORRC_DEFAULTS, managed: true, ...more }).split('\n')
  assert.deepEqual(
    lines({ streamsPerCircuit: 5 }).filter((line) => /Streams|CircuitID|PoW/.test(line) && !line.startsWith('#')),
    ['HiddenServiceMaxStreams 5', 'HiddenServiceMaxStreamsCloseCircuit 1', 'HiddenServicePoWDefensesEnabled 1'],
  )
  const ports = (more: Partial<TorrcOptions>) => lines(more).filter((line) => line.startsWith('HiddenServicePort'))
  assert.deepEqual(ports({}), ['HiddenServicePort 8080 127.0.0.1:8080', 'HiddenServicePort 80 127.0.0.1:8082'])
  assert.deepEqual(ports({ nostr: undefined }), ['HiddenServicePort 8080 127.0.0.1:8080'])
  assert.ok(lines({ circuitIds: true }).includes('HiddenServiceExportCircuitID haproxy'))
})
