/**
 * probes: a market of 500 makers kept fresh by the real daemon. Direct sockets in place of Tor; what circuits take is put
 * into the makers' answers. The interval is a tenth of the real one, so the load is ten times the real one.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asTxid } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { readProbes } from '../../src/store/shared/probes.ts'
import { decode, encode } from '../../src/wire/cbor.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { readVariant } from '../../src/wire/shape.ts'
import { bondKey } from '../../test/sandbox/bond-key.ts'
import { offerMessage } from '../../test/sandbox/offer.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { fill } from './get.ts'
import { cpuS, rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const MAKERS = 500
const INTERVAL_S = 60
const ROUNDS = 4
const AT_ONCE = 16
/** An answer through Tor takes seconds; the first of a connection, that is. */
const ANSWER_MS = 1_000
/** Every tenth refuses connections, every twenty-fifth accepts and is silent. */
const isDead = (i: number) => i % 10 === 3
const isSilent = (i: number) => i % 25 === 7

const HELLO = encodeFrame(encode({ MakerHello: { supported_protocols: ['Legacy', 'Taproot'] } }))

export async function benchProbes(): Promise<void> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  const open = { now: 0, max: 0 }
  const servers = await Promise.all(Array.from({ length: MAKERS }, (_, i) => serve(i, open)))
  const addresses = servers.map((server) => `127.0.0.1:${(server.address() as { port: number }).port}`)
  for (const [i, server] of servers.entries()) if (isDead(i)) server.close()
  await fill(node, dataDir, addresses)

  const flags = ['--probe-interval', String(INTERVAL_S), '--probe-timeout', '10', '--probes-at-once', String(AT_ONCE)]
  await using tracker = await Tracker.start(node, { dataDir, args: ['--no-tor', '--allow-test-addresses', ...flags] })
  await tracker.caughtUp(node)
  const startMs = Date.now()
  const statusMs: number[] = []
  const memory: number[] = []
  const before = { cpuS: cpuS(tracker.pid), bytes: databaseBytes(dataDir) }
  await waitUntil(
    'the rounds are over',
    async () => {
      const askedMs = performance.now()
      await tracker.ask({ type: 'Status' }, 'Status')
      statusMs.push(performance.now() - askedMs)
      memory.push(rssMb(tracker.pid))
      return Date.now() - startMs > ROUNDS * INTERVAL_S * 1000
    },
    { timeoutMs: 2 * ROUNDS * INTERVAL_S * 1000, everyMs: 200 },
  )
  const seconds = (Date.now() - startMs) / 1000
  const cpu = (cpuS(tracker.pid) - before.cpuS) / seconds

  const gaps: number[] = []
  let probes = 0
  let first = 0
  {
    using db = openStoreReadonly(dataDir)
    for (const [i, address] of addresses.entries()) {
      const times = readProbes(db, address, 1_000)
        .map(({ atMs }) => atMs)
        .reverse()
      probes += times.length
      first = Math.max(first, times[0]! - startMs)
      if (!isDead(i) && !isSilent(i))
        for (let n = 1; n < times.length; n++) gaps.push((times[n]! - times[n - 1]!) / 1000)
    }
  }
  const { makersUp } = await tracker.ask({ type: 'Status' }, 'Status')
  for (const server of servers) server.close()
  report(`probes: ${MAKERS} makers, interval ${INTERVAL_S} s, ${AT_ONCE} at once, ${seconds.toFixed(0)} s`, [
    ['probes', probes],
    ['probes/s', probes / seconds],
    ['all probed once after, s', first / 1000],
    ['between two of a live maker, s', 'median', 'p99', 'max'],
    ['', quantile(gaps, 0.5), quantile(gaps, 0.99), Math.max(...gaps)],
    ['live makers / seen up', `${addresses.filter((_, i) => !isDead(i) && !isSilent(i)).length} / ${makersUp}`],
    ['connections at once, max', open.max],
    ['resident memory, MB', 'first', 'median', 'max'],
    ['', memory[0]!, quantile(memory, 0.5), Math.max(...memory)],
    ['CPU, % of one core', 100 * cpu],
    ['bytes of database a probe', (databaseBytes(dataDir) - before.bytes) / probes],
    ['Status meanwhile, ms', 'median', 'p99', 'max'],
    ['', quantile(statusMs, 0.5), quantile(statusMs, 0.99), Math.max(...statusMs)],
  ])
  process.exit() // silent makers' sockets
}

/** A maker of today; its offer is well-formed, its bond is not on the chain: each verdict costs bitcoind's answer. */
async function serve(i: number, open: { now: number; max: number }): Promise<Server> {
  const server = createServer((socket) => {
    open.max = Math.max(open.max, ++open.now)
    socket.on('error', () => {}).on('close', () => open.now--)
    const frames = new FrameReader(65_536)
    let delayMs = ANSWER_MS
    socket.on('data', (chunk) => {
      frames.push(chunk)
      const request = frames.next()
      if (!request || isSilent(i)) return
      const name = readVariant(decode(request))?.name
      const reply = name === 'TakerHello' ? HELLO : encodeFrame(OFFER)
      setTimeout(() => socket.write(reply), delayMs)
      delayMs = ANSWER_MS / 4
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const OFFER = encode(
  offerMessage({
    outpoint: { txid: asTxid('5e'.repeat(32)), vout: 0 },
    amountSats: 50_000,
    lockHeight: 15_000,
    confHeight: 100,
    key: bondKey('x'),
    certAddress: '127.0.0.1:6102',
  }),
)

function databaseBytes(dataDir: string): number {
  return statSync(join(dataDir, 'tracker.sqlite')).size
}
