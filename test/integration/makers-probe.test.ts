/** One probe of one maker on a plain socket: what counts as an answer, what is asked, and what a stranger can't do. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { AnnouncementFormat } from '../../src/bonds/types.ts'
import { asTxid } from '../../src/chain/types.ts'
import { attemptsFor } from '../../src/peers/attempts.ts'
import { DIALECT } from '../../src/peers/dialects.ts'
import { probe } from '../../src/peers/probe.ts'
import type { DialectName, ProbeResult } from '../../src/peers/types.ts'
import { type Encodable, encode } from '../../src/wire/cbor.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { systemClock } from '../../src/world.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { waitUntil } from '../sandbox/wait.ts'

const SELF = { host: `${'a'.repeat(56)}.onion`, port: 8080 }

interface Asked {
  format?: AnnouncementFormat
  lastAnswered?: DialectName
  mayPing?: boolean
  wantsOffer?: boolean
  timeoutMs?: number
}

function probed(port: number, asked: Asked = {}): Promise<ProbeResult> {
  const { format = 'D', mayPing = false, wantsOffer = false, timeoutMs = 4_000, lastAnswered } = asked
  const attempts = attemptsFor(format, { mayPing, ...(lastAnswered && { lastAnswered }) })
  const signal = new AbortController().signal
  const options = { socks: undefined, timeoutMs, self: SELF, clock: systemClock, signal } as const
  return probe({ address: { host: '127.0.0.1', port }, attempts, wantsOffer }, options)
}

/** Without the time it took. */
async function outcome(port: number, asked?: Asked): Promise<string> {
  const result = await probed(port, asked)
  if (result.kind === 'failed') return `${result.failure}${result.hasPinged ? ', pinged' : ''}`
  const missing = result.offerFault ?? result.noOffer
  const offer = result.offer ? ', offer' : missing !== undefined ? `, no offer: ${missing}` : ''
  return `${result.dialect}${offer}${result.hasPinged ? ', pinged' : ''}`
}

async function aMaker(t: TestContext, plan: MakerPlan): Promise<MakerServer> {
  const outpoint = { txid: asTxid('ab'.repeat(32)), vout: 0 }
  const bond = { outpoint, amountSats: 10_000, lockHeight: 15_111, confHeight: 111, key: bondKey('x') }
  const address = '127.0.0.1:6102'
  const maker = await serveMaker({
    ...plan,
    listenPort: 0,
    bond: { ...bond, certAddress: address },
    otherKey: bondKey('x', 1),
    pongAddress: address,
  })
  t.after(() => maker[Symbol.asyncDispose]())
  return maker
}

/** Answers what `reply` gives to a request; closes when it gives `close`, is silent at undefined. */
async function serve(t: TestContext, reply: (request: string) => Buffer | 'close' | undefined): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const frames = new FrameReader(65_536)
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        frames.push(chunk)
        const request = frames.next()
        if (!request) return
        const answer = reply(request.toString('hex'))
        if (answer === 'close') socket.destroy()
        else if (answer) socket.write(answer)
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

const HELLO = encodeFrame(encode({ MakerHello: { supported_protocols: ['Legacy'] } }))
const isHello = (request: string) => request === DIALECT.unified.asks[0].request(SELF).toString('hex')

test('a hello is enough; the offer is asked for only when it is wanted', async (t) => {
  const maker = await aMaker(t, {})
  assert.equal(await outcome(maker.port), 'unified')
  assert.equal(maker.heard.length, 1)
  assert.equal(await outcome(maker.port, { wantsOffer: true }), 'unified, offer')
  assert.equal(maker.heard.length, 3)
})

test('what was answered last is tried first, the others after it', async (t) => {
  const old = await aMaker(t, { release: '0.1.3-taproot' })
  assert.equal(await outcome(old.port, { format: 'A' }), 'taproot-prefixed, offer')
  assert.equal(old.heard.length, 3, 'two dialects in vain')
  assert.equal(await outcome(old.port, { format: 'A', lastAnswered: 'taproot-prefixed' }), 'taproot-prefixed, offer')
  assert.equal(old.heard.length, 4)
  const renewed = await aMaker(t, { release: 'today' })
  assert.equal(await outcome(renewed.port, { format: 'A', lastAnswered: 'legacy-prefixed' }), 'unified')
})

test('a ping only where it is allowed, and when nothing else was answered', async (t) => {
  const pong = encodeFrame(encode({ Pong: { address: 'somebody.else:1' } }))
  const port = await serve(t, (request) => (request.startsWith('02a1') ? pong : 'close'))
  assert.equal(await outcome(port, { format: 'A' }), 'closed')
  assert.equal(await outcome(port, { format: 'B', mayPing: true }), 'closed')
  assert.equal(await outcome(port, { format: 'A', mayPing: true }), 'ping, pinged')
  const deaf = await serve(t, () => 'close')
  assert.equal(await outcome(deaf, { format: 'A', mayPing: true }), 'closed, pinged')
  const maker = await aMaker(t, { release: '0.1.3' })
  assert.equal(await outcome(maker.port, { format: 'A', mayPing: true }), 'legacy-prefixed')
  assert.ok(maker.heard.every((request) => !request.startsWith('02')))
})

test('a maker that renews its bond says hello and gives no offer: it is alive', async (t) => {
  const port = await serve(t, (request) => (isHello(request) ? HELLO : undefined))
  assert.equal(await outcome(port, { wantsOffer: true, timeoutMs: 4_000 }), 'unified, no offer: no reply within 2 s')
  const other = await serve(t, (request) => (isHello(request) ? HELLO : 'close'))
  assert.match(await outcome(other, { wantsOffer: true }), /^unified, no offer: the connection was closed/)
})

test('silence, rubbish and ten megabytes end a probe at the first dialect', async (t) => {
  for (const [manners, failure] of [
    ['silent', 'silent'],
    ['rubbish', 'rubbish'],
    ['huge', 'rubbish'],
  ] as const) {
    const maker = await aMaker(t, { manners })
    const timeoutMs = manners === 'silent' ? 600 : 20_000
    assert.equal(await outcome(maker.port, { format: 'A', timeoutMs }), failure, manners)
    await waitUntil('it was heard', () => maker.heard.length > 0)
    assert.equal(maker.heard.length, 1, manners)
  }
  const closed = await aMaker(t, { manners: 'closes' })
  assert.equal(await outcome(closed.port, { format: 'A' }), 'closed')
})

test('who closes at once is asked again, with pauses, until it has room', async (t) => {
  let connections = 0
  const hello = (request: string) => (isHello(request) && ++connections === 3 ? HELLO : 'close')
  assert.equal(await outcome(await serve(t, hello)), 'unified')
  const full = await aMaker(t, { admission: { burst: 1, perSecond: 1 } })
  for (let i = 0; i < 3; i++) assert.equal(await outcome(full.port), 'unified', 'a place comes free every second')
  const never = await aMaker(t, { admission: { burst: 0, perSecond: 0 } })
  const result = await probed(never.port)
  assert(result.kind === 'failed')
  assert.equal(result.failure, 'closed')
  assert.ok(result.latencyMs >= 3_400, 'three times more, after three pauses')
})

test('who says that it does not know what it is asked lives, and what it says is told', async (t) => {
  const unsupported = (content: Encodable) => encodeFrame(encode({ Unsupported: content }))
  const full = unsupported({ what: 'GetOffer', reason: 'Lightning\u001b[2J only', since: 5 })
  const port = await serve(t, (request) => (isHello(request) ? HELLO : full))
  assert.equal(
    await outcome(port, { wantsOffer: true }),
    'unified, no offer: the maker answers Unsupported when asked for it: GetOffer: Lightning?[2J only',
  )
  const long = unsupported({ what: 'x'.repeat(5_000), reason: '' })
  const result = await probed(await serve(t, () => long), { wantsOffer: true })
  assert(result.kind === 'answered')
  assert.equal(result.offerFault?.length, 300)
  assert.equal(await outcome(await serve(t, () => unsupported({})), { format: 'B' }), 'unified', 'without its fields')
  assert.equal(await outcome(await serve(t, () => unsupported({ what: 5 }))), 'rubbish')
})

test('nobody there', async (t) => {
  const maker = await aMaker(t, {})
  await maker[Symbol.asyncDispose]()
  const result = await probed(maker.port)
  assert(result.kind === 'failed')
  assert.equal(result.failure, 'unreachable')
  assert.match(result.text, /ECONNREFUSED/)
})

test('what a stranger says of itself is kept short and printable', async (t) => {
  const names = ['\u001b[2J'.repeat(100), ...Array.from({ length: 50 }, () => 'x')]
  const hello = encodeFrame(encode({ MakerHello: { supported_protocols: names } }))
  const port = await serve(t, () => hello)
  const result = await probed(port)
  assert(result.kind === 'answered')
  assert.equal(result.protocols?.length, 8)
  assert.equal(result.protocols[0], `${'?[2J'.repeat(8).slice(0, 29)}...`)
  const other = await serve(t, () => encodeFrame(encode({ ['\u001b\n'.repeat(200)]: null })))
  const refused = await probed(other)
  assert(refused.kind === 'failed')
  assert.match(refused.text, /^[\x20-\x7e]{1,300}$/)
})

test('a stop ends a probe at once', async (t) => {
  const maker = await aMaker(t, { manners: 'silent' })
  const stop = new AbortController()
  const options = {
    socks: undefined,
    timeoutMs: 60_000,
    self: SELF,
    clock: systemClock,
    signal: stop.signal,
  } as const
  const target = {
    address: { host: '127.0.0.1', port: maker.port },
    attempts: attemptsFor('D', { mayPing: false }),
    wantsOffer: true,
  }
  const running = probe(target, options)
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
})
