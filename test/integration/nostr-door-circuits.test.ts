/** The line that names a circuit, before HTTP at the Nostr door: however its bytes are cut, and what is none. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { DoorLoad, maskedText, UPGRADE } from '../support/door-load.ts'
import { mineBonds, rawExchange } from '../support/nostr-door.ts'
import { tempDir } from '../support/temp-dir.ts'

const LINE = Buffer.from('PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 65535 42\r\n')
const REQ = maskedText('["REQ","x",{}]')

const dir = tempDir()
let node: Regtest
let tracker: Tracker

before(async () => {
  node = await Regtest.start()
  await mineBonds(node, ['one'])
  const [socks] = await freePorts(1)
  const torrc = ['--onion-hostname-file', join(dir.path, 'hostname'), '--socks-port', String(socks)]
  const args = [...torrc, '--circuit-ids', '--frame-seconds-max', '2', '--units-burst', '60', '--units-per-second', '1']
  tracker = await Tracker.start(node, { nostr: true, args })
  await tracker.caughtUp(node)
})

after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
  dir[Symbol.dispose]()
})

/** A connection on which `parts` were written, one by one, before it is upgraded. */
async function over(...parts: Buffer[]): Promise<DoorLoad> {
  const socket = connect({ host: '127.0.0.1', port: tracker.nostrPort!, noDelay: true })
  for (const part of parts) await new Promise((resolve) => socket.write(part, resolve))
  return DoorLoad.over(socket)
}

test('the line comes whole, byte by byte, or not at all from this machine', async () => {
  const bytes = [...LINE].map((byte) => Buffer.of(byte))
  for (const parts of [[LINE], bytes, [LINE.subarray(0, 3), LINE.subarray(3)], []]) {
    const load = await over(...parts)
    await load.ask(REQ, '["EOSE"')
    load.socket.destroy()
  }
  // In one segment with what follows.
  const answer = await rawExchange(tracker.nostrPort!, Buffer.concat([LINE, Buffer.from('GET / HTTP/1.0\r\n\r\n')]))
  assert.match(answer!, /^HTTP\/1\.1 200 /)
  const silent = await rawExchange(
    tracker.nostrPort!,
    Buffer.concat([LINE, UPGRADE, Buffer.from('\x88\x80\0\0\0\0', 'latin1')]),
  )
  assert.match(silent!, /^HTTP\/1\.1 101 /)
})

test('what begins as such a line and is none, or never ends, costs its connection', { timeout: 60_000 }, async () => {
  for (const bytes of ['PROXY nonsense\r\n', `PROXY TCP6 ${'a'.repeat(120)}`, 'PROX', 'PROXY TCP6 fc00::1 ::1 1']) {
    assert.equal(await rawExchange(tracker.nostrPort!, bytes), '', bytes)
  }
})

test('connections over one circuit share what they may cost', { timeout: 60_000 }, async () => {
  const greedy = await over(LINE)
  // 60 units each, which is all it has: the second is taken once it has one again, and leaves it a minute in debt.
  const large = maskedText(`["COUNT","x","${'x'.repeat(60_000)}"]`)
  for (let i = 0; i < 2; i++) await greedy.ask(large, '["CLOSED"')
  const sibling = await over(LINE)
  const stranger = await over(Buffer.from(LINE.toString().replace('0:29', '0:30')))
  let isAnswered = false
  sibling.ask(REQ, '["EOSE"').then(
    () => {
      isAnswered = true
    },
    () => {},
  )
  for (let i = 0; i < 5; i++) await stranger.ask(maskedText('["REQ","x",{"limit":0}]'), '["EOSE"')
  assert.equal(isAnswered, false, 'the other one over its circuit waits with it')
  for (const { socket } of [greedy, sibling, stranger]) socket.destroy()
})
