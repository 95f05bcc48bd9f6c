/** What the store keeps of relays, over restarts and changes of the setting. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { noFaults } from '../../../src/nostr/relay-view.ts'
import {
  claimRelays,
  deleteRelayHoursBefore,
  readRelayBonds,
  readRelayHours,
  readRelayReports,
  readRelaysWithout,
  updateRelay,
  upsertRelayHour,
  writeRelayBonds,
} from '../../../src/store/local/relays.ts'
import { openStore } from '../../../src/store/open.ts'
import { txidOf } from '../../support/bonds.ts'
import { tempDir } from '../../support/temp-dir.ts'

const [A, B] = ['wss://a.example', 'ws://b.example']
const counts = { announced: 3, missing: 2, dead: 1, invalid: 0 }

function setUp(t: TestContext) {
  const dir = tempDir()
  const { db } = openStore(dir.path, 'regtest')
  t.after(() => {
    db[Symbol.dispose]()
    dir[Symbol.dispose]()
  })
  return db
}

test('a relay goes on where it was left; bonds are written, lengthened and taken out', (t) => {
  const db = setUp(t)
  const [a, b] = claimRelays(db, [A, B])
  assert.deepEqual(a, { id: a!.id, url: A, delaysS: [], faults: noFaults() })
  const past = { ...a!, cursorS: 70, readS: 80, delaysS: [4], faults: { ...noFaults(), old: 2 } }
  updateRelay(db, past, { url: A })
  assert.deepEqual(claimRelays(db, [A, B]), [past, b])
  assert.deepEqual(readRelayReports(db), [{ url: A, report: { url: A } }])

  const held = (untilS: number, isOwn = false) => ({ untilS, isOwn })
  writeRelayBonds(db, a!.id, [
    [txidOf(1), held(100)],
    [txidOf(2), held(100, true)],
  ])
  writeRelayBonds(db, a!.id, [[txidOf(1), held(200)], [txidOf(2)]])
  assert.deepEqual(readRelayBonds(db, a!.id), [[txidOf(1), held(200)]])
  assert.deepEqual(readRelayBonds(db, b!.id), [])
  assert.deepEqual(readRelaysWithout(db, txidOf(1), 200), new Set([B]))
  assert.deepEqual(readRelaysWithout(db, txidOf(1), 201), new Set([A, B]), 'its event is over')
})

test('one that is not named any more is not told of; its hours are kept until they are over', (t) => {
  const db = setUp(t)
  const [a, b] = claimRelays(db, [A, B])
  for (const one of [a!, b!]) updateRelay(db, { ...one, readS: 5 }, { url: one.url })
  writeRelayBonds(db, a!.id, [[txidOf(1), { untilS: 9, isOwn: false }]])
  for (const hour of [10, 11]) upsertRelayHour(db, a!.id, { hour, ...counts })
  upsertRelayHour(db, a!.id, { hour: 11, ...counts, missing: 0 })
  const hours = [
    { url: A, hour: 10, ...counts },
    { url: A, hour: 11, ...counts, missing: 0 },
  ]
  assert.deepEqual(readRelayHours(db, 0, 100), hours)
  assert.deepEqual(readRelayHours(db, 11, 100), hours.slice(1))
  assert.deepEqual(readRelayHours(db, 0, 1), hours.slice(1), 'the newest')

  assert.deepEqual(claimRelays(db, []), [])
  assert.deepEqual(readRelayReports(db), [])
  assert.deepEqual(readRelayHours(db, 0, 100), hours)
  const [again] = claimRelays(db, [A])
  assert.deepEqual([again!.id, again!.readS], [a!.id, undefined])
  assert.deepEqual(readRelayBonds(db, a!.id), [])
  deleteRelayHoursBefore(db, 12)
  claimRelays(db, [B])
  assert.deepEqual(readRelaysWithout(db, txidOf(1), 0), new Set([B]), 'nothing is left of the other')
})

test('numbers that can’t be read are damage, and say what to do', (t) => {
  const db = setUp(t)
  claimRelays(db, [A])
  db.prepare('UPDATE relays SET delays = \'["soon"]\'').run()
  assert.throws(() => claimRelays(db, [A]), /damaged \(a row of relays\): .*check-db --salvage/)
})
