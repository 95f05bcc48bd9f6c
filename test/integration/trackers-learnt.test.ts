/** Whom a tracker keeps of those that strangers name, and how often it asks them: over a real store, on a clock turned by hand. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { NO_BLOCK } from '../../src/chain/types.ts'
import { DialBudget } from '../../src/peers/dial-budget.ts'
import { KNOWN_LIMITS, KnownTrackers } from '../../src/peers/known-trackers.ts'
import { Trackers } from '../../src/peers/trackers.ts'
import {
  deleteTracker,
  insertTracker,
  readTrackerAddresses,
  type TrackerRecord,
} from '../../src/store/local/trackers.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { parseHostPort } from '../../src/tor/address.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { outpointOf } from '../support/bonds.ts'
import { onionHost } from '../support/onions.ts'
import { startPretender } from '../support/pretender.ts'
import { HandClock } from '../support/wire.ts'

const HOUR_MS = 3_600_000

function store(t: TestContext): Db {
  const dir = mkdtempSync(join(tmpdir(), 'ft-learnt-'))
  const { db } = openStore(dir, 'main')
  t.after(() => {
    db[Symbol.dispose]()
    rmSync(dir, { recursive: true })
  })
  return db
}

function learnt(name: string, addedS: number, change: Partial<TrackerRecord> = {}): TrackerRecord {
  return { address: `${onionHost(name)}:8080`, source: 'learnt', addedS, failures: 0, ...change }
}

const addresses = (known: KnownTrackers) => new Set(known.list().map(({ address }) => address))

test('whoever brings any number of trackers takes the place of those that fail, and never that of the older half', (t) => {
  const db = store(t)
  let n = 0
  const known = new KnownTrackers(db, [], 0, () => (n++ * 0.6180339887) % 1)
  const { learntMax } = KNOWN_LIMITS
  for (let i = 0; i < learntMax; i++) known.learn(learnt(`old ${i}`, i))
  known.keep({ ...learnt('old 3', 3), failures: 2 })
  known.learn(learnt('new', 1_000))
  assert.ok(!addresses(known).has(learnt('old 3', 3).address), 'it was asked in vain')
  for (let i = 0; i < 500; i++) known.learn(learnt(`evil ${i}`, 2_000 + i))
  assert.equal(known.list().length, learntMax)
  for (let i = 0; i < learntMax / 2; i++) {
    if (i !== 3) assert.ok(addresses(known).has(learnt(`old ${i}`, i).address), `old ${i}`)
  }
  assert.deepEqual(new Set(readTrackerAddresses(db)), addresses(known))
})

test('at a start: the configured ones, and of the others so many, one a host, without what they say of bonds', (t) => {
  const db = store(t)
  const compared = { agrees: false, height: 9, onlyOurs: [outpointOf(1)], onlyTheirs: [outpointOf(2)] }
  insertTracker(db, learnt('was configured', 1, { source: 'configured', compared }))
  insertTracker(db, learnt('host', 2))
  insertTracker(db, learnt('host', 3, { address: `${onionHost('host')}:9` }))
  insertTracker(db, learnt('configured now', 4, { compared }))
  for (let i = 0; i < 2 * KNOWN_LIMITS.learntMax; i++) insertTracker(db, learnt(`more ${i}`, 10 + i))
  const configured = [
    { host: onionHost('configured now'), port: 8080 },
    { host: onionHost('fresh'), port: 8080 },
  ]
  const known = new KnownTrackers(db, configured, 5, Math.random)
  const bySource = (source: string) => known.list().filter((record) => record.source === source)
  assert.deepEqual(
    bySource('configured')
      .map(({ address }) => address)
      .sort(),
    configured.map(({ host }) => `${host}:8080`).sort(),
  )
  assert.deepEqual(known.get(`${onionHost('configured now')}:8080`)!.compared, compared)
  assert.equal(bySource('learnt').length, KNOWN_LIMITS.learntMax)
  assert.deepEqual(known.get(learnt('was configured', 1).address)!.compared, {
    ...compared,
    onlyOurs: [],
    onlyTheirs: [],
  })
  assert.equal(known.get(`${onionHost('host')}:9`), undefined)
  assert.deepEqual(new Set(readTrackerAddresses(db)), addresses(known))
})

test('a learnt one whose row another process has deleted is forgotten, also when an answer of it comes later', (t) => {
  const db = store(t)
  const configured = [{ host: onionHost('named'), port: 8080 }]
  const known = new KnownTrackers(db, configured, 0, Math.random)
  const [one, other] = [learnt('one', 1), learnt('other', 2)]
  known.learn(one)
  known.learn(other)
  for (const { address } of known.list()) deleteTracker(db, address)
  known.keep({ ...one, seenS: 7 })
  assert.equal(known.get(one.address), undefined)
  assert.deepEqual(known.noticeForgotten(), [other.address])
  known.keep({ ...known.list()[0]!, seenS: 7 })
  assert.deepEqual(readTrackerAddresses(db), [`${onionHost('named')}:8080`], 'what the operator names is kept')
})

test('a learnt tracker is asked once an hour, and one that was not is dialled no sooner, restarts or not', async (t) => {
  const db = store(t)
  const clock = new HandClock()
  const pong = { version: '1', network: 'main', height: 1, blockHash: NO_BLOCK, digest: Buffer.alloc(32) }
  await using good = await startPretender((_, address) => ({ type: 'Pong', address, ...pong }))
  await using liar = await startPretender(() => ({ type: 'Pong', address: 'elsewhere:1', ...pong }))
  const { log, random } = { log: pino({ level: 'silent' }), random: () => 0.5 }
  const run = async (during: (trackers: Trackers) => Promise<void>) => {
    const options = { configured: [], intervalMs: 300_000, timeoutMs: 20_000, socks: undefined }
    const trackers = new Trackers(
      { ...options, network: 'main', allowTestAddresses: true },
      {
        ...{ clock, log, random, db, dials: new DialBudget(clock) },
        selves: () => [{ host: 'us.onion', port: 1 }],
        tellsAddress: () => undefined,
        ownList: () => undefined,
      },
    )
    const stop = new AbortController()
    const running = trackers.run(stop.signal)
    await during(trackers)
    stop.abort(new Error('enough'))
    await assert.rejects(running, /enough/)
  }
  const hints = (trackers: Trackers) => {
    for (const { address } of [good, liar]) {
      const { host, port } = parseHostPort(address)!
      trackers.hint(host, port, {})
    }
  }
  /** The loop has looked at least once since. */
  const looked = async (trackers: Trackers) => {
    const probe = await startPretender(() => 'close')
    trackers.hint(probe.address, probe.port, {})
    await waitUntil('a later hint was followed', () => probe.heard.length === 1)
    await probe[Symbol.asyncDispose]()
  }
  await run(async (trackers) => {
    hints(trackers)
    await waitUntil('one is learnt', () => trackers.list().length === 1 && liar.heard.length === 1)
    clock.atMs += HOUR_MS - 1_000
    hints(trackers)
    await looked(trackers)
    assert.deepEqual([good.heard, liar.heard], [['Ping'], ['Ping']])
  })
  // A restart forgets that the liar was dialled, once; the learnt one has its hour in the store.
  await run(async (trackers) => {
    hints(trackers)
    await looked(trackers)
    assert.deepEqual([good.heard.length, liar.heard.length], [1, 2])
    clock.atMs += HOUR_MS / 4
    await waitUntil('the learnt one is asked again', () => good.heard.length === 2)
    hints(trackers)
    await looked(trackers)
    assert.deepEqual([good.heard.length, liar.heard.length], [2, 2])
    assert.deepEqual(trackers.hintCounts, { taken: 3, known: 2, refused: 1 })
  })
})
