/** start: from the command to the first answer on a database that is there, with bitcoind away; and the stop after it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { runVerb, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { fill, unreachable } from './get.ts'
import { quantile, report } from './report.ts'

const MAKERS = 1_000
const ROUNDS = 10

export async function benchStart(): Promise<void> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(MAKERS))
  await using tracker = await Tracker.start(node, { dataDir })
  await tracker.caughtUp(node)
  await tracker.stop()
  await node.stop()

  const times = { version: [] as number[], answer: [] as number[], stop: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    times.version.push(await took(() => runVerb(['--version'])))
    const isAnswered = () => tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
    times.answer.push(
      await took(() => {
        tracker.launch()
        return waitUntil('it answers', isAnswered, { everyMs: 5 })
      }),
    )
    times.stop.push(await took(() => tracker.stop()))
  }
  const baselineMs = quantile(times.version, 0.5)
  const row = (name: string, values: number[]) => [
    name,
    ...[0.5, 1].map((q) => quantile(values, q)),
    quantile(values, 0.5) / baselineMs,
  ]
  report(`start: ${MAKERS} makers in the database, bitcoind away, ${ROUNDS} rounds`, [
    ['', 'median ms', 'max ms', 'ratio'],
    row('fidelity-tracker --version', times.version),
    row('start until Status is answered', times.answer),
    row('SIGTERM until the exit', times.stop),
  ])
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}
