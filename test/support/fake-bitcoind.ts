/** A far end that speaks bitcoind's RPC with answers given by the test: for nodes that can't be had for real. */
import { once } from 'node:events'
import { createServer } from 'node:http'

type Answer = (params: unknown[]) => unknown

/** Given as an answer: bitcoind's error in place of a result. */
export class Refusal {
  readonly code: number
  readonly message: string
  constructor(code: number, message: string) {
    this.code = code
    this.message = message
  }
}

export interface FakeBitcoind extends AsyncDisposable {
  port: number
}

/** Methods without an answer get code -32601, as from a bitcoind that doesn't know them. */
export async function startFakeBitcoind(answers: Record<string, Answer>): Promise<FakeBitcoind> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    if (request.method !== 'POST') return response.writeHead(404).end('')
    const call = JSON.parse(Buffer.concat(chunks).toString()) as { id: unknown; method: string; params: unknown[] }
    const answer = answers[call.method]
    const result = answer ? answer(call.params) : new Refusal(-32601, 'Method not found')
    const body =
      result instanceof Refusal
        ? { id: call.id, result: null, error: { code: result.code, message: result.message } }
        : { id: call.id, result, error: null }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await once(server.close(), 'close')
    },
  }
}

export const REGTEST_INFO = {
  chain: 'regtest',
  blocks: 10,
  headers: 10,
  bestblockhash: '11'.repeat(32),
  initialblockdownload: false,
  pruned: false,
}
