/** What a stretch of time costs the daemon. */
import type { Tracker } from '../../../test/sandbox/tracker.ts'
import { cpuS, rssMb } from '../process.ts'

export interface Cost {
  rssMb: { start: number; max: number }
  /** Of one core, both threads. */
  cpuPercent: number
  /** The main thread's event loop; undefined where the metrics could not be read. */
  loopMs: { p99: number; max: number } | undefined
}

const EVERY_MS = 250

/** Runs `work` and tells what the daemon used meanwhile. */
export async function costing<T>(
  { pid, httpPort }: Tracker,
  work: () => Promise<T>,
): Promise<{ value: T; cost: Cost }> {
  await loopDelay(httpPort!) // the histogram starts anew whenever it is read
  const rss = [rssMb(pid)]
  const timer = setInterval(() => {
    try {
      rss.push(rssMb(pid))
    } catch {} // the daemon has ended, which is told elsewhere
  }, EVERY_MS)
  try {
    const startMs = performance.now()
    const startS = cpuS(pid)
    const value = await work()
    const cpuPercent = (100_000 * (cpuS(pid) - startS)) / (performance.now() - startMs)
    const cost = { rssMb: { start: rss[0]!, max: Math.max(...rss) }, cpuPercent, loopMs: await loopDelay(httpPort!) }
    return { value, cost }
  } finally {
    clearInterval(timer)
  }
}

/** Of everything since the last time it was asked. */
async function loopDelay(httpPort: number): Promise<Cost['loopMs']> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/metrics`, { signal: AbortSignal.timeout(5_000) })
    const text = await response.text()
    const read = (name: string) =>
      1000 * Number(new RegExp(`^nodejs_eventloop_lag_${name}_seconds (\\S+)`, 'm').exec(text)![1])
    return { p99: read('p99'), max: read('max') }
  } catch {
    return undefined
  }
}
