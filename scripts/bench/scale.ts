/**
 * scale [--ten-million] [PART...]: what several trackers cost and gain: real daemons without Tor, one bitcoind, a real PostgreSQL of
 * the bench's own, all on loopback and on the same cores. Compare the ratios.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { asTxid, type Outpoint } from '../../src/chain/types.ts'
import { ask } from '../../src/wire/client.ts'
import { type Ending, PostgresServer } from '../../test/sandbox/postgres.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker, type TrackerOptions } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { makeCoins, send, sign } from '../../test/support/coins.ts'
import { Fleet, joined, knows, register, sharedEnv } from '../../test/support/fleet.ts'
import { Wallet } from '../../test/support/subscriber.ts'
import { fill, load, unreachable } from './get.ts'
import { quantile, report } from './report.ts'
import { measureLearning, measureLoad } from './scale-store.ts'

const SECONDS = 5
const LEARNT = 300
const SPENDS = 50
const FAILOVERS = 3
const MAKERS = 1_000
const UNPACED = [
  '--units-per-second',
  '1000000',
  '--units-burst',
  '10000000',
  '--registrations-per-connection',
  '1000000',
]
const OPTIONS: TrackerOptions = { args: ['--no-tor', '--watches-max', '10000000', ...UNPACED] }
const TTL_BLOCKS = 5_000

const PARTS: Record<string, (end: Ending, isTenMillion: boolean) => Promise<void>> = {
  register: benchRegister,
  spends: benchSpends,
  get: benchGets,
  failover: benchFailover,
  learning: (end, isTenMillion) => benchLearning(end, isTenMillion ? [10_000_000] : [10_000, 100_000]),
  load: benchLoad,
}

/** `args`: the parts that are wanted, all where none is named. */
export async function benchScale(args: readonly string[]): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const end: Ending = { after: (ending) => stack.defer(ending) }
  const named = args.filter((arg) => arg in PARTS)
  for (const part of named.length > 0 ? named : Object.keys(PARTS)) {
    await PARTS[part]!(end, args.includes('--ten-million'))
  }
}

// ---- registering ----

async function benchRegister(end: Ending): Promise<void> {
  const rows: (string | number)[][] = []
  for (const connections of [1, 16]) {
    const alone = await inSqlite((tracker) => registerTimes(tracker, connections))
    await using fleet = await Fleet.start(end, { count: 3, tracker: OPTIONS })
    const shared = await registerTimes(fleet.trackers[0]!, connections)
    for (const [name, q] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const) {
      const [a, b] = [quantile(alone, q), quantile(shared, q)]
      rows.push([`${connections}, ${name} ms`, a, b, b / a])
    }
    rows.push([
      `${connections}, a second`,
      alone.length / SECONDS,
      shared.length / SECONDS,
      shared.length / alone.length,
    ])
    if (connections === 1) await benchLearnt(fleet)
  }
  report('scale: Register of one outpoint, by connections; three trackers with PostgreSQL', [
    ['', 'SQLite', 'PostgreSQL', 'ratio'],
    ...rows,
  ])
}

async function inSqlite<T>(measure: (tracker: Tracker) => Promise<T>): Promise<T> {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, OPTIONS)
  await tracker.caughtUp(node)
  return await measure(tracker)
}

/** One request in flight on each connection. */
async function registerTimes(tracker: Tracker, connections: number): Promise<number[]> {
  const times: number[] = []
  const endMs = performance.now() + SECONDS * 1_000
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = await tracker.connect()
      while (performance.now() < endMs) {
        const sentMs = performance.now()
        const request = { type: 'Register', outpoints: [madeUp()], ttlBlocks: TTL_BLOCKS } as const
        const reply = await ask(socket, request, { timeoutMs: 20_000 })
        if (reply.type !== 'Registered') throw new Error(`refused: ${JSON.stringify(reply)}`)
        times.push(performance.now() - sentMs)
      }
      socket.destroy()
    }),
  )
  return times
}

function madeUp(): Outpoint {
  return { txid: asTxid(randomBytes(32).toString('hex')), vout: 0 }
}

/** From the answer of one until the row is in another's file: by then it watches the outpoint, too. */
async function benchLearnt({ trackers }: Fleet): Promise<void> {
  const [first, second] = [trackers[0]!, trackers[1]!]
  const db = new Database(join(second.dataDir, 'tracker.sqlite'), { readonly: true })
  const isThere = db.prepare('SELECT 1 FROM watches WHERE txid = ?').pluck()
  const settled = madeUp()
  await register(first, [settled])
  await knows(second, [settled]) // all of before is learnt as well
  const times: number[] = []
  while (times.length < LEARNT) {
    await pause(Math.random() * 400) // at any moment of the other's pauses
    const outpoint = madeUp()
    await register(first, [outpoint])
    const key = Buffer.from(outpoint.txid, 'hex')
    const fromMs = performance.now()
    const isLearnt = () => isThere.get(key) !== undefined || isThere.get(Buffer.from(key).reverse()) !== undefined
    await waitUntil('it is learnt', isLearnt, { everyMs: 1 })
    times.push(performance.now() - fromMs)
  }
  db.close()
  report(`scale: from Registered until another tracker watches it, ${LEARNT} times`, [
    ['', 'p50 ms', 'p99 ms', 'max ms'],
    ['', quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1)],
  ])
}

// ---- being told ----

/** A coin registered at the first tracker is subscribed to there and at the second: when each pushes its spend. */
async function benchSpends(end: Ending): Promise<void> {
  await using fleet = await Fleet.start(end, { count: 2, tracker: OPTIONS })
  const coins = await makeCoins(fleet.node, SPENDS, 20_000)
  await fleet.together()
  await register(fleet.trackers[0]!, coins, TTL_BLOCKS)
  await knows(fleet.trackers[1]!, coins)
  const rows: (string | number)[][] = []
  const wallets = await Promise.all(fleet.trackers.map((tracker) => Wallet.open(tracker)))
  for (const wallet of wallets) await wallet.subscribe(coins.map(({ txid, vout }) => ({ txid, vout })))
  const times: number[][] = [[], []]
  for (const coin of coins) {
    const signed = await sign(fleet.node, [coin])
    const sentMs = performance.now()
    await send(fleet.node, signed)
    await Promise.all(
      wallets.map(async (wallet, i) => {
        await waitUntil('it is pushed', () => wallet.last(coin)?.txid === signed.txid, { everyMs: 1 })
        times[i]!.push(performance.now() - sentMs)
      }),
    )
  }
  for (const [i, name] of ['that took the registration', 'another'].entries()) {
    rows.push([name, quantile(times[i]!, 0.5), quantile(times[i]!, 0.99)])
  }
  for (const wallet of wallets) wallet[Symbol.dispose]()
  report(`scale: from sending the spend to bitcoind until the push, ${SPENDS} coins, by tracker`, [
    ['', 'p50 ms', 'p99 ms'],
    ...rows,
  ])
}

/** All trackers and all clients are on the same cores: what a machine more would give is seen from the processor time. */
async function benchGets(end: Ending): Promise<void> {
  await using stack = new AsyncDisposableStack()
  await using fleet = await Fleet.start(end, { count: 0, tracker: OPTIONS })
  for (let i = 0; i < 3; i++) {
    const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
    stack.defer(() => rmSync(dataDir, { recursive: true, force: true }))
    await fill(fleet.node, dataDir, unreachable(MAKERS))
    stack.use(await fleet.add({ dataDir }))
  }
  await fleet.together()
  const rows: (string | number)[][] = []
  let first: number | undefined
  for (const count of [1, 2, 3]) {
    const loads = await Promise.all(fleet.trackers.slice(0, count).map((tracker) => load(tracker, 16)))
    const perS = loads.reduce((sum, one) => sum + one.perS, 0)
    first ??= perS
    rows.push([count, perS, perS / first, loads.reduce((sum, { cpuUs }) => sum + cpuUs, 0) / count])
  }
  report(`scale: Get of ${MAKERS} makers, 16 connections at each tracker, by trackers`, [
    ['', 'a second', 'ratio', 'CPU us'],
    ...rows,
  ])
}

// ---- the primary is lost ----

async function benchFailover(end: Ending): Promise<void> {
  await using node = await Regtest.start()
  const gaps: number[] = []
  for (let i = 0; i < FAILOVERS; i++) gaps.push(await failover(end, node))
  report('scale: the primary is killed and its standby promoted: longest time without Registered, ms', [
    ['', ...gaps.map((_, i) => `round ${i + 1}`)],
    ['', ...gaps],
  ])
}

/** A client registers one outpoint after the other, each again until it is `Registered`. */
async function failover(end: Ending, node: Regtest): Promise<number> {
  const primary = await PostgresServer.start(end)
  const standby = await primary.standby(end)
  await primary.setSynchronous('*')
  const env = sharedEnv(primary.url({ others: [standby] }))
  await using tracker = await Tracker.start(node, { ...OPTIONS, env, http: true })
  await tracker.caughtUp(node)
  await joined(tracker)
  const answeredMs: number[] = []
  const stop = new AbortController()
  const registering = (async () => {
    while (!stop.signal.aborted) {
      await register(tracker, [madeUp()]).then(
        () => answeredMs.push(performance.now()),
        () => pause(20), // busy: the client comes again
      )
    }
  })()
  await waitUntil('it registers', () => answeredMs.length > 20)
  await primary.kill()
  await standby.promote()
  const before = answeredMs.length
  await waitUntil('it registers again', () => answeredMs.length > before + 20, { timeoutMs: 60_000 })
  stop.abort()
  await registering
  await standby.stop()
  return Math.max(...answeredMs.slice(1).map((atMs, i) => atMs - answeredMs[i]!))
}

// ---- much ----

async function benchLearning(end: Ending, counts: readonly number[]): Promise<void> {
  const rows: (string | number)[][] = []
  for (const count of counts) {
    const { readyS, perRowUs, rssMb, cpuS, nodeCpuS, emptyS } = await measureLearning(end, count, OPTIONS)
    rows.push([count.toLocaleString('en'), readyS, readyS - emptyS, perRowUs, cpuS, nodeCpuS, rssMb])
  }
  report('scale: a tracker without a file starts, with so many registrations in PostgreSQL', [
    ['', 'ready s', 'more s', 'us a row', 'CPU s', 'node CPU s', 'RSS MB'],
    ...rows,
  ])
}

async function benchLoad(end: Ending): Promise<void> {
  const rows: (string | number)[][] = []
  for (const [makers, held] of [
    [100, 10_000],
    [1_000, 10_000],
    [100, 200_000],
    [1_000, 200_000],
  ] as const) {
    const { connections, perS, cpuShare } = await measureLoad(end, makers, held)
    rows.push([`${makers} makers, ${held.toLocaleString('en')} held`, connections, perS, perS / 50, 100 * cpuShare])
  }
  report('scale: 50 trackers at one PostgreSQL, two registrations a second', [
    ['', 'connections', 'commits/s', 'a tracker', 'CPU %'],
    ...rows,
  ])
}
