/**
 * growth: a tracker's life, block by block, in this process and in a real file: the window of 25,920 blocks, then a year,
 * each block with as many inputs as one of today has. Bonds are announced, expire and are spent; other outpoints are
 * registered, spent, and forgotten. What a block costs, what is written for it, what the database takes and what a look-up
 * among all that was spent costs must not depend on its age.
 */
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transaction } from 'bitcoinjs-lib'
import { announcementScript } from '../../src/bonds/announcement.ts'
import type { NextBlock } from '../../src/chain/batch.ts'
import { BATCH_LIMITS } from '../../src/chain/batch.ts'
import type { SpentInput } from '../../src/chain/decode.ts'
import type { NodeApi } from '../../src/chain/node-reader.ts'
import { WINDOW_BLOCKS } from '../../src/chain/plan.ts'
import { asBlockHash, asTxid, type Outpoint, type Txid } from '../../src/chain/types.ts'
import { forgetSurplus } from '../../src/forgetting.ts'
import { Indexer } from '../../src/indexer.ts'
import { CurrentMarket } from '../../src/market.ts'
import { findCandidates } from '../../src/store/local/spent-keys.ts'
import { openStore } from '../../src/store/open.ts'
import { SpendRecorder } from '../../src/watch/recorder.ts'
import { breathe, systemClock } from '../../src/world.ts'
import { quantile } from './report.ts'

const RETENTION_BLOCKS = 4_032
const YEAR_BLOCKS = 52_560
const LOOK_UPS = 25

/** What some thousand blocks cost, the last of them at `height`. */
export interface GrowthSample {
  height: number
  /** Processor time of this process a block, and the longest that one commit held it, lists included. */
  cpuMs: number
  longestMs: number
  /** Written a block: write-ahead log and database. */
  bytesWritten: number
  databaseBytes: number
  /** One look-up in the index of spends: median. */
  lookUpMs: number
  live: number
}

export interface GrowthOptions {
  /** Blocks after the window. */
  blocks?: number
  inputs?: number
  /** A bond every so many blocks: 10,000 in all. */
  bondEvery?: number
  sampleBlocks?: number
}

/** Calls `onSample` as it goes. */
export async function measureGrowth(
  { blocks = YEAR_BLOCKS, inputs = 6_500, bondEvery = 8, sampleBlocks = 2_000 }: GrowthOptions = {},
  onSample: (sample: GrowthSample) => void = () => {},
): Promise<GrowthSample[]> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-growth-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  const { db, identity } = openStore(dataDir, 'regtest')
  using _db = db
  const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
  const options = { network: 'regtest' as const, allowTestAddresses: true, retentionBlocks: RETENTION_BLOCKS }
  const indexer = new Indexer(db, recorder, options)
  const market = new CurrentMarket(db, indexer)
  const chain = new Chain(recorder, inputs, bondEvery)
  const samples: GrowthSample[] = []
  let taken = { cpuMs: cpuMs(), bytes: bytesWritten(), longestMs: 0, height: 0 }
  const last = WINDOW_BLOCKS + blocks
  for (let height = 0; height < last; ) {
    const isCatchingUp = height < WINDOW_BLOCKS - BATCH_LIMITS.nearTipBlocks
    const best = isCatchingUp ? WINDOW_BLOCKS - 1 : height
    const next: NextBlock[] = []
    do next.push(chain.next(height++))
    while (isCatchingUp && height % BATCH_LIMITS.blocks !== 0)
    const startMs = performance.now()
    const commit = indexer.connect(next, best, chain.api)
    taken.longestMs = Math.max(taken.longestMs, await longestTurn(commit, startMs))
    const listMs = performance.now()
    if (!isCatchingUp) market.atTip()
    taken.longestMs = Math.max(taken.longestMs, performance.now() - listMs)
    chain.forget(height)
    if (height % 100 === 0 && !isCatchingUp) await forgetSurplus({ db, market, indexer })
    if (height - taken.height < sampleBlocks && height < last) continue
    const count = height - taken.height
    const sample = {
      height,
      cpuMs: (cpuMs() - taken.cpuMs) / count,
      longestMs: taken.longestMs,
      bytesWritten: (bytesWritten() - taken.bytes) / count,
      databaseBytes: statSync(db.path).size,
      lookUpMs: lookUpMs(db),
      live: market.atTip()?.counts.live ?? 0,
    }
    samples.push(sample)
    onSample(sample)
    taken = { cpuMs: cpuMs(), bytes: bytesWritten(), longestMs: 0, height }
  }
  return samples
}

export async function benchGrowth(): Promise<void> {
  const head = ['height', 'CPU ms a block', 'longest ms', 'kB written', 'database MB', 'look-up ms', 'live']
  process.stdout.write(`growth: ${WINDOW_BLOCKS} blocks at once, then a year of them one by one\n`)
  process.stdout.write(`${head.map((name) => name.padStart(15)).join('')}  CPU\n`)
  await measureGrowth({}, (sample) => {
    const { height, cpuMs: cost, longestMs, bytesWritten: bytes, databaseBytes, lookUpMs: lookUp, live } = sample
    const cells = [
      height,
      cost.toFixed(2),
      longestMs.toFixed(1),
      (bytes / 1e3).toFixed(1),
      (databaseBytes / 1e6).toFixed(1),
      lookUp.toFixed(2),
      live,
    ]
    const bar = '#'.repeat(Math.min(60, Math.round(5 * cost)))
    process.stdout.write(`${cells.map((cell) => String(cell).padStart(15)).join('')}  ${bar}\n`)
  })
}

/** Resolves with the longest piece in which `work` held this thread. */
async function longestTurn(work: Promise<void>, startMs: number): Promise<number> {
  let longestMs = performance.now() - startMs
  let isDone = false
  void work.then(() => {
    isDone = true
  })
  for (let beganMs = performance.now(); !isDone; beganMs = performance.now()) {
    await breathe()
    longestMs = Math.max(longestMs, performance.now() - beganMs)
  }
  await work
  return longestMs
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function bytesWritten(): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))![1])
}

/** Of outpoints that nobody has spent. */
function lookUpMs(db: Parameters<typeof findCandidates>[0]): number {
  const times: number[] = []
  for (let i = 0; i < LOOK_UPS; i++) {
    const [hi, lo] = randomFillSync(new Uint32Array(2))
    const startMs = performance.now()
    findCandidates(db, [{ hi: hi!, lo: lo! }], () => {})
    times.push(performance.now() - startMs)
  }
  return quantile(times, 0.5)
}

/** Blocks as they come, and bitcoind as far as it is asked who spends something in one of them. */
class Chain {
  readonly #recorder: SpendRecorder
  readonly #inputsABlock: number
  readonly #bondEvery: number
  /** The first inputs of each block, which spend what is tracked; and what is to be spent or forgotten, by height. */
  readonly #inputs = new Map<string, SpentInput[]>()
  readonly #ends = new Map<number, Outpoint[]>()
  readonly #registered = new Map<number, Outpoint>()
  #made = 0

  constructor(recorder: SpendRecorder, inputs: number, bondEvery: number) {
    this.#recorder = recorder
    this.#inputsABlock = inputs
    this.#bondEvery = bondEvery
  }

  readonly api = {
    inputsInBlock: async (hash: string, positions: readonly number[]) =>
      positions.map((position) => this.#inputs.get(hash)?.[position]),
  } as unknown as NodeApi

  next(height: number): NextBlock {
    const hash = hashAt(height)
    const candidates: Uint8Array[] = []
    if (height % this.#bondEvery === 0) {
      const lockBlocks = 12_960 + ((height * 7) % 12_960)
      const tx = bondTx(this.#made++, height + lockBlocks)
      candidates.push(tx.toBuffer())
      // Every third is spent when its lock is over; of the others nobody hears.
      if (this.#made % 3 === 0) this.#add(height + lockBlocks + 10, { txid: asTxid(tx.getId()), vout: 0 })
    }
    if (height % 2 === 0) {
      const outpoint = { txid: txidOf(this.#made++), vout: 1 }
      this.#recorder.track(outpoint, 'registered')
      this.#registered.set(height + 2_016, outpoint)
      this.#add(height + 144, outpoint)
    }
    const spent = randomFillSync(new Uint32Array(2 * this.#inputsABlock))
    const ends = this.#ends.get(height) ?? []
    this.#ends.delete(height)
    const inputs: SpentInput[] = []
    for (const [i, outpoint] of ends.entries()) {
      const { hi, lo } = this.#recorder.keys.of(outpoint)
      spent[2 * i] = hi
      spent[2 * i + 1] = lo
      inputs.push({ outpoint, by: { txid: txidOf(this.#made++), vin: 0, rawTx: Buffer.alloc(500) } })
    }
    this.#inputs.set(hash, inputs)
    this.#inputs.delete(hashAt(height - 100))
    const block = { hash, prevHash: hashAt(height - 1), timeS: 1_600_000_000 + 600 * height, bytes: 1_500_000 }
    return { block: { ...block, transactions: 2_500, candidates, spent }, height }
  }

  /** Registrations end. */
  forget(height: number): void {
    const outpoint = this.#registered.get(height)
    if (outpoint) this.#recorder.untrack(outpoint, 'registered')
    this.#registered.delete(height)
  }

  #add(height: number, outpoint: Outpoint): void {
    this.#ends.set(height, [...(this.#ends.get(height) ?? []), outpoint])
  }
}

const hashAt = (height: number) => asBlockHash((height + 1_000).toString(16).padStart(64, '0'))

function txidOf(n: number): Txid {
  // The first bytes differ as a hash's do.
  return asTxid(((Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0') + n.toString(16)).padEnd(64, 'e'))
}

/** Announces a bond of a maker, locked until `lockHeight`. */
function bondTx(n: number, lockHeight: number): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = 1
  tx.addInput(Buffer.from(txidOf(n), 'hex'), 0)
  tx.addOutput(Buffer.concat([Buffer.of(0, 32), Buffer.alloc(32, 7)]), BigInt(50_000 + n))
  tx.addOutput(announcementScript(`127.0.0.1:${1 + (n % 60_000)}#${lockHeight}`), 0n)
  return tx
}
