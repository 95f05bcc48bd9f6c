/**
 * check-db --salvage: a database is damaged in many ways, the daemon says what to do, that is done, and it is ready again
 * with everything that was not on a damaged page. One chain and one lived-in data directory for the file.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { StoreError } from '../../src/errors.ts'
import { checkDatabase } from '../../src/store/check.ts'
import { salvageDatabase } from '../../src/store/salvage.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { copyDatabase, damage, flip, overwritePages, PAGE_BYTES, pagesOf } from '../support/damage.ts'
import { assertKept, type Kept, keptOf, killed, REGISTERED } from '../support/lived-in.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
/** Stopped by kill -9: a part of it is in the WAL alone. */
let tracker: Tracker
let file: string
let kept: Kept

before(async () => {
  node = await Regtest.start({ blocks: 110 })
  for (const name of ['one', 'two', 'three']) {
    await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
  }
  await node.mine(1)
  tracker = await killed(node)
  file = join(tracker.dataDir, 'tracker.sqlite')
  kept = keptOf(tracker.dataDir)
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** A copy of the data directory whose database `change` damages. The WAL is written into it first, but for `withWal`. */
function damagedCopy(folder: string, change: (file: string) => void, withWal = false): string {
  const copy = join(folder, 'tracker.sqlite')
  mkdirSync(folder, { recursive: true })
  copyDatabase(file, copy)
  if (!withWal) new Database(copy).pragma('wal_checkpoint(TRUNCATE)')
  rmSync(`${copy}-shm`, { force: true })
  writeFileSync(join(folder, 'onion.key'), readFileSync(join(tracker.dataDir, 'onion.key')), { mode: 0o600 })
  change(copy)
  return copy
}

const salvageOf = (dataDir: string, ...more: string[]) =>
  runVerb(['check-db', '--salvage', '--network', 'regtest', '--datadir', dataDir, ...more])

function alter(file: string, statement: string): void {
  const db = new Database(file)
  db.exec(statement)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
}

/** Damage that hits nothing of what can't be made again. */
const HARMLESS: [string, (file: string) => void][] = [
  ['the schema’s number', (copy) => damage(copy, (bytes) => bytes.writeInt32BE(-7, 60))],
  ['the network’s name', (copy) => alter(copy, "UPDATE identity SET network = 'regtesu'")],
  ['the header', (copy) => damage(copy, (bytes) => bytes.fill(0, 0, 100))],
  ['the first page', (copy) => overwritePages(copy, [1])],
  ['the schema alone', (copy) => damage(copy, (bytes) => bytes.fill(0x41, 3_000, PAGE_BYTES))],
  [
    'all that is from the chain',
    (copy) =>
      overwritePages(
        copy,
        ['blocks', 'bonds'].flatMap((name) => pagesOf(copy, name)),
      ),
  ],
  [
    'the indexes',
    (copy) =>
      overwritePages(
        copy,
        ['watches_by_until_height', 'probes_by_time'].flatMap((name) => pagesOf(copy, name)),
      ),
  ],
  ['the root of a table', (copy) => overwritePages(copy, [pagesOf(copy, 'probes')[0]!], 0)],
]

for (const [what, change] of HARMLESS) {
  test(`${what} destroyed: start says what to do; that done, it is ready and has everything`, async () => {
    using dir = tempDir()
    const copy = damagedCopy(dir.path, change)
    const before = readFileSync(copy)
    await using damaged = await Tracker.start(node, { dataDir: dir.path })
    if (what !== 'the indexes' && what !== 'the root of a table') {
      assert.equal(await damaged.exited(), 74)
      assert.match(
        damaged.stderr,
        /stop the daemon and run check-db --salvage with the same settings: it saves registrations/,
      )
      assert.equal(damaged.stderr.trim().split('\n').length, 1)
    } else await damaged.stop('SIGKILL')

    const { code, stdout, stderr } = await salvageOf(dir.path)
    assert.equal(code, 0, stdout + stderr)
    assert.match(stdout, new RegExp(`^  watches +${REGISTERED + 1} saved`, 'm'))
    assert.match(stdout, /The damaged database is kept: .*tracker\.sqlite\.damaged\n/)
    if (what !== 'the indexes' && what !== 'the root of a table') {
      assert.deepEqual(readFileSync(`${copy}.damaged`), before)
    }
    damaged.launch()
    await damaged.caughtUp(node)
    assert.equal((await damaged.addresses()).length, 3)
    assertKept(dir.path, kept)
    assert.equal(await damaged.stop(), 0)
    const checked = await runVerb(['check-db', '--network', 'regtest', '--datadir', dir.path])
    assert.equal(checked.code, 0, checked.stdout)
  })
}

test('pages of registrations and of probes destroyed: the rest of them is saved, and what was lost is told', async () => {
  using dir = tempDir()
  const hit = (copy: string) => {
    const [, ...leaves] = pagesOf(copy, 'watches')
    overwritePages(copy, [leaves[1]!, pagesOf(copy, 'probes')[2]!])
  }
  damagedCopy(dir.path, hit)
  const { code, stdout } = await salvageOf(dir.path, '--json')
  assert.equal(code, 0, stdout)
  const { salvaged, ok } = JSON.parse(stdout)
  assert.equal(ok, true)
  const watches = salvaged.tables.find(({ table }: { table: string }) => table === 'watches')
  assert.ok(watches.saved > REGISTERED / 2 && watches.saved < REGISTERED, stdout)
  assert.ok(watches.lost === null || watches.saved + watches.lost === REGISTERED + 1, stdout)
  assert.equal(salvaged.pages.damagedPages, 2)
  const saved = keptOf(dir.path)
  assert.ok(saved.watches.every((row) => kept.watches.some((one) => JSON.stringify(one) === JSON.stringify(row))))
  assert.ok(saved.probes.length > kept.probes.length / 2)
  for (const whole of ['makers', 'offers', 'proofs', 'probe_hours'] as const)
    assert.deepEqual(saved[whole], kept[whole])
})

test('what only the WAL has is saved too', async () => {
  using dir = tempDir()
  damagedCopy(dir.path, (copy) => damage(copy, (bytes) => bytes.fill(0, 0, 100)), true)
  assert.equal((await salvageOf(dir.path)).code, 0)
  assertKept(dir.path, kept)
  assert.ok(existsSync(join(dir.path, 'tracker.sqlite.damaged-wal')), 'it is kept beside its database')
})

test('of a database that an older version has written, records without the columns of today are saved too', async () => {
  using dir = tempDir()
  damagedCopy(dir.path, (copy) => {
    alter(
      copy,
      `ALTER TABLE offers DROP COLUMN lightning; ALTER TABLE offers DROP COLUMN lightning_fault;
       DROP INDEX watches_unfunded; ALTER TABLE watches DROP COLUMN unfunded_until;
       ALTER TABLE probes DROP COLUMN source;
       CREATE TABLE hours (maker_id INTEGER, hour INTEGER, answered INTEGER, failed INTEGER, unjudged INTEGER,
         PRIMARY KEY (maker_id, hour)) STRICT, WITHOUT ROWID;
       INSERT INTO hours SELECT maker_id, hour, answered, failed, unjudged FROM probe_hours;
       DROP TABLE probe_hours; ALTER TABLE hours RENAME TO probe_hours; PRAGMA user_version = 6`,
    )
    damage(copy, (bytes) => bytes.fill(0, 0, 100))
  })
  assert.equal((await salvageOf(dir.path)).code, 0)
  assertKept(dir.path, kept)
})

test('a sound database, one that is in use, one of another network and none at all: nothing is changed', async () => {
  using dir = tempDir()
  const copy = damagedCopy(dir.path, () => {})
  const before = readFileSync(copy)
  const sound = await salvageOf(dir.path)
  assert.equal(sound.code, 0)
  assert.match(sound.stdout, /is sound\n$/)
  assert.deepEqual(readFileSync(copy), before)

  damage(copy, (bytes) => bytes.fill(0, 0, 100))
  const other = await runVerb(['check-db', '--salvage', '--network', 'signet', '--datadir', dir.path])
  assert.equal(other.code, 2)
  assert.match(other.stderr, /belongs to network regtest, but --network is signet/)
  assert.equal(readdirSync(dir.path).filter((name) => /damaged|salvaged/.test(name)).length, 0)
  await using running = await Tracker.start(node)
  await running.caughtUp(node)
  const used = await salvageOf(running.dataDir)
  assert.equal(used.code, 2)
  assert.match(used.stderr, /is running: stop it first/)
  const none = await salvageOf(join(dir.path, 'none'))
  assert.equal(none.code, 2)
  assert.match(none.stderr, /there is no database/)
})

test('no damage is too much: a sound database comes out, or a StoreError, and the damaged one is kept', () => {
  using dir = tempDir()
  const size = readFileSync(damagedCopy(join(dir.path, 'size'), () => {})).length
  const ways: [string, (file: string) => void][] = [
    ['zero length', (copy) => truncateSync(copy, 0)],
    ['text', (copy) => writeFileSync(copy, 'this was never a database. '.repeat(1_000))],
    ['all zeros', (copy) => writeFileSync(copy, Buffer.alloc(size))],
    ['all ones', (copy) => writeFileSync(copy, Buffer.alloc(size, 0xff))],
    ['half of it', (copy) => truncateSync(copy, Math.floor(size / 2))],
    ['a page and a half', (copy) => truncateSync(copy, 6_000)],
  ]
  for (let seed = 1; seed <= 12; seed++) {
    ways.push([`${10 * seed} bytes, ${seed}`, (copy) => flip(copy, 0, size, 10 * seed, seed)])
    ways.push([
      `headers of pages, ${seed}`,
      (copy) => {
        for (let at = 0; at < size; at += PAGE_BYTES) flip(copy, at, at + 12, 2, seed + at)
      },
    ])
  }
  for (const [i, [way, change]] of ways.entries()) {
    const copy = damagedCopy(join(dir.path, `${i}`), change)
    const before = readFileSync(copy)
    try {
      const { keptAs, tables } = salvageDatabase(copy, 'regtest')
      assert.deepEqual(checkDatabase(copy), [], way)
      assert.deepEqual(readFileSync(keptAs), before, way)
      assert.deepEqual(
        readdirSync(dirname(copy)).filter((name) => name.includes('salvaged')),
        [],
        way,
      )
      assert.ok(
        tables.every(({ saved, lost }) => saved >= 0 && (lost === null || lost >= 0)),
        way,
      )
    } catch (error) {
      assert.ok(error instanceof StoreError, `${way}: ${error}`)
      assert.deepEqual(readFileSync(copy), before, way)
    }
    rmSync(join(dir.path, `${i}`), { recursive: true })
  }
})
