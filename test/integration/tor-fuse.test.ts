/** The fuse as a process: what passes through it, and when it cuts. Tor's side is a server of the test's. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Fuse } from '../../src/tor/fuse.ts'
import { machineMs } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'

const LONG_MS = 60_000
const never = new AbortController().signal

async function startFarEnd(t: TestContext) {
  const sockets: Socket[] = []
  const closedAtMs: number[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => socket.write(`echo ${chunk}`))
    socket.on('close', () => closedAtMs.push(machineMs()))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { control: { host: '127.0.0.1', port: (server.address() as { port: number }).port }, sockets, closedAtMs }
}

function newFuse(t: TestContext): Fuse {
  const fuse = new Fuse()
  t.after(() => fuse[Symbol.asyncDispose]())
  return fuse
}

test('bytes pass both ways, and its own address on the far side is told', async (t) => {
  const { control, closedAtMs } = await startFarEnd(t)
  const fuse = newFuse(t)
  const { socket, localHost } = await fuse.open(control, machineMs() + LONG_MS, never)
  assert.equal(localHost, '127.0.0.1')
  socket.write('PROTOCOLINFO 1\r\n')
  assert.equal(String((await once(socket, 'data'))[0]), 'echo PROTOCOLINFO 1\r\n')
  socket.destroy()
  await waitUntil('the far end is closed', () => closedAtMs.length === 1)
  await fuse.ended
})

test('it cuts at its deadline, not before; a renewal moves it; one that comes too late does not', async (t) => {
  const { control, closedAtMs } = await startFarEnd(t)
  const fuse = newFuse(t)
  const { socket } = await fuse.open(control, machineMs() + 1_500, never)
  const closed = once(socket, 'close')
  socket.resume()
  const untilMs = machineMs() + 2_500
  fuse.renew(untilMs)
  await closed
  await waitUntil('the far end is closed', () => closedAtMs.length === 1)
  assert.ok(closedAtMs[0]! >= untilMs - 1, `${closedAtMs[0]! - untilMs} ms`)
  assert.ok(closedAtMs[0]! < untilMs + 300, `${closedAtMs[0]! - untilMs} ms late`)
  fuse.renew(machineMs() + LONG_MS)
  await fuse.ended
})

test('a fuse that was frozen past its deadline lets nothing through when it wakes up', async (t) => {
  const { control, sockets, closedAtMs } = await startFarEnd(t)
  const fuse = newFuse(t)
  const heard: string[] = []
  const { socket } = await fuse.open(control, machineMs() + 500, never)
  sockets[0]!.on('data', (chunk) => heard.push(String(chunk)))
  process.kill(fuse.pid!, 'SIGSTOP')
  socket.write('ADD_ONION\r\n')
  const untilMs = machineMs() + 500
  await waitUntil('its time is up', () => machineMs() > untilMs)
  process.kill(fuse.pid!, 'SIGCONT')
  await fuse.ended
  await waitUntil('the far end is closed', () => closedAtMs.length === 1)
  assert.deepEqual(heard, [])
})

test('killed, it takes the connection with it; frozen for ever, it is killed when it is let go', async (t) => {
  const { control, closedAtMs } = await startFarEnd(t)
  const one = newFuse(t)
  await one.open(control, machineMs() + LONG_MS, never)
  process.kill(one.pid!, 'SIGKILL')
  await waitUntil('the far end is closed', () => closedAtMs.length === 1)
  const two = newFuse(t)
  await two.open(control, machineMs() + LONG_MS, never)
  process.kill(two.pid!, 'SIGSTOP')
  await two[Symbol.asyncDispose]()
  await waitUntil('the far end is closed', () => closedAtMs.length === 2)
})

test('what stops all processes of a service leaves it to the daemon', async (t) => {
  const { control, closedAtMs } = await startFarEnd(t)
  const fuse = newFuse(t)
  const { socket } = await fuse.open(control, machineMs() + LONG_MS, never)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(fuse.pid!, signal)
  socket.write('still there')
  assert.equal(String((await once(socket, 'data'))[0]), 'echo still there')
  assert.equal(closedAtMs.length, 0)
})

test('nobody at the port: the fault is told in the words of the system', async (t) => {
  const { control } = await startFarEnd(t)
  const fuse = newFuse(t)
  await assert.rejects(
    fuse.open({ ...control, port: 1 }, machineMs() + LONG_MS, never),
    /connect ECONNREFUSED 127\.0\.0\.1:1/,
  )
  await fuse.ended
  const other = newFuse(t)
  await assert.rejects(other.open({ path: '/nowhere/control' }, machineMs() + LONG_MS, never), /ENOENT/)
})
