/**
 * block: what a block costs the thread that serves, beside a market that has lived for long: 1,000 live bonds, 100,000
 * recorded spends, 50,000 announcements that never qualified. The real daemon with its HTTP and Nostr doors, a subscriber
 * of its events, and a real bitcoind that mines. Measured from outside: the longest round trip of a `Status` and a `Get`,
 * one in flight, while a block comes; and the processor time of the main thread by /proc. Also: the start on that database.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { ask } from '../../src/wire/client.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { mainThreadMs } from './process.ts'
import { quantile, report } from './report.ts'

export interface BlockFigures {
  /** From the command to the first answer, and to "synced". */
  answeredMs: number
  syncedMs: number
  /** Processor time of the main thread a block: median, and the most. */
  cpuMs: number
  cpuMsMax: number
  /** The longest that a request waited while a block came: median of the blocks, and the most. */
  waitMs: number
  waitMsMax: number
  /** The same while what is kept too much of is forgotten, and how long that took. */
  forgettingWaitMs: number
  forgettingMs: number
  /** With nothing to do. */
  idleWaitMs: number
}

export interface BlockOptions {
  /** Another build of the program: the path of its main.js. */
  main?: string
  live?: number
  spends?: number
  refused?: number
  blocks?: number
}

export async function measureBlock(options: BlockOptions = {}): Promise<BlockFigures> {
  const { main, live = 1_000, spends = 100_000, refused = 50_000, blocks = 12 } = options
  await using node = await Regtest.start({ blocks: 300 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  const args = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1800']
  await using tracker = await Tracker.start(node, { dataDir, args, http: true, nostr: true, ...(main && { main }) })
  await tracker.caughtUp(node)
  await tracker.stop()
  fill(join(dataDir, 'tracker.sqlite'), { live, spends, refused })

  const startedMs = performance.now()
  tracker.launch()
  const status = () => tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
  await waitUntil('it answers', status, { everyMs: 5, timeoutMs: 120_000 })
  const answeredMs = performance.now() - startedMs
  await waitUntil('it is synced', async () => (await status())?.synced === true, { everyMs: 5, timeoutMs: 120_000 })
  const syncedMs = performance.now() - startedMs
  using _events = listenToEvents(tracker.httpPort!)
  await probed(tracker, live)

  const pinger = await Pinger.start(tracker)
  await passed(3_000)
  const idleWaitMs = pinger.longest()
  const waits: number[] = []
  const costs: number[] = []
  for (let i = 0; i < blocks; i++) {
    pinger.longest()
    await node.mine(1)
    const tip = await node.tipHash()
    await waitUntil('the block is there', () => pinger.tip === tip, { everyMs: 20 })
    await passed(1_500) // the events' look comes within a second
    waits.push(pinger.longest())
  }
  await pinger.stop()
  for (let i = 0; i < blocks; i++) {
    const idle = mainThreadMs(tracker.pid)
    await passed(1_500)
    const before = mainThreadMs(tracker.pid)
    await node.mine(1)
    await tracker.addresses()
    await passed(1_500)
    costs.push(mainThreadMs(tracker.pid) - before - (before - idle))
  }
  const forgetting = await whileForgetting(tracker)
  return {
    ...{ answeredMs, syncedMs, idleWaitMs },
    cpuMs: quantile(costs, 0.5),
    cpuMsMax: Math.max(...costs),
    waitMs: quantile(waits, 0.5),
    waitMsMax: Math.max(...waits),
    forgettingWaitMs: forgetting.waitMs,
    forgettingMs: forgetting.tookMs,
  }
}

export async function benchBlock(): Promise<void> {
  const figures = await measureBlock()
  report('block: the serving thread, with 1,000 live bonds, 100,000 recorded spends, 50,000 refused announcements', [
    ['', 'ms', 'max'],
    ['start until Status is answered', figures.answeredMs],
    ['  until it is synced', figures.syncedMs],
    ['CPU a block', figures.cpuMs, figures.cpuMsMax],
    ['longest wait while it comes', figures.waitMs, figures.waitMsMax],
    ['  with nothing to do', figures.idleWaitMs],
    ['  while the past is forgotten', figures.forgettingWaitMs],
    ['how long that takes', figures.forgettingMs],
  ])
}

/** The daemon has begun with all of the makers: it is quiet from now on. */
async function probed(tracker: Tracker, makers: number): Promise<void> {
  await waitUntil(
    'all makers are probed',
    () => {
      const db = new Database(join(tracker.dataDir, 'tracker.sqlite'), { readonly: true })
      try {
        return (db.prepare('SELECT count(*) FROM makers').pluck().get() as number) >= makers
      } finally {
        db.close()
      }
    },
    { everyMs: 200, timeoutMs: 120_000 },
  )
}

/** What is kept too much of is forgotten within a minute or two of the start. */
async function whileForgetting(tracker: Tracker): Promise<{ waitMs: number; tookMs: number }> {
  const pinger = await Pinger.start(tracker)
  const db = new Database(join(tracker.dataDir, 'tracker.sqlite'), { readonly: true })
  const refused = () => db.prepare('SELECT count(*) FROM bonds WHERE refusal IS NOT NULL').pluck().get() as number
  try {
    const before = refused()
    if (before <= 10_000) return { waitMs: 0, tookMs: 0 }
    await waitUntil('it begins', () => refused() < before, { everyMs: 50, timeoutMs: 90_000 })
    const beganMs = performance.now()
    await waitUntil('it is done', () => refused() <= 10_000, { everyMs: 200, timeoutMs: 300_000 })
    return { waitMs: pinger.longest(), tookMs: performance.now() - beganMs }
  } finally {
    db.close()
    await pinger.stop()
  }
}

/** Asks for `Status` and `Get` in turns, on one connection. */
class Pinger {
  tip = ''
  #longestMs = 0
  #isOn = true
  #running: Promise<void>

  private constructor(tracker: Tracker) {
    this.#running = this.#run(tracker)
  }

  static async start(tracker: Tracker): Promise<Pinger> {
    return new Pinger(tracker)
  }

  async #run(tracker: Tracker): Promise<void> {
    while (this.#isOn) {
      const socket = await tracker.connect()
      for (let i = 0; i < 40 && this.#isOn; i++) {
        for (const type of ['Status', 'Get'] as const) {
          const startMs = performance.now()
          const reply = await ask(socket, { type }, { timeoutMs: 60_000 }).catch(() => undefined)
          this.#longestMs = Math.max(this.#longestMs, performance.now() - startMs)
          if (reply?.type === 'Status') this.tip = reply.blockHash ?? ''
          if (!reply) break
        }
        await passed(2)
      }
      socket.destroy()
    }
  }

  /** Since it was asked last, ms. */
  longest(): number {
    const longest = this.#longestMs
    this.#longestMs = 0
    return longest
  }

  async stop(): Promise<void> {
    this.#isOn = false
    await this.#running
  }
}

function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function listenToEvents(httpPort: number): Disposable {
  const stop = new AbortController()
  void (async () => {
    const response = await fetch(`http://127.0.0.1:${httpPort}/v1/events`, { signal: stop.signal })
    for await (const _ of response.body!) if (stop.signal.aborted) return
  })().catch(() => {})
  return { [Symbol.dispose]: () => stop.abort() }
}

/** Rows that a daemon of any version would have: the columns are named. */
export function fill(file: string, { live, spends, refused }: { live: number; spends: number; refused: number }): void {
  const db = new Database(file)
  const top = db.prepare('SELECT max(height) FROM blocks').pluck().get() as number
  const id = (text: string) => createHash('sha256').update(text).digest()
  const bond = db.prepare(
    `INSERT INTO bonds (txid, vout, address, format, amount_sats, is_p2wsh, lock_height, conf_height, refusal, tx_refusals)
     VALUES (?, 0, ?, 'B', 50000, 1, ?, ?, ?, '[]')`,
  )
  const spender = db.prepare(
    'INSERT INTO spenders (txid, raw_tx, first_seen_s, height, in_mempool) VALUES (?, ?, 1700000000, ?, 0)',
  )
  const spend = db.prepare('INSERT INTO spends (txid, vout, spender_txid, vin) VALUES (?, 0, ?, 0)')
  const watch = db.prepare('INSERT INTO watches (txid, vout, until_height) VALUES (?, 0, ?)')
  const heightOf = (i: number) => 1 + (i % top)
  db.transaction(() => {
    for (let i = 0; i < live; i++) {
      bond.run(id(`live ${i}`), `127.0.0.1:${1 + i}`, top + 10_000 + (i % 5_000), heightOf(i), null)
    }
    for (let i = 0; i < refused; i++) bond.run(id(`refused ${i}`), `127.0.0.1:${1 + i}`, 1, heightOf(i), 'lock-passed')
    for (let i = 0; i < spends; i++) {
      const by = id(`spender ${i}`)
      spender.run(by, Buffer.alloc(250 + ((i * 7) % 750), i & 0xff), heightOf(i))
      spend.run(id(`spent ${i}`), by)
      watch.run(id(`spent ${i}`), top + 20_000)
    }
  })()
  db.close()
}
