/** What an operator can ask of a running daemon by a signal, without stopping it. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { Client } from '../support/wire.ts'

/** pino's numbers for them. */
const DEBUG = 20
const WARN = 40

test('SIGUSR1 writes the state to the log, at any level, and opens no debugger', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, { args: ['--no-tor', '--log-level', 'error'] })
  await tracker.caughtUp(node)
  assert.deepEqual(tracker.log, [])
  process.kill(tracker.pid, 'SIGUSR1')
  const line = await tracker.said('state')
  const { status } = line as unknown as { status: { ready: boolean; height: number } }
  assert.equal(status.ready, true)
  assert.equal(status.height, 5)
  assert.ok((line.memory as { rss: number }).rss > 0)
  const debuggerAnswers = await new Promise((resolve) => {
    const socket = connect(9229, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  })
  assert.equal(debuggerAnswers, false)
  assert.equal(await tracker.stop(), 0)
})

test('SIGUSR2 makes the log more talkative step by step, rooms included, and then as configured again', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const changes = () => tracker.log.filter(({ msg }) => msg === 'log level changed').map(({ logLevel }) => logLevel)
  const isDebug = ({ level }: { level: number }) => level === DEBUG
  const faults = () => tracker.log.filter((line) => isDebug(line) && line.room === 'wire').length
  await misbehave(tracker)
  await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(faults(), 0)

  process.kill(tracker.pid, 'SIGUSR2')
  await waitUntil('debug', () => changes().length === 1)
  await misbehave(tracker)
  await waitUntil('a room of the log has become more talkative too', () => faults() > 0)
  process.kill(tracker.pid, 'SIGUSR2')
  await waitUntil('trace', () => changes().length === 2)
  process.kill(tracker.pid, 'SIGUSR2')
  await waitUntil('as configured', () => changes().length === 3)
  assert.deepEqual(changes(), ['debug', 'trace', 'info'])
  const before = faults()
  await misbehave(tracker)
  await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(faults(), before)
})

/** Something no taker sends, answered with an error and told at level debug. */
async function misbehave(tracker: Tracker): Promise<void> {
  const socket = await tracker.connect()
  socket.write(Buffer.from('00000003ffffff', 'hex'))
  socket.resume()
  await new Promise((resolve) => socket.once('close', resolve))
}

test('SIGTERM while a thousand requests wait for bitcoind: every connection is closed, and nothing is called a failure', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  // Only now do requests wait for bitcoind itself, and not for its mempool to be read.
  const known = { type: 'WatchMany' as const, outpoints: [{ txid: '33'.repeat(32) as never, vout: 0 }] }
  await waitUntil('watches are answered', () => tracker.ask(known, 'Spends').catch(() => undefined))
  process.kill(node.pid, 'SIGSTOP')
  try {
    const outpoint = (vout: number) => ({ txid: '11'.repeat(32) as never, vout })
    const clients = await Promise.all(Array.from({ length: 1_000 }, () => Client.open(tracker.port)))
    for (const [i, client] of clients.entries()) {
      client.send(
        { type: 'WatchMany', outpoints: [outpoint(i)] },
        { type: 'Register', outpoints: [outpoint(i)], ttlBlocks: 9 },
      )
    }
    const overHttp = fetch(`http://127.0.0.1:${tracker.httpPort}/api/v1/spends/${'22'.repeat(32)}/0`).catch(() => {})
    // Answered after all of them were taken, by a handler that waits for nobody.
    await waitUntil(
      'they are taken',
      async () =>
        (await tracker.ask({ type: 'Ping', address: 'x.onion', port: 1 }, 'Pong')) && openOf(tracker) >= 1_000,
    )
    const before = tracker.log.length
    assert.equal(await tracker.stop(), 0)
    const loud = tracker.log.slice(before).filter(({ level }) => level >= WARN)
    assert.deepEqual(loud, [])
    assert.equal(tracker.stderr, '')
    await waitUntil('all are closed', () => clients.every(({ isClosed }) => isClosed))
    await overHttp
  } finally {
    process.kill(node.pid, 'SIGCONT')
  }
})

test('SIGTERM while bitcoind is away: clients are let go and the database is closed, right after the start and later', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, { http: true, nostr: true })
  await tracker.caughtUp(node)
  await tracker.stop()
  await node.stop()
  for (const said of ['listening', 'bitcoind unreachable']) {
    const before = tracker.log.length
    tracker.launch()
    await tracker.said(said, before)
    using client = await Client.open(tracker.port)
    client.send({ type: 'Status' })
    await waitUntil('it is answered', () => client.replies[0]?.type === 'Status')
    assert.equal(await tracker.stop(), 0, said)
    assert.ok(tracker.logged('stopped'))
    await waitUntil('the client is let go', () => client.isClosed)
    assert.equal(existsSync(join(tracker.dataDir, 'tracker.sqlite-wal')), false, 'written back, and closed')
  }
})

/** Connections, as its status row says every second. */
function openOf(tracker: Tracker): number {
  return tracker.status()?.connections ?? 0
}
