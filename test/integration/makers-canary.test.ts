/**
 * When the canary says that our network has worked. Method: a far end that answers as our own service does, or not,
 * dialled directly.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Canary, type CanaryOptions, type CanaryState } from '../../src/peers/canary.ts'
import type { DescriptorLook } from '../../src/tor/descriptor.ts'
import type { RedRun } from '../../src/tor/healing.ts'
import { encodeFrame } from '../../src/wire/frame.ts'
import { encodeError, encodeReply } from '../../src/wire/messages.ts'
import { systemClock } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { REAL_DESCRIPTOR } from '../support/descriptors.ts'
import { onionHost } from '../support/onions.ts'

const INSTANCE = Buffer.alloc(16, 7)

const status = (instance: Buffer | undefined) =>
  encodeFrame(
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
      ...(instance && { instance }),
    }),
  )

const BUSY = encodeFrame(encodeError('busy', 'too much at once'))

interface Service {
  mute: boolean
  /** It is to be this process; else another tracker with our address. */
  isOurs: boolean
  /** What it says of itself. */
  instance: Buffer | undefined
  /** It is asked for too much. */
  isBusy?: boolean
}

/** A SOCKS proxy and the service behind it in one: accepts every name, and answers Status unless it is `mute`. */
async function startTor(t: TestContext): Promise<{ server: Server; port: number; service: Service }> {
  const service: Service = { mute: false, isOurs: true, instance: INSTANCE }
  const server = createServer((socket) => {
    let step = 0
    socket
      .on('error', () => {})
      .on('data', () => {
        step++
        if (step === 1) socket.write(Buffer.of(5, 2))
        else if (step === 2) socket.write(Buffer.of(1, 0))
        else if (step === 3) socket.write(Buffer.of(5, service.mute ? 4 : 0, 0, 1, 0, 0, 0, 0, 0, 0))
        else socket.write(service.isBusy ? BUSY : status(service.instance))
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { server, port: (server.address() as { port: number }).port, service }
}

async function startCanary(t: TestContext, look?: CanaryOptions['look']) {
  const { port, service } = await startTor(t)
  const states: CanaryState['kind'][] = []
  const redRuns: RedRun[] = []
  const canary = new Canary(
    {
      socks: { host: '127.0.0.1', port },
      timeoutMs: 30_000,
      everyMs: 100_000,
      gapMs: 10,
      retryMs: 20,
      target: () => ({ host: onionHost('own'), port: 8080 }),
      look,
      isOurs: () => service.isOurs,
      instance: INSTANCE,
      report: ({ kind }) => states.push(kind),
      unreached: (run) => redRuns.push(run),
    },
    { clock: systemClock, log: pino({ level: 'silent' }) },
  )
  const stop = new AbortController()
  const running = canary.run(stop.signal).catch(() => {})
  t.after(async () => {
    stop.abort(new Error('stop'))
    await running
  })
  return { canary, service, states, redRuns, signal: stop.signal }
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

test('where another tracker holds the address its answer is as good as ours, and its silence not ours to mend', async (t) => {
  const { canary, service, states, redRuns } = await startCanary(t)
  service.isOurs = false
  service.instance = Buffer.alloc(16, 9)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  service.mute = true
  canary.published()
  await waitUntil('it is red', () => canary.state.kind === 'red')
  assert.deepEqual(redRuns, [])
  service.mute = false
  service.isOurs = true // it has come to us, and another process goes on answering
  await waitUntil('it is an impostor', () => canary.state.kind === 'impostor')
  assert.deepEqual(states.slice(0, 2), ['green', 'red'])
})

test('an answer that is not this process’s: an impostor, told as such, and no reason to publish again', async (t) => {
  const { canary, service, states, redRuns } = await startCanary(t)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  for (const instance of [Buffer.alloc(16, 8), undefined]) {
    service.instance = instance
    canary.published()
    await waitUntil('it is told', () => canary.state.kind === 'impostor')
    assert.match(canary.state.detail, /another process answers under our onion address .* a copy of onion\.key/)
    service.instance = INSTANCE
    await waitUntil('it is green again', () => canary.state.kind === 'green')
  }
  assert.deepEqual(states.filter((kind, i) => kind !== states[i - 1]).slice(0, 3), ['green', 'impostor', 'green'])
  assert.deepEqual(redRuns, [])
})

test('a service that is too busy to answer is red: neither an impostor, nor published again for that', async (t) => {
  const { canary, service, states, redRuns } = await startCanary(t)
  await waitUntil('it is green', () => canary.state.kind === 'green')
  service.isBusy = true
  canary.published()
  await waitUntil('it has run again and again', () => states.filter((kind) => kind === 'red').length > 3)
  assert.match(canary.state.detail, /our own onion service answers Error\{busy\}: too much at once/)
  assert.ok(!states.includes('impostor'))
  assert.deepEqual(redRuns, [])
})

test('how it was seen is said; a descriptor that no directory has is red, though our own Tor would find the way', async (t) => {
  const fetched: DescriptorLook = { kind: 'fetched', fetched: REAL_DESCRIPTOR, own: REAL_DESCRIPTOR }
  let told: DescriptorLook = fetched
  let looks = 0
  const { canary, service, redRuns } = await startCanary(t, async () => {
    looks++
    return told
  })
  const says = (expected: RegExp) =>
    waitUntil(`it says ${expected}`, () => {
      canary.published()
      return expected.test(canary.state.detail)
    })
  await says(/answers through Tor, by a descriptor fetched afresh$/)
  told = { kind: 'forgotten' }
  await says(/fetched afresh after SIGNAL NEWNYM$/)
  told = { kind: 'unseen', detail: 'a filter' }
  await says(/by the descriptor that our own Tor has kept, as none can be fetched afresh: a filter$/)
  told = { kind: 'missing', isDenied: true, detail: '$A~a: NOT_FOUND' }
  await says(/is not found: of the directories .* none has given its descriptor \(\$A~a: NOT_FOUND\)/)
  assert.equal(canary.state.kind, 'red')
  await waitUntil('runs are counted', () => redRuns.length >= 3)
  assert.deepEqual(
    redRuns.slice(0, 3).map(({ runs, isReplaced }) => [runs, isReplaced]),
    [
      [1, false],
      [2, false],
      [3, false],
    ],
  )

  told = { kind: 'missing', isDenied: false, detail: '$A~a does not answer' }
  await says(/\(\$A~a does not answer\)/)
  const [counted, looked] = [redRuns.length, looks]
  await waitUntil('it has run again', () => looks > looked + 2)
  assert.equal(redRuns.length, counted, 'directories that do not answer say nothing of the service')
  told = {
    kind: 'fetched',
    fetched: { ...REAL_DESCRIPTOR, revision: REAL_DESCRIPTOR.revision + 1n },
    own: REAL_DESCRIPTOR,
  }
  service.mute = true
  await says(/is not ours but a newer one: another process has published our onion\.key/)
  assert.ok(redRuns.at(-1)!.isReplaced)
})

test('our own SOCKS port away says nothing of the service: it is not published again for that', async () => {
  const redRuns: RedRun[] = []
  const canary = new Canary(
    {
      socks: { host: '127.0.0.1', port: 1 },
      timeoutMs: 30_000,
      everyMs: 100_000,
      gapMs: 10,
      retryMs: 10,
      target: () => ({ host: onionHost('own'), port: 8080 }),
      look: undefined,
      isOurs: () => true,
      instance: INSTANCE,
      report() {},
      unreached: (run) => redRuns.push(run),
    },
    { clock: systemClock, log: pino({ level: 'silent' }) },
  )
  const stop = new AbortController()
  const running = canary.run(stop.signal).catch(() => {})
  let faults = 0
  await waitUntil('it has failed again and again', () => {
    if (canary.state.kind === 'red') faults++
    return faults > 5
  })
  assert.match(canary.state.detail, /--socks-port/)
  assert.deepEqual(redRuns, [])
  stop.abort(new Error('stop'))
  await running
})
