/**
 * registrations: what registered outpoints cost, up to ten million of them, a tenth not funded yet: the start and the
 * memory of the real daemon, bitcoind away; and in this process, what it costs to look a block of today through for them.
 */
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { NodeApi } from '../../src/chain/node-reader.ts'
import { asBlockHash } from '../../src/chain/types.ts'
import { openStore } from '../../src/store/open.ts'
import { SpendRecorder } from '../../src/watch/recorder.ts'
import { systemClock } from '../../src/world.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { cpuS, rssMb } from './process.ts'
import { report } from './report.ts'

const COUNTS = [0, 100_000, 1_000_000, 10_000_000]
const INPUTS = 6_500
const BLOCKS = 200

export interface RegistrationFigures {
  registered: number
  databaseMb: number
  /** `start` until `Status` is answered, and the processor time until then. */
  answerS: number
  answerCpuS: number
  /** Resident memory then. */
  rssMb: number
  /** Processor time in which a block's inputs are looked through; none is hit. */
  blockMs: number
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
  return { registered, databaseMb, ...daemon, blockMs: await lookThrough(dataDir) }
}

export async function benchRegistrations(args: readonly string[]): Promise<void> {
  const rows: (string | number)[][] = []
  for (const count of args.length > 0 ? args.map(Number) : COUNTS) {
    const one = await measureRegistrations(count)
    const { registered, databaseMb, answerS, answerCpuS, rssMb: rss, blockMs } = one
    rows.push([registered.toLocaleString('en'), databaseMb, answerS, answerCpuS, rss, blockMs])
  }
  const head = ['', 'db MB', 'start s', 'CPU s', 'RSS MB', 'block ms']
  report(`registrations: a tenth not funded; a block of ${INPUTS} inputs`, [head, ...rows])
}

async function lookThrough(dataDir: string): Promise<number> {
  const { db, identity } = openStore(dataDir, 'regtest')
  using _db = db
  const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
  const hash = asBlockHash('aa'.repeat(32))
  const block = { hash, prevHash: hash, timeS: 0, bytes: 0, transactions: 2_500, candidates: [] }
  const blocks = Array.from({ length: BLOCKS }, () => randomFillSync(new Uint32Array(2 * INPUTS)))
  const before = process.cpuUsage()
  for (const spent of blocks) await recorder.spendsIn([{ ...block, spent }], [], {} as NodeApi)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e3 / BLOCKS
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
