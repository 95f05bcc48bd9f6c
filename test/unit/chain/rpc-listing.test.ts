/** A listing of the mempool through bitcoin-core's client: judged as any other reply, though its list never reaches it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { BitcoindRpc } from '../../../src/chain/rpc.ts'
import { ConfigError, TransientError } from '../../../src/errors.ts'

const TXIDS = Array.from({ length: 5_000 }, (_, i) => i.toString(16).padStart(64, '0'))
type Say = (asked: { id: string; params: unknown[] }) => { status?: number; body: unknown }

/** A bitcoind that says each of `answers` once, in chunks that are cut anywhere; and what a listing comes to there. */
async function listing(...answers: Say[]) {
  const asked: unknown[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const call = JSON.parse(Buffer.concat(chunks).toString())
    asked.push([call.method, call.params])
    const { status = 200, body } = (answers.length > 1 ? answers.shift()! : answers[0]!)(call)
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(status, { 'content-type': 'application/json' })
    for (let at = 0; at < text.length; at += 65_537) response.write(text.slice(at, at + 65_537))
    response.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const rpc = new BitcoindRpc({ host: '127.0.0.1', port, auth: { kind: 'password', user: 'u', password: 'p' } })
  const taken: string[] = []
  try {
    const result = await rpc.listMempool((text, at) => {
      taken.push(text.toString('latin1', at, at + 64))
      return true
    })
    return { result, taken, asked }
  } catch (error) {
    return { error: error as Error, taken, asked }
  } finally {
    rpc.close()
    server.closeAllConnections()
    await once(server.close(), 'close')
  }
}

const result = { txids: TXIDS, mempool_sequence: 77 }

test('of a listing its number, its sequence and each of its txids come through', async () => {
  const { result: told, taken, asked } = await listing(({ id }) => ({ body: { result, error: null, id } }))
  assert.deepEqual(told, { count: TXIDS.length, sequence: 77 })
  assert.deepEqual(taken, TXIDS)
  assert.deepEqual(asked, [['getrawmempool', [false, true]]])
})

test('a listing that answers another question, or is none, is weather', async () => {
  const faults: [say: Say, words: RegExp][] = [
    [() => ({ body: { result, error: null, id: 'another' } }), /its replies are to other questions/],
    [
      ({ id }) => ({ body: { result, error: { code: -1, message: 'no' }, id } }),
      /answers getrawmempool with code -1: no/,
    ],
    [({ id }) => ({ body: { result: TXIDS, error: null, id } }), /not understood/],
    [({ id }) => ({ body: { result: { txids: {}, mempool_sequence: 1 }, error: null, id } }), /not understood: txids/],
    [({ id }) => ({ body: { result: { txids: TXIDS }, error: null, id } }), /not understood: mempool_sequence/],
    [
      ({ id }) => ({ body: { result: { txids: [1], mempool_sequence: 1 }, error: null, id } }),
      /is none after 0 of them/,
    ],
    [() => ({ body: JSON.stringify({ result }).slice(0, 9_999) }), /is none after 148 of them/],
    [() => ({ status: 500, body: { result, error: null, id: 1 } }), /answers getrawmempool with HTTP 500/],
    [() => ({ status: 404, body: 'not here' }), /HTTP 404 Not Found: “not here”/],
    [
      ({ id }) => ({ status: 500, body: { result: null, error: { code: -28, message: 'Loading' }, id } }),
      /is starting/,
    ],
  ]
  for (const [say, words] of faults) {
    const { error, taken } = await listing(say)
    assert.ok(error instanceof TransientError, String(error))
    assert.match(error.message, words)
    if (/HTTP/.test(error.message)) assert.deepEqual(taken, [])
  }
})

test('a bitcoind without room is asked again, one that forbids the call or knows us not is named', async () => {
  const full: Say = () => ({ status: 503, body: 'Work queue depth exceeded' })
  const { result: told, taken } = await listing(full, ({ id }) => ({ body: { result, error: null, id } }))
  assert.deepEqual([told?.count, taken.length], [TXIDS.length, TXIDS.length])
  for (const status of [401, 403]) {
    const { error } = await listing(() => ({ status, body: '' }))
    assert.ok(error instanceof ConfigError && /forbids getrawmempool|refuses user and password/.test(error.message))
  }
})
