/**
 * tor: where Tor ends first. The real daemon with 1,000 makers as an onion service of a private Tor network: lists a
 * second, fresh circuits a second, subscribers, each with what it costs the daemon and the Tor in front of it. The
 * relays and the clients' Tor share the machine, so rates are low; what counts is CPU an answer and memory a circuit.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatHostPort, type HostPort, parseHostPort } from '../../src/tor/address.ts'
import { dial, freshIsolation } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import { FrameReader } from '../../src/wire/frame.ts'
import { parseReply } from '../../src/wire/messages.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { TorNetwork } from '../../test/sandbox/tor-network.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { fill, unreachable } from './get.ts'
import { cpuS, rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const MAKERS = 1_000
const SECONDS = 10
const SUBSCRIBERS = 300
const DIALLED_AT_ONCE = 20
const CIRCUIT_TRIES = 5

export async function benchTor(): Promise<void> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(MAKERS))
  await using tor = await TorNetwork.start({ clients: 2 })
  const { control, socks } = tor.clients[0]!
  await using tracker = await Tracker.start(node, {
    dataDir,
    args: [
      ...['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)],
      ...['--units-per-second', '1000000', '--units-burst', '10000000', '--connections-max', '5000'],
    ],
  })
  await tracker.caughtUp(node)
  const onion = parseHostPort(String((await tracker.said('onion service published')).onionAddress))!
  const far: FarEnd = { onion, socks: tor.clients[1]!.socks }
  await waitUntil('the service is reached', () =>
    circuit(far).then(
      (socket) => !socket.destroy().readable,
      () => false,
    ),
  )
  const pids = { daemon: tracker.pid, tor: tor.pid(0) }

  await benchSubscribers(node, far, pids) // first: memory that others have grown would hide what it takes
  await benchLists(far, pids)
  await benchCircuits(far, pids)
}

interface FarEnd {
  onion: HostPort
  socks: HostPort
}

/** Of the daemon, and of the Tor that publishes it. */
interface Pids {
  daemon: number
  tor: number
}

/** A stream on a circuit of its own; where one can't be built, on the next. */
async function circuit({ onion, socks }: FarEnd): Promise<Socket> {
  const signal = new AbortController().signal
  for (let tries = 1; ; tries++) {
    try {
      return await dial(onion, { socks, timeoutMs: 20_000, signal, isolation: freshIsolation() })
    } catch (error) {
      if (tries === CIRCUIT_TRIES) throw error
    }
  }
}

/** CPU milliseconds of both, for each of what `work` has done. */
async function costs(pids: Pids, work: () => Promise<number>): Promise<{ each: [number, number]; perSecond: number }> {
  const startMs = performance.now()
  const start = [cpuS(pids.daemon), cpuS(pids.tor)] as const
  const done = await work()
  const seconds = (performance.now() - startMs) / 1_000
  const each = (pid: number, before: number) => (1_000 * (cpuS(pid) - before)) / done
  return { each: [each(pids.daemon, start[0]), each(pids.tor, start[1])], perSecond: done / seconds }
}

async function benchLists(far: FarEnd, pids: Pids): Promise<void> {
  const rows: (string | number)[][] = [['circuits', 'a second', 'p50 ms', 'p99 ms', 'daemon ms', 'Tor ms']]
  await lists(await openMany(far, 1)) // what is slow only at first
  for (const count of [1, 16, 64]) {
    const sockets = await openMany(far, count)
    let times: number[] = []
    const { each, perSecond } = await costs(pids, async () => {
      times = await lists(sockets)
      return times.length
    })
    rows.push([String(count), perSecond, quantile(times, 0.5), quantile(times, 0.99), ...each])
    for (const socket of sockets) socket.destroy()
  }
  report(`tor: lists of ${MAKERS} makers (64 kB), a circuit each, one in flight; CPU of each process a list`, rows)
}

/** How long each answer took, in ms; each asks again when it is answered. */
async function lists(sockets: readonly Socket[]): Promise<number[]> {
  const times: number[] = []
  const endMs = performance.now() + 1_000 * SECONDS
  await Promise.all(
    sockets.map(async (socket) => {
      while (performance.now() < endMs) {
        const startMs = performance.now()
        await ask(socket, { type: 'Get' }, { timeoutMs: 60_000 })
        times.push(performance.now() - startMs)
      }
    }),
  )
  return times
}

async function benchCircuits(far: FarEnd, pids: Pids): Promise<void> {
  const times: number[] = []
  const endMs = performance.now() + 1_000 * SECONDS
  const one = async () => {
    while (performance.now() < endMs) {
      const startMs = performance.now()
      const socket = await circuit(far)
      await ask(socket, { type: 'Status' }, { timeoutMs: 60_000 })
      socket.destroy()
      times.push(performance.now() - startMs)
    }
  }
  const { each, perSecond } = await costs(pids, async () => {
    await Promise.all(Array.from({ length: DIALLED_AT_ONCE }, one))
    return times.length
  })
  report(`tor: a fresh circuit and a Status, ${DIALLED_AT_ONCE} at once; CPU of each process a circuit`, [
    ['', 'a second', 'p50 ms', 'p99 ms', 'daemon ms', 'Tor ms'],
    ['', perSecond, quantile(times, 0.5), quantile(times, 0.99), ...each],
  ])
}

/** Each on a circuit of its own, all subscribed to one coin, which is then spent. */
async function benchSubscribers(node: Regtest, far: FarEnd, pids: Pids): Promise<void> {
  const { txid } = await node.pay([{ [await node.newAddress()]: '0.001' }])
  await node.mine(1)
  const outpoint = { txid, vout: 0 }
  const before = [rssMb(pids.daemon), rssMb(pids.tor)] as const
  const sockets = await openMany(far, SUBSCRIBERS)
  for (const socket of sockets) await ask(socket, { type: 'Subscribe', outpoints: [outpoint] }, { timeoutMs: 60_000 })
  const kb = (pid: number, mb: number) => (1_024 * (rssMb(pid) - mb)) / SUBSCRIBERS
  const each = [kb(pids.daemon, before[0]), kb(pids.tor, before[1])]
  const told = sockets.map(spendPushed)
  const hex = await spendOf(node, outpoint)
  const startMs = performance.now()
  await node.rpc('sendrawtransaction', hex)
  const times = await Promise.all(told.map((push) => push.then(() => performance.now() - startMs)))
  report(`tor: ${SUBSCRIBERS} subscribers of one coin, a circuit each`, [
    ['', 'daemon', 'Tor'],
    ['memory a subscriber, kB', ...each],
    ['', 'p50', 'last'],
    ['its spend is pushed after, ms', quantile(times, 0.5), Math.max(...times)],
  ])
  for (const socket of sockets) socket.destroy()
}

async function openMany(far: FarEnd, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const some = Math.min(DIALLED_AT_ONCE, count - sockets.length)
    sockets.push(...(await Promise.all(Array.from({ length: some }, () => circuit(far)))))
  }
  return sockets
}

function spendPushed(socket: Socket): Promise<void> {
  const frames = new FrameReader(1_000_000)
  return new Promise((resolve, reject) => {
    socket.on('close', () => reject(new Error('the tracker closed a connection')))
    socket.on('data', (chunk) => {
      frames.push(chunk)
      for (let payload = frames.next(); payload; payload = frames.next()) {
        if (parseReply(payload).type === 'Spend') resolve()
      }
    })
    socket.resume() // the last answer has paused it
  })
}

async function spendOf(node: Regtest, outpoint: { txid: string; vout: number }): Promise<string> {
  const to = { [await node.newAddress()]: '0.0009' }
  const raw = await node.rpc<string>('createrawtransaction', [outpoint], [to])
  return (await node.rpc<{ hex: string }>('signrawtransactionwithwallet', raw)).hex
}
