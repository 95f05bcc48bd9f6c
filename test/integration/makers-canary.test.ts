/**
 * When the canary says that our network has worked. Method: a far end that answers as our own service does, or not,
 * dialled directly.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Canary, type CanaryState } from '../../src/peers/canary.ts'
import { encodeFrame } from '../../src/wire/frame.ts'
import { encodeReply } from '../../src/wire/messages.ts'
import { systemClock } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'

const INSTANCE = Buffer.alloc(16, 7)

const STATUS = encodeFrame(
  encodeReply({
    type: 'Status',
    version: '1',
    network: 'regtest',
    height: 1,
    blockHash: 'ab'.repeat(32) as never,
    digest: Buffer.alloc(32),
    blockTimeS: 1,
    scannedFrom: 0,
    synced: true,
    bonds: 0,
    makersUp: 0,
    uptimeS: 1,
    instance: INSTANCE,
  }),
)

/** A SOCKS proxy and the service behind it in one: accepts every name, and answers Status unless it is `mute`. */
async function startTor(t: TestContext): Promise<{ server: Server; port: number; service: { mute: boolean } }> {
  const service = { mute: false }
  const server = createServer((socket) => {
    let step = 0
    socket
      .on('error', () => {})
      .on('data', () => {
        step++
        if (step === 1) socket.write(Buffer.of(5, 2))
        else if (step === 2) socket.write(Buffer.of(1, 0))
        else if (step === 3) socket.write(Buffer.of(5, service.mute ? 4 : 0, 0, 1, 0, 0, 0, 0, 0, 0))
        else socket.write(STATUS)
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { server, port: (server.address() as { port: number }).port, service }
}

async function startCanary(t: TestContext) {
  const { port, service } = await startTor(t)
  const states: CanaryState['kind'][] = []
  const canary = new Canary(
    {
      socks: { host: '127.0.0.1', port },
      timeoutMs: 30_000,
      everyMs: 100_000,
      gapMs: 10,
      retryMs: 20,
      target: () => ({ host: 'x.onion', port: 8080 }),
      look: undefined,
      instance: INSTANCE,
      report: ({ kind }) => states.push(kind),
      unreached: () => {},
    },
    { clock: systemClock, log: pino({ level: 'silent' }) },
  )
  const stop = new AbortController()
  const running = canary.run(stop.signal).catch(() => {})
  t.after(async () => {
    stop.abort(new Error('stop'))
    await running
  })
  return { canary, service, states, signal: stop.signal }
}

test('our network has worked when it was green before and is green after; not when it never was green', async (t) => {
  const { canary, signal } = await startCanary(t)
  assert.equal(await canary.workedSince(canary.mark(), signal), false, 'not tried yet')
  await waitUntil('it is green', () => canary.state.kind === 'green')
  assert.equal(await canary.workedSince(canary.mark(), signal), true)
})

test('our network has not worked for what began before it turned red, nor after, until it is green again', async (t) => {
  const { canary, service, signal, states } = await startCanary(t)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  const token = canary.mark()
  service.mute = true
  assert.equal(await canary.workedSince(token, signal), false)
  assert.equal(canary.state.kind, 'red')
  const during = canary.mark()
  service.mute = false
  await waitUntil('it is green again', () => canary.state.kind === 'green')
  assert.equal(await canary.workedSince(token, signal), false, 'it was red in between')
  assert.equal(await canary.workedSince(during, signal), false)
  assert.equal(await canary.workedSince(canary.mark(), signal), true)
  assert.deepEqual(states.slice(0, 3), ['green', 'red', 'green'])
})

test('our network has not worked when the service was lost in between, though it is green before and after', async (t) => {
  const { canary, signal } = await startCanary(t)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  const token = canary.mark()
  canary.lost('the control connection broke')
  canary.published()
  await waitUntil('it is green again', () => canary.state.kind === 'green')
  assert.equal(await canary.workedSince(token, signal), false)
})

test('many verdicts wait for one run; a stop ends the waiting', async (t) => {
  const { canary, signal } = await startCanary(t)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  const token = canary.mark()
  const verdicts = await Promise.all(Array.from({ length: 50 }, () => canary.workedSince(token, signal)))
  assert.ok(verdicts.every(Boolean))
  const stopper = new AbortController()
  const waiting = canary.workedSince(token, stopper.signal)
  stopper.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
})
