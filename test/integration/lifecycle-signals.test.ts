/** What an operator can ask of a running daemon by a signal, without stopping it. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'

/** pino's number for it. */
const DEBUG = 20

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
