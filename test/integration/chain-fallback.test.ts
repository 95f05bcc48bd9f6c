/** REST that stops working, or cuts blocks short, is replaced by RPC for a while; nothing that is cut is believed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeReader } from '../../src/chain/node-reader.ts'
import { asBlockHash, type BlockHash } from '../../src/chain/types.ts'
import { BlockUnavailable } from '../../src/errors.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { type Answer, type Fate, NodeLine } from '../support/node-line.ts'

async function readerOf(proxy: NodeLine, node: Regtest) {
  const reader = new NodeReader({
    rpc: { host: '127.0.0.1', port: proxy.rpcPort, auth: { kind: 'cookie', file: node.cookieFile } },
    network: 'regtest',
    keySalt: Buffer.alloc(16),
  })
  return Object.assign(reader, { [Symbol.asyncDispose]: () => reader.close() })
}

const say = (status: number, body: string): Fate => ({ say: { status, body: Buffer.from(body) } })
const change = (of: (block: Buffer) => Buffer): Fate => ({
  change: (answer: Answer) => ({ ...answer, body: of(answer.body) }),
})

const spoils: [what: string, fate: Fate, fault: RegExp][] = [
  ['is switched off', say(403, 'Forbidden'), /answers REST with HTTP 403 Forbidden/],
  ['has no such block', say(404, 'not available (not fully downloaded)'), /HTTP 404 .*not fully downloaded/],
  ['answers with a page', say(200, '<html>'), /block of 6 bytes/],
  ['gives nothing', say(200, ''), /block of 0 bytes/],
  ['breaks off', 'cut', /broke off after \d+ bytes/],
  ['cuts a block short', change((block) => block.subarray(0, block.length - 10)), /ends in the middle/],
  [
    'gives another header',
    change((block) => Buffer.concat([Buffer.alloc(80), block.subarray(80)])),
    /header hashes to/,
  ],
  ['gives more than any block', change((block) => Buffer.concat([block, Buffer.alloc(4e6)])), /bytes or more/],
]

for (const [what, fate, fault] of spoils) {
  test(`REST that ${what}: the block comes by RPC, and REST is tried again after some`, async () => {
    await using node = await Regtest.start({ blocks: 40, zmq: false })
    await using proxy = await NodeLine.before(node)
    await using reader = await readerOf(proxy, node)
    assert.equal((await reader.connect()).source, 'rest')
    const hashes = await reader.hashesFrom(0)
    const read = async (some: readonly BlockHash[]) => {
      const seen: { source: string; isFault: boolean }[] = []
      for (const hash of some) {
        const { block, source, restFault } = await reader.readBlock(hash, { withTxids: false })
        assert.equal(block.hash, hash)
        if (restFault !== undefined) assert.match(restFault, fault)
        seen.push({ source, isFault: restFault !== undefined })
      }
      return seen
    }

    proxy.fate = ({ path }) => (path.startsWith('/rest/block/') ? fate : undefined)
    const one = await read(hashes.slice(0, 1))
    assert.deepEqual(one, [{ source: 'rest', isFault: true }], 'one block by RPC is no other way')
    proxy.calm()
    const then = await read(hashes.slice(1, 10))
    assert.ok(then.every(({ source, isFault }) => source === 'rest' && !isFault))
    assert.equal(proxy.counts.get('getblock'), 1 + 8 + 1, 'eight more, and one when contact was made')

    proxy.fate = ({ path }) => (path.startsWith('/rest/block/') ? fate : undefined)
    const spoilt = await read(hashes.slice(10, 40))
    assert.deepEqual(
      spoilt.flatMap(({ isFault }, i) => (isFault ? [i] : [])),
      [0, 9, 26],
      'it is asked ever more seldom',
    )
    assert.deepEqual(
      spoilt.findIndex(({ source }) => source === 'rpc'),
      9,
      'twice in a row: now they come by RPC',
    )
    await assert.rejects(reader.readBlock(asBlockHash('ab'.repeat(32)), { withTxids: false }), BlockUnavailable)
  })
}
