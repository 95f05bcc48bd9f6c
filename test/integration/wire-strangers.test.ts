/**
 * What strangers are told of the operator: nothing. Everything that can be asked is asked while bitcoind is missing,
 * refuses, speaks nonsense and goes away; while Tor is, too; and no reply has a path, a host, a port or bitcoind's words.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Txid } from '../../src/chain/types.ts'
import { DIALECT } from '../../src/peers/dialects.ts'
import { encode } from '../../src/wire/cbor.ts'
import { exchange } from '../../src/wire/client.ts'
import { encodeRequest, type Request } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { offerMessage } from '../sandbox/offer.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Fate, NodeLine, refusal } from '../support/node-line.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

const MAKER = `${onionHost('maker')}:21`
/** What a bitcoind may say of its operator. */
const SECRET = '/home/operator/.bitcoin/wallets at bitcoind.lan:8332'

/** One of each, about what was never asked before, so that each asks bitcoind anew. */
function requests(bond: FundedBond | undefined, confHeight: number): Request[] {
  const fresh = () => ({ txid: randomBytes(32).toString('hex') as Txid, vout: 0 })
  const outpoint = bond?.outpoint ?? fresh()
  return [
    ...(['Get', 'Status', 'Trackers'] as const).map((type) => ({ type })),
    { type: 'Watch', outpoint: fresh() },
    { type: 'Ping', address: `${onionHost('other')}:8080`, port: 8080 },
    { type: 'Bonds', all: true },
    { type: 'Bonds', limit: 0 },
    { type: 'BondProof', outpoint },
    { type: 'BondProof', outpoint: fresh() },
    { type: 'WatchMany', outpoints: [fresh(), fresh()] },
    { type: 'WatchMany', outpoints: Array.from({ length: 1_001 }, fresh) },
    { type: 'Subscribe', outpoints: [fresh()] },
    { type: 'Unsubscribe', outpoints: [fresh()] },
    { type: 'Register', outpoints: [fresh()], ttlBlocks: 10 },
    { type: 'Register', outpoints: [fresh()], ttlBlocks: 0 },
    { type: 'Why', address: MAKER },
    { type: 'Why', address: 'nobody' },
    ...(bond ? posts(bond, confHeight) : []),
  ] as Request[]
}

function posts(bond: FundedBond, confHeight: number): Request[] {
  const offered = { ...bond, key: bondKey('strangers'), confHeight, certAddress: MAKER }
  const read = DIALECT.unified.asks.at(-1)!.read(encode(offerMessage(offered, { release: 'today' })))
  assert(read.ok && read.reply.type === 'offer')
  const { proof, tweakablePoint, tweakChainCode } = read.reply.offer
  const keys = { tweakablePoint, ...(tweakChainCode && { tweakChainCode }) }
  return [
    { type: 'Post', metadata: { url: MAKER, proof, ...keys } },
    { type: 'Post', metadata: { url: 'nobody', proof, ...keys } },
    { type: 'Post', metadata: { url: MAKER, proof, tweakablePoint: undefined, tweakChainCode: undefined } },
  ] as Request[]
}

/** Bytes that are no request. */
const RUBBISH = [
  Buffer.of(),
  Buffer.of(0xff),
  Buffer.from('nonsense'),
  encode({ Watch: { outpoint: 7 } }),
  encode({ WatchMany: { outpoints: ['x'] } }),
  encode({ Nothing: {} }),
  Buffer.alloc(70_000),
]

/** All replies, in words, to strangers who ask at once: who has to wait for bitcoind keeps no other one waiting. */
async function replies(tracker: Tracker, asked: readonly Request[]): Promise<string[]> {
  const payloads = [...asked.map((request) => encodeRequest(request)), ...RUBBISH]
  const said = await Promise.all(
    payloads.map(async (payload) => {
      const socket = await tracker.connect()
      const text = await exchange(socket, payload, { timeoutMs: 30_000 })
        .then((bytes) => bytes.toString('latin1'))
        .catch((error: Error) => error.name)
      socket.destroy()
      return text
    }),
  )
  const status = await tracker.ask({ type: 'Status' }, 'Status')
  return [
    ...said,
    JSON.stringify(status, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value)),
  ]
}

/** Fails on everything that is the operator's. `secrets`: paths, names and ports of this test. */
function assertNothingTold(when: string, said: readonly string[], secrets: readonly string[]): void {
  const all = [...secrets, homedir(), 'operator', '.cookie', '.bitcoin', 'bitcoind.lan', '--rpc', 'tmp/']
  for (const text of said) {
    for (const secret of all) assert.ok(!text.includes(secret), `${when}: ${secret} in ${text}`)
    assert.doesNotMatch(text, /localhost|127\.0\.0\.1|\[?::1\]?:\d|ECONN|ENOENT|EACCES|code -?\d/, `${when}: ${text}`)
  }
}

/** What stands in bitcoind's place. */
const FATES: Record<string, Fate | ((asked: Parameters<typeof refusal>[0]) => Fate)> = {
  'its own words': (asked) => ({ say: refusal(asked, -1, SECRET) }),
  'its disk': (asked) => ({ say: refusal(asked, -32603, `Fatal LevelDB error: ${SECRET}`) }),
  'a page': { say: { status: 502, body: Buffer.from(`<html>${SECRET}</html>`) } },
  'no entry': { say: { status: 401, body: Buffer.from(SECRET) } },
  forbidden: { say: { status: 403, body: Buffer.from(SECRET) } },
  elsewhere: { say: { status: 302, body: Buffer.alloc(0), headers: { location: 'http://bitcoind.lan:8332/' } } },
  nothing: 'reset',
}

test('bitcoind was never there: no path of its cookie, no host and no port of it', async () => {
  using dir = tempDir()
  await using node = await Regtest.start()
  const [rpcPort] = await freePorts(1)
  const dataDir = join(dir.path, 'operators-home')
  const cookieFile = join(dir.path, 'operators-node', '.cookie')
  const args = ['--no-tor', '--allow-test-addresses', '--cookie-file', cookieFile]
  await using tracker = await Tracker.start(node, { dataDir, via: { rpcPort: rpcPort! }, cookie: false, args })
  await tracker.said('bitcoind unreachable')
  const said = await replies(tracker, withoutPing(requests(undefined, 0)))
  assert.ok(
    said.some((text) => text.includes('not_synced')),
    'it says that it can not answer',
  )
  assertNothingTold('without a cookie', said, [dir.path, `:${rpcPort}`])
})

test('whatever bitcoind says, and when it is gone: none of it is passed on', async () => {
  using dir = tempDir()
  await using node = await Regtest.start({ zmq: false })
  const bond = await node.fundBond({ key: bondKey('strangers'), format: 'D', address: MAKER })
  await node.mine(1)
  await using line = await NodeLine.before(node)
  const dataDir = join(dir.path, 'operators-home')
  await using tracker = await Tracker.start(node, { dataDir, via: line })
  await tracker.caughtUp(node)
  const secrets = [dir.path, `:${line.rpcPort}`, `:${node.rpcPort}`, node.cookieFile]
  const asked = () => withoutPing(requests(bond, 0))
  assertNothingTold('all is well', await replies(tracker, asked()), secrets)
  let wasRefused = 0
  for (const [when, fate] of Object.entries(FATES)) {
    line.fate = (exchange) => (typeof fate === 'function' ? fate(exchange) : fate)
    const said = await replies(tracker, asked())
    wasRefused += said.filter((text) => text.includes('busy')).length
    assertNothingTold(when, said, secrets)
    line.calm()
    await tracker.caughtUp(node)
  }
  assert.ok(wasRefused > 0, 'bitcoind was asked, and strangers were told that it could not be')
})

test('with Tor nobody is told where we listen: not before the onion service has a name, nor while Tor is gone', async () => {
  using dir = tempDir()
  await using node = await Regtest.start()
  const file = join(dir.path, 'hostname')
  await using tracker = await Tracker.start(node, {
    args: ['--onion-hostname-file', file, '--allow-test-addresses', '--socks-port', '9'],
  })
  await tracker.caughtUp(node)
  const ping = { type: 'Ping', address: `${onionHost('other')}:8080`, port: 8080 } as const
  const pong = async () => (await tracker.ask(ping, 'Pong')).address
  const secrets = [dir.path, `:${node.rpcPort}`]
  assert.equal(await pong(), `unknown.invalid:${tracker.port}`)
  assertNothingTold('without a name', await replies(tracker, requests(undefined, 0)), secrets)
  const host = onionHost('us')
  writeFileSync(file, host)
  await waitUntil('it has a name', async () => (await pong()) === `${host}:${tracker.port}`, { timeoutMs: 30_000 })
  const before = tracker.log.length
  rmSync(file)
  await tracker.said('onion service down', before)
  assert.equal(await pong(), `${host}:${tracker.port}`, 'it is still ours')
  assertNothingTold('Tor is gone', await replies(tracker, requests(undefined, 0)), secrets)
})

/** Without Tor (--no-tor, for tests) a Pong names the listener: there is nothing else to name. */
function withoutPing(all: readonly Request[]): Request[] {
  return all.filter(({ type }) => type !== 'Ping')
}
