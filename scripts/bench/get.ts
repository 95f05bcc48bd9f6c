/** get: answers to `Get` with 1,000 makers listed, from the real daemon on a database made for it. */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asSats, asTxid } from '../../src/chain/types.ts'
import { insertBond } from '../../src/store/bonds.ts'
import { openStore } from '../../src/store/open.ts'
import { insertBlock } from '../../src/store/tip.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { encodeRequest } from '../../src/wire/messages.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { quantile, report } from './report.ts'

const MAKERS = 1_000
const SECONDS = 4

export async function benchGet(): Promise<void> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(MAKERS))
  const limits = ['--units-per-second', '1000000', '--units-burst', '10000000', '--connections-max', '5000']
  await using tracker = await Tracker.start(node, { dataDir, args: ['--no-tor', ...limits] })
  await tracker.caughtUp(node)
  const rows: (string | number)[][] = [['connections', 'requests/s', 'p50 ms', 'p99 ms']]
  for (const connections of [1, 16, 1_000]) {
    const { perSecond, times } = await load(tracker, connections)
    rows.push([String(connections), perSecond, quantile(times, 0.5), quantile(times, 0.99)])
  }
  report(`get: ${MAKERS} makers, one request in flight per connection, ${SECONDS} s each`, rows)
}

/** `count` onion names, none of them valid: nobody is dialled. */
export function unreachable(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i.toString(32).replace(/[0189]/g, 'x')
    return `${label.padStart(56, 'a')}.onion:21`
  })
}

/** The chain's blocks, and in one of them a live bond for each of `addresses`. */
export async function fill(node: Regtest, dataDir: string, addresses: readonly string[]): Promise<void> {
  const { db } = openStore(dataDir, 'regtest')
  using _db = db
  for (let height = 0; height <= (await node.height()); height++) {
    const hash = await node.rpc<string>('getblockhash', height)
    const header = await node.rpc<{ time: number; previousblockhash?: string }>('getblockheader', hash)
    insertBlock(db, { hash: hash as never, height, prevHash: '' as never, timeS: header.time })
  }
  db.transaction(() => {
    for (const [i, address] of addresses.entries()) {
      const txid = asTxid(i.toString(16).padStart(64, '0'))
      const output = {
        outpoint: { txid, vout: 0 },
        address,
        format: 'D' as const,
        amountSats: asSats(50_000 + i),
        isP2wsh: true,
        txRefusals: [],
      }
      insertBond(db, { ...output, lockHeight: 15_000 }, 100)
    }
  })
}

async function load(tracker: Tracker, connections: number): Promise<{ perSecond: number; times: number[] }> {
  const request = encodeFrame(encodeRequest({ type: 'Get' }))
  const sockets = await Promise.all(Array.from({ length: connections }, () => tracker.connect()))
  const times: number[] = []
  const startMs = performance.now()
  const endMs = startMs + SECONDS * 1000
  await Promise.all(sockets.map((socket) => oneClient(socket, request, endMs, times)))
  const perSecond = (1000 * times.length) / (performance.now() - startMs)
  for (const socket of sockets) socket.destroy()
  return { perSecond, times }
}

/** Asks again whenever an answer has come, until `endMs`. */
function oneClient(socket: Socket, request: Buffer, endMs: number, times: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const frames = new FrameReader(16_777_216)
    let sentMs = performance.now()
    socket.on('close', () => reject(new Error('the tracker closed a connection')))
    socket.on('data', (chunk) => {
      frames.push(chunk)
      if (!frames.next()) return
      const nowMs = performance.now()
      times.push(nowMs - sentMs)
      if (nowMs > endMs) return resolve()
      sentMs = nowMs
      socket.write(request)
    })
    socket.write(request)
  })
}
