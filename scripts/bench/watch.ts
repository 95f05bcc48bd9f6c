/**
 * watch: how long after bitcoind has a transaction a subscriber is told, with 10,000 subscriptions and 50 spends of them a
 * second; with ZMQ and without; how long after a block; and what a subscription costs in memory. Real bitcoind, real
 * daemon; both moments are taken by this process.
 */
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { Transaction } from 'bitcoinjs-lib'
import { Subscriber } from 'zeromq'
import { asTxid, type Outpoint, type Txid } from '../../src/chain/types.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { encodeRequest, parseReply, type Reply } from '../../src/wire/messages.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { MAIN, Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const SUBSCRIPTIONS = 10_000
const CONNECTIONS = 10
const PER_SECOND = 50
const SECONDS = 20
/** Spends that are confirmed one by one. */
const BLOCKS = 20
const MEMORY_SUBSCRIPTIONS = 200_000
const PER_REQUEST = 1_000

export interface WatchFigures {
  /** From bitcoind's ZMQ notice, or without ZMQ from its answer to whoever sent the transaction, to the push; ms. */
  spent: { n: number; medianMs: number; p99Ms: number; maxMs: number }
  /** From its answer to whoever mined the block to the push of a confirmation. */
  confirmed: { n: number; medianMs: number; maxMs: number }
}

/** `main`: the program measured, the path of its main.js. */
export async function measureWatch({ zmq = true, main = MAIN } = {}): Promise<WatchFigures> {
  await using node = await Regtest.start({ zmq })
  await using tracker = await Tracker.start(node, { main })
  const spends = await prepare(node, PER_SECOND * SECONDS + BLOCKS)
  await tracker.caughtUp(node)
  const told = { spent: new Map<string, number>(), confirmed: new Map<string, number>() }
  const watched = [...spends.map(({ outpoint }) => outpoint), ...madeUp(SUBSCRIPTIONS - spends.length)]
  const each = SUBSCRIPTIONS / CONNECTIONS
  const clients: Client[] = []
  for (let i = 0; i < CONNECTIONS; i++) {
    const client = await connect(tracker, ({ txid, height }) => {
      const first = height === undefined ? told.spent : told.confirmed
      if (txid !== undefined && !first.has(txid)) first.set(txid, performance.now())
    })
    await subscribe(client, watched.slice(i * each, (i + 1) * each))
    clients.push(client)
  }
  const { heard, subscriber } = zmq ? await listen(node) : { heard: new Map<string, number>() }
  const paced = spends.slice(0, PER_SECOND * SECONDS)
  const startMs = performance.now()
  for (const [i, { hex, txid }] of paced.entries()) {
    await pause(Math.max(0, startMs + (1000 * i) / PER_SECOND - performance.now()))
    await node.rpc('sendrawtransaction', hex)
    if (!zmq) heard.set(txid, performance.now())
  }
  await waitUntil('all are told', () => paced.every(({ txid }) => told.spent.has(txid) && heard.has(txid)))
  const mined = new Map<string, number>()
  for (const { hex, txid } of spends.slice(paced.length)) {
    await node.mine(1)
    await tracker.caughtUp(node)
    await node.rpc('sendrawtransaction', hex)
    await waitUntil('it is told', () => told.spent.has(txid))
    await node.mine(1)
    mined.set(txid, performance.now())
    await waitUntil('its block is told', () => told.confirmed.has(txid))
  }
  const spent = paced.map(({ txid }) => Math.max(0, told.spent.get(txid)! - heard.get(txid)!))
  const confirmed = [...mined].map(([txid, atMs]) => Math.max(0, told.confirmed.get(txid)! - atMs))
  for (const { close } of clients) close()
  subscriber?.close()
  return {
    spent: { n: spent.length, medianMs: quantile(spent, 0.5), p99Ms: quantile(spent, 0.99), maxMs: quantile(spent, 1) },
    confirmed: { n: confirmed.length, medianMs: quantile(confirmed, 0.5), maxMs: quantile(confirmed, 1) },
  }
}

export async function benchWatch(): Promise<void> {
  const rows = []
  for (const zmq of [true, false]) {
    const { spent, confirmed } = await measureWatch({ zmq })
    const by = zmq ? 'with ZMQ' : 'by polling'
    rows.push([`spent, ${by}`, spent.n, spent.medianMs, spent.p99Ms, spent.maxMs])
    rows.push([`confirmed, ${by}`, confirmed.n, confirmed.medianMs, '', confirmed.maxMs])
  }
  report(`watch: ${SUBSCRIPTIONS} subscriptions on ${CONNECTIONS} connections, ${PER_SECOND} spends of them a second`, [
    ['push after bitcoind has it, ms', 'n', 'median', 'p99', 'max'],
    ...rows,
  ])
  await benchMemory()
}

async function benchMemory(): Promise<void> {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const emptyMb = rssMb(tracker.pid)
  let halfMb = 0
  const outpoints = madeUp(MEMORY_SUBSCRIPTIONS)
  const clients: Client[] = []
  for (let at = 0; at < outpoints.length; at += 10 * PER_REQUEST) {
    const client = await connect(tracker, () => {})
    for (let i = at; i < at + 10 * PER_REQUEST; i += PER_REQUEST) {
      await subscribe(client, outpoints.slice(i, i + PER_REQUEST))
    }
    clients.push(client)
    if (clients.length === MEMORY_SUBSCRIPTIONS / (20 * PER_REQUEST)) halfMb = rssMb(tracker.pid)
  }
  const fullMb = rssMb(tracker.pid)
  // The first half also pays for what the work itself leaves behind: heaps grown once, and not given back.
  report(`watch: ${MEMORY_SUBSCRIPTIONS} subscriptions`, [
    ['resident memory more, MB', fullMb - emptyMb],
    ['the second half of them, MB', fullMb - halfMb],
    ['bytes a subscription, there', (2 * 1_048_576 * (fullMb - halfMb)) / MEMORY_SUBSCRIPTIONS],
  ])
  for (const { close } of clients) close()
}

/** Outpoints that exist nowhere. */
function madeUp(count: number): Outpoint[] {
  return Array.from({ length: count }, (_, i) => ({
    txid: asTxid(createHash('sha256').update(`made up ${i}`).digest('hex')),
    vout: i % 4,
  }))
}

/** Confirmed coins, and for each a signed transaction that spends it. */
async function prepare(node: Regtest, count: number): Promise<{ outpoint: Outpoint; txid: Txid; hex: string }[]> {
  const coins: Outpoint[] = []
  while (coins.length < count) {
    const outputs: Record<string, string>[] = []
    while (outputs.length < 500) outputs.push({ [await node.newAddress()]: '0.001' })
    const { txid } = await node.pay(outputs, { satsPerVbyte: 2 })
    for (const vout of outputs.keys()) coins.push({ txid, vout })
  }
  await node.mine(1)
  const spends: { outpoint: Outpoint; txid: Txid; hex: string }[] = []
  const payee = await node.newAddress()
  for (const outpoint of coins.slice(0, count)) {
    const raw = await node.rpc<string>('createrawtransaction', [outpoint], [{ [payee]: '0.00099' }])
    const { hex } = await node.rpc<{ hex: string }>('signrawtransactionwithwallet', raw)
    spends.push({ outpoint, hex, txid: asTxid(Transaction.fromHex(hex).getId()) })
  }
  return spends
}

/** When bitcoind said of each transaction that it entered the mempool. */
async function listen(node: Regtest): Promise<{ heard: Map<string, number>; subscriber: Subscriber }> {
  const offered = await node.rpc<{ type: string; address: string }[]>('getzmqnotifications')
  const subscriber = new Subscriber()
  subscriber.connect(offered.find(({ type }) => type === 'pubsequence')!.address)
  subscriber.subscribe('sequence')
  const heard = new Map<string, number>()
  void (async () => {
    for await (const [, body] of subscriber) {
      if (body![32] === 'A'.charCodeAt(0)) heard.set(body!.toString('hex', 0, 32), performance.now())
    }
  })().catch(() => {})
  await pause(200) // a subscription takes effect when the publisher has heard of it; nothing tells when
  return { heard, subscriber }
}

interface Client {
  ask(payload: Buffer): Promise<Reply>
  close(): void
}

async function connect(tracker: Tracker, onPush: (spend: Extract<Reply, { type: 'Spend' }>) => void): Promise<Client> {
  const socket = await tracker.connect()
  const frames = new FrameReader(16_777_216)
  let answer: (reply: Reply) => void = () => {}
  socket.on('data', (chunk) => {
    frames.push(chunk)
    for (let payload = frames.next(); payload; payload = frames.next()) {
      const reply = parseReply(payload)
      if (reply.type === 'Spend') onPush(reply)
      else answer(reply)
    }
  })
  return {
    ask: (payload) =>
      new Promise((resolve) => {
        answer = resolve
        socket.write(encodeFrame(payload))
      }),
    close: () => socket.destroy(),
  }
}

async function subscribe(client: Client, outpoints: Outpoint[]): Promise<void> {
  const reply = await client.ask(encodeRequest({ type: 'Subscribe', outpoints }))
  if (reply.type !== 'Spends') throw new Error(`refused: ${JSON.stringify(reply)}`)
}
