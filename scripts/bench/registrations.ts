/**
 * registrations: what registered outpoints cost, up to ten million of them, a tenth not funded yet: the start and the
 * memory of the real daemon, bitcoind away; and in this process, what a block of today is looked through for, and the
 * longest that one more makes the others wait.
 */
import { randomBytes, randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { NodeApi } from '../../src/chain/node-reader.ts'
import { asBlockHash, asTxid } from '../../src/chain/types.ts'
import { openStore } from '../../src/store/open.ts'
import { SpendRecorder } from '../../src/watch/recorder.ts'
import { systemClock } from '../../src/world.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { cpuS, rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const COUNTS = [0, 100_000, 1_000_000, 10_000_000]
const INPUTS = 6_500
const BLOCKS = 100
const MORE = 50_000

export interface RegistrationFigures {
  registered: number
  databaseMb: number
  /** `start` until `Status` is answered, and the processor time until then. */
  answerS: number
  answerCpuS: number
  /** Resident memory then. */
  rssMb: number
  /** Median time in which a block's inputs are looked through; none is hit. */
  blockMs: number
  /** The longest of `MORE` further ones. */
  addMs: number
}

export async function measureRegistrations(registered: number, main: string = MAIN): Promise<RegistrationFigures> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  const node = await Regtest.start({ blocks: 120 })
  await using _node = node
  const args = ['--no-tor', '--watches-max', '10000000']
  await using tracker = await Tracker.start(node, { dataDir, args, main })
  await tracker.caughtUp(node)
  await tracker.stop()
  await node.stop()
  register(join(dataDir, 'tracker.sqlite'), registered)

  const startMs = performance.now()
  tracker.launch()
  const status = () => tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
  await waitUntil('it answers', status, { everyMs: 20, timeoutMs: 600_000 })
  const answerS = (performance.now() - startMs) / 1e3
  const daemon = { answerS, answerCpuS: cpuS(tracker.pid), rssMb: rssMb(tracker.pid) }
  await tracker.stop()
  const databaseMb = statSync(join(dataDir, 'tracker.sqlite')).size / 1e6
  return { registered, databaseMb, ...daemon, ...(await lookThrough(dataDir)) }
}

export async function benchRegistrations(args: readonly string[]): Promise<void> {
  const rows: (string | number)[][] = []
  for (const count of args.length > 0 ? args.map(Number) : COUNTS) {
    const one = await measureRegistrations(count)
    const { registered, databaseMb, answerS, answerCpuS, rssMb: rss, blockMs, addMs } = one
    rows.push([registered.toLocaleString('en'), databaseMb, answerS, answerCpuS, rss, blockMs, addMs])
  }
  const head = ['', 'db MB', 'start s', 'CPU s', 'RSS MB', 'block ms', 'add ms']
  report(`registrations: a tenth not funded; a block of ${INPUTS} inputs, and the longest of ${MORE} more`, [
    head,
    ...rows,
  ])
}

async function lookThrough(dataDir: string): Promise<{ blockMs: number; addMs: number }> {
  const { db, identity } = openStore(dataDir, 'regtest')
  using _db = db
  const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
  const hash = asBlockHash('aa'.repeat(32))
  const block = { hash, prevHash: hash, timeS: 0, bytes: 0, transactions: 2_500, candidates: [] }
  const blocks = Array.from({ length: BLOCKS }, () => randomFillSync(new Uint32Array(2 * INPUTS)))
  const blockTimes: number[] = []
  for (const spent of blocks) {
    const startMs = performance.now()
    await recorder.spendsIn([{ ...block, spent }], [], {} as NodeApi)
    blockTimes.push(performance.now() - startMs)
  }
  let addMs = 0
  for (let i = 0; i < MORE; i++) {
    const outpoint = { txid: asTxid(randomBytes(32).toString('hex')), vout: 0 }
    const startMs = performance.now()
    recorder.track(outpoint, 'registered')
    addMs = Math.max(addMs, performance.now() - startMs)
  }
  return { blockMs: quantile(blockTimes, 0.5), addMs }
}

/** Their txids ascend, so that the rows are written one behind the other. */
function register(file: string, count: number): void {
  const db = new Database(file)
  db.pragma('synchronous = OFF')
  const insert = db.prepare('INSERT INTO watches (txid, vout, until_height, unfunded_until) VALUES (?, ?, ?, ?)')
  const txid = Buffer.alloc(32)
  const atOnce = 100_000
  for (let from = 0; from < count; from += atOnce) {
    db.transaction(() => {
      for (let i = from; i < Math.min(count, from + atOnce); i++) {
        randomFillSync(txid, 4)
        txid.writeUInt32BE(Math.floor((i * 2 ** 32) / count))
        insert.run(txid, i % 3, 10_000 + (i % 200), i % 10 === 0 ? 5_000 + (i % 144) : null)
      }
    })()
  }
  db.close()
}
