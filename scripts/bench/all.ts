/**
 * all: every figure that has a goal, of the program before (before.ts) and of ours, in turn, three rounds each; a table in
 * Markdown, as docs/performance.md has it. Takes about half an hour; nothing else may be at work on the machine.
 */
import { cpus, totalmem } from 'node:os'
import { MAIN } from '../../test/sandbox/tracker.ts'
import { programBefore } from './before.ts'
import { measureBlock } from './block.ts'
import { measureGet } from './get.ts'
import { measureLookUp } from './look-up.ts'
import { measureMempool } from './mempool.ts'
import { quantile } from './report.ts'
import { measureScans } from './scan.ts'
import { measureIdle, measureStart } from './start.ts'
import { measureWatch } from './watch.ts'

const ROUNDS = 3

/** A figure of each round. */
interface Row {
  figure: string
  before: number[]
  ours: number[]
  goal: Goal
}

/** Of the median of ours, given that of the program before. */
interface Goal {
  text: string
  holds: (ours: number, before: number) => boolean
}

const atMost = (limit: number): Goal => ({ text: `≤ ${limit}`, holds: (ours) => ours <= limit })
const atLeast = (limit: number): Goal => ({ text: `≥ ${limit}`, holds: (ours) => ours >= limit })
const timesBefore = (factor: number): Goal => ({
  text: `≥ ${factor} × before`,
  holds: (ours, before) => ours >= factor * before,
})
const atMostTimesBefore = (factor: number): Goal => ({
  text: `≤ ${factor} × before`,
  holds: (ours, before) => ours <= factor * before,
})
/** What two equal programs may differ by on a shared machine. */
const NOISE = 0.95
const noLess: Goal = { text: 'no less', holds: (ours, before) => ours >= NOISE * before }
const none: Goal = { text: '', holds: () => true }

export async function benchAll(blocks: readonly Buffer[]): Promise<void> {
  const before = programBefore()
  const builds = { before, ours: MAIN }
  const { model } = cpus()[0]!
  process.stdout.write(`${cpus().length} × ${model}, ${Math.round(totalmem() / 1e9)} GB, Node ${process.version}\n\n`)
  printHead()

  noteProgress('scan')
  const scans = await measureScans(blocks, { before, ours: undefined }, ROUNDS)
  const ofScan = (figure: string, goal: Goal, of: (build: 'before' | 'ours') => number[]) =>
    print({ figure, before: of('before'), ours: of('ours'), goal })
  ofScan('scan as in a first start ÷ null reader', atLeast(0.8), (build) =>
    scans.map(({ first, nullReading }) => first[build]!.blocksPerS / nullReading.blocksPerS),
  )
  ofScan('— blocks/s', timesBefore(2), (build) => scans.map(({ first }) => first[build]!.blocksPerS))
  ofScan('— CPU of all threads, ms a block', atMost(3), (build) =>
    scans.map(({ first }) => first[build]!.cpuMsPerBlock),
  )
  ofScan('— resident memory at the most, MB', atMost(180), (build) => scans.map(({ first }) => first[build]!.rssMaxMb))
  ofScan('— bytes written, MB for 3,000 blocks', atMost(20), (build) =>
    scans.map(({ first }) => first[build]!.writtenMb),
  )

  const measure = async <T>(
    what: string,
    one: (main: string) => Promise<T>,
    figures: [string, Goal, (f: T) => number][],
    rounds = ROUNDS,
  ) => {
    noteProgress(what)
    const found = { before: [] as T[], ours: [] as T[] }
    for (let round = 0; round < rounds; round++) {
      for (const build of ['before', 'ours'] as const) found[build].push(await one(builds[build]))
    }
    for (const [figure, goal, of] of figures) {
      print({ figure, before: found.before.map(of), ours: found.ours.map(of), goal })
    }
  }

  noteProgress('idle')
  const idle = (main: string) => Promise.all(Array.from({ length: ROUNDS }, () => measureIdle(main)))
  const [idleBefore, idleOurs] = await Promise.all([idle(before), idle(MAIN)]) // they only wait
  print({
    figure: 'resident memory, idle, 1,000 makers, MB',
    before: idleBefore.map(({ rssMb }) => rssMb),
    ours: idleOurs.map(({ rssMb }) => rssMb),
    goal: atMost(110),
  })
  await measure('mempool of 100,000', (main) => measureMempool(blocks, { transactions: 100_000, main }), [
    ['resident memory, mempool of 100,000, MB', atMost(200), ({ fullMb }) => fullMb],
  ])
  const longest = ({ waits }: Awaited<ReturnType<typeof measureMempool>>) =>
    Math.max(waits.listings.at(-1)!, waits.news.at(-1)!, waits.gone.at(-1)!)
  await measure('mempool of 300,000', (main) => measureMempool(blocks, { transactions: 300_000, main }), [
    ['longest wait of a `Status`, rounds of a mempool of 300,000, ms', atMost(20), longest],
    ['— while all of it comes', atMost(20), ({ waits }) => waits.fill.at(-1)!],
    ['— resident memory, MB', none, ({ fullMb }) => fullMb],
  ])
  await measure('look-up', (main) => measureLookUp(blocks, main), [
    ['look-up in the index of spends: CPU of the serving thread, ms', atMost(5), ({ mainThreadMs }) => mainThreadMs],
    ['— round trip, ms', none, ({ medianMs }) => medianMs],
  ])
  await measure('watch with ZMQ', (main) => measureWatch({ main }), [
    ['push after ZMQ notice, median ms', atMost(2), ({ spent }) => spent.medianMs],
    ['— p99', none, ({ spent }) => spent.p99Ms],
  ])
  await measure('watch by polling', (main) => measureWatch({ main, zmq: false }), [
    ['push by polling, median ms', atMost(250), ({ spent }) => spent.medianMs],
    ['— p99', none, ({ spent }) => spent.p99Ms],
  ])
  await measure('start', measureStart, [
    ['`node -e 0`, ms', none, ({ nodeMs }) => nodeMs],
    ['`--version`, ms', atMost(120), ({ versionMs }) => versionMs],
    ['the slowest reading verb, ms', atMost(120), ({ verbMs }) => verbMs],
    ['`start` until `Status` is answered, ms', atMostTimesBefore(1), ({ answerMs }) => answerMs],
    ['SIGTERM until the exit, idle, ms', atMost(200), ({ idleStopMs }) => idleStopMs],
  ])
  await measure('get', (main) => measureGet(main), [
    ['`Get`, 1,000 makers, 16 connections, a second', noLess, ({ sixteen }) => sixteen.perS],
    ['— p99 ms', none, ({ sixteen }) => sixteen.p99Ms],
    ['`Get`, 1,000 connections, a second', noLess, ({ thousand }) => thousand.perS],
    ['— p99 ms', atMost(60), ({ thousand }) => thousand.p99Ms],
  ])
  await measure(
    'block',
    (main) => measureBlock({ main }),
    [
      ['a block beside a long life: CPU of the serving thread, ms', atMost(10), ({ cpuMs }) => cpuMs],
      ['— longest wait while it comes, median ms', none, ({ waitMs }) => waitMs],
    ],
    1,
  ) // of 12 blocks
}

function printHead(): void {
  const head = ['figure', 'before', 'ours', 'ratio of medians', 'goal', '']
  process.stdout.write(`| ${head.join(' | ')} |\n|${' --- |'.repeat(head.length)}\n`)
}

function print({ figure, before, ours, goal }: Row): void {
  const [was, is] = [quantile(before, 0.5), quantile(ours, 0.5)]
  const verdict = goal === none ? '' : goal.holds(is, was) ? 'holds' : 'MISSED'
  const cells = [figure, shown(before), shown(ours), (is / was).toFixed(2), goal.text, verdict]
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}

/** The rounds as they came. */
function shown(values: readonly number[]): string {
  return values
    .map((value) => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)))
    .join(' / ')
}

function noteProgress(what: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${what}\n`)
}
