/** Requests over real sockets: well-formed in any pieces, and wrong in every way there is a code for. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { asTxid } from '../../src/chain/types.ts'
import { ConfigError, PeerFault, TransientError } from '../../src/errors.ts'
import { ask, exchange } from '../../src/wire/client.ts'
import { encodeFrame, frameHead } from '../../src/wire/frame.ts'
import { WIRE_LIMITS } from '../../src/wire/limits.ts'
import { encodeReply, encodeRequest, type Request } from '../../src/wire/messages.ts'
import { type Outcome, serveWire } from '../../src/wire/server.ts'
import { Work } from '../../src/wire/work.ts'
import { systemClock } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { Client, echo, startServer } from '../support/wire.ts'

const watch = (vout: number): Request => ({ type: 'Watch', outpoint: { txid: asTxid('ab'.repeat(32)), vout } })
const watched = (vout: number) => ({ type: 'Address', addresses: [`watched:${vout}`] })
const GET: Request = { type: 'Get' }
const GOT = { type: 'Address', addresses: ['Get'] }
const FAST = { unitsPerS: 1_000_000, unitsBurst: 1_000_000 }

/** The code of the Error reply, or what came instead. */
async function errorCode(client: Client): Promise<string> {
  const [reply] = await waitUntil('a reply', () => client.replies.length > 0 && client.replies)
  return reply?.type === 'Error' ? reply.code : JSON.stringify(reply)
}

async function isStillServed(client: Client): Promise<void> {
  const before = client.replies.length
  client.send(GET)
  await waitUntil('the connection answers on', () => client.replies.length > before)
  assert.deepEqual(client.replies.at(-1), GOT)
}

test('a request split at every byte is answered, once', async () => {
  await using server = await startServer(echo, FAST)
  const bytes = encodeFrame(encodeRequest(watch(7)), 2)
  for (let at = 1; at < bytes.length; at++) {
    using client = await Client.open(server.port)
    client.sendBytes(bytes.subarray(0, at))
    await new Promise(setImmediate)
    client.sendBytes(bytes.subarray(at)).send(GET)
    await waitUntil(`both replies, split at ${at}`, () => client.replies.length >= 2, { everyMs: 1 })
    assert.deepEqual(client.replies, [watched(7), GOT])
  }
})

test('a request byte by byte, each in a segment of its own', async () => {
  await using server = await startServer()
  using client = await Client.open(server.port)
  for (const byte of encodeFrame(encodeRequest(watch(3)))) {
    client.sendBytes(Buffer.of(byte))
    await new Promise(setImmediate)
  }
  await waitUntil('the reply', () => client.replies.length > 0)
  assert.deepEqual(client.replies, [watched(3)])
})

test('a thousand pipelined requests are answered in order, handlers of any speed', async () => {
  let running = 0
  const handle = async (request: Request): Promise<Outcome> => {
    assert.equal(++running, 1, 'one at a time per connection')
    if (request.type === 'Watch' && request.outpoint.vout % 10 === 0) await new Promise(setImmediate)
    running--
    return echo(request)
  }
  await using server = await startServer(handle, FAST)
  using client = await Client.open(server.port)
  const numbers = Array.from({ length: 1_000 }, (_, i) => i)
  client.send(...numbers.map(watch))
  await waitUntil('all replies', () => client.replies.length >= 1_000)
  assert.deepEqual(client.replies, numbers.map(watched))
  assert.equal(server.counts.get('Watch/ok'), 1_000)
})

test('replies longer than a piece come whole', async () => {
  const addresses = Array.from({ length: 30_000 }, (_, i) => `${i}.onion:6102`)
  const long = encodeReply({ type: 'Address', addresses })
  await using server = await startServer(() => ({ send: long }), { unsentBytesMax: 1_000, unsentMsMax: 600_000 })
  using client = await Client.open(server.port)
  client.send(GET, GET)
  await waitUntil('both lists', () => client.replies.length >= 2)
  for (const reply of client.replies) assert(reply.type === 'Address' && reply.addresses.length === 30_000)
})

test('a client that has said all it will say still gets its replies, then the end', async () => {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const handle = async (request: Request) => {
    await released
    return echo(request)
  }
  await using server = await startServer(handle)
  using client = await Client.open(server.port)
  client.send(watch(1), watch(2)).socket.end()
  await waitUntil('the server has it', () => server.connections() === 1)
  release()
  await waitUntil('the end', () => client.isClosed)
  assert.deepEqual(client.replies, [watched(1), watched(2)])
  await waitUntil('the connection is forgotten', () => server.connections() === 0)
})

test('a frame over the limit gets too_large, and the reply is not lost to a reset', async () => {
  await using server = await startServer(echo, { lingerMsMax: 60_000 })
  for (const announced of [65_537, 0xffffffff]) {
    using client = await Client.open(server.port)
    // Much more than a socket's buffers hold, by a client that writes it all before it reads: without somebody taking
    // it, that would end in a reset.
    client.socket.pause()
    client.sendBytes(frameHead(announced)).sendBytes(Buffer.alloc(announced === 65_537 ? 65_537 : 20_000_000))
    await waitUntil('the client is rid of its bytes', () => client.socket.writableLength === 0)
    client.socket.resume()
    assert.equal(await errorCode(client), 'too_large')
    await waitUntil('the end', () => client.isClosed)
    assert.equal(client.replies.length, 1)
  }
  using largest = await Client.open(server.port)
  largest.sendBytes(frameHead(65_536)).sendBytes(Buffer.alloc(65_536, 0x81))
  assert.equal(await errorCode(largest), 'bad_frame')
})

const CLOSED: [string, Uint8Array, string][] = [
  ['no bytes at all in the frame', encodeFrame(Buffer.alloc(0)), 'bad_frame'],
  ['bytes after the value', encodeFrame(Buffer.from('6347657400', 'hex')), 'bad_frame'],
  ['nesting a frame deep', encodeFrame(Buffer.alloc(65_536, 0x81)), 'bad_frame'],
  ['a v1 request with wrong fields', encodeFrame(Buffer.from('a163476574a0', 'hex')), 'bad_request'],
  ['wrong types in a v1 request', encodeFrame(Buffer.from('a164506f6e67a1676164647265737305', 'hex')), 'bad_request'],
]

for (const [what, bytes, code] of CLOSED) {
  test(`${what}: ${code}, then the end; others are served on`, async () => {
    await using server = await startServer()
    using other = await Client.open(server.port)
    using client = await Client.open(server.port)
    client.sendBytes(bytes).send(GET)
    assert.equal(await errorCode(client), code)
    await waitUntil('the end', () => client.isClosed)
    assert.equal(client.replies.length, 1, 'nothing after it is answered')
    await isStillServed(other)
  })
}

test('a frame of a million levels is judged when the operator allows such frames', async () => {
  await using server = await startServer(echo, { frameBytesMax: 2_000_000 })
  using client = await Client.open(server.port)
  client.sendBytes(encodeFrame(Buffer.alloc(1_000_000, 0x81)))
  assert.equal(await errorCode(client), 'bad_frame')
})

test('a connection that ends in the middle of a frame is told so', async () => {
  await using server = await startServer()
  using client = await Client.open(server.port)
  client
    .send(GET)
    .sendBytes(encodeFrame(encodeRequest(watch(1))).subarray(0, 20))
    .socket.end()
  await waitUntil('the end', () => client.isClosed)
  assert.deepEqual(client.replies[0], GOT)
  assert.equal(client.replies[1]?.type === 'Error' && client.replies[1].code, 'bad_frame')
})

test('an unknown request leaves the connection open, and so does a later one with wrong fields', async () => {
  await using server = await startServer()
  using client = await Client.open(server.port)
  client.sendPayload('65466f6e6473').sendPayload('a166537461747573a0').sendPayload('a0')
  await waitUntil('three errors', () => client.replies.length >= 3)
  const codes = client.replies.map((reply) => reply.type === 'Error' && reply.code)
  assert.deepEqual(codes, ['unknown_request', 'bad_request', 'unknown_request'])
  await isStillServed(client)
  assert.equal(server.counts.get('unknown/unknown_request'), 2)
  assert.equal(server.counts.get('Status/bad_request'), 1)
})

test("a handler's PeerFault becomes its Error and the connection stays; anything else is internal and closes", async () => {
  await using server = await startServer((request) => {
    if (request.type === 'Watch') throw new PeerFault('not_synced', 'at 5 of 9')
    if (request.type === 'Status') throw new Error('the database has a secret')
    return echo(request)
  })
  using client = await Client.open(server.port)
  client.send(watch(1))
  await waitUntil('an error', () => client.replies.length > 0)
  assert.deepEqual(client.replies, [{ type: 'Error', code: 'not_synced', message: 'at 5 of 9' }])
  await isStillServed(client)
  client.send({ type: 'Status' }, GET)
  await waitUntil('the end', () => client.isClosed)
  const last = client.replies.at(-1)
  assert(last?.type === 'Error' && last.code === 'internal' && !last.message.includes('secret'))
  assert(server.logged.some((line) => line.includes('"level":50') && line.includes('the database has a secret')))
  assert.deepEqual(
    [...server.counts],
    [
      ['Watch/not_synced', 1],
      ['Get/ok', 1],
      ['Status/internal', 1],
    ],
  )
})

test('a handler may close without a reply, after what came before it; and may say nothing', async () => {
  await using server = await startServer((request) => (request.type === 'Get' ? 'close' : echo(request)))
  using client = await Client.open(server.port)
  client.send({ type: 'Pong', address: 'x' }, watch(1), GET, watch(2))
  await waitUntil('the end', () => client.isClosed)
  assert.deepEqual(client.replies, [watched(1)])
  assert.deepEqual([...server.counts.keys()], ['Pong/ignored', 'Watch/ok', 'Get/closed'])
})

test('a client that vanishes while it is answered harms nobody', async () => {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  await using server = await startServer(async (request) => {
    if (request.type === 'Watch') await released
    return echo(request)
  })
  using vanishing = await Client.open(server.port)
  vanishing.send(watch(1))
  using other = await Client.open(server.port)
  await isStillServed(other)
  vanishing.socket.resetAndDestroy()
  await waitUntil('it is gone', () => server.connections() === 1)
  release()
  await isStillServed(other)
})

test('an address that can not be had is a ConfigError that names the setting', async () => {
  await using server = await startServer()
  const serve = (host: string, port: number) =>
    serveWire({ listen: { host, port }, limits: WIRE_LIMITS }, echo, {
      clock: systemClock,
      random: Math.random,
      work: new Work(WIRE_LIMITS, systemClock),
      log: { debug() {} } as never,
      signal: new AbortController().signal,
    })
  for (const [host, port, message] of [
    ['127.0.0.1', server.port, /^--address 127\.0\.0\.1:\d+ .* another program listens there/],
    ['192.0.2.1', 8080, /^--address 192\.0\.2\.1:8080 .* no such address/],
  ] as const) {
    await assert.rejects(serve(host, port), (error) => error instanceof ConfigError && message.test(error.message))
  }
})

// ---- the asking side -------------------------------------------------------------------------------------------------

test('ask: one reply per request, again and again on one socket', async () => {
  await using server = await startServer()
  using client = await Client.open(server.port)
  client.socket.removeAllListeners('data')
  for (let i = 0; i < 3; i++) assert.deepEqual(await ask(client.socket, watch(i), { timeoutMs: 5_000 }), watched(i))
  const pong = await ask(client.socket, { type: 'Ping', address: 'a', port: 1 }, { timeoutMs: 5_000, prefix: 2 })
  assert.deepEqual(pong, { type: 'Pong', address: 'a' })
  assert.equal(client.socket.listenerCount('data'), 0)
  assert.equal(client.socket.listenerCount('error'), 2, "the client's own, and one that ignores what comes later")
})

test('ask: whatever is no reply is a TransientError that says why', async () => {
  type Far = (socket: import('node:net').Socket) => void
  const cases: [string, Far, RegExp][] = [
    ['closed at once', (socket) => socket.end(), /closed without a reply/],
    ['closed in mid-reply', (socket) => socket.end(Buffer.of(0, 0, 0, 9, 1)), /closed in mid-reply/],
    ['reset', (socket) => socket.resetAndDestroy(), /the connection broke: .*ECONNRESET/],
    ['silent', () => {}, /no reply within 0\.2 s/],
    ['too long', (socket) => socket.write(frameHead(16_777_217)), /too long/],
    ['no reply of a tracker', (socket) => socket.write(encodeFrame(Buffer.of(1))), /does not know/],
    ['not CBOR', (socket) => socket.write(encodeFrame(Buffer.of(0xff))), /not a reply of a tracker/],
  ]
  for (const [what, answer, message] of cases) {
    const far = createServer((socket) => socket.on('error', () => {}).once('data', () => answer(socket)))
    await new Promise<void>((resolve) => far.listen(0, '127.0.0.1', resolve))
    const listening = far.address()
    assert(listening && typeof listening === 'object')
    using client = await Client.open(listening.port)
    client.socket.removeAllListeners()
    const timeoutMs = what === 'silent' ? 200 : 5_000
    await assert.rejects(ask(client.socket, GET, { timeoutMs }), (error) => {
      assert(error instanceof TransientError, String(error))
      const text = `${error.message}: ${error.cause instanceof Error ? error.cause.message : ''}`
      assert.match(text, message, what)
      return true
    })
    client.socket.destroy()
    await assert.rejects(exchange(client.socket, Buffer.alloc(1), { timeoutMs }), /the connection is closed/)
    await new Promise((resolve) => far.close(resolve))
  }
})

test('ask: a stop is not an error of the connection', async () => {
  await using server = await startServer(() => 'nothing')
  using client = await Client.open(server.port)
  const stop = new AbortController()
  const asking = ask(client.socket, GET, { timeoutMs: 5_000, signal: stop.signal })
  stop.abort()
  await assert.rejects(asking, (error) => error === stop.signal.reason)
  await assert.rejects(
    ask(client.socket, GET, { timeoutMs: 5_000, signal: stop.signal }),
    (error) => error === stop.signal.reason,
  )
})
