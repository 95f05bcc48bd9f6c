/**
 * mempool: a mempool of mainnet's size and one of three times that appear at once, and then change: how long until they
 * are known, what they cost, and how long a request has to wait meanwhile.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { cpuS, rssMb } from './process.ts'
import { quantile, report } from './report.ts'
import { startNullNode, waits } from './scan.ts'

const SIZES = [100_000, 300_000]
/** Transactions that come at once to a mempool that is known. */
const NEW = 1_000
/** Listings with nothing new. */
const LISTINGS = 5
const WAIT = { timeoutMs: 120_000 }

/** Waits of a `Status` request on a kept connection, one in flight, ms: n, median, p99, p99.9, max. */
type Waits = number[]

export interface MempoolFigures {
  transactions: number
  /** Until the last of them is fetched, seconds. */
  knownAfterS: number
  /** Resident memory: without a mempool, while this one is listed again and again, and after it has gone. */
  emptyMb: number
  fullMb: number
  goneMb: number
  /** Processor time of a listing with nothing new, ms. */
  listingCpuMs: number
  waits: { fill: Waits; listings: Waits; news: Waits; gone: Waits }
}

/** `main`: the program measured, the path of its main.js. */
export async function measureMempool(
  blocks: readonly Buffer[],
  { transactions = SIZES[0]!, main = MAIN } = {},
): Promise<MempoolFigures> {
  await using node = await startNullNode(blocks, { blocks: 10, mempool: transactions + NEW })
  const has = (from: number, to: number) => ask(node.port, 'setmempool', from, to)
  const served = async () => (await ask(node.port, 'servedmempool')) as { listings: number; transactions: number }
  await has(0, 0)
  await using tracker = await start(node.port, main)
  await tracker.said('ready')
  const emptyMb = rssMb(tracker.pid)

  const startMs = performance.now()
  await has(0, transactions)
  const fill = await waits(tracker, async () => (await served()).transactions < transactions)
  const knownAfterS = (performance.now() - startMs) / 1000

  const next = (await served()).listings + 1
  const listings = await waits(tracker, async () => (await served()).listings < next + LISTINGS)
  // The same with nobody asking.
  const { listings: first } = await served()
  const startCpuS = cpuS(tracker.pid)
  await waitUntil('it has listed some times', async () => (await served()).listings >= first + LISTINGS, WAIT)
  const listingCpuMs = (1000 * (cpuS(tracker.pid) - startCpuS)) / LISTINGS
  const fullMb = rssMb(tracker.pid)

  await has(NEW, transactions + NEW)
  const news = await waits(tracker, async () => (await served()).transactions < transactions + NEW)
  await pause(1_000) // those who have left are told
  await has(0, 0)
  const gone = await waits(tracker, async () => tracker.status()?.mempool.transactions !== 0)
  return {
    ...{ transactions, knownAfterS, emptyMb, fullMb, goneMb: rssMb(tracker.pid), listingCpuMs },
    waits: { fill: waitsOf(fill), listings: waitsOf(listings), news: waitsOf(news), gone: waitsOf(gone) },
  }
}

export async function benchMempool(blocks: readonly Buffer[]): Promise<void> {
  for (const transactions of SIZES) {
    const { knownAfterS, emptyMb, fullMb, goneMb, listingCpuMs, waits } = await measureMempool(blocks, { transactions })
    report(`mempool: ${transactions} transactions`, [
      ['known after, s', knownAfterS],
      ['a listing, CPU ms', listingCpuMs],
      ['resident memory, empty, MB', emptyMb],
      ['  full', fullMb],
      ['  all gone', goneMb],
      ['Status waits, ms', 'n', 'median', 'p99', 'p99.9', 'max'],
      ['  while all come', ...waits.fill],
      ['  while nothing changes', ...waits.listings],
      [`  while ${NEW} come and go`, ...waits.news],
      ['  while all go', ...waits.gone],
    ])
  }
}

function waitsOf(times: readonly number[]): Waits {
  return [times.length, ...[0.5, 0.99, 0.999, 1].map((q) => quantile(times, q))]
}

function start(port: number, main: string): Promise<Tracker> {
  // The null node stands in for a Regtest where only its port is looked at.
  return Tracker.start({ rpcPort: port } as Regtest, {
    args: ['--no-tor'],
    env: { FIDELITY_TRACKER_AUTH: 'x:x' },
    cookie: false,
    main,
  })
}

/** One of the null node's own questions. */
async function ask(port: number, method: string, ...params: number[]): Promise<unknown> {
  const body = JSON.stringify({ id: method, method, params })
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body })
  return ((await response.json()) as { result: unknown }).result
}
