/**
 * npm run fuzz -- [--minutes N] [--seed S] [--inputs N] [TARGET...]: hostile inputs for everything that takes bytes from
 * outside, and over TCP for the whole daemon (`live`). Each target has its share of the minutes in a process of its own,
 * so that an input that never ends, or takes all memory, is noticed, too. Whatever is found is told with the seed that makes it again.
 */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type Find, inputOf } from '../../test/fuzz/fuzz.ts'
import { fuzzLive, LIVE } from '../../test/fuzz/live.ts'
import { TARGETS, targetOf } from '../../test/fuzz/targets.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { type FuzzOutcome, SEED_BYTES, SEEDS_FD, type WorkerJob } from './worker.ts'

/** An input that takes longer is given up, and its process with it; from one second on it is a find already. */
const HANG_MS = 20_000
/** Of the process: whoever needs more for one input of 100 kB keeps what it should not. */
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
  const { tried, finds, tookMs } = name === LIVE ? await inDaemon(job) : await inProcess(job)
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

async function inDaemon({ seed: from, ...limits }: WorkerJob): Promise<FuzzOutcome> {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { http: true, nostr: true })
  await tracker.caughtUp(node)
  const startMs = performance.now()
  const outcome = await fuzzLive(tracker, from, limits)
  return { ...outcome, tookMs: performance.now() - startMs }
}

function inProcess(job: WorkerJob): Promise<FuzzOutcome> {
  const startMs = performance.now()
  const program = new URL('./worker.ts', import.meta.url).pathname
  const flags = [`--max-old-space-size=${HEAP_MB}`, program, JSON.stringify(job)]
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'ignore', 'pipe'] })
  return new Promise((resolve) => {
    let told = ''
    let seeds = Buffer.alloc(0)
    let seenMs = performance.now()
    let isGivenUp = false
    child.stdout!.on('data', (chunk) => {
      told += chunk
    })
    child.stdio[SEEDS_FD]!.on('data', (chunk: Buffer) => {
      seenMs = performance.now()
      // The last whole one, and what may be part of the next.
      const all = Buffer.concat([seeds, chunk])
      const last = Math.max(0, all.length - SEED_BYTES - (all.length % SEED_BYTES))
      seeds = Buffer.from(all.subarray(last))
    })
    const watch = setInterval(() => {
      if (performance.now() - seenMs < HANG_MS) return
      isGivenUp = true
      child.kill('SIGKILL')
    }, 250)
    child.on('close', (code, signal) => {
      clearInterval(watch)
      if (code === 0 && told !== '') return resolve(readOutcome(told))
      const at = seeds.length < SEED_BYTES ? job.seed : seeds.readDoubleLE()
      const what = isGivenUp
        ? `one input took longer than ${HANG_MS / 1000} s`
        : `the process ended with ${code ?? signal}`
      const find = { target: job.target, seed: at, input: inputOf(targetOf(job.target), at).input, what }
      resolve({ tried: at - job.seed + 1, finds: [find], tookMs: performance.now() - startMs })
    })
  })
}

function readOutcome(told: string): FuzzOutcome {
  const { finds, ...rest } = JSON.parse(told) as Omit<FuzzOutcome, 'finds'> & {
    finds: (Omit<Find, 'input'> & { input: string })[]
  }
  return { ...rest, finds: finds.map((find) => ({ ...find, input: Buffer.from(find.input, 'hex') })) }
}
