/** The shared store in a real PostgreSQL: what is merged, learnt, claimed and kept, by several trackers at once. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import { formatOutpoint, type Outpoint, type Txid } from '../../src/chain/types.ts'
import { TransientError } from '../../src/errors.ts'
import type { PostgresShared } from '../../src/store/shared/postgres/postgres-shared.ts'
import { dropAll, NEWS_CHANNEL, takeTick } from '../../src/store/shared/postgres/writing.ts'
import type { Registration } from '../../src/store/shared/registrations.ts'
import type { SharedNews } from '../../src/store/shared/store.ts'
import { DATABASE, PostgresServer } from '../sandbox/postgres.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { joinShared, readShared } from '../support/shared-store.ts'
import {
  historyInAnyOrder,
  type MergeSubject,
  makersInAnyOrder,
  proofsInAnyOrder,
  registrationsInAnyOrder,
} from '../support/shared-store-suite.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

function outpointOf(n: number): Outpoint {
  return { txid: n.toString(16).padStart(64, '0') as Txid, vout: n % 3 }
}

function registered(n: number, untilHeight = 1_000): Registration {
  return { outpoint: outpointOf(n), untilHeight }
}

const names = (registrations: readonly Registration[]) =>
  registrations.map(({ outpoint }) => formatOutpoint(outpoint)).sort()

async function market(t: TestContext, trackers: number) {
  const server = await PostgresServer.start(t)
  const clients = []
  for (let i = 0; i < trackers; i++) clients.push(await joinShared(t, server))
  const stores = clients.map(({ store }) => store)
  return { server, clients, stores, store: stores[0]! }
}

const TABLES = 'watches, dropped, makers, proofs, probes, probe_hours'

test('merging gives one result, in whatever order and however often', async (t) => {
  const { clients, store } = await market(t, 1)
  const subject: MergeSubject = {
    store,
    readAll: () => readShared(store),
    empty: async () =>
      void (await clients[0]!.postgres.query(`DELETE FROM ${TABLES.replaceAll(', ', '; DELETE FROM ')}`, [])),
  }
  await t.test('registrations', () => registrationsInAnyOrder(subject, 100))
  await t.test('makers', () => makersInAnyOrder(subject, 100))
  await t.test('proofs', () => proofsInAnyOrder(subject, 100))
  await t.test('the history of probes', () => historyInAnyOrder(subject, 100))
})

test('many registrations at once are all there, each outpoint once', async (t) => {
  const { store } = await market(t, 1)
  const all = Array.from({ length: 2_500 }, (_, n) => registered(n % 1_200, 1_000 + n))
  await Promise.all([...Array.from({ length: 50 }, (_, i) => store.register(all.slice(50 * i, 50 * i + 50)))])
  const { registrations } = await readShared(store)
  assert.deepEqual(names(registrations), names(all.slice(0, 1_200)))
  assert.equal(registrations.find(({ outpoint }) => outpoint.txid === outpointOf(0).txid)!.untilHeight, 3_400)
  assert.deepEqual(await store.counts(), { registrations: 1_200, makers: 0 })
})

test('what a stranger said is kept, though PostgreSQL has no such text', async (t) => {
  const { store } = await market(t, 1)
  const record = { address: 'a', lastProbeMs: 1, failures: 1, failureText: 'zero \0 half \ud800 whole \u{1f9c5}' }
  const probe = { address: 'a', source: 1, atMs: 1, latencyMs: 1.4, text: record.failureText } as const
  await store.merge({ makers: [{ record }], probes: [{ ...probe, outcome: 'failed', failure: 'rubbish' }] })
  const { makers, probes } = await readShared(store)
  const text = 'zero \ufffd half \ufffd whole \u{1f9c5}'
  assert.deepEqual(makers, [{ record: { ...record, failureText: text } }])
  assert.deepEqual(probes, [{ ...probe, outcome: 'failed', failure: 'rubbish', text, latencyMs: 1 }])
})

test('of a newer version is read what is known here, and the rest told', async (t) => {
  const { server } = await market(t, 0)
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { store, postgres } = await joinShared(t, server, { log })
  await store.merge({
    makers: ['a', 'b', 'c'].map((address) => ({ record: { address, lastProbeMs: 1, failures: 0 } })),
  })
  const change = (address: string, json: object) =>
    postgres.query('UPDATE makers SET record = record || $2::jsonb WHERE address = $1', [address, JSON.stringify(json)])
  await change('a', { mood: 'good', dialect: 'of tomorrow', failure: 'bored', offerAskedMs: 5 })
  await change('b', { lastProbeMs: 'yesterday' })
  const { makers } = await readShared(store)
  assert.deepEqual(makers, [
    { record: { address: 'a', lastProbeMs: 1, failures: 0, offerAskedMs: 5 } },
    { record: { address: 'c', lastProbeMs: 1, failures: 0 } },
  ])
  assert.equal(lines.length, 1)
  assert.equal(lines[0]!.row, 'b')
  assert.match(String(lines[0]!.detail), /lastProbeMs/)
})

/** What a tracker has learnt, page by page. */
class Learner {
  readonly registrations = new Map<string, number>()
  readonly hours = new Map<string, number>()
  change = 0

  async learn(store: PostgresShared): Promise<void> {
    for await (const { news, upTo } of store.newsAfter(this.change, -1)) {
      for (const outpoint of news.dropped ?? []) this.registrations.delete(formatOutpoint(outpoint))
      for (const { outpoint, untilHeight } of news.registrations ?? []) {
        this.registrations.set(formatOutpoint(outpoint), untilHeight)
      }
      for (const { address, hour, answered } of news.hours ?? []) this.hours.set(`${address} ${hour}`, answered)
      this.change = upTo ?? this.change
    }
  }
}

test('who reads on misses nothing while four write, though no notice reaches him', async (t) => {
  const { stores } = await market(t, 5)
  const [reader, ...writers] = stores as [PostgresShared, ...PostgresShared[]]
  let left = writers.length
  const writing = writers.map(async (store, w) => {
    for (let i = 0; i < 60; i++) {
      const n = (7 * i + w) % 40 // trackers meet at the same outpoints
      if (i % 5 === 4) await store.dropRegistrations([outpointOf(n), outpointOf(n + 1)])
      else if (i % 5 === 3) await store.merge({ registrations: [registered(n, 1_000 + i)] })
      else await store.register([registered(n, 1_000 + i), registered(n + 1, 1_000 + i)])
      await store.merge({ hours: [{ address: 'a', hour: n, source: w, answered: i, failed: 0, unjudged: 0 }] })
    }
    left--
  })
  const learner = new Learner()
  let rounds = 0
  while (left > 0) {
    await learner.learn(reader)
    rounds++
  }
  await Promise.all(writing)
  await learner.learn(reader)
  assert.ok(rounds > 5, 'he read while they wrote')
  const anew = new Learner()
  await anew.learn(reader)
  assert.deepEqual(new Map([...learner.registrations].sort()), new Map([...anew.registrations].sort()))
  assert.equal(learner.change, (await reader.position()).change)
  assert.equal(learner.change, anew.change)
})

test('many rows of one change come by pages, and own probes not at all', async (t) => {
  const { store } = await market(t, 1)
  const registrations = Array.from({ length: 1_234 }, (_, n) => registered(n))
  const hours = Array.from({ length: 2_500 }, (_, hour) => ({
    ...{ address: 'a', hour, source: hour % 5, answered: 1, failed: 0, unjudged: 0 },
  }))
  await store.mergeAll([{ registrations }, { hours }])
  const sizes: number[] = []
  const all: SharedNews[] = []
  for await (const { news } of store.newsAfter(0, 3)) {
    sizes.push((news.registrations ?? news.hours ?? []).length)
    all.push(news)
  }
  assert.deepEqual(sizes, [500, 500, 234, 1_000, 1_000, 0])
  assert.deepEqual(names(all.flatMap((news) => news.registrations ?? [])), names(registrations))
  assert.ok(all.every((news) => (news.hours ?? []).every(({ source }) => source !== 3)))
})

test('a change is told to who listens, and what says nothing new is none', async (t) => {
  const { server, store } = await market(t, 1)
  const heard: string[] = []
  await joinShared(t, server, { before: (postgres) => postgres.listen(NEWS_CHANNEL, (payload) => heard.push(payload)) })
  await store.register([registered(1)])
  const { change } = await store.position()
  await store.register([registered(1)])
  await store.merge({ registrations: [registered(1, 900)] })
  await store.register([registered(2)])
  const { change: last } = await store.position()
  await waitUntil('the last change is heard of', () => heard.includes(String(last)))
  assert.deepEqual(heard, [String(change), String(last)])
  assert.deepEqual((await readShared(store, change)).registrations, [registered(2)])
})

test('a whole file is taken over while others register', async (t) => {
  const { stores } = await market(t, 2)
  const [store, other] = stores as [PostgresShared, PostgresShared]
  await other.dropRegistrations([outpointOf(7)])
  const seen: string[] = []
  async function* file(): AsyncGenerator<SharedNews> {
    for (let page = 0; page < 5; page++) {
      yield { registrations: Array.from({ length: 400 }, (_, i) => registered(400 * page + i)) }
      // It is answered, and read by all, before the file is.
      await other.register([registered(10_000 + page)])
      seen.push(...names((await readShared(other)).registrations))
    }
    yield { makers: [{ record: { address: 'a', lastProbeMs: 1, failures: 0 } }] }
    yield { makers: [{ record: { address: 'a', lastProbeMs: 2, failures: 0 } }] }
  }
  const counts = await store.mergeAll(file())
  assert.deepEqual(counts, { registrations: 1_999, makers: 1, proofs: 0, probes: 0, hours: 0 })
  assert.deepEqual(new Set(seen), new Set(names([0, 1, 2, 3, 4].map((page) => registered(10_000 + page)))))
  const { registrations, makers } = await readShared(store)
  assert.equal(registrations.length, 1_999 + 5)
  assert.ok(!names(registrations).includes(formatOutpoint(outpointOf(7))), 'what was dropped stays so')
  assert.equal(makers[0]!.record.lastProbeMs, 2)
  assert.deepEqual(await store.mergeAll(file()), { registrations: 0, makers: 0, proofs: 0, probes: 0, hours: 0 })
})

test('what was dropped stays so until somebody asks for it again', async (t) => {
  const { store } = await market(t, 1)
  const one = registered(1)
  await store.register([one, registered(2)])
  const { change } = await store.position()
  assert.equal(await store.dropRegistrations([one.outpoint, outpointOf(3)]), 1)
  await store.merge({ registrations: [one, registered(2), registered(3)] })
  const since = await readShared(store, change)
  assert.deepEqual([since.dropped, since.registrations], [[one.outpoint, outpointOf(3)], []])
  await store.register([one])
  assert.deepEqual((await readShared(store, change)).dropped, [outpointOf(3)])
  await store.merge({ registrations: [registered(1, 2_000)] })
  assert.deepEqual((await readShared(store)).registrations, [registered(2), registered(1, 2_000)])
  // News that say both: dropped first.
  await store.merge({ dropped: [outpointOf(1), outpointOf(2)], registrations: [registered(2, 3_000)] })
  assert.deepEqual((await readShared(store)).registrations, [registered(2, 3_000)])
})

test('a merge that began before a drop and waited for it brings nothing back', async (t) => {
  const { clients, stores } = await market(t, 2)
  const [one, other] = stores as [PostgresShared, PostgresShared]
  await one.register([registered(1), registered(2)])
  let merging: Promise<unknown> | undefined
  await clients[0]!.postgres.transaction(async (ask) => {
    await takeTick(ask, ['registrations'])
    merging = Promise.all([other.merge({ registrations: [registered(1)] }), other.register([registered(2)])])
    await waitUntil('both wait', async () => {
      const [row] = await clients[1]!.postgres.query<{ waiting: number }>(
        "SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = current_user",
        [],
      )
      return row!.waiting === 2
    })
    await dropAll(ask, [outpointOf(1), outpointOf(2)])
  })
  await merging
  const { registrations, dropped } = await readShared(one)
  assert.deepEqual(
    [registrations, dropped],
    [[registered(2)], [outpointOf(1)]],
    'who asks for it after the drop has it',
  )
})

test('three claim the same hosts at once: each has one owner, and none is forgotten', async (t) => {
  const { stores } = await market(t, 3)
  const hosts = Array.from({ length: 20 }, (_, i) => `${i}.onion`)
  const owners = new Map<string, number>()
  const turns = new Map<string, number>()
  const claimed = async (store: PostgresShared, w: number) => {
    while (turns.size < hosts.length || [...turns.values()].some((n) => n < 5)) {
      const claims = await store.claim(hosts, 60_000)
      const ours = claims.filter(({ isOurs }) => isOurs).map(({ host }) => host)
      for (const host of ours) {
        assert.equal(owners.get(host), undefined, `${host} has two owners`)
        owners.set(host, w)
        turns.set(host, (turns.get(host) ?? 0) + 1)
      }
      await Promise.all(
        ours.map(async (host) => {
          await pause(0)
          owners.delete(host)
          await store.release(host, 0)
        }),
      )
    }
  }
  await Promise.all(stores.map(claimed))
})

test('a host is free when its lease has run out, or its pause, and not before', async (t) => {
  const { stores } = await market(t, 2)
  const [one, other] = stores as [PostgresShared, PostgresShared]
  assert.deepEqual(await one.claim(['h', 'h'], 60_000), [{ host: 'h', isOurs: true, waitMs: 0 }])
  const [claim] = await other.claim(['h'], 60_000)
  assert.ok(!claim!.isOurs && claim!.waitMs > 50_000 && claim!.waitMs <= 60_000, `${claim!.waitMs}`)
  await other.release('h', 0) // isn't his
  assert.equal((await other.claim(['h'], 60_000))[0]!.isOurs, false)
  await one.release('h', 30_000)
  const [pausing] = await other.claim(['h'], 60_000)
  assert.ok(!pausing!.isOurs && pausing!.waitMs > 25_000 && pausing!.waitMs <= 30_000, `${pausing!.waitMs}`)
  assert.deepEqual(await one.claim([], 1), [])

  await one.claim(['lapses'], 200)
  const first = await other.claim(['lapses'], 60_000)
  assert.deepEqual([first[0]!.isOurs, first[0]!.waitMs >= 100], [false, true])
  await waitUntil('the lease has run out', async () => (await other.claim(['lapses'], 60_000))[0]!.isOurs)
  await one.release('lapses', 0) // too late: it is another's
  assert.equal((await one.claim(['lapses'], 60_000))[0]!.isOurs, false)
})

test('a lease has one holder, who may renew it and give it back', async (t) => {
  const { stores } = await market(t, 3)
  const [one, other] = stores as [PostgresShared, PostgresShared]
  const taken = await Promise.all(stores.map((store) => store.take('address', 60_000)))
  assert.equal(taken.filter(Boolean).length, 1)
  const holder = stores[taken.indexOf(true)]!
  assert.equal(await holder.take('address', 60_000), true)
  for (const store of stores) if (store !== holder) await store.drop('address')
  assert.equal(await stores.find((store) => store !== holder)!.take('address', 60_000), false)
  await holder.drop('address')
  assert.equal(await one.take('address', 300), true)
  assert.equal(await other.take('address', 60_000), false)
  assert.equal(await other.take('another', 60_000), true)
  await waitUntil('the lease has run out', () => other.take('address', 60_000))
  assert.equal(await one.take('address', 60_000), false)
})

test('what is past its time goes, and nothing else', async (t) => {
  const { store, server } = await market(t, 1)
  const nowMs = 1_800_000_000_000
  const unfunded = (n: number, unfundedUntil: number) => ({ ...registered(n, 9_000), unfundedUntil })
  await store.register([
    registered(1, 855),
    registered(2, 856),
    unfunded(3, 855),
    unfunded(4, 856),
    registered(5, 855),
    registered(6, 856),
  ])
  await store.dropRegistrations([outpointOf(5), outpointOf(6)])
  const probe = (atMs: number) => ({ address: 'a', source: 1, atMs, outcome: 'answered' as const, latencyMs: 1 })
  const hour = (at: number) => ({ address: 'a', hour: at / HOUR_MS, source: 1, answered: 1, failed: 0, unjudged: 0 })
  const maker = (address: string, lastProbeMs: number) => ({ record: { address, lastProbeMs, failures: 0 } })
  await store.merge({
    probes: [probe(nowMs - 7 * DAY_MS - 1), probe(nowMs - 7 * DAY_MS)],
    hours: [hour(nowMs - 400 * DAY_MS - HOUR_MS), hour(nowMs - 400 * DAY_MS)],
    makers: [maker('old', nowMs - 400 * DAY_MS - 1), maker('a', nowMs - 400 * DAY_MS)],
  })
  await store.claim(['old', 'held', 'young'], 60_000)
  await store.release('young', 0)
  await server.psql("UPDATE turns SET free_at = now() - interval '25 hours' WHERE host <> 'young'", DATABASE)
  await server.psql("UPDATE turns SET lease_until = NULL WHERE host = 'old'", DATABASE)
  const before = await store.position()
  await store.prune(1_000, nowMs)
  const { registrations, dropped, makers, probes, hours } = await readShared(store)
  assert.deepEqual(registrations, [registered(2, 856), unfunded(4, 856)])
  assert.deepEqual(dropped, [outpointOf(6)])
  assert.deepEqual(makers, [maker('a', nowMs - 400 * DAY_MS)])
  assert.deepEqual(probes, [probe(nowMs - 7 * DAY_MS)])
  assert.deepEqual(hours, [hour(nowMs - 400 * DAY_MS)])
  assert.equal(await server.psql('SELECT host FROM turns ORDER BY host', DATABASE), 'held\nyoung')
  assert.deepEqual(await store.position(), before, 'nobody has anything to learn')
})

test('a restart, a standby that takes over and a restored dump are other places', async (t) => {
  const { server, store } = await market(t, 1)
  await store.register([registered(1)])
  const first = await store.position()
  assert.deepEqual(await store.position(), first)
  // Back to an older state, as a dump brings it: the same rows, the same random name.
  await server.psql('CREATE TABLE kept AS TABLE clock', DATABASE)
  await store.register([registered(2)])
  await server.psql('TRUNCATE clock; INSERT INTO clock TABLE kept', DATABASE)
  const restored = await store.position()
  assert.equal(restored.change, first.change)
  assert.notEqual(restored.place, first.place)

  const standby = await server.standby(t)
  await server.restart()
  const restarted = await waitUntil('it is there again', () => positionOf(store))
  assert.notEqual(restarted.place, restored.place)
  await server.stop()
  await standby.promote()
  const { store: there } = await joinShared(t, standby)
  const promoted = await there.position()
  const timeline = (place: string) => place.split(' ')[1]
  assert.notEqual(timeline(promoted.place), timeline(restarted.place))
})

async function positionOf(store: PostgresShared) {
  try {
    return await store.position()
  } catch (error) {
    if (error instanceof TransientError) return undefined
    throw error
  }
}

test('PostgreSQL is killed three times under four writers: what was answered is there', async (t) => {
  const { server, stores } = await market(t, 4)
  const acknowledged: Registration[] = []
  const stop = new AbortController()
  t.after(() => stop.abort())
  const writing = stores.map(async (store, w) => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const one = registered(1_000_000 * w + i)
      try {
        await store.register([one])
        acknowledged.push(one)
      } catch (error) {
        if (!(error instanceof TransientError)) throw error
        await pause(10)
      }
    }
  })
  for (let kill = 0; kill < 3; kill++) {
    const before = acknowledged.length
    await waitUntil('registrations are answered', () => acknowledged.length > before + 100)
    await server.kill()
    await server.launch()
  }
  const before = acknowledged.length
  await waitUntil('registrations are answered again', () => acknowledged.length > before + 100)
  stop.abort()
  await Promise.all(writing)
  await waitUntil('the first is connected again', () => positionOf(stores[0]!))
  const there = new Set(names((await readShared(stores[0]!)).registrations))
  assert.deepEqual(
    names(acknowledged).filter((name) => !there.has(name)),
    [],
  )
})
