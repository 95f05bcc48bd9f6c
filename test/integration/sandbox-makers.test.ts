/** The sandbox's makers on real sockets: each release answers its own dialects only, and misbehaves as told. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { asTxid } from '../../src/chain/types.ts'
import { DIALECT, DIALECT_LIMITS } from '../../src/peers/dialects.ts'
import { DIALECTS, type DialectName } from '../../src/peers/types.ts'
import { exchange } from '../../src/wire/client.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import type { Release } from '../sandbox/offer.ts'
import { waitUntil } from '../sandbox/wait.ts'

const SELF = { host: `${'a'.repeat(56)}.onion`, port: 8080 }
const bond = {
  outpoint: { txid: asTxid('ab'.repeat(32)), vout: 0 },
  amountSats: 10_000,
  lockHeight: 15_111,
  confHeight: 111,
  key: bondKey('x'),
  certAddress: '127.0.0.1:6102',
}

function aMaker(plan: MakerPlan): Promise<MakerServer> {
  return serveMaker({ ...plan, listenPort: 0, bond, otherKey: bondKey('x', 1), pongAddress: '127.0.0.1:6102' })
}

/** All of a dialect on one connection; what its replies brought. Rejects when a reply is missing or is none. */
async function converse(t: TestContext, maker: MakerServer, name: DialectName, timeoutMs = 10_000): Promise<string[]> {
  const { asks, prefix } = DIALECT[name]
  const socket = connect({ host: '127.0.0.1', port: maker.port })
  t.after(() => socket.destroy())
  const brought: string[] = []
  for (const ask of asks) {
    const options = {
      timeoutMs,
      replyBytesMax: DIALECT_LIMITS.replyBytesMax,
      ...(prefix === undefined ? {} : { prefix }),
    }
    const read = ask.read(await exchange(socket, ask.request(SELF), options))
    if (!read.ok) throw new Error(read.fault)
    assert.equal(read.reply.type, ask.brings)
    brought.push(read.reply.type)
  }
  socket.destroy()
  return brought
}

const SPOKEN: Record<Release, Partial<Record<DialectName, string[]>>> = {
  '0.1.2': { 'legacy-prefixed': ['hello', 'offer'], 'ping-unit': ['pong'] },
  '0.1.3': { 'legacy-prefixed': ['hello', 'offer'], ping: ['pong'] },
  '0.1.3-taproot': { 'taproot-prefixed': ['offer'], ping: ['pong'] },
  '0.2.0': { legacy: ['hello', 'offer'] },
  '0.2.0-taproot': { taproot: ['offer'] },
  '0.2.1': { unified: ['hello', 'offer'] },
  '0.2.2': { unified: ['hello', 'offer'] },
  today: { unified: ['hello', 'offer'] },
}

for (const [release, spoken] of Object.entries(SPOKEN) as [Release, Partial<Record<DialectName, string[]>>][]) {
  test(`a maker of ${release} answers ${Object.keys(spoken).join(' and ')}, and closes on every other dialect`, async (t) => {
    await using maker = await aMaker({ release })
    for (const name of DIALECTS) {
      const expected = spoken[name]
      if (expected) assert.deepEqual(await converse(t, maker, name), expected, name)
      else await assert.rejects(converse(t, maker, name), /closed without a reply/, name)
    }
  })
}

test('a silent maker takes the request and says nothing', async (t) => {
  await using maker = await aMaker({ manners: 'silent' })
  await assert.rejects(converse(t, maker, 'unified', 300), /no reply within 0\.3 s/)
  await waitUntil('it was heard', () => maker.heard.length === 1)
})

test('a slow maker answers after its time', async (t) => {
  await using maker = await aMaker({ manners: 'slow', delayMs: 300 })
  await assert.rejects(converse(t, maker, 'unified', 100), /no reply within 0\.1 s/)
  const startMs = performance.now()
  assert.deepEqual(await converse(t, maker, 'unified'), ['hello', 'offer'])
  assert.ok(performance.now() - startMs >= 590)
})

test('makers that close at once, talk rubbish, or send 10 MiB', async (t) => {
  const meets = async (manners: 'closes' | 'rubbish' | 'huge', fault: RegExp) => {
    await using maker = await aMaker({ manners })
    await assert.rejects(converse(t, maker, 'unified'), fault)
  }
  await meets('closes', /closed without a reply|connection broke/)
  await meets('rubbish', /^Error: expected MakerHello: /)
  await meets('huge', /the reply is too long: .*10485760/)
})
