/**
 * scan: the real daemon's catch-up (fetch, walk, commit) against a null server, in blocks/s, as a ratio to merely
 * downloading the same blocks through the same client.
 * stall: how long a request waits for its answer while the daemon scans, and while it is idle.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WINDOW_BLOCKS } from '../../src/chain/plan.ts'
import { asBlockHash, type BlockHash } from '../../src/chain/types.ts'
import { ask } from '../../src/wire/client.ts'
import type { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { quantile, report } from './report.ts'

const BLOCKS = 3_000
const ROUNDS = 3

interface NullNode extends AsyncDisposable {
  port: number
  hashes: BlockHash[]
}

export async function startNullNode(
  blocks: readonly Buffer[],
  { blocks: count = BLOCKS, mempool = 0 } = {},
): Promise<NullNode> {
  const dir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  const files = blocks.map((block, i) => {
    const file = join(dir, `${i}.raw`)
    writeFileSync(file, block)
    return file
  })
  const script = new URL('./null-node.ts', import.meta.url).pathname
  const child: ChildProcess = spawn(process.execPath, [script, String(count), String(mempool), ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface(child.stdout!), 'line')
  const { port, hashes } = JSON.parse(String(line)) as { port: number; hashes: string[] }
  return {
    port,
    hashes: hashes.map(asBlockHash),
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit')
      child.kill()
      await exited
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Blocks per second of fetching alone, in a fresh process as the daemon is one. */
async function download(node: NullNode): Promise<number> {
  const script = new URL('./download.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, String(node.port)], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify(node.hashes))
  const [line] = await once(createInterface(child.stdout), 'line')
  return Number(line)
}

export function startTracker(node: NullNode, retentionBlocks = BLOCKS): Promise<Tracker> {
  // The null node stands in for a Regtest where only its port is looked at.
  const target = { rpcPort: node.port } as Regtest
  return Tracker.start(target, {
    args: ['--no-tor', '--retention-blocks', String(retentionBlocks)],
    env: { FIDELITY_TRACKER_AUTH: 'x:x' },
    cookie: false,
  })
}

async function isSynced(tracker: Tracker): Promise<boolean> {
  const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
  return status?.synced === true
}

/** Blocks per second from the first block to the last commit, by the daemon's own clock. */
async function scan(node: NullNode, retentionBlocks: number): Promise<number> {
  await using tracker = await startTracker(node, retentionBlocks)
  const begins = Date.parse(String((await tracker.said('scan begins')).time))
  await waitUntil('it is synced', () => isSynced(tracker), { timeoutMs: 120_000, everyMs: 20 })
  return (1000 * node.hashes.length) / (Date.now() - begins)
}

export async function benchScan(blocks: readonly Buffer[]): Promise<void> {
  await using node = await startNullNode(blocks)
  const bytes = blocks.reduce((sum, block) => sum + block.length, 0) / blocks.length
  const rows: [number, number, number][] = []
  // A real first scan is of 25,920 blocks, of which the last 4,032 have their spent outpoints indexed.
  const realShare = Math.round((BLOCKS * 4_032) / WINDOW_BLOCKS)
  await download(node) // brings the files into memory
  for (let round = 0; round < ROUNDS; round++) {
    rows.push([await download(node), await scan(node, realShare), await scan(node, BLOCKS)])
  }
  report(`scan: ${BLOCKS} blocks of ${(bytes / 1e6).toFixed(2)} MB, ${ROUNDS} rounds`, [
    ['download only, blocks/s', ...rows.map(([alone]) => alone)],
    ['scan, blocks/s', ...rows.map(([, real]) => real)],
    ['  ratio', ...rows.map(([alone, real]) => real / alone)],
    ['all spends indexed, blocks/s', ...rows.map(([, , all]) => all)],
    ['  ratio', ...rows.map(([alone, , all]) => all / alone)],
  ])
}

export async function benchStall(blocks: readonly Buffer[]): Promise<void> {
  await using node = await startNullNode(blocks)
  await using tracker = await startTracker(node)
  await tracker.said('scan begins')
  const scanning = await waits(tracker, async () => !(await isSynced(tracker)))
  let rounds = 0
  const idle = await waits(tracker, async () => ++rounds <= 20)
  report('stall: how long a Status request waits, ms', [
    ['', 'n', 'median', 'p99', 'p99.9', 'max'],
    ['while scanning', ...summary(scanning)],
    ['idle', ...summary(idle)],
  ])
}

/** Round trips on one kept connection, 100 at a time, while `goOn`. */
export async function waits(tracker: Tracker, goOn: () => Promise<boolean>): Promise<number[]> {
  const times: number[] = []
  while (await goOn()) {
    const socket = await tracker.connect()
    for (let i = 0; i < 90; i++) {
      const startMs = performance.now()
      await ask(socket, { type: 'Status' }, { timeoutMs: 10_000 })
      times.push(performance.now() - startMs)
    }
    socket.destroy()
  }
  return times
}

export function summary(times: number[]): number[] {
  return [times.length, quantile(times, 0.5), quantile(times, 0.99), quantile(times, 0.999), Math.max(...times)]
}
