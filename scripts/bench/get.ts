/** get: answers to `Get` with 1,000 makers listed, from the real daemon on a database made for it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { encodeFrame } from '../../src/wire/frame.ts'
import { encodeReply, encodeRequest } from '../../src/wire/messages.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { cpuS } from './process.ts'
import { quantile, report } from './report.ts'

const MAKERS = 1_000
const SECONDS = 4

export type GetFigures = Record<'one' | 'sixteen' | 'thousand', Load>

/** `main`: the program to measure, ours unless another build is named. */
export async function measureGet(main: string = MAIN): Promise<GetFigures> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(MAKERS), main)
  const limits = ['--units-per-second', '1000000', '--units-burst', '10000000', '--connections-max', '5000']
  await using tracker = await Tracker.start(node, { dataDir, args: ['--no-tor', ...limits], main })
  await tracker.caughtUp(node)
  return { one: await load(tracker, 1), sixteen: await load(tracker, 16), thousand: await load(tracker, 1_000) }
}

export async function benchGet(main?: string): Promise<void> {
  const figures = await measureGet(main)
  report(`get: ${MAKERS} makers, one request in flight per connection, ${SECONDS} s each`, [
    ['connections', 'requests/s', 'p50 ms', 'p99 ms', 'CPU us'],
    ...Object.entries(figures).map(([name, { perS, p50Ms, p99Ms, cpuUs }]) => [name, perS, p50Ms, p99Ms, cpuUs]),
  ])
}

/** `count` onion names, none of them valid: nobody is dialled. */
export function unreachable(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i.toString(32).replace(/[0189]/g, 'x')
    return `${label.padStart(56, 'a')}.onion:21`
  })
}

/** The chain's blocks, as the program itself reads them, and in one of them a live bond for each of `addresses`. */
export async function fill(node: Regtest, dataDir: string, addresses: readonly string[], main = MAIN): Promise<void> {
  await using tracker = await Tracker.start(node, { dataDir, args: ['--no-tor'], main })
  await tracker.caughtUp(node)
  await tracker.stop()
  const db = new Database(join(dataDir, 'tracker.sqlite'))
  const bond = db.prepare(
    `INSERT INTO bonds (txid, vout, address, format, amount_sats, is_p2wsh, lock_height, conf_height, refusal, tx_refusals)
     VALUES (?, 0, ?, 'D', ?, 1, 15000, 100, NULL, '[]')`,
  )
  db.transaction(() => {
    for (const [i, address] of addresses.entries()) {
      bond.run(Buffer.from(i.toString(16).padStart(64, '0'), 'hex'), address, 50_000 + i)
    }
  })()
  db.close()
}

interface Load {
  /** Replies a second. */
  perS: number
  p50Ms: number
  p99Ms: number
  /** Processor time of the tracker, all its threads, a reply. */
  cpuUs: number
}

/** One request in flight on each of `connections`. */
export async function load(tracker: Tracker, connections: number): Promise<Load> {
  const replyBytes = (await oneReply(tracker)).length
  const clients = await Promise.all(Array.from({ length: connections }, () => CountingClient.connect(tracker.port)))
  const times: number[] = []
  const startMs = performance.now()
  const startCpuS = cpuS(tracker.pid)
  const endMs = startMs + SECONDS * 1000
  await Promise.all(clients.map((client) => client.askUntil(endMs, replyBytes, times)))
  const tookS = (performance.now() - startMs) / 1000
  const cpuUs = ((cpuS(tracker.pid) - startCpuS) / times.length) * 1e6
  for (const client of clients) client.socket.destroy()
  return { perS: times.length / tookS, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99), cpuUs }
}

/** The whole frame. */
async function oneReply(tracker: Tracker): Promise<Buffer> {
  const { addresses } = await tracker.ask({ type: 'Get' }, 'Address')
  return encodeFrame(encodeReply({ type: 'Address', addresses }))
}

const GET = encodeFrame(encodeRequest({ type: 'Get' }))
/** What all clients read into: their replies are counted, not looked at, so that what is measured is the tracker. */
const UNREAD = Buffer.alloc(1 << 20)

class CountingClient {
  readonly socket: Socket
  onBytes: (bytes: number) => void = () => {}

  static async connect(port: number): Promise<CountingClient> {
    const client = new CountingClient(port)
    await once(client.socket, 'connect')
    return client
  }

  private constructor(port: number) {
    const callback = (bytes: number) => {
      this.onBytes(bytes)
      return true
    }
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true, onread: { buffer: UNREAD, callback } })
  }

  /** Asks again whenever an answer has come, until `endMs`. */
  askUntil(endMs: number, replyBytes: number, times: number[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const { socket } = this
      socket.on('close', () => reject(new Error('the tracker closed a connection')))
      let sentMs = performance.now()
      let missing = replyBytes
      this.onBytes = (bytes) => {
        missing -= bytes
        if (missing > 0) return
        const nowMs = performance.now()
        times.push(nowMs - sentMs)
        if (nowMs > endMs) return resolve()
        sentMs = nowMs
        missing = replyBytes
        socket.write(GET)
      }
      socket.write(GET)
    })
  }
}
