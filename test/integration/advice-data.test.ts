/**
 * Every message about data, key, lock or database that tells the operator to do something: it is provoked, what it says
 * is done to the letter, and in the end the daemon is ready with the same onion key, registrations and history. What the
 * messages are is read from the source, so that a new one can't be forgotten.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import Database from 'better-sqlite3'
import { ConfigError } from '../../src/errors.ts'
import { claimSignet, openStore } from '../../src/store/open.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { damage } from '../support/damage.ts'
import { unprivileged } from '../support/doctor.ts'
import { type FakeControl, protocolInfo, startFakeControl } from '../support/fake-control.ts'
import { assertKept, type Kept, keptOf, livedIn } from '../support/lived-in.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
let lived: Tracker
let kept: Kept

before(async () => {
  node = await Regtest.start({ blocks: 110 })
  lived = await livedIn(node)
  kept = keptOf(lived.dataDir)
})
after(async () => {
  await lived?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** A copy of the lived-in data directory. */
function copyOfData(): Disposable & { path: string } {
  const dir = tempDir()
  const path = join(dir.path, 'data')
  cpSync(lived.dataDir, path, { recursive: true })
  return { path, [Symbol.dispose]: () => dir[Symbol.dispose]() }
}

const about = (dataDir: string) => ['--network', 'regtest', '--datadir', dataDir]

/** Starts on `dataDir` as it should be: it is ready, and everything is there. */
async function isReadyWithAll(dataDir: string): Promise<void> {
  await using tracker = await Tracker.start(node, { dataDir })
  await tracker.caughtUp(node)
  assertKept(dataDir, kept)
  assert.equal(await tracker.stop(), 0)
  assert.equal(tracker.stderr, '')
}

/** `start` with these flags ends at once, with one line. Returns it. */
async function refusal(code: number, args: readonly string[], before: readonly string[] = []): Promise<string> {
  const [port] = await freePorts(1)
  const all = ['start', '--no-tor', '--http', 'off', '--nostr', 'off', '--address', `127.0.0.1:${port}`, ...args]
  const ended = await runVerb(all, {}, before)
  assert.equal(ended.code, code, ended.stderr)
  assert.equal(ended.stderr.trim().split('\n').length, 1, ended.stderr)
  return ended.stderr
}

// ---- the data directory ------------------------------------------------------------------------------------------------

test('its mode shuts its owner out: chmod, as it says', async () => {
  using data = copyOfData()
  chmodSync(data.path, 0o500)
  rmSync(join(data.path, 'lock'))
  const said = await refusal(2, about(data.path), unprivileged())
  const [, command] = /--datadir \S+ can't be written: \S+ does not let even its owner in: (chmod .*)\n/.exec(said)!
  assert.equal(spawnSync('sh', ['-c', command!]).status, 0)
  await isReadyWithAll(data.path)
})

test('it belongs to somebody else: the verb is run as that user', async () => {
  using data = copyOfData()
  const isRoot = process.getuid?.() === 0
  const path = isRoot ? data.path : '/root/data'
  const before = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
  const owner = /belongs to root, and this is \S+: sudo -u root fidelity-tracker …\n/
  assert.match(await refusal(2, about(path), before), owner)
  const asked = await runVerb(['bonds', ...about(path)], {}, before)
  assert.equal(asked.code, 2)
  assert.match(asked.stderr, /--datadir \S+ can't be looked into: /)
  assert.match(asked.stderr, owner)
  assert.match((await runVerb(['health', ...about(path)], {}, before)).stdout, owner)
  if (!isRoot) return
  // The folder is open, the database is not; then it is, but what SQLite writes beside it can't be made.
  chmodSync(dirname(path), 0o755)
  chmodSync(path, 0o755)
  for (const mode of [0o600, 0o644]) {
    chmodSync(join(path, 'tracker.sqlite'), mode)
    const { code, stderr } = await runVerb(['bonds', ...about(path)], {}, before)
    assert.equal(code, 2, stderr)
    assert.match(stderr, /the database \S+ can't be opened: /)
    assert.match(stderr, owner)
  }
})

test('a file where the folder should be, and data of another network beside it, are told', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'file')
  writeFileSync(file, '')
  assert.match(await refusal(2, about(file)), /--datadir \S+ is a file: name a folder/)
  const asked = async (network: string, path: string) =>
    (await runVerb(['bonds', '--network', network, '--datadir', path], { HOME: dir.path })).stderr
  assert.match(await asked('regtest', file), /--datadir \S+ is a file: name the folder that the database is in/)
  const home = join(dir.path, '.fidelity-tracker')
  for (const place of [home, dir.path]) cpSync(lived.dataDir, join(place, 'regtest'), { recursive: true })
  assert.match(
    await asked('main', home),
    /has the daemon been started with it\? There is one for regtest: --network regtest\n/,
  )
  const [, flags] = /There is one for regtest: (.*)\n/.exec(await asked('signet', join(dir.path, 'signet')))!
  assert.equal((await runVerb(['bonds', ...flags!.split(' ')])).code, 0, flags)
})

test('it can not be made: the reason is told, and with that gone it is made', async () => {
  using dir = tempDir()
  const blocked = join(dir.path, 'file')
  writeFileSync(blocked, '')
  assert.match(await refusal(2, about(join(blocked, 'data'))), /--datadir \S+ can't be (made|written): ENOTDIR/)
  rmSync(blocked)
  cpSync(lived.dataDir, join(blocked, 'data'), { recursive: true })
  await isReadyWithAll(join(blocked, 'data'))
})

test('another daemon has it: stop that one first', async () => {
  using data = copyOfData()
  await using first = await Tracker.start(node, { dataDir: data.path })
  await first.caughtUp(node)
  const said = await refusal(2, about(data.path))
  assert.match(
    said,
    /is in use by another fidelity-tracker: stop that one first, or give this one a folder and an --address of its own/,
  )
  for (const verb of [
    ['rescan', '--from', '1'],
    ['check-db', '--salvage'],
  ]) {
    const { code, stderr } = await runVerb([...verb, ...about(data.path)])
    assert.equal(code, 2)
    assert.match(stderr, /the daemon of --datadir \S+ is running: stop it first/)
  }
  assert.equal(await first.stop(), 0)
  await isReadyWithAll(data.path)
})

// ---- the database ------------------------------------------------------------------------------------------------------

test('of another network: give that one', async () => {
  using data = copyOfData()
  const said = await refusal(2, ['--network', 'signet', '--datadir', data.path])
  const [, network] = /give --network (\w+), or another --datadir/.exec(said)!
  assert.equal(network, 'regtest')
  await isReadyWithAll(data.path)
})

test('of another signet: name the node it was made with', () => {
  using data = copyOfData()
  const { db } = openStore(data.path, 'regtest')
  using _db = db
  claimSignet(db, '51')
  assert.throws(
    () => claimSignet(db, '52'),
    (error) =>
      error instanceof ConfigError && /name the node it was made with .*, or another --datadir/.test(error.message),
  )
  claimSignet(db, '51')
})

test('another file in its place: moved away, and the database put back', async () => {
  using data = copyOfData()
  const file = join(data.path, 'tracker.sqlite')
  const backup = join(data.path, 'backup')
  assert.equal((await runVerb(['backup', backup, ...about(data.path)])).code, 0)
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  writeFileSync(file, gzipSync(readFileSync(backup)))
  assert.match(await refusal(74, about(data.path)), /put the database or a backup back under this name\. If not: /)
  const checked = await runVerb(['check-db', ...about(data.path)])
  assert.equal(checked.code, 74, checked.stderr)
  assert.match(
    checked.stdout,
    /tracker\.sqlite is no database: .*\n.*move it away, and put the database\n.*backup back/,
  )
  renameSync(file, `${file}.other`)
  renameSync(backup, file)
  await isReadyWithAll(data.path)
})

test('of a newer version: upgrade, or put the backup back', async () => {
  using data = copyOfData()
  const file = join(data.path, 'tracker.sqlite')
  const backup = join(data.path, 'before-the-upgrade')
  assert.equal((await runVerb(['backup', backup, ...about(data.path)])).code, 0)
  const db = new Database(file)
  const schema = db.pragma('user_version', { simple: true }) as number
  db.pragma('user_version = 999')
  db.close()
  const said = await refusal(2, about(data.path))
  assert.match(
    said,
    /upgrade fidelity-tracker, or put back the copy from before the upgrade: tracker.sqlite.schema-<number> beside it, or a backup/,
  )
  const checked = await runVerb(['check-db', '--salvage', ...about(data.path)])
  assert.equal(checked.code, 2, 'what is only newer is not taken apart')
  assert.match(checked.stderr, /has schema 999, .*upgrade fidelity-tracker/)
  for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
  renameSync(backup, file)
  await isReadyWithAll(data.path)
  assert.ok(schema < 999)
})

test('of an older version, asked by a verb: start the daemon once', async () => {
  using data = copyOfData()
  const db = new Database(join(data.path, 'tracker.sqlite'))
  const schema = db.pragma('user_version', { simple: true }) as number
  db.pragma(`user_version = ${schema - 1}`)
  const { code, stderr } = await runVerb(['makers', ...about(data.path)])
  assert.equal(code, 2)
  assert.match(stderr, /start the daemon once, which brings it up to date/)
  db.pragma(`user_version = ${schema}`) // as the start would; what it carries over is for store/migrate.test.ts
  db.close()
  await isReadyWithAll(data.path)
})

test('none there, asked by a verb: has the daemon been started with it?', async () => {
  using dir = tempDir()
  const { code, stderr } = await runVerb(['status', ...about(join(dir.path, 'wrong'))])
  assert.equal(code, 2)
  assert.match(stderr, /there is no database in --datadir \S+: has the daemon been started with it\?/)
  await isReadyWithAll(lived.dataDir)
})

test('a backup whose file is there, or can not be written: another name', async () => {
  using data = copyOfData()
  const file = join(data.path, 'backup')
  writeFileSync(file, 'the backup of yesterday')
  const taken = await runVerb(['backup', file, ...about(data.path)])
  assert.equal(taken.code, 2)
  assert.match(taken.stderr, /is there already: name another file, or move it away/)
  assert.equal(readFileSync(file, 'utf8'), 'the backup of yesterday')
  const nowhere = await runVerb(['backup', join(data.path, 'no', 'folder'), ...about(data.path)])
  assert.equal(nowhere.code, 2)
  assert.match(nowhere.stderr, /can't be written: ENOENT/)
  assert.equal((await runVerb(['backup', `${file}-2`, ...about(data.path)])).code, 0)
  await isReadyWithAll(data.path)
})

test('a backup of a damaged database: check-db, and then what that says', async () => {
  using data = copyOfData()
  const file = join(data.path, 'tracker.sqlite')
  const db = new Database(file)
  const [page] = db
    .prepare("SELECT pageno FROM dbstat WHERE name = 'blocks' ORDER BY path DESC")
    .pluck()
    .all() as number[]
  db.close()
  damage(file, (bytes) => bytes.fill(0xff, (page! - 1) * 4096, page! * 4096))
  const backup = await runVerb(['backup', join(data.path, 'copy'), ...about(data.path)])
  assert.equal(backup.code, 74, backup.stderr)
  assert.match(backup.stderr, /run check-db/)
  assert.deepEqual(
    readdirSync(data.path).filter((name) => name.startsWith('copy')),
    [],
  )
  const checked = await runVerb(['check-db', ...about(data.path)])
  assert.equal(checked.code, 74)
  const [command] = checked.stdout.match(/(?<=^ {2}fidelity-tracker ).*$/m)!
  assert.equal((await runVerb([...command.split(' '), ...about(data.path)])).code, 0)
  await isReadyWithAll(data.path)
})

test('rescan of what was not scanned: just start', async () => {
  using data = copyOfData()
  const above = await runVerb(['rescan', '--from', '99999', ...about(data.path)])
  assert.equal(above.code, 2)
  assert.match(above.stderr, /is above the last scanned block \d+/)
  assert.equal((await runVerb(['rescan', '--from', '0', ...about(data.path)])).code, 0)
  const nothing = await runVerb(['rescan', '--from', '0', ...about(data.path)])
  assert.equal(nothing.code, 2)
  assert.match(nothing.stderr, /nothing has been scanned yet: just start the daemon/)
  await isReadyWithAll(data.path)
})

// ---- the onion key -----------------------------------------------------------------------------------------------------

/** A Tor that takes any service and calls it by one name. */
function aTor(refuseKey = () => false): Promise<FakeControl> {
  const host = onionHost('ours').replace('.onion', '')
  return startFakeControl((command) => {
    if (command.startsWith('PROTOCOLINFO')) return protocolInfo('NULL')
    if (command === 'GETINFO version') return '250-version=0.4.8.1 (git-1)\r\n250 OK'
    if (!command.startsWith('ADD_ONION')) return '250 OK'
    return refuseKey() ? '512 Failed to decode ED25519-V3 key' : `250-ServiceID=${host}\r\n250 OK`
  })
}

/** With Tor: it has published the key that was there from the beginning, and everything else is there too. */
async function publishesTheSame(dataDir: string): Promise<void> {
  await using tor = await aTor()
  await using tracker = await Tracker.start(node, { dataDir, args: torArgs(tor) })
  await tracker.said('onion service added')
  await tracker.caughtUp(node)
  const added = tor.commands.find((command) => command.startsWith('ADD_ONION'))!
  assert.ok(added.includes(kept.onionKey!.trim()), 'the same key is the same address')
  assertKept(dataDir, kept)
  assert.equal(await tracker.stop(), 0)
}

const torArgs = (tor: FakeControl) => [
  '--control-port',
  `127.0.0.1:${tor.control.port}`,
  '--socks-port',
  '1',
  '--allow-test-addresses',
]

async function refusedKey(dataDir: string, tor: FakeControl, before: readonly string[] = []): Promise<string> {
  const [port] = await freePorts(1)
  const bitcoind = ['--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]
  const args = [
    '--http',
    'off',
    '--nostr',
    'off',
    '--address',
    `127.0.0.1:${port}`,
    ...bitcoind,
    ...torArgs(tor),
    ...about(dataDir),
  ]
  const ended = await runVerb(['start', ...args], {}, before)
  assert.equal(ended.code, 2, ended.stderr)
  assert.equal(ended.stderr.trim().split('\n').length, 1, ended.stderr)
  return ended.stderr
}

test('an onion key that is open to others: chmod 600', async () => {
  using data = copyOfData()
  const key = join(data.path, 'onion.key')
  chmodSync(key, 0o644)
  await using tor = await aTor()
  const [, mode, file] = /is open to other users: chmod (\d+) (\S+)/.exec(await refusedKey(data.path, tor))!
  chmodSync(file!, Number.parseInt(mode!, 8))
  await publishesTheSame(data.path)
})

test('an onion key that is damaged, or that Tor can not read: put its copy back', async () => {
  using data = copyOfData()
  const key = join(data.path, 'onion.key')
  for (const [text, refuses] of [
    ['', false],
    [kept.onionKey!.slice(0, -10), false],
    [kept.onionKey!.replace('ED25519', 'ED25520'), false],
    [kept.onionKey!, true],
  ] as const) {
    writeFileSync(key, text)
    await using tor = await aTor(() => refuses)
    const said = await refusedKey(data.path, tor)
    assert.match(
      said,
      /onion key \S+\/onion\.key.*: put its copy back\. Without a copy this address is lost, and only then: mv \S+ \S+\.damaged/,
    )
    assert.equal(readFileSync(key, 'utf8'), text, 'nothing is done to it')
    writeFileSync(key, kept.onionKey!)
  }
  await publishesTheSame(data.path)
})

test('an onion key that can not be read or written: what is in the way is named', async () => {
  using data = copyOfData()
  const key = join(data.path, 'onion.key')
  rmSync(key)
  mkdirSync(key, { mode: 0o700 })
  await using tor = await aTor()
  assert.match(await refusedKey(data.path, tor), /the onion key \S+ can't be read: EISDIR/)
  rmSync(key, { recursive: true })
  symlinkSync(join(data.path, 'taken', 'away'), key)
  assert.match(await refusedKey(data.path, tor), /the onion key \S+ can't be written: \S+ is a symbolic link/)
  rmSync(key)
  writeFileSync(key, kept.onionKey!, { mode: 0o600 })
  await publishesTheSame(data.path)
})

test('a hostname file that can not be read, or holds no name: the folder is given, the name comes', async () => {
  using data = copyOfData()
  const folder = join(data.path, 'tor')
  const hostname = join(folder, 'hostname')
  mkdirSync(folder, { mode: 0o700 })
  writeFileSync(hostname, 'abc.onion\n')
  const flags = [...about(data.path), '--onion-hostname-file', hostname]
  const start = async (before: readonly string[] = []) => {
    const [port] = await freePorts(1)
    return runVerb(['start', '--http', 'off', '--nostr', 'off', '--address', `127.0.0.1:${port}`, ...flags], {}, before)
  }
  const wrong = await start()
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--onion-hostname-file \S+ holds no v3 onion host name: .*'s own hostname file/)
  writeFileSync(hostname, `${onionHost('ours')}\n`)
  chmodSync(folder, 0)
  const closed = await start(unprivileged())
  assert.equal(closed.code, 2)
  assert.match(closed.stderr, /can't be read \(EACCES.*\): give this user read access to it and its folder/)
  chmodSync(folder, 0o700)
  const args = ['--onion-hostname-file', hostname, '--socks-port', '1', '--allow-test-addresses']
  await using tracker = await Tracker.start(node, { dataDir: data.path, args })
  const line = await tracker.said('onion service managed by torrc')
  assert.match(String(line.onionAddress), new RegExp(`^${onionHost('ours')}:`))
  await tracker.caughtUp(node)
  assertKept(data.path, kept)
})

test('Tor wants a password: given, the same address is published', async () => {
  using data = copyOfData()
  const host = onionHost('ours').replace('.onion', '')
  await using tor = await startFakeControl((command) => {
    if (command.startsWith('PROTOCOLINFO')) return protocolInfo('HASHEDPASSWORD')
    if (command.startsWith('AUTHENTICATE')) return command.includes('sesame') ? '250 OK' : '515 Bad'
    return command.startsWith('ADD_ONION') ? `250-ServiceID=${host}\r\n250 OK` : '250-version=0.4.8.1\r\n250 OK'
  })
  assert.match(await refusedKey(data.path, tor), /wants a password: give --tor-auth-password/)
  const args = [...torArgs(tor), '--tor-auth-password', 'sesame']
  await using tracker = await Tracker.start(node, { dataDir: data.path, args })
  await tracker.said('onion service added')
  await waitUntil('its key is published', () => tor.commands.some((command) => command.includes(kept.onionKey!.trim())))
  await tracker.caughtUp(node)
  assertKept(data.path, kept)
})

// ---- and no others -----------------------------------------------------------------------------------------------------

/** Files of the source whose messages are about data, key, lock or database. */
const SOURCES = [
  'store',
  'store/local',
  'store/shared',
  'key-file.ts',
  'tor/onion.ts',
  'tor/torrc-onion.ts',
  'cli/rescan.ts',
  'cli/check-db.ts',
]

/** Every message of those, by its fixed words, with the test file that follows it. */
const FOLLOWED: Record<string, readonly string[]> = {
  here: [
    "--datadir … can't be looked into: …",
    "--datadir … can't be made: …",
    "--datadir … can't be written: …",
    "--datadir … can't be written: …. Give this user the folder and what is in it",
    '--datadir … is in use by another fidelity-tracker: stop that one first, or give this one a folder and an --address of its own',
    '--datadir … is a file: name the folder that the database is in',
    "--datadir … is a file: name a folder, which may be one that isn't there yet",
    '--from … is above the last scanned block …',
    "--onion-hostname-file … can't be read (…): give this user read access to it and its folder",
    "--onion-hostname-file … holds no v3 onion host name: name Tor's own hostname file, or a copy of it",
    "Tor can't read the onion key … (… …): put its copy back. Without a copy this address is lost, and only then: mv … ….damaged, and start makes a new one",
    'the … … is damaged: put its copy back. Without a copy …, and only then: mv … ….damaged, and start makes a new one',
    'the … … is open to other users: chmod 600 …',
    "the … … can't be read: …",
    "the … … can't be written: …",
    'nothing has been scanned yet: just start the daemon',
    'the daemon of --datadir … is running: stop it first',
    'the daemon of --datadir … is running: stop it first, it scans when it starts',
    'the database … belongs to another signet than bitcoind: name the node it was made with (--rpc), or another --datadir',
    'the database … belongs to network …, but --network is …: give --network …, or another --datadir',
    'the database … has schema …, this program knows …: upgrade fidelity-tracker, or put back the copy from before the upgrade: tracker.sqlite.schema-<number> beside it, or a backup',
    'the database … has schema …, this program knows …: start the daemon once, which brings it up to date',
    "the database … can't be opened: …",
    'there is no database in --datadir …: has the daemon been started with it?…',
    '… is there already: name another file, or move it away',
    "… can't be written: …",
    "… can't be copied (…): …",
    'the copy is damaged (…): run check-db on the original',
  ],
  'care-in-place.test.ts': [
    '… was replaced by another file while the daemon had the old one open: if that was a backup, start again, and stop the daemon before the next time; else put the old one back first',
    '… was … while the daemon had it open: what it held is written to … now; start again, and leave that file alone',
    '… was … while the daemon held it, so a second daemon could write to the same database: nothing is lost; start again, and leave that file alone',
    '… is in use by another fidelity-tracker, whose lock was deleted: stop it first',
  ],
  'care-salvage.test.ts': [
    'the database … is damaged (…: …); …',
    'the database … is damaged (network …); …',
    'the database … is damaged (schema …); …',
    'the database is damaged (a row of …): …',
    '… (…): ……',
  ],
  'nobody, for it asks for nothing that could be done here': [
    "… can't be looked at any more: is its disk still there?",
    "the database … can't be written to its disk: …",
    'what was saved makes no sound database: …',
    "… can't be salvaged: …",
    '… damaged databases are kept beside …: move them away',
  ],
}

test('there is no message about data that nobody has followed', () => {
  const root = new URL('../../src/', import.meta.url).pathname
  const files = SOURCES.flatMap((place) =>
    place.endsWith('.ts')
      ? [place]
      : readdirSync(join(root, place))
          .filter((name) => name.endsWith('.ts'))
          .map((name) => join(place, name)),
  )
  const found = new Set<string>()
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8')
    const messages = text.matchAll(/new (?:ConfigError|StoreError)\(\s*(`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"[^"]*")/g)
    for (const [, quoted] of messages) found.add(quoted!.slice(1, -1).replace(/\$\{(?:[^{}]|\{[^}]*\})*\}/g, '…'))
  }
  assert.deepEqual([...found].sort(), Object.values(FOLLOWED).flat().sort())
})
