/** What strangers may cost us: each limit met on real sockets, with small numbers or with the hands of the clock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { asTxid } from '../../src/chain/types.ts'
import { encodeFrame } from '../../src/wire/frame.ts'
import { WIRE_LIMITS } from '../../src/wire/limits.ts'
import { encodeReply, encodeRequest, type Request } from '../../src/wire/messages.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { address, Client, echo, HandClock, startServer } from '../support/wire.ts'

const GET: Request = { type: 'Get' }
const watch = (vout: number): Request => ({ type: 'Watch', outpoint: { txid: asTxid('cd'.repeat(32)), vout } })

async function answered(client: Client): Promise<void> {
  const before = client.replies.length
  client.send(GET)
  await waitUntil('an answer', () => client.replies.length > before || client.isClosed, { everyMs: 1 })
  assert.equal(client.replies.length, before + 1)
}

/** Lets sockets and sweeps have their turn: ten rounds of the event loop, however long the machine takes over each. */
async function someSweeps(): Promise<void> {
  for (let round = 0; round < 10; round++) await pause(10)
}

test('a connection on which nothing is asked is closed, one that asks is not', async () => {
  const clock = new HandClock()
  await using server = await startServer(echo, {}, clock)
  using idle = await Client.open(server.port)
  using asking = await Client.open(server.port)
  await answered(idle)
  clock.atMs += WIRE_LIMITS.idleMsMax - 1_000
  await answered(asking)
  await someSweeps()
  assert.equal(server.connections(), 2)
  clock.atMs += 1_001
  await waitUntil('the idle one is closed', () => idle.isClosed)
  await answered(asking)
  assert.deepEqual(idle.replies, [{ type: 'Address', addresses: ['Get'] }], 'closed without a word')
})

test('a request in the making is not idle', async () => {
  const clock = new HandClock()
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  await using server = await startServer(
    async (request) => {
      await released
      return echo(request)
    },
    {},
    clock,
  )
  using client = await Client.open(server.port)
  client.send(GET)
  await waitUntil('it is being answered', () => server.connections() === 1)
  await someSweeps()
  clock.atMs += 2 * WIRE_LIMITS.idleMsMax
  await someSweeps()
  release()
  await waitUntil('the reply', () => client.replies.length === 1)
})

test('a frame that is begun and not finished within 10 s ends the connection, however it trickles', async () => {
  const clock = new HandClock()
  await using server = await startServer(echo, {}, clock)
  using slow = await Client.open(server.port)
  using inTime = await Client.open(server.port)
  const bytes = encodeFrame(encodeRequest(watch(1)))
  slow.sendBytes(bytes.subarray(0, 2))
  inTime.sendBytes(bytes.subarray(0, 2))
  for (let at = 2; at < 12; at++) {
    await someSweeps()
    clock.atMs += 990
    slow.sendBytes(bytes.subarray(at, at + 1))
  }
  inTime.sendBytes(bytes.subarray(2))
  await waitUntil('the one in time is answered', () => inTime.replies.length === 1)
  assert.equal(slow.isClosed, false)
  clock.atMs += 200
  await waitUntil('the slow one is closed', () => slow.isClosed)
  const [reply] = slow.replies
  assert(reply?.type === 'Error' && reply.code === 'bad_frame' && /within 10 s/.test(reply.message))
  clock.atMs += WIRE_LIMITS.frameMsMax + 1
  await answered(inTime)
})

test('beyond its allowance a client is not read, and nothing of it is lost', async () => {
  const clock = new HandClock()
  let handled = 0
  await using server = await startServer(
    (request) => {
      handled++
      return echo(request)
    },
    { unitsPerS: 80, unitsBurst: 400 }, // a `Watch` and its short reply are four,
    clock,
  )
  using client = await Client.open(server.port)
  using other = await Client.open(server.port)
  // 60,000 requests make 3.7 MB: what is not read stays in the client.
  const frame = encodeFrame(encodeRequest(watch(9)))
  const count = 60_000
  for (let i = 0; i < count; i += 1_000) client.sendBytes(Buffer.concat(Array(1_000).fill(frame)))
  await waitUntil('the burst', () => client.replies.length === 100)
  await someSweeps()
  assert.equal(handled, 100)
  clock.atMs += 1_000
  await waitUntil('a second later', () => client.replies.length === 120)
  await someSweeps()
  assert.equal(handled, 120)
  const unread = client.socket.writableLength
  const read = client.socket.bytesWritten - unread
  assert(unread > 0, 'the client can not get rid of all its requests')
  await someSweeps()
  assert.equal(client.socket.bytesWritten - client.socket.writableLength, read, 'nothing is read meanwhile')
  await answered(other)
  let lastReplies = 0
  await waitUntil(
    'all are answered in the end',
    () => {
      if (client.replies.length !== lastReplies) clock.atMs += 5_000
      lastReplies = client.replies.length
      return client.replies.length === count
    },
    { timeoutMs: 60_000, everyMs: 5 },
  )
  assert.equal(client.isClosed, false)
})

test('connections of one Tor circuit share an allowance; who comes from this machine has its own', async () => {
  const clock = new HandClock()
  const limits = { unitsPerS: 80, unitsBurst: 400 } // a `Watch` and its short reply are four
  await using server = await startServer(echo, limits, clock, undefined, true)
  const line = (circuit: string) => Buffer.from(`PROXY TCP6 fc00:dead:beef:4dad::0:${circuit} ::1 65535 42\r\n`)
  const open = async (first: Buffer) => {
    const client = await Client.open(server.port)
    client.sendBytes(first)
    return client
  }
  const frames = Buffer.concat(Array(80).fill(encodeFrame(encodeRequest(watch(9)))))
  using one = await open(line('1'))
  using two = await open(Buffer.concat([line('1'), frames]))
  one.sendBytes(frames)
  using other = await open(line('2'))
  using local = await open(frames)
  other.sendBytes(frames.subarray(0, 3)) // the line and the frame in any pieces
  other.sendBytes(frames.subarray(3))
  await waitUntil('a hundred of one circuit', () => one.replies.length + two.replies.length === 100)
  await waitUntil('the others have their own', () => other.replies.length === 80 && local.replies.length === 80)
  await someSweeps()
  assert.equal(one.replies.length + two.replies.length, 100)
  const circuits = server.clients().map(({ circuit }) => circuit?.at(-1))
  assert.deepEqual(circuits, ['1', '1', '2', undefined])
  clock.atMs += 3_000
  await waitUntil('the rest, three seconds later', () => one.replies.length + two.replies.length === 160)

  const liar = await open(Buffer.from('PROXY nonsense\r\n'))
  await waitUntil('a line that is none ends its connection', () => liar.isClosed)
  assert.equal(liar.replies[0]?.type === 'Error' && liar.replies[0].code, 'bad_frame')
  liar[Symbol.dispose]()
  await waitUntil('it is gone', () => server.connections() === 4)
  using slow = await open(line('3').subarray(0, 20))
  await waitUntil('half a line is not waited for', () => {
    clock.atMs += 1_000
    return slow.isClosed
  })
  assert.equal(slow.replies[0]?.type === 'Error' && slow.replies[0].code, 'bad_frame')
})

test('a client that never reads its replies is answered no further, and cut off', async () => {
  const clock = new HandClock()
  const reply = Buffer.concat([address(...Array.from({ length: 1_000 }, (_, i) => `${i}${'x'.repeat(60)}`))])
  let handled = 0
  await using server = await startServer(
    () => {
      handled++
      return { send: reply }
    },
    { unitsPerS: 1e9, unitsBurst: 1e9 },
    clock,
  )
  using deaf = await Client.open(server.port)
  using other = await Client.open(server.port)
  deaf.socket.pause()
  deaf.send(...Array.from({ length: 1_000 }, () => GET)) // would be 70 MB of replies
  const before = process.memoryUsage().arrayBuffers
  let last = -1
  await waitUntil('it is answered no further', () => {
    const isStill = handled === last
    last = handled
    return isStill && handled > 0
  })
  assert(handled < 500, `${handled} answered, beyond what two sockets' buffers hold`)
  assert(process.memoryUsage().arrayBuffers - before < 20_000_000)
  other.send(GET)
  await waitUntil('the other is answered', () => other.replies.length === 1)
  clock.atMs += WIRE_LIMITS.unsentMsMax - 1
  await someSweeps()
  assert.equal(server.connections(), 2)
  clock.atMs += 2
  await waitUntil('it is cut off', () => server.connections() === 1)
})

test('long replies that nobody takes have a bound together: who has taken nothing for longest is cut off', async () => {
  const clock = new HandClock()
  const long = () => ({ send: address('x'.repeat(16_000_000)) }) // more than sockets' buffers hold
  const bytes = long().send.length
  const shared = long()
  const limits = { unitsPerS: 1e9, unitsBurst: 1e9, backlogBytesMax: 3 * bytes }
  const handle = (request: Request) =>
    request.type === 'Status' ? shared : request.type === 'Get' ? long() : echo(request)
  await using server = await startServer(handle, limits, clock)
  const deaf: Client[] = []
  const ask = async (request: Request) => {
    const client = await Client.open(server.port)
    client.socket.pause()
    client.send(request)
    clock.atMs += 1
    return client
  }
  for (let i = 1; i <= 3; i++) {
    deaf.push(await ask(GET))
    await waitUntil('its reply is on its way', () => server.backlog.bytes === i * bytes)
  }
  using reading = await Client.open(server.port)
  reading.send(GET)
  await waitUntil('who reads has its reply', () => reading.replies.length === 1)
  assert.equal(server.backlog.cut, 1)
  await waitUntil('the first that does not read is gone', () => server.connections() === 3)
  for (const client of deaf) client[Symbol.dispose]()
  await waitUntil('nothing is left', () => server.backlog.bytes === 0)
  const sharing = await Promise.all(Array.from({ length: 6 }, () => ask({ type: 'Status' })))
  await waitUntil('the same bytes count once', () => server.backlog.bytes === bytes)
  assert.equal(server.backlog.cut, 1)
  for (const client of sharing) client[Symbol.dispose]()
})

test('a client that reads slowly keeps its connection', async () => {
  const clock = new HandClock()
  const reply = address(...Array.from({ length: 1_000 }, (_, i) => `${i}${'x'.repeat(60)}`))
  await using server = await startServer(() => ({ send: reply }), { unitsPerS: 1e9, unitsBurst: 1e9 }, clock)
  using slow = await Client.open(server.port)
  slow.socket.pause()
  const count = 300 // 20 MB
  slow.send(...Array.from({ length: count }, () => GET))
  let taken = 0
  await waitUntil(
    'all replies, a bit every 40 s',
    async () => {
      const before = slow.replies.length
      slow.socket.resume()
      await waitUntil('something', () => slow.replies.length > before || slow.isClosed, { everyMs: 1 })
      slow.socket.pause()
      await new Promise(setImmediate)
      clock.atMs += 1_000
      taken++
      return slow.isClosed || slow.replies.length === count
    },
    { everyMs: 1 },
  )
  assert.equal(slow.replies.length, count)
  assert(taken > 1, 'it did not all come at once')
})

test('a client that takes minutes over one long reply gets it whole', async () => {
  const clock = new HandClock()
  const addresses = Array.from({ length: 20_000 }, (_, i) => `${i}${'x'.repeat(800)}`)
  const reply = encodeReply({ type: 'Address', addresses })
  assert(reply.length > 16_000_000)
  await using server = await startServer(() => ({ send: reply }), {}, clock)
  using slow = await Client.open(server.port)
  slow.socket.pause()
  slow.send(GET)
  let tookMs = 0
  for (let wanted = 3_000_000; slow.replies.length === 0 && !slow.isClosed; wanted += 3_000_000) {
    slow.socket.resume()
    const isThere = () => slow.socket.bytesRead > wanted || slow.replies.length > 0 || slow.isClosed
    await waitUntil('some more of it', isThere, { everyMs: 1 })
    slow.socket.pause()
    await someSweeps()
    clock.atMs += 30_000 // the kernel may keep 6 MB to itself, so not every step is one for the server
    tookMs += 30_000
    await someSweeps()
  }
  assert.equal(slow.replies.length, 1, `cut off after ${slow.socket.bytesRead} bytes`)
  assert(tookMs > 2 * WIRE_LIMITS.unsentMsMax, 'it was slow')
})

test('10,000 idle connections hurt only themselves', async () => {
  await using server = await startServer(echo, { unitsPerS: 1e9, unitsBurst: 1e9 })
  using asking = await Client.open(server.port)
  const idle: Client[] = []
  let most = 0
  try {
    for (let i = 0; i < 10_000; i += 100) {
      idle.push(...(await Promise.all(Array.from({ length: 100 }, () => Client.open(server.port)))))
      await answered(asking)
      most = Math.max(most, server.connections())
    }
    assert.equal(most, WIRE_LIMITS.connectionsMax)
    await waitUntil('all but the last are closed', () => {
      return idle.filter(({ isClosed }) => isClosed).length === 10_000 - (WIRE_LIMITS.connectionsMax - 1)
    })
    assert(idle.at(-1)?.isClosed === false, 'the last one displaced another')
    assert.deepEqual(server.evicted, { silent: 10_000 - (WIRE_LIMITS.connectionsMax - 1), asked: 0, subscribed: 0 })
  } finally {
    for (const client of idle) client[Symbol.dispose]()
  }
  await answered(asking)
})

test('a thousand newcomers at one moment spare who has asked before, and newcomers displace some who asked and stayed', async () => {
  await using server = await startServer(echo, { connectionsMax: 10 })
  using early = await Client.open(server.port)
  await answered(early)
  const flood = await Promise.all(Array.from({ length: 1_000 }, () => Client.open(server.port)))
  await waitUntil('the flood has hurt itself', () => flood.filter(({ isClosed }) => isClosed).length === 991)
  await answered(early)
  for (const client of flood) client[Symbol.dispose]()
  await waitUntil('the flood is gone', () => server.connections() === 1)

  const stayers = [early, ...(await Promise.all(Array.from({ length: 9 }, () => Client.open(server.port))))]
  for (const stayer of stayers) await answered(stayer)
  const newcomers: Client[] = []
  for (let i = 0; i < 3; i++) {
    const newcomer = await Client.open(server.port)
    newcomers.push(newcomer)
    await answered(newcomer)
  }
  const all = [...stayers, ...newcomers]
  await waitUntil('three had to go', () => all.filter(({ isClosed }) => isClosed).length === 3)
  assert.equal(server.evicted.asked, 3)
  for (const client of all) client[Symbol.dispose]()
})

test('who is being answered, or waits to be, makes room as others do: nobody holds all places by asking', async () => {
  const never = new Promise<never>(() => {})
  let started = 0
  await using server = await startServer(
    (request) => {
      if (request.type !== 'Watch') return echo(request)
      started++
      return never
    },
    { connectionsMax: 4 },
  )
  const asking = await Promise.all(Array.from({ length: 4 }, () => Client.open(server.port)))
  for (const client of asking) client.send(watch(1))
  await waitUntil('all are being answered', () => started === 4)
  using newcomer = await Client.open(server.port)
  await answered(newcomer)
  assert.equal(asking.filter(({ isClosed }) => isClosed).length, 1)
  for (const client of asking) client[Symbol.dispose]()
})

test('half of all places stay with those who have been subscribed longest, whoever comes', async () => {
  await using server = await startServer(
    (request, peer) => {
      if (request.type === 'Ping') peer.subscriptions = 1
      return echo(request)
    },
    { connectionsMax: 20 },
  )
  const subscribed = async () => {
    const client = await Client.open(server.port)
    client.send({ type: 'Ping', address: 'x', port: 1 })
    await waitUntil('it is subscribed', () => client.replies.length === 1 || client.isClosed)
    return client
  }
  const wallets: Client[] = []
  for (let i = 0; i < 10; i++) wallets.push(await subscribed())
  const flood: Client[] = []
  for (let i = 0; i < 100; i++) flood.push(await subscribed())
  for (let i = 0; i < 100; i++) flood.push(await Client.open(server.port))
  await waitUntil('the flood has hurt itself', () => flood.filter(({ isClosed }) => isClosed).length === 190)
  for (const wallet of wallets) await answered(wallet)
  for (const client of [...wallets, ...flood]) client[Symbol.dispose]()
})

test('many newcomers at one moment never exceed the cap', async () => {
  await using server = await startServer(echo, { connectionsMax: 10 })
  const clients = await Promise.all(Array.from({ length: 300 }, () => Client.open(server.port)))
  let most = 0
  while (clients.filter(({ isClosed }) => isClosed).length < 290) {
    most = Math.max(most, server.connections())
    await new Promise(setImmediate) // right after connections were taken, before any is closed
  }
  assert.equal(most, 10)
  for (const client of clients) client[Symbol.dispose]()
  await waitUntil('all are forgotten', () => server.connections() === 0)
})

test('a client that stays after our last word is dropped', async () => {
  const clock = new HandClock()
  await using server = await startServer(echo, {}, clock)
  using client = await Client.open(server.port)
  client.sendPayload('') // bad_frame, and we close
  await waitUntil('our last word', () => client.isClosed)
  await someSweeps()
  assert.equal(server.connections(), 1, 'its own side is still open')
  clock.atMs += WIRE_LIMITS.lingerMsMax + 1
  await waitUntil('it is dropped', () => server.connections() === 0)
})

test('a stop: idle ones at once, replies on their way are finished, the stuck are cut', async () => {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let started = 0
  const server = await startServer(
    async (request) => {
      started++
      if (request.type === 'Watch') await released
      if (request.type === 'Status') await new Promise(() => {})
      return echo(request)
    },
    { sweepMs: 60_000, stopMsMax: 2_500 },
  )
  using idle = await Client.open(server.port)
  using half = await Client.open(server.port)
  half.sendBytes(Buffer.of(0, 0))
  using busy = await Client.open(server.port)
  busy.send(watch(4), GET)
  using stuck = await Client.open(server.port)
  stuck.send({ type: 'Status' })
  await waitUntil('all are there', () => server.connections() === 4 && started === 2)
  const stopped = server[Symbol.asyncDispose]()
  await waitUntil('the idle are closed', () => idle.isClosed && half.isClosed, { everyMs: 1 })
  assert.equal(busy.isClosed, false)
  release()
  await stopped
  await waitUntil('all are closed', () => busy.isClosed && stuck.isClosed)
  assert.deepEqual(busy.replies, [{ type: 'Address', addresses: ['watched:4'] }], 'its reply, and no further one')
  assert.equal(server.connections(), 0)
  await assert.rejects(Client.open(server.port), /ECONNREFUSED/)
})

test('a stop waits for a handler whose client has gone: the store closes next', async () => {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let isDone = false
  const server = await startServer(
    async (request) => {
      await released
      isDone = true
      return echo(request)
    },
    { stopMsMax: 10_000 },
  )
  using client = await Client.open(server.port)
  client.send(GET)
  await waitUntil('it is there', () => server.connections() === 1)
  await someSweeps()
  client.socket.resetAndDestroy()
  await waitUntil('it is gone', () => server.connections() === 0)
  const stopped = server[Symbol.asyncDispose]().then(() => isDone)
  await someSweeps()
  release()
  assert.equal(await stopped, true)
})
