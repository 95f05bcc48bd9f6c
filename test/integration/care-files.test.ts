/** Every file that is written: its user's alone, never through a link that somebody put there, never over somebody else's. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openOnionKey } from '../../src/tor/key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Starts a program as an operator whose shell gives every new file to everybody. */
const OPEN_HANDED = ['sh', '-c', 'umask 0; exec "$@"', 'sh']

let node: Regtest
let dataDir: string
const home = tempDir()
before(async () => {
  node = await Regtest.start({ blocks: 5 })
  dataDir = join(home.path, 'data')
  await using tracker = await Tracker.start(node, { dataDir })
  await tracker.caughtUp(node)
  await tracker.stop()
})
after(async () => {
  await node?.[Symbol.asyncDispose]()
  home[Symbol.dispose]()
})

const verb = (...args: string[]) => runVerb([...args, '--network', 'regtest', '--datadir', dataDir], {}, OPEN_HANDED)
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

test('links where a file is about to be made lead nowhere, and what is written is its user’s alone', async () => {
  for (const [name, args] of [
    ['backup', ['backup']],
    ['export', ['export', '-o']],
  ] as const) {
    using dir = tempDir()
    const [file, victim] = [join(dir.path, 'out'), join(dir.path, 'victim')]
    writeFileSync(victim, 'precious')
    for (const suffix of ['.part', '.part-wal', '.part-journal', '.new']) symlinkSync(victim, file + suffix)
    const { code, stderr } = await verb(...args, file)
    assert.equal(code, 0, `${name}: ${stderr}`)
    assert.equal(readFileSync(victim, 'utf8'), 'precious', name)
    assert.equal(modeOf(file), '600', name)
    assert.ok(lstatSync(file).isFile())
    assert.deepEqual(readdirSync(dir.path).sort(), [
      'out',
      'out.new',
      'out.part',
      'out.part-journal',
      'out.part-wal',
      'victim',
    ])
  }
})

test('neither a link, nor what is no file, nor what is somebody else’s is written over', async () => {
  using dir = tempDir()
  const at = (name: string) => join(dir.path, name)
  writeFileSync(at('victim'), 'precious')
  symlinkSync(at('victim'), at('link'))
  symlinkSync(at('nowhere'), at('dangling'))
  mkdirSync(at('folder'))
  const refused = async (args: readonly string[], says: RegExp) => {
    const { code, stderr } = await verb(...args)
    assert.deepEqual([code, says.test(stderr)], [2, true], `${args}: ${stderr}`)
  }
  await refused(['export', '-o', at('link')], /link is a symbolic link: name the file that it leads to/)
  await refused(['export', '-o', at('dangling')], /is a symbolic link/)
  await refused(['export', '-o', at('folder')], /folder is there already, and is no file/)
  await refused(['export', '-o', '/dev/null'], /\/dev\/null is there already, and is no file/)
  for (const name of ['link', 'dangling', 'folder', 'victim']) {
    await refused(['backup', at(name)], /is there already: name another file/)
  }
  if (process.getuid?.() === 0) {
    chownSync(at('victim'), 65534, 65534)
    await refused(['export', '-o', at('victim')], /belongs to user 65534/)
  }
  assert.equal(readFileSync(at('victim'), 'utf8'), 'precious')
  assert.ok(!existsSync(at('nowhere')))
  assert.ok(lstatSync('/dev/null').isCharacterDevice())
})

test('an export that others read stays readable for them', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'makers.json')
  writeFileSync(file, 'old')
  chmodSync(file, 0o644)
  assert.equal((await verb('export', 'makers', '-o', file)).code, 0)
  assert.equal(modeOf(file), '644')
  assert.ok(Array.isArray(JSON.parse(readFileSync(file, 'utf8')).makers))
})

test('the onion key is made where nobody else can have put a link', () => {
  using dir = tempDir()
  const victim = join(dir.path, 'victim')
  writeFileSync(victim, 'precious')
  symlinkSync(victim, join(dir.path, 'onion.key.new'))
  openOnionKey(join(dir.path, 'onion.key'))
  assert.equal(modeOf(join(dir.path, 'onion.key')), '600')
  assert.equal(readFileSync(victim, 'utf8'), 'precious')
  assert.deepEqual(readdirSync(dir.path).sort(), ['onion.key', 'onion.key.new', 'victim'])
})

test('a data directory that was left open is closed at the start, with every file in it', async () => {
  using dir = tempDir()
  const path = join(dir.path, 'data')
  await using tracker = await Tracker.start(node, { dataDir: path })
  await tracker.caughtUp(node)
  assert.equal(await tracker.stop('SIGKILL'), 'SIGKILL') // the WAL stays
  chmodSync(path, 0o755)
  for (const name of readdirSync(path)) chmodSync(join(path, name), 0o644)
  const before = tracker.log.length
  tracker.launch()
  await tracker.caughtUp(node)
  const files = readdirSync(path)
  assert.ok(files.includes('tracker.sqlite-wal') && files.includes('lock'), String(files))
  assert.deepEqual(
    files.map((name) => [name, modeOf(join(path, name))]),
    files.map((name) => [name, '600']),
  )
  assert.equal(modeOf(path), '700')
  const told = tracker.log.slice(before).find(({ msg }) => msg === 'closed to other users of this machine')
  assert.ok(told, 'it is told')
  assert.equal((told.files as string[])[0], path)
})

test('a data directory that is somebody else’s is told of, and left as it is', async () => {
  if (process.getuid?.() !== 0) return // only root can give a folder away
  using dir = tempDir()
  const path = join(dir.path, 'data')
  mkdirSync(path, { mode: 0o755 })
  chmodSync(path, 0o755)
  chownSync(path, 65534, 65534)
  await using tracker = await Tracker.start(node, { dataDir: path })
  const { files } = await tracker.said(
    'open to other users of this machine, and not ours to close: chmod go= as their owner',
  )
  assert.deepEqual(files, [path])
  await tracker.caughtUp(node)
  assert.equal(modeOf(path), '755')
  assert.equal(modeOf(join(path, 'tracker.sqlite')), '600')
})
