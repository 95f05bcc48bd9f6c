/** One target's inputs in a process of their own, which says of each that it is being tried before it is. */
import { writeSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Find, inputOf, tryInput } from '../../test/fuzz/fuzz.ts'
import { targetOf } from '../../test/fuzz/targets.ts'

export interface WorkerJob {
  target: string
  seed: number
  inputs: number
  forMs: number
}

export interface FuzzOutcome {
  tried: number
  finds: Find[]
  tookMs: number
}

/** Where the seed of each input is written to, as a double, before it is tried. */
export const SEEDS_FD = 3
export const SEED_BYTES = 8

/** A single input must not take longer, also at its second try: the first may have waited for the machine. */
const SLOW_MS = 1_000
/** Of one target; beyond it there is enough to mend. */
const FINDS_MAX = 20
/** What is kept after so many inputs, and how much more than that may be kept in the end. */
const SETTLED_INPUTS = 2_000
const GROWTH_MB = 24

async function fuzz({ target: name, seed, inputs, forMs }: WorkerJob): Promise<FuzzOutcome> {
  const target = targetOf(name)
  const finds: Find[] = []
  const known = new Set<string>()
  const note = (find: Find) => {
    const place = find.what.split('\n').slice(0, 2).join()
    if (!known.has(place)) finds.push(find)
    known.add(place)
  }
  const trying = Buffer.alloc(SEED_BYTES)
  const startMs = performance.now()
  let settledMb: number | undefined
  let tried = 0
  for (; tried < inputs && performance.now() - startMs < forMs && finds.length < FINDS_MAX; tried++) {
    trying.writeDoubleLE(seed + tried)
    writeSync(SEEDS_FD, trying)
    const inputMs = performance.now()
    const find = await tryInput(target, seed + tried)
    if (find) note(find)
    else if (performance.now() - inputMs > SLOW_MS) {
      const againMs = performance.now()
      await tryInput(target, seed + tried)
      if (performance.now() - againMs > SLOW_MS) {
        const { input } = inputOf(target, seed + tried)
        note({ target: name, seed: seed + tried, input, what: `slow: took more than ${SLOW_MS} ms, twice` })
      }
    }
    if (tried === SETTLED_INPUTS) settledMb = keptMb()
  }
  const grownMb = settledMb === undefined ? 0 : keptMb() - settledMb
  if (grownMb > GROWTH_MB) {
    const what = `memory: ${grownMb.toFixed(0)} MB more are kept after ${tried} inputs than after ${SETTLED_INPUTS}`
    note({ target: name, seed, input: Buffer.alloc(0), what })
  }
  await target.close?.()
  return { tried, finds, tookMs: performance.now() - startMs }
}

/** What garbage collection leaves. */
function keptMb(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1_048_576
}

if (import.meta.main) {
  const outcome = await fuzz(JSON.parse(process.argv[2]!) as WorkerJob)
  const finds = outcome.finds.map((find) => ({ ...find, input: find.input.toString('hex') }))
  process.stdout.write(JSON.stringify({ ...outcome, finds }), () => process.exit())
}
