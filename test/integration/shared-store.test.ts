/** The shared store of a tracker that shares with nobody, its own SQLite file, under the same rules as PostgreSQL's. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Txid } from '../../src/chain/types.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { LocalShared } from '../../src/store/shared/local.ts'
import type { SharedNews } from '../../src/store/shared/store.ts'
import { wholeFile } from '../../src/store/shared/whole.ts'
import {
  historyInAnyOrder,
  type MergeSubject,
  makersInAnyOrder,
  proofsInAnyOrder,
  registrationsInAnyOrder,
} from '../support/shared-store-suite.ts'
import { tempDir } from '../support/temp-dir.ts'

const TABLES = ['watches', 'makers', 'offers', 'proofs', 'proofs_taken_back', 'probes', 'probe_hours'] as const

function openOwn(t: TestContext): { db: Db; store: LocalShared } {
  const dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  t.after(() => {
    db[Symbol.dispose]()
    dir[Symbol.dispose]()
  })
  return { db, store: new LocalShared(db) }
}

function readAll(db: Db): SharedNews {
  const all: Record<string, unknown[]> = {}
  for (const page of wholeFile(db)) {
    for (const [kind, rows] of Object.entries(page)) all[kind] = [...(all[kind] ?? []), ...rows]
  }
  return all as SharedNews
}

test('merging gives one result, in whatever order and however often', async (t) => {
  const { db, store } = openOwn(t)
  const subject: MergeSubject = {
    store,
    readAll: async () => readAll(db),
    empty: async () => {
      for (const table of TABLES) db.prepare(`DELETE FROM ${table}`).run()
    },
  }
  await t.test('registrations', () => registrationsInAnyOrder(subject, 200))
  await t.test('makers', () => makersInAnyOrder(subject, 200))
  await t.test('proofs', () => proofsInAnyOrder(subject, 200))
  await t.test('the history of probes', () => historyInAnyOrder(subject, 200))
})

test('news that end a registration and ask for it anew leave what was asked for anew', async (t) => {
  const { db, store } = openOwn(t)
  const outpoint = { txid: '01'.repeat(32) as Txid, vout: 0 }
  await store.register([{ outpoint, untilHeight: 900 }])
  await store.merge({ dropped: [outpoint], registrations: [{ outpoint, untilHeight: 300, unfundedUntil: 200 }] })
  assert.deepEqual(readAll(db).registrations, [{ outpoint, untilHeight: 300, unfundedUntil: 200 }])
  await store.merge({ dropped: [outpoint] })
  assert.equal(readAll(db).registrations, undefined)
})

test('of a maker that is not known no history is kept', async (t) => {
  const { db, store } = openOwn(t)
  const address = 'nobody.onion:6102'
  await store.merge({
    probes: [{ address, source: 1, atMs: 1, outcome: 'answered', latencyMs: 1 }],
    hours: [{ address, source: 1, hour: 1, answered: 1, failed: 0, unjudged: 0 }],
  })
  assert.deepEqual(readAll(db), {})
})
