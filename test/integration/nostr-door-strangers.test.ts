/** What strangers may do at the Nostr door without anybody else noticing: frames that are none, heads half sent, pages. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { OPCODE } from '../sandbox/nostr/wire.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { announcement, DoorVisitor, doorUrl, mineBonds, rawExchange } from '../support/nostr-door.ts'
import { onionHost } from '../support/onions.ts'

let node: Regtest
let tracker: Tracker
let url: string

before(async () => {
  node = await Regtest.start()
  await mineBonds(node, ['one', 'two'])
  const limits = ['--frame-seconds-max', '2', '--idle-seconds-max', '5', '--connections-max', '40']
  limits.push('--units-burst', '1000000')
  tracker = await Tracker.start(node, {
    nostr: true,
    http: true,
    args: ['--no-tor', '--allow-test-addresses', ...limits],
  })
  url = doorUrl(tracker)
  await tracker.caughtUp(node)
})

after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** The door answers, and nothing went wrong inside. */
async function assertWell(): Promise<void> {
  using visitor = await DoorVisitor.open(url)
  assert.equal((await visitor.ask('well', {})).length, 2)
  assert.deepEqual(
    tracker.log.filter(({ level }) => level > 40),
    [],
  )
}

/** One masked frame, head as given. */
function frame(first: number, payload: Buffer, { isMasked = true, length = payload.length } = {}): Buffer {
  const mask = randomBytes(4)
  const body = isMasked ? Buffer.concat([mask, Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]!))]) : payload
  const bit = isMasked ? 0x80 : 0
  if (length < 126) return Buffer.concat([Buffer.of(first, bit | length), body])
  const head = Buffer.alloc(10)
  head.writeUInt8(first)
  head.writeUInt8(bit | 127, 1)
  head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, body])
}

const REQ = Buffer.from('["REQ","x",{}]')

const BROKEN: [what: string, bytes: Buffer, code: number][] = [
  ['a binary message', frame(0x82, REQ), 1003],
  ['a message over the limit', frame(0x81, Buffer.alloc(70_000, 0x20)), 1009],
  ['the announcement of one', frame(0x81, Buffer.alloc(0), { length: 2 ** 40 }), 1009],
  [
    'fragments over the limit',
    Buffer.concat([frame(0x01, Buffer.alloc(40_000, 0x20)), frame(0x80, Buffer.alloc(40_000, 0x20))]),
    1009,
  ],
  ['a message that is no UTF-8', frame(0x81, Buffer.of(0xff, 0xfe, 0xc0)), 1007],
  ['a frame without a mask', frame(0x81, REQ, { isMasked: false }), 1002],
  ['a compressed frame that nobody agreed on', frame(0xc1, deflateRawSync(REQ)), 1002],
  ['a reserved opcode', frame(0x83, REQ), 1002],
  ['a continuation of nothing', frame(0x80, REQ), 1002],
  ['a ping that is too long', frame(0x89, Buffer.alloc(126)), 1002],
  ['a close with a code that is none', frame(0x88, Buffer.of(0, 1)), 1002],
]

for (const [what, bytes, code] of BROKEN) {
  test(`${what} ends its connection with ${code}`, async () => {
    using visitor = await DoorVisitor.open(url)
    visitor.socket.stream.write(bytes)
    assert.equal((await visitor.goodbye()).code, code)
    await assertWell()
  })
}

test('a message in fragments is one, with a ping between them answered', async () => {
  using visitor = await DoorVisitor.open(url)
  const { stream } = visitor.socket
  stream.write(frame(0x01, REQ.subarray(0, 5)))
  stream.write(frame(0x89, Buffer.from('here?')))
  stream.write(frame(0x00, REQ.subarray(5, 9)))
  stream.write(frame(0x80, REQ.subarray(9)))
  const pong = await visitor.socket.read(30_000)
  assert.deepEqual([pong.op, pong.data.toString()], [OPCODE.pong, 'here?'])
  assert.equal((await visitor.stored('x')).length, 2)
})

test('a frame, a message or a head that is never finished ends its connection', { timeout: 120_000 }, async () => {
  const whole = frame(0x81, REQ)
  for (const part of [
    whole.subarray(0, 1),
    whole.subarray(0, 9),
    frame(0x01, REQ),
    Buffer.concat([whole, whole.subarray(0, 3)]),
  ]) {
    using visitor = await DoorVisitor.open(url)
    visitor.socket.stream.write(part)
    assert.match((await visitor.goodbye()).reason, /finished within 2 s/)
  }
  assert.ok((await rawExchange(tracker.nostrPort!, 'GET / HTTP/1.1\r\nHost: x\r\n')) !== undefined)
  assert.ok((await rawExchange(tracker.nostrPort!, '')) !== undefined, 'who says nothing at all has no place either')
  await assertWell()
})

test('who says nothing for long has no place; who is subscribed, has', { timeout: 120_000 }, async () => {
  using subscribed = await DoorVisitor.open(url)
  await subscribed.ask('x', { limit: 0 })
  using idle = await DoorVisitor.open(url)
  assert.deepEqual(await idle.goodbye(), { code: 1001, reason: 'nothing was said for long' })
  assert.equal((await subscribed.ask('y', {})).length, 2)
})

test('a goodbye is answered', async () => {
  using visitor = await DoorVisitor.open(url)
  visitor.socket.sendFrame(OPCODE.close, Buffer.of(0x03, 0xe8))
  assert.equal((await visitor.goodbye()).code, 1000)
})

test('who comes by HTTP gets the relay’s document, or one sentence', async () => {
  const ask = (init?: RequestInit) => fetch(url.replace('ws:', 'http:'), init)
  for (const accept of ['application/nostr+json', 'text/html, Application/Nostr+JSON;q=0.9, */*']) {
    const reply = await ask({ headers: { accept } })
    assert.equal(reply.headers.get('content-type'), 'application/nostr+json')
    assert.equal(reply.headers.get('access-control-allow-origin'), '*')
    const document = (await reply.json()) as Record<string, unknown> & { limitation: Record<string, unknown> }
    assert.deepEqual(document.supported_nips, [1, 11, 40])
    assert.equal(document.limitation.max_subid_length, 256)
    assert.equal(document.limitation.max_message_length, 65_536)
    using visitor = await DoorVisitor.open(url)
    assert.equal(document.self, (await visitor.ask('x', {}))[0]!.pubkey)
  }
  const page = await ask()
  assert.equal(page.status, 200)
  assert.match(page.headers.get('content-type')!, /^text\/plain/)
  assert.match(await page.text(), /^This is a Nostr relay .*\.\n$/)
  assert.equal((await ask({ method: 'POST', body: 'x' })).status, 405)
  assert.equal((await ask({ method: 'OPTIONS' })).status, 204)
  const port = tracker.nostrPort!
  assert.match((await rawExchange(port, `GET / HTTP/1.1\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`))!, /^HTTP\/1\.1 431 /)
  assert.match((await rawExchange(port, 'rubbish\r\n\r\n'))!, /^HTTP\/1\.1 400 /)
  const head = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n'
  assert.match((await rawExchange(port, `${head}Upgrade: websocket\r\n\r\n`))!, /^HTTP\/1\.1 400 /, 'no key')
  assert.match((await rawExchange(port, `${head}Upgrade: h2c\r\n\r\n`))!, /^HTTP\/1\.1 400 /)
  await assertWell()
})

test('a web page may connect by the onion’s name alone', async () => {
  const upgrade = (host: string) =>
    rawExchange(
      tracker.nostrPort!,
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: https://page.example\r\n\r\n${'\x88\x80\0\0\0\0'}`,
    )
  for (const host of [`127.0.0.1:${tracker.nostrPort}`, 'page.example', '']) {
    assert.match((await upgrade(host))!, /^HTTP\/1\.1 403 .*A web page may not connect here/s, host)
  }
  assert.match((await upgrade(onionHost('ours')))!, /^HTTP\/1\.1 101 /)
})

test('those that only connect push out one another, never who has been subscribed for long', async () => {
  using subscribed = await DoorVisitor.open(url)
  await subscribed.ask('x', { limit: 0 })
  const others = await Promise.all(Array.from({ length: 60 }, () => DoorVisitor.open(url).catch(() => undefined)))
  try {
    assert.equal((await subscribed.ask('y', {})).length, 2)
    const { connections } = await metricsOf('nostr_door_connections')
    assert.ok(connections! <= 40, `${connections}`)
  } finally {
    for (const other of others) other?.[Symbol.dispose]()
  }
  await assertWell()
})

test('a reader that never reads is told no more than fits, and is cut off', { timeout: 180_000 }, async () => {
  using visitor = await DoorVisitor.open(url)
  visitor.socket.stream.pause()
  for (let i = 0; i < 30_000; i++) visitor.say('REQ', `s${i % 20}`, {}) // 40 MB, of which the kernel takes ten
  await assertWell()
  await waitUntil(
    'it has no place any more',
    async () => (await metricsOf('nostr_door_connections')).connections === 0,
    { timeoutMs: 150_000, everyMs: 1_000 },
  )
  await assertWell()
})

test('who is connected is shown, with what it has cost', async () => {
  using visitor = await DoorVisitor.open(url)
  await visitor.ask('x', {})
  const reply = await fetch(`http://127.0.0.1:${tracker.httpPort}/api/v1/clients`)
  const { clients } = (await reply.json()) as { clients: Record<string, unknown>[] }
  const ours = clients.findLast(({ door }) => door === 'nostr')!
  assert.deepEqual([ours.group, ours.requests, ours.subscriptions, ours.circuit], ['subscribed', 1, 1, null])
  assert.ok((ours.units as number) >= 3)
})

test('what is said is counted', async () => {
  using visitor = await DoorVisitor.open(url)
  const before = await counts()
  await visitor.say('EVENT', announcement('ab'.repeat(32))).text()
  await visitor.say('EVENT', announcement('ab'.repeat(32), { kind: 1 })).text()
  await visitor.ask('x', {})
  visitor.say('CLOSE', 'x')
  await visitor.say('COUNT', 'x', {}).text()
  visitor.socket.sendText('rubbish')
  await visitor.text()
  const after = await counts()
  const grown = Object.fromEntries(
    Object.entries(after)
      .map(([name, times]) => [name, times - (before[name] ?? 0)] as const)
      .filter(([, by]) => by > 0),
  )
  assert.deepEqual(grown, {
    'EVENT/ok': 1,
    'EVENT/invalid': 1,
    'REQ/ok': 1,
    'CLOSE/ok': 1,
    'COUNT/invalid': 1,
    'unknown/invalid': 1,
  })
})

async function scrape(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${tracker.httpPort}/metrics`)).text()
}

async function metricsOf(name: string): Promise<{ connections: number | undefined }> {
  const value = new RegExp(`^fidelity_tracker_${name} (\\S+)`, 'm').exec(await scrape())?.[1]
  return { connections: value === undefined ? undefined : Number(value) }
}

async function counts(): Promise<Record<string, number>> {
  const lines = (await scrape()).matchAll(
    /^fidelity_tracker_nostr_door_messages_total\{type="(\w+)",outcome="(\w+)"\} (\d+)/gm,
  )
  return Object.fromEntries([...lines].map(([, type, outcome, times]) => [`${type}/${outcome}`, Number(times)]))
}
