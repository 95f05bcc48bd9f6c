/** Pushes on a connection: between replies and never inside one, bounded for who doesn't read, and worth a slot. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Peer } from '../../src/wire/server.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { address, Client, echo, HandClock, startServer } from '../support/wire.ts'

/** A handler that hands out its peers: `Ping` subscribes, the rest is echoed. */
function subscribing() {
  const peers: Peer[] = []
  const ended: Peer[] = []
  return {
    peers,
    ended,
    handle: (request: Parameters<typeof echo>[0], peer: Peer) => {
      if (request.type === 'Ping') {
        peers.push(peer)
        peer.subscriptions = 1
        peer.onEnd(() => ended.push(peer))
      }
      return echo(request)
    },
  }
}

const PING = { type: 'Ping', address: 'x', port: 1 } as const
const names = (client: Client) =>
  client.replies.flatMap((reply) => (reply.type === 'Address' ? reply.addresses : [reply.type]))

test('a push comes between replies: not before the reply being made, not inside a long one', async () => {
  const { peers, handle } = subscribing()
  const asked = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const long = address(...Array.from({ length: 20_000 }, (_, i) => `maker-${i}`))
  await using server = await startServer(
    async (request, peer) => {
      if (request.type === 'Watch') {
        asked.resolve()
        await held.promise
      }
      if (request.type === 'Get') {
        peer.push('late', () => address('pushed while a long reply was made'))
        return { send: long }
      }
      return handle(request, peer)
    },
    { unsentBytesMax: 4_096 },
  )
  using client = await Client.open(server.port)
  client.send(PING)
  await waitUntil('it is subscribed', () => client.replies.length === 1)
  client.send({ type: 'Watch', outpoint: { txid: 'ab'.repeat(32) as never, vout: 1 } })
  await asked.promise
  peers[0]!.push('a', () => address('first'))
  peers[0]!.push('a', () => address('second'))
  peers[0]!.push('b', () => undefined)
  peers[0]!.push('c', () => address('taken back'))
  peers[0]!.unpush('c')
  client.send({ type: 'Get' })
  held.resolve()
  await waitUntil('all has come', () => client.replies.length === 5)
  assert.deepEqual(
    names(client).filter((name) => !name.startsWith('maker-')),
    ['Pong', 'watched:1', 'second', 'pushed while a long reply was made'],
    'one push per key, the newest, and nothing where there is nothing to say',
  )
  assert.ok(client.isBetweenReplies)
  assert.equal(server.counts.get('Subscribe/pushed'), 2)
})

test('a long push and a request: the reply waits for the push to end', async () => {
  const { peers, handle } = subscribing()
  await using server = await startServer(handle, { unsentBytesMax: 4_096 })
  using client = await Client.open(server.port)
  client.send(PING)
  await waitUntil('it is subscribed', () => peers.length === 1)
  peers[0]!.push('long', () => address('x'.repeat(4_000_000)))
  client.send({ type: 'Get' })
  await waitUntil('both have come', () => client.replies.length === 3)
  assert.equal(names(client).at(-1), 'Get')
  assert.ok(client.isBetweenReplies)
})

test('a subscriber that does not read is cut off; what waited for it was one push per key', async () => {
  const { peers, ended, handle } = subscribing()
  await using server = await startServer(handle, { unsentBytesMax: 4_096, unsentMsMax: 300 })
  using client = await Client.open(server.port)
  client.send(PING)
  await waitUntil('it is subscribed', () => peers.length === 1)
  client.socket.pause()
  let encoded = 0
  const long = address('x'.repeat(1_000_000))
  for (let round = 0; round < 100; round++) {
    for (let key = 0; key < 50; key++) {
      peers[0]!.push(`${key}`, () => {
        encoded++
        return long
      })
    }
  }
  await waitUntil('it is cut off', () => ended.length === 1)
  assert.ok(encoded < 30, `${encoded} of 5,000 pushes were made for a client that takes none`)
  assert.equal(server.connections(), 0)
  peers[0]!.push('after', () => assert.fail('nothing is made for a connection that has ended'))
  let isTold = false
  peers[0]!.onEnd(() => {
    isTold = true
  })
  assert.ok(isTold, 'who comes late to the end is told at once')
})

test('a subscriber may be idle for a day, another client for five minutes', async () => {
  const clock = new HandClock()
  const { peers, handle } = subscribing()
  await using server = await startServer(handle, {}, clock)
  using subscriber = await Client.open(server.port)
  using other = await Client.open(server.port)
  subscriber.send(PING)
  other.send({ type: 'Get' })
  await waitUntil('both are answered', () => subscriber.replies.length === 1 && other.replies.length === 1)
  clock.atMs += 301_000
  await waitUntil('the other is closed', () => other.isClosed)
  clock.atMs += 86_000_000
  peers[0]!.push('a', () => address('still here'))
  await waitUntil('the subscriber is told', () => subscriber.replies.length === 2)
  clock.atMs += 86_401_000
  await waitUntil('a day of silence is enough', () => subscriber.isClosed)
})

test('at the cap newcomers push out each other, not those that are subscribed', async () => {
  const { peers, handle } = subscribing()
  await using server = await startServer(handle, { connectionsMax: 12 })
  const subscribers = await Promise.all(Array.from({ length: 3 }, () => Client.open(server.port)))
  for (const subscriber of subscribers) subscriber.send(PING)
  await waitUntil('they are subscribed', () => peers.length === 3)
  const crowd: Client[] = []
  for (let i = 0; i < 60; i++) {
    const one = await Client.open(server.port)
    crowd.push(one)
    if (i % 2 === 0) one.send({ type: 'Get' })
  }
  await waitUntil('the crowd is thinned', () => crowd.filter(({ isClosed }) => isClosed).length >= 51)
  for (const peer of peers) peer.push('a', () => address('still here'))
  await waitUntil('all subscribers are told', () => subscribers.every(({ replies }) => replies.length === 2))
  for (const client of [...crowd, ...subscribers]) client[Symbol.dispose]()
})
