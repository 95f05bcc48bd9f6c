/**
 * The shared store under what it may have to carry: many registrations, which a new tracker reads, and many trackers. Those
 * are the real loops by which trackers share, fifty in this process, with stand-ins for what is around them.
 */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import { asTxid } from '../../src/chain/types.ts'
import { Secret } from '../../src/secret.ts'
import { Sharing } from '../../src/sharing.ts'
import { openStore } from '../../src/store/open.ts'
import { BackedShared } from '../../src/store/shared/backed.ts'
import { storeSharedPosition } from '../../src/store/shared/local.ts'
import { upsertMaker } from '../../src/store/shared/makers.ts'
import { openPostgresShared } from '../../src/store/shared/postgres/open.ts'
import { Untold } from '../../src/store/shared/untold.ts'
import type { Lane } from '../../src/wire/work.ts'
import { systemClock } from '../../src/world.ts'
import { type Ending, PostgresServer } from '../../test/sandbox/postgres.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker, type TrackerOptions } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { joined, sharedCheck, sharedEnv } from '../../test/support/fleet.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { cpuS, peakRssMb } from './process.ts'

const TRACKERS = 50
const SECONDS = 15
const REGISTRATIONS_PER_S = 2
/** As `--probe-interval` is set where nobody says otherwise. */
const PROBE_INTERVAL_MS = 1_800_000
const PROBE_MS = 1_000
/** Registrations that have one change in common: as a busy hour leaves them. */
const PER_CHANGE = 1_000
const world = { clock: systemClock, random: Math.random, log: pino({ level: 'silent' }) }

/** `count` registrations as trackers would have put them there; the tables are there. */
async function put(postgres: PostgresServer, count: number): Promise<void> {
  await postgres.psql(
    `INSERT INTO watches SELECT sha256(i::text::bytea), 0, 20000, 5000, 1 + i / ${PER_CHANGE} + (SELECT change FROM clock)
       FROM generate_series(1, ${count}) AS i;
     UPDATE clock SET change = change + 1 + ${Math.ceil(count / PER_CHANGE)};
     UPDATE clock SET registrations = change;
     ANALYZE watches`,
    'market',
  )
}

// ---- a new tracker ----

export interface LearningFigures {
  /** From its launch until readiness says that it knows what the others know. */
  readyS: number
  /** The same with none registered. */
  emptyS: number
  perRowUs: number
  /** Processor time of the tracker until then, all its threads. */
  cpuS: number
  /** Of bitcoind meanwhile. */
  nodeCpuS: number
  /** The most memory it had. */
  rssMb: number
}

export async function measureLearning(end: Ending, count: number, options: TrackerOptions): Promise<LearningFigures> {
  const postgres = await PostgresServer.start(end, { settings: ['shared_buffers = 256MB', 'max_wal_size = 4GB'] })
  await using node = await Regtest.start()
  const env = sharedEnv(postgres.url())
  const readyAfterS = async (): Promise<[number, number, number]> => {
    const startMs = performance.now()
    await using tracker = await Tracker.start(node, { ...options, env, http: true })
    await waitUntil(
      'it knows all',
      async () => {
        if (!tracker.isRunning) throw new Error(`the tracker has ended: ${tracker.stderr}`)
        return (await sharedCheck(tracker).catch(() => undefined))?.ok
      },
      { timeoutMs: 7_200_000, everyMs: 50 },
    )
    await joined(tracker)
    return [(performance.now() - startMs) / 1_000, peakRssMb(tracker.pid), cpuS(tracker.pid)]
  }
  const [emptyS] = await readyAfterS()
  await put(postgres, count)
  const beforeCpuS = cpuS(node.pid)
  const [readyS, rssMb, usedS] = await readyAfterS()
  const nodeCpuS = cpuS(node.pid) - beforeCpuS
  await postgres.stop()
  return { readyS, emptyS, perRowUs: ((readyS - emptyS) / count) * 1e6, rssMb, cpuS: usedS, nodeCpuS }
}

// ---- fifty ----

export interface LoadFigures {
  connections: number
  /** Transactions that were committed, a second: each statement outside of one is one. */
  perS: number
  /** Of one core, of all processes of PostgreSQL. */
  cpuShare: number
}

/** Each maker is due at all of them at the same moment, once an interval; each claims it, and one tells what it found. */
export async function measureLoad(end: Ending, makers: number, held: number): Promise<LoadFigures> {
  const postgres = await PostgresServer.start(end, { settings: ['max_connections = 300', 'shared_buffers = 256MB'] })
  using stack = new DisposableStack()
  const stop = new AbortController()
  const all = Array.from({ length: TRACKERS }, () => simulated(postgres, stack))
  const running = [...all.map(({ link }) => link.run(stop.signal))]
  await waitUntil('all are connected', () => all.every(({ link }) => link.state.kind === 'up'), { timeoutMs: 120_000 })
  await put(postgres, held)
  for (const { db, common } of all) storeSharedPosition(db, await common.position())
  running.push(...all.map(({ sharing }) => sharing.run({ learnt: () => {} }, stop.signal)))
  await waitUntil('all know all', () => all.every(({ sharing }) => sharing.check.ok), { timeoutMs: 120_000 })
  const working = Promise.all([
    every(PROBE_INTERVAL_MS / makers, stop.signal, (n) => probedByOne(all, n % makers)),
    every(1_000 / REGISTRATIONS_PER_S, stop.signal, async () => {
      const outpoint = { txid: asTxid(randomHex()), vout: 0 }
      await all[randomInt(TRACKERS)]!.shared.register([{ outpoint, untilHeight: 20_000, unfundedUntil: 5_000 }])
    }),
  ])
  await pause(5_000)
  const commits = async () =>
    Number(await postgres.psql("SELECT xact_commit FROM pg_stat_database WHERE datname = 'market'"))
  const [before, beforeCpuS, startMs] = [await commits(), cpuOf(postgres), performance.now()]
  await pause(SECONDS * 1_000)
  const tookS = (performance.now() - startMs) / 1_000
  const cpuShare = (cpuOf(postgres) - beforeCpuS) / tookS
  const perS = ((await commits()) - before) / tookS
  const connections = (await postgres.connections()).length
  stop.abort()
  await Promise.allSettled([...running, working])
  await postgres.stop()
  return { connections, perS, cpuShare }
}

type Simulated = ReturnType<typeof simulated>

function simulated(postgres: PostgresServer, stack: DisposableStack) {
  const { db } = openStore(stack.use(tempDir()).path, 'regtest')
  stack.use(db)
  const { common, link } = openPostgresShared(new Secret(postgres.url()), 'regtest', world)
  const untold = new Untold(db, true, () => systemClock.nowMs())
  const shared = new BackedShared(db, common, () => link.state.kind === 'up', systemClock)
  const sharing = new Sharing({
    ...{ ...world, db, common, link, untold, source: randomInt(1, 2 ** 48 - 1) },
    indexer: { tip: () => undefined },
    learnt: { learn: async () => {} },
    liveness: { learn: () => [], record: () => undefined },
    lane: {} as Lane,
    notSynced: () => undefined,
  })
  return { db, common, link, untold, shared, sharing }
}

async function probedByOne(all: readonly Simulated[], maker: number): Promise<void> {
  const host = `maker${maker}`
  await Promise.all(
    all.map(async ({ shared, db, untold }) => {
      const [claim] = await shared.claim([host], PROBE_INTERVAL_MS)
      if (!claim?.isOurs) return
      await pause(PROBE_MS)
      const nowMs = systemClock.nowMs()
      db.transaction(() => {
        upsertMaker(db, { address: `${host}:1`, lastProbeMs: nowMs, lastUpMs: nowMs, failures: 0 })
        untold.maker(`${host}:1`)
      })
      await shared.release(host, PROBE_INTERVAL_MS)
    }),
  )
}

/** Doesn't wait for what it began before. */
async function every(ms: number, signal: AbortSignal, work: (n: number) => Promise<void>): Promise<void> {
  const under: Promise<void>[] = []
  const startMs = performance.now()
  for (let n = 0; !signal.aborted; n++) {
    under.push(work(n).catch(() => {})) // cut off by the end of it all
    await pause(Math.max(0, startMs + (n + 1) * ms - performance.now()), undefined, { signal }).catch(() => {})
  }
  await Promise.all(under)
}

function randomHex(): string {
  return Array.from({ length: 64 }, () => randomInt(16).toString(16)).join('')
}

/** Processor seconds of the server and its processes, those that have ended too. */
function cpuOf(postgres: PostgresServer): number {
  const pid = Number(readFileSync(`${postgres.dataDir}/postmaster.pid`, 'utf8').split('\n')[0])
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  const fields = (one: string) => readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1]!.split(' ').map(Number)
  const own = [String(pid), ...children].map((one) => fields(one)[11]! + fields(one)[12]!)
  const ended = fields(String(pid))
  return (own.reduce((sum, ticks) => sum + ticks, 0) + ended[13]! + ended[14]!) / 100
}
