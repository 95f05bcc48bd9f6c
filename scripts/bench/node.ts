/**
 * node: blocks of real size out of a real bitcoind, read by `curl --parallel` over as many connections as the daemon uses,
 * its output thrown away, and by the daemon's scan. What is left between the two is ours.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WINDOW_BLOCKS } from '../../src/chain/plan.ts'
import { SYNC_LIMITS } from '../../src/chain/sync.ts'
import type { Regtest } from '../../test/sandbox/regtest.ts'
import { startRealChain } from './real-chain.ts'
import { report } from './report.ts'
import { measureScan, type ScanFigures } from './scan.ts'

const BLOCKS = 2_000
const ROUNDS = 3

export interface NodeRound {
  curlBlocksPerS: number
  scan: ScanFigures
}

/** `main`: the main.js of another build than ours. */
export async function measureNode({ blocks = BLOCKS, rounds = ROUNDS, main = undefined as string | undefined } = {}) {
  await using node = await startRealChain(blocks, (text) => process.stderr.write(`node: ${text}\n`))
  const hashes = await hashesOf(node)
  const retentionBlocks = Math.round((hashes.length * 4_032) / WINDOW_BLOCKS)
  await curlBlocksPerS(node, hashes) // brings the files into memory
  const measured: NodeRound[] = []
  for (let round = 0; round < rounds; round++) {
    const curl = await curlBlocksPerS(node, hashes)
    const target = { port: node.rpcPort, blocks: hashes.length, cookieFile: node.cookieFile }
    measured.push({ curlBlocksPerS: curl, scan: await measureScan(target, { retentionBlocks, main }) })
  }
  return measured
}

async function hashesOf(node: Regtest): Promise<string[]> {
  const hashes: string[] = []
  for (let height = await node.height(); height >= 0; height--) hashes.push(await node.rpc('getblockhash', height))
  return hashes
}

async function curlBlocksPerS(node: Regtest, hashes: readonly string[]): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'ft-curl-'))
  try {
    const config = join(dir, 'urls')
    const lines = hashes.map((hash) => `url = "http://127.0.0.1:${node.rpcPort}/rest/block/${hash}.bin"`)
    writeFileSync(config, lines.map((line) => `${line}\noutput = "/dev/null"\n`).join(''))
    const flags = ['--parallel-immediate', '--parallel-max', String(SYNC_LIMITS.blocksInFlight), '--config', config]
    const startMs = performance.now()
    const curl = spawn('curl', ['--silent', '--show-error', '--no-progress-meter', '--fail', '--parallel', ...flags], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const [code] = await once(curl, 'close').catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? new Error('curl is missing: install it to measure what bitcoind gives') : error
    })
    if (code !== 0) throw new Error(`curl ended with ${code}`)
    return (1000 * hashes.length) / (performance.now() - startMs)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

export async function benchNode(): Promise<void> {
  const rounds = await measureNode()
  report(`node: ${BLOCKS} blocks of real size out of a real bitcoind, ${ROUNDS} rounds`, [
    ['curl --parallel, blocks/s', ...rounds.map(({ curlBlocksPerS: curl }) => curl)],
    ['scan, blocks/s', ...rounds.map(({ scan }) => scan.blocksPerS)],
    ['  ratio', ...rounds.map(({ scan, curlBlocksPerS: curl }) => scan.blocksPerS / curl)],
    ['  CPU of all threads, ms a block', ...rounds.map(({ scan }) => scan.cpuMsPerBlock)],
    ['  resident memory at the most, MB', ...rounds.map(({ scan }) => scan.rssMaxMb)],
  ])
}
