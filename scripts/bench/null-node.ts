/**
 * A far end that costs almost nothing: bitcoind's RPC and REST for a made-up regtest chain whose blocks are a few given
 * bodies under headers that link, written as they lie in memory. A process of its own: `null-node.ts BLOCKS MEMPOOL FILE...`; prints its port.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { txidOf } from '../../src/chain/decode.ts'

const [count, mempool, ...files] = process.argv.slice(2)
const bodies = files.map((file) => readFileSync(file))
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest()

const headers: Buffer[] = []
const heights = new Map<string, number>()
const hashes: string[] = []
let previous = Buffer.alloc(32)
for (let height = 0; height < Number(count); height++) {
  const header = Buffer.from(bodies[height % bodies.length]!.subarray(0, 80))
  previous.copy(header, 4)
  header.writeUInt32LE(1_700_000_000 + 600 * height, 68)
  previous = sha256(sha256(header))
  const hash = Buffer.from(previous).reverse().toString('hex')
  headers.push(header)
  heights.set(hash, height)
  hashes.push(hash)
}
const best = hashes.length - 1

/** Two inputs, two outputs, the size of an ordinary payment. */
const RAW_TX = [
  '020000000001' + '02',
  ...[1, 2].map((n) => `${String(n).padStart(2, '0').repeat(32)}0000000000fdffffff`),
  '02',
  ...[1, 2].map((n) => `e803000000000000160014${String(n).padStart(2, '0').repeat(20)}`),
  ...[1, 2].map(() => `0247${'30'.repeat(71)}21${'02'.repeat(33)}`),
  '00000000',
].join('')
/** The `i`-th of the mempool: they differ in what the first input spends. */
function rawTx(i: number): Buffer {
  const raw = Buffer.from(RAW_TX, 'hex')
  raw.writeUInt32LE(i, 7)
  return raw
}
const txids = Array.from({ length: Number(mempool) }, (_, i) => txidOf(rawTx(i)))
const indexes = new Map(txids.map((txid, i) => [txid as string, i]))
/** Those that are there just now, and what was asked for. */
let listed = txids
const served = { listings: 0, transactions: 0 }

const answers: Record<string, (params: unknown[]) => unknown> = {
  getblockchaininfo: () => ({
    chain: 'regtest',
    blocks: best,
    headers: best,
    bestblockhash: hashes[best],
    initialblockdownload: false,
    pruned: false,
  }),
  getnetworkinfo: () => ({ version: 290_000, subversion: '/null/' }),
  getzmqnotifications: () => [],
  getbestblockhash: () => hashes[best],
  waitfornewblock: () => ({ hash: hashes[best], height: best }),
  getrawmempool: ([, withSequence]) => {
    served.listings++
    return withSequence ? { txids: listed, mempool_sequence: 1 } : listed
  },
  getrawtransaction: ([txid]) => {
    served.transactions++
    return rawTx(indexes.get(txid as string)!).toString('hex')
  },
  // For benches: from now on the mempool has these of its transactions.
  setmempool: ([from, to]) => {
    listed = txids.slice(from as number, to as number)
  },
  servedmempool: () => served,
  // Of no output it knows anything.
  gettxout: () => null,
  gettxspendingprevout: ([outpoints]) => outpoints,
  getblockhash: ([height]) => hashes[height as number],
  getblockheader: ([hash, isDecoded]) =>
    isDecoded === false
      ? headers[heights.get(hash as string)!]!.toString('hex')
      : { height: heights.get(hash as string) },
}
type Call = { id: unknown; method: string; params: unknown[] }
const answer = ({ id, method, params }: Call) => {
  const known = answers[method]
  if (!known) return { id, result: null, error: { code: -32601, message: 'Method not found' } }
  return { id, result: known(params) ?? null, error: null }
}

const head = (type: string, bytes: number) =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${bytes}\r\n\r\n`
/** What stands before each block's transactions, ready to be sent. */
const starts = headers.map((header, height) => {
  const { length } = bodies[height % bodies.length]!
  return Buffer.concat([Buffer.from(head('application/octet-stream', length)), header])
})
const ends = bodies.map((body) => body.subarray(80))

async function serve(socket: Socket, request: string, body: string): Promise<void> {
  const hash = /^GET \/rest\/block\/([0-9a-f]{64})\.bin /.exec(request)?.[1]
  if (hash !== undefined) {
    const height = heights.get(hash)!
    socket.cork()
    socket.write(starts[height]!)
    socket.write(ends[height % ends.length]!)
    socket.uncork()
    return
  }
  const call = body === '' ? undefined : (JSON.parse(body) as Call | Call[])
  if (call && !Array.isArray(call) && call.method === 'waitfornewblock') await pause(call.params[0] as number) // none comes
  const reply = call === undefined ? {} : Array.isArray(call) ? call.map(answer) : answer(call)
  const text = JSON.stringify(reply)
  socket.write(head('application/json', Buffer.byteLength(text)) + text)
}

const server = createServer({ noDelay: true }, (socket) => {
  let received = ''
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('data', (part: string) => {
    received += part
    for (;;) {
      const bodyAt = received.indexOf('\r\n\r\n') + 4
      if (bodyAt < 4) return
      const request = received.slice(0, bodyAt)
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(request)?.[1] ?? 0)
      if (received.length < bodyAt + length) return
      void serve(socket, request, received.slice(bodyAt, bodyAt + length))
      received = received.slice(bodyAt + length)
    }
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`${JSON.stringify({ port: (server.address() as { port: number }).port, hashes })}\n`)
