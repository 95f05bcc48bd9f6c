/**
 * A far end that costs almost nothing: bitcoind's RPC and REST for a made-up regtest chain whose blocks are a few given
 * bodies under headers that link. A process of its own: `null-node.ts BLOCKS MEMPOOL FILE...`; prints its port.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
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

const server = createServer(async (request, response) => {
  const rest = /^\/rest\/block\/([0-9a-f]{64})\.bin$/.exec(request.url ?? '')
  if (rest) {
    const height = heights.get(rest[1]!)!
    const body = bodies[height % bodies.length]!
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length })
    response.write(headers[height])
    response.end(body.subarray(80))
    return
  }
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    return
  }
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const call = JSON.parse(Buffer.concat(chunks).toString()) as Call | Call[]
  if (!Array.isArray(call) && call.method === 'waitfornewblock') await pause(call.params[0] as number) // none comes
  const reply = Array.isArray(call) ? call.map(answer) : answer(call)
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`${JSON.stringify({ port: (server.address() as { port: number }).port, hashes })}\n`)
