/** Doctor on the machine, the settings, the data directory and the port: each thing broken for real, its advice followed. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { assertFinding, doctor, follow, nodeFlags, unprivileged } from '../support/doctor.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
let port: number
before(async () => {
  node = await Regtest.start({ blocks: 5 })
  port = (await freePorts(1))[0]!
})
after(() => node?.[Symbol.asyncDispose]())

function flags(dataDir: string, ...more: string[]): string[] {
  return [...nodeFlags(node), '--no-tor', '--datadir', dataDir, '--address', `127.0.0.1:${port}`, ...more]
}

/** A data directory as a daemon leaves it. */
async function used(): Promise<Disposable & { path: string }> {
  const dir = tempDir()
  await using tracker = await Tracker.start(node, { dataDir: dir.path })
  await tracker.caughtUp(node)
  await tracker.stop()
  return dir
}

test('all well: exit code 0, a line per check; beside a running daemon too', async () => {
  using dir = tempDir()
  await using tracker = await Tracker.start(node, { dataDir: dir.path, port })
  await tracker.caughtUp(node)
  const running = await doctor(flags(dir.path))
  assert.equal(running.code, 0, JSON.stringify(running.findings))
  assertFinding(running.of('port'), 'ok', /accepts connections, as the daemon is running/)
  const elsewhere = await doctor([...flags(dir.path), '--address', `127.0.0.1:${(await freePorts(1))[0]}`])
  const advice = assertFinding(
    elsewhere.of('port'),
    'warning',
    /nothing accepts .*the running daemon has other settings/,
  )
  assert.match(advice, /the same --config, environment or flags as the daemon/)
  await tracker.stop()
  const { stdout, code } = await runVerb(['doctor', '--http', 'off', ...flags(dir.path)])
  assert.equal(code, 0)
  assert.match(stdout, /^✓ node {2,}Node \d+/m)
  assert.match(stdout, /\n\d+ fine, 0 to look at, 0 to repair\n$/)
})

test('settings that are wrong, and a file that shows its password', async () => {
  using dir = tempDir()
  const wrong = await doctor(flags(dir.path, '--retention-blocks', 'many'))
  assert.equal(wrong.code, 2)
  assertFinding(wrong.of('config'), 'failure', /--retention-blocks: "many" is not usable/)
  assert.equal(wrong.findings.length, 1)

  const file = join(dir.path, 'config.toml')
  writeFileSync(file, 'tor-auth-password = "sesame"\n', { mode: 0o644 })
  const open = await doctor(flags(dir.path, '--config', file))
  assert.equal(open.code, 1)
  follow(assertFinding(open.of('config'), 'warning', /holds a password and can be read by everybody/))
  const shut = await doctor(flags(dir.path), { env: { FIDELITY_TRACKER_CONFIG: file } })
  assertFinding(shut.of('config'), 'ok', /settings given/)
  assert.doesNotMatch(JSON.stringify(open.findings), /sesame/)
})

test('a data directory that is open, not writable, not there, or no folder', async () => {
  using dir = tempDir()
  const path = join(dir.path, 'data')
  mkdirSync(path, { mode: 0o755 })
  chmodSync(path, 0o755)
  const open = await doctor(flags(path))
  assert.equal(open.code, 1)
  follow(assertFinding(open.of('data-dir'), 'warning', /is open to other users/))
  assertFinding((await doctor(flags(path))).of('data-dir'), 'ok', /belongs to \S+, and to nobody else/)

  chmodSync(path, 0o500)
  const shut = await doctor(flags(path), { before: unprivileged() })
  assert.equal(shut.code, 2)
  follow(assertFinding(shut.of('data-dir'), 'failure', /can't be written by its own user/))
  assertFinding((await doctor(flags(path), { before: unprivileged() })).of('data-dir'), 'ok', /nobody else/)

  const inside = join(path, 'deep', 'er')
  assertFinding((await doctor(flags(inside))).of('data-dir'), 'ok', /is not there yet: start makes it/)
  chmodSync(path, 0o500)
  const absent = await doctor(flags(inside), { before: unprivileged() })
  const advice = assertFinding(absent.of('data-dir'), 'failure', /this user can't make it/)
  if (process.getuid?.() !== 0) chmodSync(path, 0o700) // sudo would not have needed it
  follow(advice)
  assert.ok(existsSync(inside))
  assertFinding((await doctor(flags(inside), { before: unprivileged() })).of('data-dir'), 'ok', /nobody else/)

  const file = join(dir.path, 'file')
  writeFileSync(file, '')
  assertFinding((await doctor(flags(file))).of('data-dir'), 'failure', /is no folder/)
})

test('a data directory that belongs to somebody else', async () => {
  if (process.getuid?.() !== 0) {
    const notOurs = await doctor(flags('/var'))
    assert.match(assertFinding(notOurs.of('data-dir'), 'failure', /belongs to user root, but this is/), /sudo -u root /)
    return
  }
  using dir = tempDir()
  const path = join(dir.path, 'data')
  mkdirSync(path, { mode: 0o700 })
  chmodSync(dir.path, 0o755)
  chownSync(path, 65534, 65534)
  const asRoot = await doctor(flags(path))
  assertFinding(asRoot.of('data-dir'), 'warning', /belongs to user \S+, and root may do what that user may not/)
  // What root has left behind there, that user can't write: doctor asks for him.
  for (const [name, check] of [
    ['tracker.sqlite', 'database'],
    ['lock', 'lock'],
    ['onion.key', 'onion-key'],
  ] as const) {
    writeFileSync(join(path, name), '', { mode: 0o600 })
    const owned = await doctor(flags(path))
    const says = new RegExp(`${name} can't be (read|written) by user 65534: it belongs to user 0, mode 600`)
    const advice = assertFinding(owned.of(check), 'failure', says)
    assert.match(advice, /^sudo chown 65534:65534 /)
    follow(advice)
    assert.equal(statSync(join(path, name)).uid, 65534)
    const after = await doctor(flags(path))
    assert.ok(!after.findings.some(({ text }) => says.test(text)), name)
  }
  chmodSync(path, 0o500)
  assertFinding((await doctor(flags(path))).of('data-dir'), 'failure', /can't be written by its own user/)
  chmodSync(path, 0o700)
  // Root gives the folder back: as the advice says where another user looks.
  follow(`chown -R root ${path}`)
  assertFinding((await doctor(flags(path))).of('data-dir'), 'ok', /nobody else/)
})

test('a disk that is nearly full', async () => {
  using dir = tempDir()
  const mount = `mount -t tmpfs -o mode=700,size=$0 none ${dir.path} && exec "$@"`
  const onDisk = (size: string) => ['unshare', process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c', mount, size]
  const full = await doctor(flags(dir.path), { before: onDisk('50m') })
  assert.equal(full.code, 2)
  assertFinding(full.of('space'), 'failure', /only 0\.1 GB free/)
  const tight = await doctor([...flags(dir.path), '--retention-blocks', '10000'], { before: onDisk('300m') })
  assert.equal(tight.code, 1)
  assert.match(
    assertFinding(tight.of('space'), 'warning', /0\.3 GB free at .*, but the database may grow by 0\.4 GB/),
    /lower --retention-blocks/,
  )
  const less = await doctor(flags(dir.path, '--retention-blocks', '1000'), { before: onDisk('300m') })
  assertFinding(less.of('space'), 'ok', /0\.3 GB free/)
})

test('a database that is newer, of another network, or damaged; an onion key that is open', async () => {
  using dir = await used()
  const file = join(dir.path, 'tracker.sqlite')
  assertFinding((await doctor(flags(dir.path))).of('database'), 'ok', /quick check passed/)
  const change = (statement: string) => {
    const db = new Database(file)
    db.exec(statement)
    db.close()
  }
  const schema = new Database(file, { readonly: true }).pragma('user_version', { simple: true })
  change('PRAGMA user_version = 999')
  const newer = await doctor(flags(dir.path))
  assert.match(assertFinding(newer.of('database'), 'failure', /newer fidelity-tracker \(schema 999/), /upgrade/)
  change(`PRAGMA user_version = ${schema}; UPDATE identity SET network = 'signet'`)
  const other = await doctor(flags(dir.path))
  assert.match(assertFinding(other.of('database'), 'failure', /belongs to network signet/), /give --network signet/)
  change("UPDATE identity SET network = 'regtest'")

  const key = join(dir.path, 'onion.key')
  writeFileSync(key, 'ED25519-V3:', { mode: 0o644 })
  follow(
    assertFinding(
      (await doctor(flags(dir.path))).of('onion-key'),
      'failure',
      /is open to other users: start refuses it/,
    ),
  )
  assertFinding((await doctor(flags(dir.path))).of('onion-key'), 'ok', /is its owner's alone/)

  writeFileSync(file, 'this is no database, and never was one. '.repeat(200))
  const advice = assertFinding((await doctor(flags(dir.path))).of('database'), 'failure', /is damaged/)
  const [command] = advice.match(/(?<=fidelity-tracker )check-db [^;]*/)!
  const salvaged = await runVerb(command.split(' '))
  assert.equal(salvaged.code, 0, salvaged.stderr)
  await using tracker = await Tracker.start(node, { dataDir: dir.path, port })
  await tracker.caughtUp(node)
  assertFinding((await doctor(flags(dir.path))).of('database'), 'ok', /quick check passed/)
})

test('files that start could not write or read, each as the daemon’s user meets it', async () => {
  using dir = await used()
  const file = (name: string) => join(dir.path, name)
  writeFileSync(file('onion.key'), 'ED25519-V3:', { mode: 0o600 })
  const state = () =>
    readdirSync(dir.path).map((name) => `${name} ${statSync(file(name)).mode} ${statSync(file(name)).mtimeMs}`)
  const lines: [name: string, check: string, mode: number, says: RegExp][] = [
    ['tracker.sqlite', 'database', 0o400, /tracker\.sqlite can't be written by \S+: it belongs to user \d+, mode 400/],
    ['tracker.sqlite', 'database', 0o000, /tracker\.sqlite can't be written/],
    ['tracker.sqlite-wal', 'database', 0o400, /tracker\.sqlite-wal can't be written/],
    ['tracker.sqlite-shm', 'database', 0o400, /tracker\.sqlite-shm can't be written/],
    ['lock', 'lock', 0o400, /lock can't be written by/],
    ['onion.key', 'onion-key', 0o000, /onion\.key can't be read by/],
  ]
  for (const [name, check, mode, says] of lines) {
    if (!existsSync(file(name))) writeFileSync(file(name), '')
    chmodSync(file(name), mode)
    const before = state()
    const found = await doctor(flags(dir.path), { before: unprivileged() })
    assert.equal(found.code, 2, name)
    const advice = assertFinding(found.of(check), 'failure', says)
    if (name.startsWith('tracker')) assert.deepEqual(state(), before)
    follow(advice)
    const after = await doctor(flags(dir.path), { before: unprivileged() })
    assert.ok(!after.findings.some((finding) => finding.check === check && finding.level === 'failure'), name)
  }
})

test('a port that is taken, or an address of another machine', async () => {
  using dir = tempDir()
  const other = createServer().listen(port, '127.0.0.1')
  await once(other, 'listening')
  const taken = await doctor(flags(dir.path))
  assert.equal(taken.code, 2)
  const advice = assertFinding(taken.of('port'), 'failure', /another program listens on 127\.0\.0\.1:\d+ \(--address\)/)
  assert.match(advice, new RegExp(`ss -ltnp 'sport = :${port}'`))
  const [spare] = await freePorts(1)
  const page = ['--address', `127.0.0.1:${spare}`, '--http', `127.0.0.1:${port}`]
  const http = assertFinding((await doctor(flags(dir.path, ...page))).of('http-port'), 'failure', /\(--http\)/)
  assert.match(http, /give --http another port/)
  await once(other.close(), 'close')
  assertFinding((await doctor(flags(dir.path, ...page))).of('http-port'), 'ok', /is free to listen on/)
  assertFinding((await doctor(flags(dir.path))).of('port'), 'ok', /is free to listen on/)
  const nostr = ['--address', `127.0.0.1:${spare}`, '--nostr', `127.0.0.1:${port}`]
  assertFinding((await doctor(flags(dir.path, ...nostr))).of('nostr-port'), 'ok', /is free to listen on/)
  const foreign = await doctor([...flags(dir.path), '--address', '192.0.2.1:8080'])
  assertFinding(foreign.of('port'), 'failure', /can't be listened on \(EADDRNOTAVAIL\)/)
})

test('too few open files, of doctor’s shell or of the running daemon', async () => {
  using dir = tempDir()
  const limited = ['prlimit', '--nofile=600:600']
  const few = await doctor(flags(dir.path), { before: limited })
  assert.equal(few.code, 1)
  const advice = assertFinding(
    few.of('open-files'),
    'warning',
    /only 600 open files, but 1024 connections .* need 1152/,
  )
  assert.match(advice, /LimitNOFILE=1152 .*ulimit -n 1152.*lower --connections-max/)
  const lower = await doctor(flags(dir.path, '--connections-max', '400'), { before: limited })
  assertFinding(lower.of('open-files'), 'ok', /up to 600 open files, 528 are needed/)
  const [spare] = await freePorts(1)
  const both = await doctor(flags(dir.path, '--nostr', `127.0.0.1:${spare}`), { before: limited })
  assertFinding(both.of('open-files'), 'warning', /1024 connections .* as many to --nostr, need 2176/)

  await using tracker = await Tracker.start(node, { dataDir: dir.path, port })
  await tracker.caughtUp(node)
  execFileSync('prlimit', ['--pid', String(tracker.pid), '--nofile=700:700'])
  assertFinding((await doctor(flags(dir.path))).of('open-files'), 'warning', /only 700 open files/)
})

test('a webhook: which way it is told, and what that shows', async () => {
  using dir = tempDir()
  const told = async (url: string, ...more: string[]) =>
    (
      await doctor([
        ...flags(dir.path).filter((flag) => flag !== '--no-tor'),
        '--webhook-url',
        url,
        '--webhook-secret',
        'x',
        ...more,
      ])
    ).of('webhook')
  assertFinding(await told('https://hooks.example/'), 'ok', /through Tor, and by TLS/)
  assertFinding(await told('http://hooks.example/'), 'warning', /in the clear/)
  assertFinding(await told('http://alerts:9093/'), 'failure', /Tor reaches nothing there/)
  assertFinding(await told('http://alerts:9093/', '--webhook-direct'), 'ok', /without Tor .*address of this machine/)
  assertFinding(await told('http://127.0.0.1:9093/'), 'ok', /is on this machine/)
})

test('a door that other machines reach is told of, by the daemon too: it ties the onion service to an IP address', async () => {
  using dir = tempDir()
  const withTor = (...more: string[]) => [...flags(dir.path).filter((flag) => flag !== '--no-tor'), ...more]
  const [http, nostr] = await freePorts(2)
  const open = await doctor(
    withTor(
      ...['--address', `0.0.0.0:${port}`, '--http', `[::]:${http}`, '--http-hosts', 'tracker.lan'],
      ...['--nostr', `0.0.0.0:${nostr}`],
    ),
  )
  assert.match(assertFinding(open.of('exposed'), 'warning', /0\.0\.0\.0:\d+ \(--address\).*IP address/), /127\.0\.0\.1/)
  assertFinding(open.of('http-exposed'), 'warning', /\[::\]:\d+ \(--http\)/)
  assertFinding(open.of('nostr-exposed'), 'warning', /0\.0\.0\.0:\d+ \(--nostr\)/)
  const shut = await doctor(withTor())
  assert.ok(!shut.findings.some(({ check }) => check.endsWith('exposed')))

  const exposed = async (args: string[]) => {
    await using tracker = await Tracker.start(node, { dataDir: dir.path, args })
    await tracker.said('listening')
    await tracker.said('scan begins').catch(() => {})
    return tracker.log.filter(({ level, msg }) => level === 40 && /onion service runs at this IP address/.test(msg))
  }
  const [socks] = await freePorts(1)
  const lines = await exposed(['--socks-port', String(socks), '--address', `0.0.0.0:${port}`])
  assert.deepEqual(
    lines.map(({ listen }) => listen),
    [`0.0.0.0:${port}`],
  )
})
