/**
 * Doctor before whatever may listen at Tor's ports: each command of ours is refused in every way, answered by half, by
 * garbage, without end or not at all. It throws at nothing, and every finding is a sentence with what to type.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Config } from '../../src/config.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import { torFindings } from '../../src/doctor/tor.ts'
import { findTor } from '../../src/doctor/tor-places.ts'
import type { HostPort } from '../../src/tor/address.ts'
import { protocolInfo, type Reply, startFakeControl } from '../support/fake-control.ts'
import { tempDir } from '../support/temp-dir.ts'

const LISTEN = { host: '127.0.0.1', port: 8080 }
const NOW_MS = Date.UTC(2026, 10, 27, 3)

/** A Tor of today: connected, its network of our hour. */
const tor: Reply = (command) => {
  if (command.startsWith('PROTOCOLINFO')) return protocolInfo('NULL')
  if (command === 'ADD_ONION') return '512 Missing argument to ADD_ONION'
  if (command.startsWith('GETCONF')) return '250 HiddenServiceNonAnonymousMode=0'
  const values: Record<string, string> = {
    version: '0.4.9.11 (git-1)',
    'status/bootstrap-phase': 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"',
    'consensus/valid-after': '2026-11-27 02:00:00',
    'consensus/valid-until': '2026-11-27 05:00:00',
  }
  const key = /^GETINFO (\S+)$/.exec(command)?.[1]
  return key === undefined ? '250 OK' : `250-${key}=${values[key]}\r\n250 OK`
}

async function findings(control: HostPort, more: object = {}): Promise<Finding[]> {
  const config = {
    kind: 'control',
    control,
    password: undefined,
    cookieFile: undefined,
    socks: { host: '127.0.0.1', port: 1 }, // nobody
    onionTarget: undefined,
    streamsPerCircuit: 16,
    ...more,
  } as Exclude<Config['tor'], { kind: 'none' }>
  const found = await torFindings({ tor: config, circuitIds: false, listen: LISTEN, nostr: undefined }, NOW_MS)
  for (const { level, text, fix } of found) {
    assert.ok(text.length < 700 && !text.includes('\n') && !/[^\x20-\x7e’]/.test(text), text)
    assert.equal(fix === undefined, level === 'ok', text)
    assert.ok((fix ?? '').length < 900)
  }
  return found.filter(({ check }) => check !== 'tor-socks')
}

const COMMANDS = [
  ...['PROTOCOLINFO', 'AUTHENTICATE', 'GETINFO version', 'GETINFO status/bootstrap-phase'],
  ...['GETINFO consensus/valid-after', 'GETINFO consensus/valid-until', 'GETCONF', 'SETEVENTS', 'ADD_ONION'],
]
const OPTIONAL = COMMANDS.slice(2)

test('every command, said no to in every way: a finding each, and what is not needed is done without', async () => {
  assert.ok((await startAnd(tor)).every(({ level, check }) => level === 'ok' || check === 'tor-auth'))
  for (const command of COMMANDS) {
    for (const code of [451, 510, 512, 513, 514, 515, 550, 551, 552, 553, 599]) {
      const found = await startAnd((given) => (given.startsWith(command) ? `${code} No such luck` : tor(given)))
      const name = `${command} ${code}`
      if (OPTIONAL.includes(command)) {
        assert.ok(!found.some(({ level }) => level === 'failure'), name)
        assert.ok(
          found.some(({ check }) => check === 'tor-control'),
          name,
        )
        assert.equal(
          found.find(({ check }) => check === 'tor-filter')?.text.includes(command),
          code === 510 || undefined,
          name,
        )
      } else
        assert.ok(
          found.some(({ level }) => level === 'failure'),
          name,
        )
    }
  }
})

async function startAnd(reply: Reply): Promise<Finding[]> {
  await using fake = await startFakeControl(reply, { bytewise: false })
  return await findings(fake.control)
}

test('every command, answered by half, by garbage, without end, or not at all', { timeout: 60_000 }, async (t) => {
  // Nobody waits for the ten seconds that a command has.
  const { setTimeout: real } = globalThis
  globalThis.setTimeout = ((fire: () => void, ms: number) => real(fire, ms === 10_000 ? 50 : ms)) as typeof real
  t.after(() => {
    globalThis.setTimeout = real
  })
  const answers: ReturnType<Reply>[] = [
    ...[{ raw: '' }, { raw: '2' }, { raw: '250-version=0.4' }, { raw: '250+version=\r\n' }, undefined],
    ...['', 'garbage', '250', '999 what', '250 OK\r\n250 OK', '650 HS_DESC x', `250-${'x'.repeat(5_000)}=1\r\n250 OK`],
    ...[
      { raw: '650 HS_DESC UPLOADED x y z\r\n', isEndless: true },
      { raw: '250-version=1\r\n', isEndless: true },
      { raw: 'x', isEndless: true },
    ],
  ]
  for (const command of COMMANDS) {
    for (const answer of answers) {
      const found = await startAnd((given) => (given.startsWith(command) ? answer : tor(given)))
      assert.ok(found.length > 0, command)
    }
  }
})

test('values that are none: whatever Tor says of itself is shown cut, or not at all', async () => {
  const odd = ['', '=', '\u0007'.repeat(200), 'x'.repeat(10_000), 'PROGRESS=101', '9999999999-01-01 00:00:00', '"\\"']
  for (const command of OPTIONAL.filter((one) => one.startsWith('GET'))) {
    for (const value of odd) {
      const key = command === 'GETCONF' ? 'HiddenServiceNonAnonymousMode' : command.slice('GETINFO '.length)
      await startAnd((given) => (given.startsWith(command) ? `250-${key}=${value}\r\n250 OK` : tor(given)))
    }
  }
})

test('a filter is named with what it must let through; a Tor without anonymity, a clock that is off', async () => {
  const say =
    (command: string, reply: string): Reply =>
    (given) =>
      given.startsWith(command) ? reply : tor(given)
  const of = (found: Finding[], check: string) => found.find((one) => one.check === check)!
  const filtered = of(await startAnd(say('ADD_ONION', '510 Command filtered')), 'tor-filter')
  assert.match(filtered.text, /refuses ADD_ONION \(510\): without ADD_ONION no onion service is published/)
  assert.match(filtered.fix!, /onion-grater.*needed are PROTOCOLINFO, AUTHCHALLENGE, AUTHENTICATE, ADD_ONION/)
  const open = of(await startAnd(say('GETCONF', '250 HiddenServiceNonAnonymousMode=1')), 'tor-anonymity')
  assert.equal(open.level, 'failure')
  assert.match(open.fix!, /remove HiddenServiceNonAnonymousMode and HiddenServiceSingleHopMode/)
  const late = say('GETINFO consensus/valid-after', '250-consensus/valid-after=2026-11-27 05:00:00\r\n250 OK')
  assert.match(of(await startAnd(late), 'tor-clock').text, /the clock of this machine is about 120 minutes off/)
  const everybody = of(await startAnd(tor), 'tor-auth')
  assert.match(everybody.text, /who takes the port while Tor is down is given the onion key/)
})

test('Tor elsewhere: where the service would lead to the wrong machine', async () => {
  await using fake = await startFakeControl(tor, { bytewise: false })
  const [, port] = [fake.control.host, fake.control.port]
  // A name of this machine that doesn't look like one.
  const far = { host: '0177.0.0.1', port }
  const check = (found: Finding[]) => found.find((one) => one.check === 'tor-target')
  const astray = check(await findings(far))
  assert.equal(astray?.level, 'warning')
  assert.match(astray!.fix!, /--address .*--onion-target/)
  assert.equal(check(await findings(far, { onionTarget: { host: 'tracker', port: 8080 } })), undefined)
  assert.equal(check(await findings(fake.control)), undefined)
})

test('where Tor usually is: what answers is named, with the settings', async () => {
  using dir = tempDir()
  await using fake = await startFakeControl(tor, { bytewise: false })
  const proxy = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(Buffer.of(5, 2)))
  }).listen(join(dir.path, 'socks'))
  await once(proxy, 'listening')
  const flags = { socks: '--socks-port 9150', control: '--control-port 9151' }
  const both = { what: "Tor Browser's Tor", socks: { path: join(dir.path, 'socks') }, control: fake.control, flags }
  const where = `unix:${dir.path}/socks and 127.0.0.1:${fake.control.port}`
  const configured = { host: '127.0.0.1', port: 1 }
  assert.equal(
    await findTor('control', configured, [{ ...both, control: configured }, both]),
    `Tor Browser's Tor answers at ${where}: --socks-port 9150 --control-port 9151; or: `,
  )
  const half = { ...both, socks: { path: join(dir.path, 'nothing') } }
  assert.equal(await findTor('socks', configured, [half]), undefined)
  assert.match(
    (await findTor('control', configured, [half]))!,
    /answers at 127\.0\.0\.1:\d+: --control-port 9151; or: $/,
  )
  assert.equal(await findTor('control', fake.control, [both]), undefined, 'looked at already')
  writeFileSync(join(dir.path, 'file'), '')
  const none = { ...both, socks: { path: join(dir.path, 'file') }, control: { path: join(dir.path, 'nothing') } }
  for (const wanted of ['socks', 'control'] as const) assert.equal(await findTor(wanted, configured, [none]), undefined)
  await new Promise((resolve) => proxy.close(resolve))
})
