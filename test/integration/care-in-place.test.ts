/**
 * Files of the data directory deleted, moved and replaced under a running daemon: it ends within seconds with exit code
 * 74 and says what to do, acknowledges nothing that it can't keep, and what it had acknowledged before is there again
 * once that was done. One node for the file.
 */
import assert from 'node:assert/strict'
import { copyFileSync, linkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { StoreError } from '../../src/errors.ts'
import { openStore } from '../../src/store/open.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { assertKept, keptOf, livedIn, outpoint, register } from '../support/lived-in.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
before(async () => {
  node = await Regtest.start({ blocks: 110 })
})
after(() => node?.[Symbol.asyncDispose]())

/** Waits for its end, which must be the database's, told in one line. */
async function endsWith(tracker: Tracker, says: RegExp): Promise<void> {
  assert.equal(await tracker.exited(), 74, tracker.stderr)
  assert.match(tracker.stderr, says)
  assert.equal(tracker.stderr.trim().split('\n').length, 1, tracker.stderr)
}

interface Case {
  name: string
  happens(dataDir: string): void
  says: RegExp
  /** What the message says to do; nothing where it says to start again. */
  remedy?(dataDir: string): void
}

const CASES: Case[] = [
  {
    name: 'the database moved away',
    happens: (dir) => renameSync(join(dir, 'tracker.sqlite'), join(dir, 'elsewhere')),
    says: /tracker\.sqlite was moved or deleted while .*: put it back, or restore a backup, then start again/,
    remedy: (dir) => renameSync(join(dir, 'elsewhere'), join(dir, 'tracker.sqlite')),
  },
  {
    name: 'the database moved away alone, its WAL deleted',
    happens(dir) {
      renameSync(join(dir, 'tracker.sqlite'), join(dir, 'elsewhere'))
      for (const suffix of ['-wal', '-shm']) rmSync(join(dir, `tracker.sqlite${suffix}`))
    },
    says: /put it back/,
    remedy: (dir) => renameSync(join(dir, 'elsewhere'), join(dir, 'tracker.sqlite')),
  },
  {
    name: 'the data directory renamed',
    happens: (dir) => renameSync(dir, `${dir}-elsewhere`),
    says: /the data directory .* was moved or deleted while .*: put it back, or restore tracker\.sqlite and onion\.key/,
    remedy: (dir) => renameSync(`${dir}-elsewhere`, dir),
  },
  {
    name: 'the database replaced',
    happens(dir) {
      linkSync(join(dir, 'tracker.sqlite'), join(dir, 'old'))
      using other = tempDir()
      openStore(other.path, 'regtest').db[Symbol.dispose]()
      renameSync(join(other.path, 'tracker.sqlite'), join(dir, 'tracker.sqlite'))
    },
    says: /was replaced by another file while .*: if that was a backup, start again.*; else put the old one back first/,
    remedy: (dir) => renameSync(join(dir, 'old'), join(dir, 'tracker.sqlite')),
  },
  {
    name: 'the WAL deleted',
    happens: (dir) => rmSync(join(dir, 'tracker.sqlite-wal')),
    says: /tracker\.sqlite-wal was deleted while .*: what it held is written to tracker\.sqlite now; start again/,
  },
  {
    name: 'the shared memory deleted',
    happens: (dir) => rmSync(join(dir, 'tracker.sqlite-shm')),
    says: /tracker\.sqlite-shm was deleted/,
  },
  {
    name: 'the WAL replaced',
    happens(dir) {
      copyFileSync(join(dir, 'tracker.sqlite-wal'), join(dir, 'copy'))
      renameSync(join(dir, 'copy'), join(dir, 'tracker.sqlite-wal'))
    },
    says: /tracker\.sqlite-wal was replaced/,
  },
  {
    name: 'the lock deleted',
    happens: (dir) => rmSync(join(dir, 'lock')),
    says: /\/lock was deleted while the daemon held it.*nothing is lost; start again/,
  },
]

for (const { name, happens, says, remedy } of CASES) {
  test(`${name}: 74, and after what it says everything is there`, async () => {
    await using tracker = await livedIn(node)
    tracker.launch()
    await tracker.caughtUp(node)
    await register(tracker, [outpoint('the last one')])
    const kept = keptOf(tracker.dataDir)
    happens(tracker.dataDir)
    await endsWith(tracker, says)
    remedy?.(tracker.dataDir)
    const told = tracker.stderr.length
    tracker.launch()
    await tracker.caughtUp(node)
    assert.equal(tracker.stderr.length, told)
    assertKept(tracker.dataDir, kept)
    assert.equal(await tracker.stop(), 0)
    const { code, stdout } = await runVerb(['check-db', '--network', 'regtest', '--datadir', tracker.dataDir])
    assert.equal(code, 0, stdout)
  })
}

test('a backup put in the place of a running database: the next start goes on from the backup, unharmed', async () => {
  await using tracker = await livedIn(node)
  using dir = tempDir()
  const file = join(dir.path, 'backup.sqlite')
  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir]
  assert.equal((await runVerb(['backup', file, ...flags])).code, 0)
  const kept = keptOf(tracker.dataDir)
  tracker.launch()
  await tracker.caughtUp(node)
  await register(tracker, [outpoint('after the backup')])
  renameSync(file, join(tracker.dataDir, 'tracker.sqlite'))
  await endsWith(tracker, /was replaced by another file/)
  tracker.launch()
  await tracker.caughtUp(node)
  assert.equal(await tracker.stop(), 0)
  assertKept(tracker.dataDir, kept)
  assert.equal((await runVerb(['check-db', ...flags])).code, 0)
})

test('nothing is acknowledged that goes into a deleted file', async () => {
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  await register(tracker, [outpoint('before')])
  rmSync(join(tracker.dataDir, 'tracker.sqlite'))
  // Asked in the same second, before the daemon has looked by itself.
  await assert.rejects(register(tracker, [outpoint('after')]))
  await assert.rejects(tracker.ask({ type: 'Watch', outpoint: outpoint('v1') }, 'WatchResponse'))
  await endsWith(tracker, /tracker\.sqlite was moved or deleted/)
})

test('what waits for the disk says so itself, however soon', async () => {
  using dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  using _db = db
  await db.synced()
  rmSync(join(dir.path, 'tracker.sqlite'))
  await assert.rejects(db.synced(), StoreError)
})

test('a second daemon, when the lock was deleted: it waits until the first has ended, then goes on; both write nothing twice', async () => {
  await using tracker = await livedIn(node)
  tracker.launch()
  await tracker.caughtUp(node)
  const kept = keptOf(tracker.dataDir)
  rmSync(join(tracker.dataDir, 'lock'))
  await using second = await Tracker.start(node, { dataDir: tracker.dataDir })
  await node.mine(20)
  await endsWith(tracker, /\/lock was (deleted|replaced) while the daemon held it/)
  await second.caughtUp(node)
  assert.equal(second.stderr, '')
  assertKept(tracker.dataDir, kept)
  assert.equal(await second.stop(), 0)
})

test('a second daemon, when the first goes on all the same: one line, exit code 2, and nothing written', async () => {
  await using tracker = await livedIn(node)
  const path = join(tracker.dataDir, 'tracker.sqlite')
  // As an older version would: open, and reporting.
  const first = new Database(path)
  const report = first.prepare(
    'INSERT INTO daemon VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET report = excluded.report',
  )
  let beats = 0
  const beating = setInterval(() => report.run(`${beats++}`), 500)
  try {
    tracker.launch()
    assert.equal(await tracker.exited(), 2)
    assert.match(tracker.stderr, /is in use by another fidelity-tracker, whose lock was deleted: stop it first\n$/)
  } finally {
    clearInterval(beating)
    first.close()
  }
})

test('somebody who reads for long does not keep a daemon from starting', async () => {
  await using tracker = await livedIn(node)
  const reader = new Database(join(tracker.dataDir, 'tracker.sqlite'), { readonly: true })
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM blocks').get()
  try {
    tracker.launch()
    await tracker.caughtUp(node)
  } finally {
    reader.close()
  }
})
