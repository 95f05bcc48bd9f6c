/** One socket on loopback that answers byte by byte as the test says. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { Receiver } from '../../../src/chain/receiver.ts'
import { waitUntil } from '../../sandbox/wait.ts'

async function answering(answer: (socket: Socket, connection: number) => void) {
  let connections = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const connection = ++connections
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', () => answer(socket, connection))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const receiver = new Receiver({ host: '127.0.0.1', port: (server.address() as { port: number }).port })
  const get = ({ bytesMax = 100, deadlineMs = 15_000 } = {}) =>
    receiver.exchange({ method: 'GET', path: '/', bytesMax, deadlineMs })
  return {
    get,
    sockets,
    async [Symbol.asyncDispose]() {
      receiver.close()
      for (const socket of sockets) socket.destroy()
      await once(server.close(), 'close')
    },
  }
}

const head = (headers: string, status = '200 OK') => `HTTP/1.1 ${status}\r\n${headers}\r\n\r\n`

test('a whole answer, with its length told or in chunks; a redirect is an answer like any other', async () => {
  const answers = [
    `${head('Content-Length: 5')}hello`,
    `${head('Transfer-Encoding: chunked')}3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n`,
    `${head('Content-Length: 0\r\nLocation: http://127.0.0.1:9/', '302 Found')}`,
  ]
  await using server = await answering((socket) => socket.write(answers.shift()!))
  for (const status of [200, 200, 302]) {
    const answer = await server.get()
    assert.deepEqual([answer.status, answer.body.toString()], [status, status === 200 ? 'hello' : ''])
  }
  assert.equal(server.sockets.size, 1, 'one connection serves all')
})

test('an answer that is cut short is none, whether or not its length was told', async () => {
  for (const start of [
    `${head('Content-Length: 5')}hel`,
    `${head('Transfer-Encoding: chunked')}3\r\nhel\r\n`,
    'HTTP/1.1 2',
  ]) {
    await using server = await answering((socket) => socket.end(start))
    await assert.rejects(server.get(), Error, start)
  }
})

test('a body that is too long is given up when it is announced, and when it comes', async () => {
  await using announced = await answering((socket) => socket.write(`${head('Content-Length: 5000000000')}x`))
  await assert.rejects(announced.get(), /5000000000 bytes or more, 100 at the most/)
  await using unannounced = await answering((socket) => {
    socket.write(head('Transfer-Encoding: chunked'))
    const more = () => socket.writable && socket.write(`a\r\n${'x'.repeat(10)}\r\n`, () => setImmediate(more))
    more()
  })
  await assert.rejects(unannounced.get(), /bytes or more, 100 at the most/)
})

test('an answer that never comes, and a body that never ends, have a deadline', async () => {
  await using silent = await answering(() => {})
  await assert.rejects(silent.get({ deadlineMs: 50 }), /no answer within 0\.05 s/)
  await using dripping = await answering((socket) => {
    socket.write(head('Transfer-Encoding: chunked'))
    const drip = () => socket.writable && socket.write('1\r\nx\r\n', () => setImmediate(drip))
    drip()
  })
  await assert.rejects(dripping.get({ deadlineMs: 50, bytesMax: 1e9 }), Error)
})

test('a connection that was closed while it was idle is not the end of a question', async () => {
  await using server = await answering((socket, connection) => {
    if (connection === 1 && socket.bytesWritten > 0) socket.resetAndDestroy()
    else socket.write(`${head('Content-Length: 1')}${connection}`)
  })
  assert.equal((await server.get()).body.toString(), '1')
  assert.equal((await server.get()).body.toString(), '2')
})

test('closed by a word, or idle and then silently: the next question goes to a fresh connection, once', async () => {
  for (const end of ['end', 'resetAndDestroy', 'destroy'] as const) {
    await using idle = await answering((socket, connection) => {
      socket.write(`${head('Content-Length: 1')}${connection}`, () => socket[end]())
    })
    for (const body of ['1', '2', '3']) assert.equal((await idle.get()).body.toString(), body)
    let asked = 0
    await using silent = await answering((socket, connection) => {
      if (++asked === 1) socket.write(`${head('Content-Length: 1')}${connection}`)
      else socket[end]()
    })
    await silent.get()
    await assert.rejects(silent.get(), /closed without an answer|ECONNRESET/)
    assert.equal(asked, 3, 'once more, and no more')
  }
  await using polite = await answering((socket, connection) => {
    socket.write(`${head('Connection: close\r\nContent-Length: 1')}${connection}`)
  })
  for (const body of ['1', '2']) assert.equal((await polite.get()).body.toString(), body)
})

test('bytes that nobody has asked for are nobody’s answer', async () => {
  const stray = `${head('Content-Length: 5')}stray`
  await using atOnce = await answering((socket, connection) => {
    socket.write(`${head('Content-Length: 1')}${connection}${stray}`)
  })
  for (const body of ['1', '2', '3']) assert.equal((await atOnce.get()).body.toString(), body)
  await using later = await answering((socket, connection) => {
    socket.write(`${head('Content-Length: 1')}${connection}`)
  })
  for (const body of ['1', '2', '3']) {
    assert.equal((await later.get()).body.toString(), body)
    for (const socket of later.sockets) socket.write(stray)
    await waitUntil('the connection is closed', () => [...later.sockets].every((socket) => socket.closed))
  }
})

test('large bodies side by side, each in memory of its own until it is given back', async () => {
  const sizes = [300_000, 1_000_000, 700_001, 65_536, 999_999, 300_000]
  const bodies = sizes.map((bytes, i) => Buffer.alloc(bytes, `${i}-`))
  const left = [...bodies]
  await using server = await answering((socket) => {
    const body = left.shift()!
    // The headers alone, in pieces, then a body in pieces of odd sizes.
    for (const part of head(`Content-Length: ${body.length}`).match(/.{1,7}/gs)!) socket.write(part)
    for (let at = 0; at < body.length; at += 77_777) socket.write(body.subarray(at, at + 77_777))
  })
  const get = () => server.get({ bytesMax: 1_000_000 })
  const first = await Promise.all([get(), get(), get()])
  const second = await Promise.all([get(), get()])
  // Which of those asked at once the server answers first is its own affair.
  const whole = (answers: { body: Buffer }[]) => answers.map(({ body }) => bodies.findIndex((one) => one.equals(body)))
  assert.deepEqual(whole(first).sort(), [0, 1, 2])
  assert.deepEqual(whole(second).sort(), [3, 4])
  const memories = first.map(({ body }) => body.buffer)
  for (const { release } of first) release()
  const third = await get()
  assert.deepEqual(whole([third]), [5])
  assert.ok(memories.includes(third.body.buffer), 'memory that was given back is used again')
  assert.ok(!second.some(({ body }) => body.buffer === third.body.buffer))
})
