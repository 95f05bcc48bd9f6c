/**
 * scan: the real daemon's catch-up (fetch, walk, commit) against a null server, in blocks/s, as a ratio to a null reader:
 * raw sockets, as many, that throw away what comes. CPU, memory and bytes written besides; all of it of another build too.
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
import { cpuS, peakRssMb, writtenMb } from './process.ts'
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

/** What reading alone gives, in a fresh process as the daemon is one. */
export interface NullReading {
  blocksPerS: number
  cpuMsPerBlock: number
}

export async function readAndForget(node: NullNode): Promise<NullReading> {
  const script = new URL('./null-reader.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, String(node.port)], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify(node.hashes))
  const [line] = await once(createInterface(child.stdout), 'line')
  return JSON.parse(String(line)) as NullReading
}

export interface ScanOptions {
  /** Of how many blocks the spent outpoints are indexed. */
  retentionBlocks?: number
  /** Another build of the program than ours: the path of its main.js. */
  main?: string | undefined
  dataDir?: string
}

export function startTracker(
  node: { port: number; cookieFile?: string },
  { retentionBlocks = BLOCKS, main, dataDir }: ScanOptions = {},
): Promise<Tracker> {
  // The null node stands in for a Regtest where only its port is looked at.
  const { port: rpcPort, cookieFile } = node
  return Tracker.start({ rpcPort, cookieFile } as Regtest, {
    args: ['--no-tor', '--retention-blocks', String(retentionBlocks)],
    ...(cookieFile === undefined && { env: { FIDELITY_TRACKER_AUTH: 'x:x' }, cookie: false }),
    ...(main !== undefined && { main }),
    ...(dataDir !== undefined && { dataDir }),
  })
}

export async function isSynced(tracker: Tracker): Promise<boolean> {
  const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
  return status?.synced === true
}

/** A folder on the disk, where the system's folder for such things may be memory. */
function diskFolder(): string {
  const tools = process.env.SANDBOX_TOOLS ?? new URL('../../.tools', import.meta.url).pathname
  return mkdtempSync(join(tools, 'bench-data-'))
}

export interface ScanFigures {
  /** From the first block to the last commit, by the daemon's own clock. */
  blocksPerS: number
  /** Of all threads, meanwhile. */
  cpuMsPerBlock: number
  rssMaxMb: number
  /** Of the whole run, as asked for. */
  writtenMb: number
  /** The same as it went to the disk. */
  diskMb: number
}

export async function measureScan(
  node: { port: number; blocks: number; cookieFile?: string },
  options: ScanOptions,
): Promise<ScanFigures> {
  const dataDir = diskFolder()
  try {
    await using tracker = await startTracker(node, { ...options, dataDir })
    const begins = Date.parse(String((await tracker.said('scan begins')).time))
    const cpuBeforeS = cpuS(tracker.pid)
    await waitUntil('it is synced', () => isSynced(tracker), { timeoutMs: 300_000, everyMs: 20 })
    const tookMs = Date.now() - begins
    const { asked, disk } = writtenMb(tracker.pid)
    return {
      blocksPerS: (1000 * node.blocks) / tookMs,
      cpuMsPerBlock: (1000 * (cpuS(tracker.pid) - cpuBeforeS)) / node.blocks,
      rssMaxMb: peakRssMb(tracker.pid),
      writtenMb: asked,
      diskMb: disk,
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** One round: the null reader, and every build by its name as in a first start; `all`: ours with every block's spends indexed. */
export interface ScanRound {
  nullReading: NullReading
  first: Record<string, ScanFigures>
  all: ScanFigures
}

/** `mains`: builds by name; undefined is ours. */
export async function measureScans(
  blocks: readonly Buffer[],
  mains: Record<string, string | undefined>,
  rounds: number,
): Promise<ScanRound[]> {
  await using node = await startNullNode(blocks)
  const target = { port: node.port, blocks: node.hashes.length }
  // A real first scan is of 25,920 blocks, of which the last 4,032 have their spent outpoints indexed.
  const retentionBlocks = Math.round((BLOCKS * 4_032) / WINDOW_BLOCKS)
  await readAndForget(node) // brings the files into memory
  const measured: ScanRound[] = []
  for (let round = 0; round < rounds; round++) {
    const nullReading = await readAndForget(node)
    const first: Record<string, ScanFigures> = {}
    for (const [name, main] of Object.entries(mains)) {
      first[name] = await measureScan(target, { main, retentionBlocks })
    }
    measured.push({ nullReading, first, all: await measureScan(target, { retentionBlocks: BLOCKS }) })
  }
  return measured
}

/** `before`: the main.js of an older build, to compare with. */
export async function benchScan(blocks: readonly Buffer[], before?: string): Promise<void> {
  const mains = { ours: undefined, ...(before !== undefined && { before }) }
  const rounds = await measureScans(blocks, mains, ROUNDS)
  const bytes = blocks.reduce((sum, block) => sum + block.length, 0) / blocks.length
  const row = (name: string, of: (round: ScanRound) => number): [string, ...number[]] => [name, ...rounds.map(of)]
  const ofBuild = (build: string) => [
    row(`scan as in a first start (${build}), blocks/s`, ({ first }) => first[build]!.blocksPerS),
    row('  ratio to the null reader', ({ first, nullReading }) => first[build]!.blocksPerS / nullReading.blocksPerS),
    row('  CPU of all threads, ms a block', ({ first }) => first[build]!.cpuMsPerBlock),
    row('  resident memory at the most, MB', ({ first }) => first[build]!.rssMaxMb),
    row('  written, MB', ({ first }) => first[build]!.writtenMb),
    row('  of that to the disk, MB', ({ first }) => first[build]!.diskMb),
  ]
  report(`scan: ${BLOCKS} blocks of ${(bytes / 1e6).toFixed(2)} MB, ${ROUNDS} rounds`, [
    row('null reader, blocks/s', ({ nullReading }) => nullReading.blocksPerS),
    row('  CPU, ms a block', ({ nullReading }) => nullReading.cpuMsPerBlock),
    ...Object.keys(mains).flatMap(ofBuild),
    ...(before === undefined
      ? []
      : [row('ours to before', ({ first }) => first.ours!.blocksPerS / first.before!.blocksPerS)]),
    row('all spends indexed, blocks/s', ({ all }) => all.blocksPerS),
    row('  ratio to the null reader', ({ all, nullReading }) => all.blocksPerS / nullReading.blocksPerS),
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
