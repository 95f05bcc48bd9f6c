/** One target's inputs in a thread; the main thread sees in `now` which of them is being tried. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { type Find, inputOf, tryInput } from '../../test/fuzz/fuzz.ts'
import { targetOf } from '../../test/fuzz/targets.ts'

export interface WorkerJob {
  target: string
  seed: number
  inputs: number
  forMs: number
  now: Float64Array
}

export interface FuzzOutcome {
  tried: number
  finds: Find[]
  tookMs: number
}

/** Places in `now`: the input, and whether it is being tried. */
export const CURRENT_SEED = 0
export const IS_TRYING = 1

/** A single input must not take longer, also at its second try: the first may have waited for the machine. */
const SLOW_MS = 1_000
/** Of one target; beyond it there is enough to mend. */
const FINDS_MAX = 20
/** What is kept after so many inputs, and how much more than that may be kept in the end. */
const SETTLED_INPUTS = 2_000
const GROWTH_MB = 24

async function fuzz({ target: name, seed, inputs, forMs, now }: WorkerJob): Promise<FuzzOutcome> {
  const target = targetOf(name)
  const finds: Find[] = []
  const known = new Set<string>()
  const note = (find: Find) => {
    const place = find.what.split('\n').slice(0, 2).join()
    if (!known.has(place)) finds.push(find)
    known.add(place)
  }
  const startMs = performance.now()
  let settledMb: number | undefined
  let tried = 0
  for (; tried < inputs && performance.now() - startMs < forMs && finds.length < FINDS_MAX; tried++) {
    now[CURRENT_SEED] = seed + tried
    now[IS_TRYING] = 1
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
    now[IS_TRYING] = 0
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

if (!isMainThread) {
  parentPort!.postMessage(await fuzz(workerData as WorkerJob)) // a Buffer arrives as a Uint8Array
  parentPort!.close()
}
