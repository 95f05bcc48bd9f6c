/**
 * npm run soak -- [--minutes N]: a daemon's life with everything that strangers, bitcoind and Tor do to it, and whether it
 * grows. npm run soak -- kills [COUNT]: kill -9 under load, and whether anything is lost. Exit code 1 when so.
 */
import { parseArgs } from 'node:util'
import { quantile, report } from '../bench/report.ts'
import type { Held } from './held.ts'
import { soakKills } from './kills.ts'
import { liveThrough, ROUNDS, type Round } from './life.ts'

const ROUND_MS = 8_000
/** Between the first and the last quarter of all rounds. */
const RSS_GROWTH_MAX = 1.1
/** A probe, a look at another tracker: what was on its way at each single look. */
const HANDLES_MORE_MAX = 4

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: 'string', default: '60' } },
})
const [which, count = '200'] = positionals
if (which !== undefined && which !== 'kills') throw new Error('usage: soak [--minutes N] | kills [COUNT]')
const faults = which === 'kills' ? await kills(Number(count)) : await life(60_000 * Number(values.minutes))
for (const fault of faults) process.stdout.write(`  ${fault}\n`)
process.stdout.write(faults.length === 0 ? 'holds\n' : 'FAILS\n')
if (faults.length > 0) process.exitCode = 1

async function kills(wanted: number): Promise<string[]> {
  const startMs = performance.now()
  const { losses, ...done } = await soakKills(wanted, (n) => {
    if (n % 10 === 0) process.stderr.write(`${n} kills\n`)
  })
  const told = Object.entries(done).map(([what, n]) => `${n} ${what}`)
  process.stdout.write(`${told.join(', ')}, in ${((performance.now() - startMs) / 1000).toFixed(0)} s\n`)
  return losses
}

async function life(forMs: number): Promise<string[]> {
  const endMs = performance.now() + forMs
  let lap: string[] = []
  const next = (done: number) => {
    // Each lap has them all, in an order of its own; the time is over when a lap is, or after one of them.
    if (performance.now() > endMs && done >= ROUNDS.length) return undefined
    if (lap.length === 0) lap = ROUNDS.toSorted(() => Math.random() - 0.5)
    return lap.pop()
  }
  const onRound = ({ name, held, losses }: Round) => {
    const lost = losses.length === 0 ? '' : `  LOST ${losses.join('; ')}`
    process.stderr.write(`${name.padEnd(10)} ${held.rssMb.toFixed(0)} MB, ${held.handles} handles${lost}\n`)
  }
  const { rounds, losses } = await liveThrough({ next, roundMs: ROUND_MS, withTor: true, onRound })
  report(`soak: ${rounds.length} rounds of ${ROUND_MS / 1000} s`, [
    ['round', 'times', 'requests', 'p50 ms', 'p99', 'max', 'lost'],
    ...ROUNDS.flatMap((name) => rowOf(name, rounds)),
  ])
  const quarter = Math.max(1, Math.floor(rounds.length / 4))
  const [early, late] = [rounds.slice(0, quarter), rounds.slice(-quarter)]
  const median = (of: keyof Held, some: readonly Round[]) =>
    quantile(
      some.map(({ held }) => held[of]),
      0.5,
    )
  const kinds: (keyof Held)[] = ['rssMb', 'heapMb', 'handles', 'resources', 'files']
  report('at rest, medians', [
    ['', ...kinds],
    ['first quarter', ...kinds.map((of) => median(of, early))],
    ['last quarter', ...kinds.map((of) => median(of, late))],
    ['least', ...kinds.map((of) => Math.min(...rounds.map(({ held }) => held[of])))],
    ['most', ...kinds.map((of) => Math.max(...rounds.map(({ held }) => held[of])))],
  ])
  const growth = median('rssMb', late) / median('rssMb', early)
  const more = (['handles', 'resources', 'files'] as const).filter(
    (of) => median(of, late) - median(of, early) > HANDLES_MORE_MAX,
  )
  return [
    ...losses,
    ...(growth > RSS_GROWTH_MAX
      ? [`memory grows: ${((growth - 1) * 100).toFixed(0)} % from first to last quarter`]
      : []),
    ...more.map((of) => `${of} grow: ${median(of, early)} in the first quarter, ${median(of, late)} in the last`),
  ]
}

function rowOf(name: string, rounds: readonly Round[]): (string | number)[][] {
  const some = rounds.filter((round) => round.name === name)
  const times = some.flatMap(({ figures }) => [...figures.asked.values()].flat())
  if (times.length === 0) return []
  const lost = some.flatMap(({ figures }) => [...figures.losses.values()]).reduce((sum, n) => sum + n, 0)
  const at = (q: number) => quantile(times, q)
  return [[name, String(some.length), String(times.length), at(0.5), at(0.99), at(1), String(lost)]]
}
