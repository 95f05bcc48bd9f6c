/** Attacks by those whom we ask: trackers whose lists have no end, makers whose answers are none. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { asTxid, fromInternal, toInternal } from '../../../src/chain/types.ts'
import { decode, type Encodable, encode, Float } from '../../../src/wire/cbor.ts'
import { ask } from '../../../src/wire/client.ts'
import { encodeFrame, FrameReader } from '../../../src/wire/frame.ts'
import { encodeReply, type ReplyOf } from '../../../src/wire/messages.ts'
import { readVariant } from '../../../src/wire/shape.ts'
import { bondKey } from '../../../test/sandbox/bond-key.ts'
import { type MakerPlan, serveMaker } from '../../../test/sandbox/maker-server.ts'
import { freePorts } from '../../../test/sandbox/ports.ts'
import type { FundedBond } from '../../../test/sandbox/regtest.ts'
import type { Attack } from './attack.ts'
import { count, framed, open, times } from './load.ts'

const TRACKERS = 4
const ROWS = 1_000
/** Rows of 2 kB: a page is as long as may be. */
const ADDRESS = 'x'.repeat(1_850)

const endlessTrackers: Attack = {
  number: 13,
  what: `${TRACKERS} trackers that lie with endless pages of 2 MB`,
  flags: ['--tracker-interval', '1'],
  async launch({ port }) {
    const status = await ask(open(port), { type: 'Status' }, { timeoutMs: 20_000 })
    if (status.type !== 'Status') throw new Error(`no status: ${status.type}`)
    const pages = endlessPages(status)
    for (let i = 0; i < TRACKERS; i++) {
      const server = createServer((socket) => lie(socket, status, pages))
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const { port: own } = server.address() as { port: number }
      const ping = framed({ type: 'Ping', address: `127.0.0.1:${own}`, port: own })
      const line = open(port)
      line.write(ping)
      setInterval(() => line.write(ping), 1_000)
    }
  },
}

function lie(socket: Socket, status: ReplyOf<'Status'>, pages: () => Buffer): void {
  const frames = new FrameReader(65_536)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    frames.push(chunk)
    for (let request = frames.next(); request; request = frames.next()) {
      const name = readVariant(decode(request))?.name
      if (name === 'Bonds') {
        count('pages')
        socket.write(pages())
      } else if (name === 'Ping') {
        const address = `127.0.0.1:${socket.localPort}`
        const { network, height, blockHash } = status
        const digest = Buffer.alloc(32, 7)
        const pong = encodeReply({ type: 'Pong', address, version: 'liar', network, height, blockHash, digest })
        socket.write(encodeFrame(pong))
      } else socket.destroy()
    }
  })
}

/** Frames with `Bonds`, each page after the one before, encoded once and counted on. */
function endlessPages({ height, blockHash }: ReplyOf<'Status'>): () => Buffer {
  // In internal order, which is the list's: four bytes for the page, four for the row.
  const txids = times(ROWS, (r) => {
    const bytes = Buffer.alloc(32, 0x5e)
    bytes.writeUInt32BE(r, 4)
    return asTxid(fromInternal(bytes))
  })
  const bonds = txids.map((txid) => ({
    outpoint: { txid, vout: 0 },
    ...{ address: ADDRESS, amountSats: 50_000, confHeight: 1, blockHash, blockTimeS: 1, value: 1 },
    ...{ format: 'D' as const, state: 'live' as const, proven: false, reach: 'up' as const, probes: 0 },
  }))
  const rest = { height, blockHash, digest: Buffer.alloc(32, 7), total: 1_000_000, next: bonds.at(-1)!.outpoint }
  const template = encodeFrame(encodeReply({ type: 'Bonds', bonds, ...rest }))
  const places = txids.map((txid) => template.indexOf(toInternal(txid)))
  places.push(template.lastIndexOf(toInternal(txids.at(-1)!)))
  let page = 0
  return () => {
    const frame = Buffer.from(template)
    page++
    for (const at of places) frame.writeUInt32BE(page, at)
    return frame
  }
}

const odd = (value: number) => ({
  ...{ amount_relative_fee_pct: new Float(value), time_relative_fee_pct: new Float(value) },
})
const PLANS: readonly MakerPlan[] = [
  { manners: 'huge' },
  { manners: 'rubbish' },
  { manners: 'silent' },
  { manners: 'closes' },
  { manners: 'slow', delayMs: 4_000 },
  { terms: odd(Number.NaN) },
  { terms: odd(-1) },
  { terms: odd(Number.POSITIVE_INFINITY) },
  { terms: { ...odd(1e308), base_fee: 2n ** 64n - 1n, min_size: 2n ** 64n - 1n, max_size: 0 } },
  { lie: 'signature' },
  { lie: 'chain-code' },
  { lie: 'unknown-outpoint' },
]
/** Answers that are no offers at all. */
const RAW: readonly (readonly [string, Buffer])[] = [
  ['deep', encodeFrame(Buffer.alloc(60_000, 0x81))],
  ['items', encodeFrame(Buffer.concat([Buffer.of(0x9a, 0, 0, 0xea, 0x60), Buffer.alloc(60_000, 0)]))],
  ['text', encodeFrame(encode({ MakerHello: { supported_protocols: ['x'.repeat(1_000_000)] } } as Encodable))],
  ['announced', Buffer.of(0xff, 0xff, 0xff, 0xff)],
]
const OF_EACH = 3

interface Sold {
  name: string
  port: number
  bond: FundedBond
  confHeight: number
}

const oddMakers: Attack = {
  number: 14,
  what: `${OF_EACH * (PLANS.length + RAW.length)} makers with the largest, slowest, oddest offers`,
  flags: ['--probe-interval', '2', '--probe-timeout', '5'],
  async prepare(node) {
    const sold: Omit<Sold, 'confHeight'>[] = []
    for (const [i, port] of (await freePorts(OF_EACH * (PLANS.length + RAW.length))).entries()) {
      const name = `odd ${i}`
      const bond = await node.fundBond({ key: bondKey(name), format: 'B', address: `127.0.0.1:${port}` })
      sold.push({ name, port, bond })
      if (i % 12 === 11) await node.mine(1)
    }
    await node.mine(1)
    const confHeight = await node.height()
    return sold.map((each) => ({ ...each, confHeight }))
  },
  async launch({ data }) {
    for (const [i, { name, port, bond, confHeight }] of (data as Sold[]).entries()) {
      const plan = PLANS[i % (PLANS.length + RAW.length)]
      if (!plan) {
        const raw = RAW[(i % (PLANS.length + RAW.length)) - PLANS.length]![1]
        const server = createServer((socket) => {
          count('asked')
          socket.on('error', () => {}).on('data', () => socket.write(raw))
        })
        await once(server.listen(port, '127.0.0.1'), 'listening')
        continue
      }
      const offered = { ...bond, key: bondKey(name), confHeight, certAddress: bond.address }
      const common = { otherKey: bondKey(name, 1), pongAddress: bond.address, listenPort: port }
      await serveMaker({ ...plan, ...common, bond: offered })
    }
  },
}

export const LIAR_ATTACKS = [endlessTrackers, oddMakers]
