/**
 * start: from the command to the first answer on a database that is there, with bitcoind away, and the stop after it; what
 * the verbs take that read it; and idle: the memory of a daemon that has caught up and is left alone.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sleep } from '../../src/world.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { fill, unreachable } from './get.ts'
import { rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const MAKERS = 1_000
const ROUNDS = 5
/** Each reads what is there, and prints it. */
const VERBS = ['status', 'health', 'bonds', 'makers', 'trackers', 'relays', 'export', 'watches']
const IDLE_MS = 60_000

/** Medians, ms. */
export interface StartFigures {
  /** Node itself, with nothing to run: what no program in it is below. */
  nodeMs: number
  versionMs: number
  /** The slowest of the verbs that read. */
  verbMs: number
  /** `start` until `Status` is answered. */
  answerMs: number
  /** SIGTERM until the exit: right after the start, and once it has been idle. */
  stopMs: number
  idleStopMs: number
}

/** `main`: the program to measure, ours unless another build is named. */
export async function measureStart(main: string = MAIN): Promise<StartFigures> {
  await using market = await aMarket(main)
  await using tracker = await Tracker.start(market.node, { dataDir: market.dataDir, main })
  await tracker.caughtUp(market.node)
  await tracker.stop()
  await market.node.stop()
  const settings = ['--network', 'regtest', '--datadir', market.dataDir]
  const times = { node: [], version: [], answer: [], stop: [], idleStop: [] } as Record<string, number[]>
  const verbs = new Map<string, number[]>(VERBS.map((verb) => [verb, []]))
  const isAnswered = () => tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
  const start = () => {
    tracker.launch()
    return waitUntil('it answers', isAnswered, { everyMs: 5 })
  }
  for (let round = 0; round < ROUNDS; round++) {
    times.node!.push(await took(() => run('-e', '0')))
    times.version!.push(await took(() => run(main, '--version')))
    for (const [verb, tookMs] of verbs) tookMs.push(await took(() => run(main, verb, ...settings)))
    times.answer!.push(await took(start))
    times.stop!.push(await took(() => tracker.stop()))
    await start()
    await sleep(2_000, AbortSignal.timeout(10_000)) // the thread for bitcoind is there as well
    times.idleStop!.push(await took(() => tracker.stop()))
  }
  const median = (values: readonly number[]) => quantile(values, 0.5)
  return {
    nodeMs: median(times.node!),
    versionMs: median(times.version!),
    verbMs: Math.max(...[...verbs.values()].map(median)),
    answerMs: median(times.answer!),
    stopMs: median(times.stop!),
    idleStopMs: median(times.idleStop!),
  }
}

export async function benchStart(main?: string): Promise<void> {
  const { nodeMs, versionMs, verbMs, answerMs, stopMs, idleStopMs } = await measureStart(main)
  const row = (name: string, ms: number) => [name, ms, ms / nodeMs]
  report(`start: ${MAKERS} makers in the database, bitcoind away, ${ROUNDS} rounds`, [
    ['', 'median ms', 'ratio'],
    row('node -e 0', nodeMs),
    row('fidelity-tracker --version', versionMs),
    row('the slowest reading verb', verbMs),
    row('start until Status is answered', answerMs),
    row('SIGTERM until exit, just started', stopMs),
    row('SIGTERM until exit, idle', idleStopMs),
  ])
}

/** Resident memory, MB, of a daemon with HTTP and the Nostr relay, a minute after it has caught up. */
export async function measureIdle(main: string = MAIN): Promise<{ rssMb: number }> {
  await using market = await aMarket(main)
  const options = { dataDir: market.dataDir, args: ['--no-tor'], http: true, nostr: true as const, main }
  await using tracker = await Tracker.start(market.node, options)
  await tracker.caughtUp(market.node)
  await sleep(IDLE_MS, AbortSignal.timeout(2 * IDLE_MS))
  return { rssMb: rssMb(tracker.pid) }
}

export async function benchIdle(main?: string): Promise<void> {
  report(`idle: ${MAKERS} makers, HTTP and Nostr on, a minute after it has caught up`, [
    ['resident memory, MB', (await measureIdle(main)).rssMb],
  ])
}

/** A node, and a database in which its chain has a thousand makers. */
async function aMarket(main: string): Promise<AsyncDisposable & { node: Regtest; dataDir: string }> {
  const node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  await fill(node, dataDir, unreachable(MAKERS), main)
  return {
    node,
    dataDir,
    async [Symbol.asyncDispose]() {
      await node[Symbol.asyncDispose]()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function run(...args: string[]): Promise<void> {
  await once(spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'ignore'] }), 'exit')
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}
