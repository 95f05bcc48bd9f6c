/**
 * npm run fuzz -- [--minutes N] [--seed S] [--inputs N] [TARGET...]: hostile inputs for everything that takes bytes from
 * outside, and over TCP for the whole daemon (`live`). Each target has its share of the minutes in a thread of its own, so
 * that an input that never ends is noticed, too. Whatever is found is told with the seed that makes it again.
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { Find } from '../../test/fuzz/fuzz.ts'
import { fuzzLive, LIVE } from '../../test/fuzz/live.ts'
import { TARGETS, targetOf } from '../../test/fuzz/targets.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { CURRENT_SEED, type FuzzOutcome, IS_TRYING, type WorkerJob } from './worker.ts'

/** An input that takes longer is given up, and its thread with it; from one second on it is a find already. */
const HANG_MS = 20_000
/** Of the thread: whoever needs more for one input of 100 kB keeps what it should not. */
const HEAP_MB = 512

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' }, inputs: { type: 'string' } },
})
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
const inputs = values.inputs === undefined ? Number.MAX_SAFE_INTEGER : Number(values.inputs)
const names = positionals.length > 0 ? positionals : [...TARGETS.map(({ name }) => name), LIVE]
for (const name of names) if (name !== LIVE) targetOf(name)
const forMs = (60_000 * Number(values.minutes)) / names.length
if (!(forMs > 0) || !(inputs > 0) || !(seed >= 0)) throw new Error('--minutes, --seed and --inputs take numbers')

process.stdout.write(`seed ${seed}, ${(forMs / 1000).toFixed(0)} s a target\n`)
for (const name of names) {
  const job = { target: name, seed, inputs, forMs }
  const { tried, finds, tookMs } = name === LIVE ? await inDaemon(job) : await inThread(job)
  const rate = Math.round((1000 * tried) / tookMs)
  process.stdout.write(
    `${name.padEnd(14)} ${tried.toLocaleString('en').padStart(12)} inputs, ${rate}/s: ${tellCount(finds)}\n`,
  )
  for (const find of finds) tell(find)
  if (finds.length > 0) process.exitCode = 1
}

function tellCount(finds: readonly Find[]): string {
  return finds.length === 0 ? 'nothing found' : `${finds.length} found`
}

function tell({ target, seed: at, input, what }: Find): void {
  process.stdout.write(
    [
      `  npm run fuzz -- --seed ${at} --inputs 1 ${target}`,
      ...what
        .split('\n')
        .slice(0, 6)
        .map((line) => `    ${line}`),
      `    ${input.length} bytes: ${input.toString('hex', 0, 2_000)}\n`,
    ].join('\n'),
  )
}

async function inDaemon({ seed: from, ...limits }: Omit<WorkerJob, 'now'>): Promise<FuzzOutcome> {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const startMs = performance.now()
  const outcome = await fuzzLive(tracker, from, limits)
  return { ...outcome, tookMs: performance.now() - startMs }
}

function inThread(job: Omit<WorkerJob, 'now'>): Promise<FuzzOutcome> {
  const now = new Float64Array(new SharedArrayBuffer(16))
  const startMs = performance.now()
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: { ...job, now },
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  })
  return new Promise((resolve) => {
    const settle = (outcome: FuzzOutcome) => {
      clearInterval(watch)
      resolve(outcome)
    }
    const broken = (what: string) => {
      const at = now[CURRENT_SEED]!
      const find = { target: job.target, seed: at, input: Buffer.alloc(0), what }
      settle({ tried: at - job.seed + 1, finds: [find], tookMs: performance.now() - startMs })
    }
    let seen = { at: -1, sinceMs: 0 }
    const watch = setInterval(() => {
      const at = now[IS_TRYING] === 1 ? now[CURRENT_SEED]! : -1
      if (at !== seen.at) seen = { at, sinceMs: performance.now() }
      if (at < 0 || performance.now() - seen.sinceMs < HANG_MS) return
      void worker.terminate()
      broken(`one input took longer than ${HANG_MS / 1000} s`)
    }, 250)
    worker.once('message', ({ finds, ...rest }: FuzzOutcome) => {
      settle({ ...rest, finds: finds.map((find) => ({ ...find, input: Buffer.from(find.input) })) })
    })
    worker.once('error', (error) => broken(`the thread ended: ${error instanceof Error ? error.stack : error}`))
  })
}
