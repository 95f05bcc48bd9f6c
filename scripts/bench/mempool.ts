/** mempool: 100,000 transactions appear at once: how long until they are known, what they cost, and who has to wait. */
import { readFileSync } from 'node:fs'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { report } from './report.ts'
import { startNullNode, startTracker, summary, waits } from './scan.ts'

const TRANSACTIONS = 100_000

export async function benchMempool(blocks: readonly Buffer[]): Promise<void> {
  await using empty = await startNullNode(blocks, { blocks: 10 })
  await using full = await startNullNode(blocks, { blocks: 10, mempool: TRANSACTIONS })
  await using small = await startTracker(empty)
  await small.said('ready')
  await waitUntil('its mempool has been read', () => small.logged('ready'))
  await using large = await startTracker(full)
  const startMs = performance.now()
  await large.said('ready')
  let isComplete = false
  const times = await waits(large, async () => {
    const { mempool } = large.status() ?? {}
    isComplete = mempool?.complete === true && mempool.transactions === TRANSACTIONS
    return !isComplete
  })
  const seconds = (performance.now() - startMs) / 1000
  const mb = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
  report(`mempool: ${TRANSACTIONS} transactions`, [
    ['known after, s', seconds],
    ['resident memory, empty, MB', mb(small.pid)],
    ['resident memory, full, MB', mb(large.pid)],
    ['', 'n', 'median', 'p99', 'p99.9', 'max'],
    ['Status waits meanwhile, ms', ...summary(times)],
  ])
}
