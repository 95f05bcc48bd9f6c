/** REST that stops working, or cuts blocks short, is replaced by RPC in mid-flight; nothing that is cut is believed. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { NodeReader } from '../../src/chain/node-reader.ts'
import { asBlockHash } from '../../src/chain/types.ts'
import { TransientError } from '../../src/errors.ts'
import { Regtest } from '../sandbox/regtest.ts'

/** Passes requests on to `node`, but answers for REST blocks what `spoil` makes of them. */
async function spoiledRest(node: Regtest, spoil: (block: Buffer) => { status: number; body: Buffer }) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const answer = await fetch(`http://127.0.0.1:${node.rpcPort}${request.url}`, {
      method: request.method!,
      headers: { authorization: request.headers.authorization ?? '' },
      ...(body.length > 0 && { body }),
    })
    const bytes = Buffer.from(await answer.arrayBuffer())
    const isBlock = request.url?.startsWith('/rest/block/')
    const { status, body: told } = isBlock ? spoil(bytes) : { status: answer.status, body: bytes }
    response.writeHead(status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(told)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const reader = new NodeReader({
    rpc: { host: '127.0.0.1', port, auth: { kind: 'cookie', file: node.cookieFile } },
    network: 'regtest',
    keySalt: Buffer.alloc(16),
  })
  return {
    reader,
    async [Symbol.asyncDispose]() {
      reader.close()
      server.closeAllConnections()
      await once(server.close(), 'close')
    },
  }
}

const spoils: [string, (block: Buffer) => { status: number; body: Buffer }][] = [
  ['is switched off', () => ({ status: 403, body: Buffer.from('Forbidden') })],
  ['cuts a block short', (block) => ({ status: 200, body: block.subarray(0, block.length - 10) })],
  ['gives another block', (block) => ({ status: 200, body: Buffer.concat([Buffer.alloc(80), block.subarray(80)]) })],
  ['gives nothing', () => ({ status: 200, body: Buffer.alloc(0) })],
]

for (const [what, spoil] of spoils) {
  test(`REST that ${what}: the block comes by RPC, and so do the next`, async () => {
    await using node = await Regtest.start({ blocks: 3, zmq: false })
    let asked = 0
    await using spoiled = await spoiledRest(node, (block) => {
      asked++
      return spoil(block)
    })
    const { reader } = spoiled
    assert.equal((await reader.connect()).source, 'rest')
    const hashes = await reader.hashesFrom(0)
    for (const hash of hashes) {
      const { block, source } = await reader.readBlock(hash, { withTxids: false })
      assert.deepEqual([block.hash, source], [hash, 'rpc'])
    }
    assert.equal(asked, 1, 'REST is not asked again')
    await assert.rejects(reader.readBlock(asBlockHash('ab'.repeat(32)), { withTxids: false }), TransientError)
  })
}
