/**
 * look-up: an outpoint that nobody knows is asked about, and searched for in what 4,032 blocks of real size have spent.
 * The real daemon before a null node, 50 times, each alone: the round trip, and the processor time of the serving thread.
 */
import { randomBytes } from 'node:crypto'
import { asTxid } from '../../src/chain/types.ts'
import { ask } from '../../src/wire/client.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { mainThreadMs } from './process.ts'
import { quantile, report } from './report.ts'
import { isSynced, startNullNode, startTracker } from './scan.ts'

const BLOCKS = 4_032
const TIMES = 50

export interface LookUpFigures {
  medianMs: number
  maxMs: number
  /** Of the thread that serves, a look-up. */
  mainThreadMs: number
}

/** `main`: another build than ours. */
export async function measureLookUp(blocks: readonly Buffer[], main?: string): Promise<LookUpFigures> {
  await using node = await startNullNode(blocks, { blocks: BLOCKS })
  await using tracker = await startTracker(node, { retentionBlocks: BLOCKS, main })
  await waitUntil('it is synced', () => isSynced(tracker), { timeoutMs: 300_000 })
  const socket = await tracker.connect()
  const times: number[] = []
  let startCpuMs = 0
  for (let i = -10; i < TIMES; i++) {
    if (i === 0) startCpuMs = mainThreadMs(tracker.pid)
    const outpoint = { txid: asTxid(randomBytes(32).toString('hex')), vout: 0 }
    const startMs = performance.now()
    const reply = await ask(socket, { type: 'WatchMany', outpoints: [outpoint] }, { timeoutMs: 60_000 })
    if (reply.type !== 'Spends') throw new Error(`no answer: ${JSON.stringify(reply)}`)
    if (i >= 0) times.push(performance.now() - startMs)
  }
  const cpuMs = (mainThreadMs(tracker.pid) - startCpuMs) / TIMES
  socket.destroy()
  return { medianMs: quantile(times, 0.5), maxMs: Math.max(...times), mainThreadMs: cpuMs }
}

export async function benchLookUp(blocks: readonly Buffer[]): Promise<void> {
  const { medianMs, maxMs, mainThreadMs: cpuMs } = await measureLookUp(blocks)
  report(`look-up: an unknown outpoint, ${BLOCKS} blocks indexed`, [
    ['', 'median ms', 'max ms', 'CPU ms'],
    ['', medianMs, maxMs, cpuMs],
  ])
}
