/**
 * What strangers can make a tracker do by saying that trackers are somewhere, and what those trackers can: dial a little,
 * read a little, and nothing that anybody is told unasked.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import { asTxid, formatOutpoint, fromInternal, toInternal } from '../../src/chain/types.ts'
import { DIAL_LIMITS } from '../../src/peers/dial-budget.ts'
import { COMPARISON_LIMITS } from '../../src/peers/list-comparison.ts'
import { VISIT_LIMITS } from '../../src/peers/tracker-visit.ts'
import type { TrackerRow } from '../../src/views/schemas/trackers.ts'
import { encodeFrame } from '../../src/wire/frame.ts'
import { encodeRequest, type ReplyOf } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { startCountingSocks } from '../support/counting-socks.ts'
import { consistent } from '../support/forged-tracker.ts'
import { onionHost } from '../support/onions.ts'
import { type Pretender, startPretender } from '../support/pretender.ts'

const FLAGS = ['--no-tor', '--allow-test-addresses', '--tracker-interval', '1']

async function rowsOf(tracker: Tracker): Promise<TrackerRow[]> {
  const reply = await fetch(`http://127.0.0.1:${tracker.httpPort}/api/v1/trackers`)
  return ((await reply.json()) as { trackers: TrackerRow[] }).trackers
}

function known(tracker: Tracker, address: string, isWanted: (row: TrackerRow) => boolean): Promise<TrackerRow> {
  return waitUntil(
    `${address} is known so`,
    async () => {
      const row = (await rowsOf(tracker)).find((one) => one.address === address)
      return row && isWanted(row) ? row : false
    },
    { timeoutMs: 60_000 },
  )
}

/** The value of one of our metrics, labels and all. */
async function metric(tracker: Tracker, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${tracker.httpPort}/metrics`)).text()
  const line = text.split('\n').find((one) => one.startsWith(`fidelity_tracker_${name} `))
  return Number(line?.split(' ').at(-1))
}

const pings = (tracker: Tracker, { address, port }: Pretender) => tracker.ask({ type: 'Ping', address, port }, 'Pong')

async function aMarket(node: Regtest): Promise<void> {
  for (const name of ['a', 'b', 'c']) {
    await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
  }
  await node.mine(1)
}

/** A Pong as of a tracker that is where the daemon is. */
async function pongAs(tracker: Tracker, address: string, version = '1.0.0'): Promise<ReplyOf<'Pong'>> {
  const { height, blockHash, digest } = await tracker.ask({ type: 'Status' }, 'Status')
  return { type: 'Pong', address, version, network: 'regtest', height, blockHash, digest }
}

test('a flood of Pings makes one dial a host and a bounded number of all, and an honest one is dialled meanwhile', async (t) => {
  await using node = await Regtest.start({ blocks: 20 })
  await using tor = await startCountingSocks()
  const [nobody] = await freePorts(1)
  const args = ['--socks-port', `${tor.port}`, '--control-port', `${nobody}`]
  await using tracker = await Tracker.start(node, { args, http: true })
  await tracker.caughtUp(node)
  const victim = onionHost('victim')
  const flooding = await Promise.all(Array.from({ length: 10 }, () => tracker.connect()))
  t.after(() => flooding.forEach((socket) => void socket.destroy()))
  let host = 0
  const flood = () => {
    for (const socket of flooding) {
      const ports = [1, 2, 3].map((port) => ({ type: 'Ping' as const, address: victim, port: 100 * ++host + port }))
      const hosts = [1, 2, 3].map(() => ({ type: 'Ping' as const, address: onionHost(`h${++host}`), port: 8080 }))
      socket.write(Buffer.concat([...ports, ...hosts].map((request) => encodeFrame(encodeRequest(request)))))
      socket.resume()
    }
  }
  /** Time for several dials, one in 36 s: one of them may be lost on its way to the proxy. */
  const floodUntil = async (what: string, isSo: () => boolean) => {
    const look = () => {
      assert.ok(tracker.isRunning, tracker.stderr)
      flood()
      return isSo()
    }
    try {
      await waitUntil(what, look, { timeoutMs: 240_000, everyMs: 500 })
    } catch (cause) {
      throw new Error(`${tor.dialled.length} dials, the last ${tor.dialled.slice(-9)}`, { cause })
    }
  }
  await floodUntil('the first dials are used up', () => tor.dialled.length >= DIAL_LIMITS.burst)
  const honest = onionHost('honest')
  await tracker.ask({ type: 'Ping', address: honest, port: 8080 }, 'Pong')
  await floodUntil('the honest one is dialled back', () => tor.dialled.includes(`${honest}:8080`))
  assert.equal(tor.dialled.filter((name) => name.startsWith(victim)).length, 1)
  assert.equal(new Set(tor.dialled.map((name) => name.split(':')[0])).size, tor.dialled.length)
  assert.ok(tor.dialled.length <= DIAL_LIMITS.burst + 5, `${tor.dialled.length} dials`)
  assert.equal(await metric(tracker, 'stranger_dials_total'), tor.dialled.length)
  assert.ok((await metric(tracker, 'hints_total{outcome="refused"}')) > 100)
  assert.ok((await metric(tracker, 'hints_total{outcome="taken"}')) >= tor.dialled.length)
})

test('a learnt tracker that repeats what we say does not agree, and one that lies alarms nobody; both can be forgotten', async () => {
  await using node = await Regtest.start()
  const [silent] = await freePorts(1)
  const configured = `127.0.0.1:${silent}`
  await using tracker = await Tracker.start(node, { args: [...FLAGS, '--trackers', configured], http: true })
  await aMarket(node)
  await tracker.caughtUp(node)
  await using echo = await startPretender(async ({ type }, self) =>
    type === 'Ping' ? pongAs(tracker, self) : { type: 'Error', code: 'not_synced', message: 'wait' },
  )
  await using liar = await startPretender(async ({ type }, self) => {
    if (type === 'Ping') return pongAs(tracker, self, `\u001b[2J${'x'.repeat(2_000)}`)
    const list = await tracker.ask({ type: 'Bonds', limit: 1_000 }, 'Bonds')
    return { ...consistent({ ...list, bonds: list.bonds.slice(1) }), digest: list.digest }
  })
  await pings(tracker, echo)
  await pings(tracker, liar)
  const row = await known(tracker, liar.address, ({ agrees }) => agrees === false)
  assert.deepEqual([row.source, row.only_ours, row.only_theirs], ['learnt', [], []], 'it may name any bonds')
  await waitUntil('the echo was asked for its list', () => echo.heard.includes('Bonds'))
  const { trackers } = await tracker.ask({ type: 'Trackers' }, 'Trackers')
  assert.ok(!trackers.some(({ agrees }) => agrees))

  assert.equal(await metric(tracker, 'trackers{agrees="false"}'), 0, 'no alert')
  assert.equal(await metric(tracker, 'trackers{agrees="unknown"}'), 1)
  assert.equal(await metric(tracker, 'trackers_learnt'), 1)
  assert.equal(tracker.logged('tracker disagrees: compare with the verify verb'), undefined)

  const forget = (address: string) =>
    runVerb(['trackers', '--forget', address, '--network', 'regtest', '--datadir', tracker.dataDir])
  const refused = await forget(configured)
  assert.deepEqual([refused.code, /is configured \(--trackers\)/.test(refused.stderr)], [2, true], refused.stderr)
  const unknown = await forget('127.0.0.1:9')
  assert.deepEqual([unknown.code, /no tracker 127\.0\.0\.1:9 is known/.test(unknown.stderr)], [2, true], unknown.stderr)
  assert.equal((await forget(liar.address)).code, 0)
  await tracker.said('tracker forgotten')
  const refusedBefore = await metric(tracker, 'hints_total{outcome="refused"}')
  await pings(tracker, liar)
  assert.equal(await metric(tracker, 'hints_total{outcome="refused"}'), refusedBefore + 1, 'not within the hour')
  assert.deepEqual(
    (await rowsOf(tracker)).map(({ address }) => address),
    [configured],
  )
})

test('a learnt tracker that is found somewhere else is forgotten by itself', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: FLAGS, http: true })
  await tracker.caughtUp(node)
  let where: string | undefined
  await using other = await startPretender(async ({ type }, self) => {
    if (type === 'Ping') return pongAs(tracker, where ?? self)
    return tracker.ask({ type: 'Bonds' }, 'Bonds')
  })
  await pings(tracker, other)
  await known(tracker, other.address, ({ agrees }) => agrees === true)
  where = `${onionHost('elsewhere')}:8080`
  await waitUntil('it is forgotten', async () => (await rowsOf(tracker)).length === 0, { timeoutMs: 60_000 })
})

test('a list without an end is read as far as ours and a hundred rows more; long texts and long pages are no list', async () => {
  await using node = await Regtest.start()
  await using truth = await Tracker.start(node, { args: FLAGS })
  await aMarket(node)
  await truth.caughtUp(node)
  const { bonds } = await truth.ask({ type: 'Bonds' }, 'Bonds')
  /** Pages for ever: `address` in each row, `rows` of them. */
  const endless = (address: string | undefined, rows: number) =>
    startPretender(async (request, self) => {
      const { height, blockHash } = await truth.ask({ type: 'Status' }, 'Status')
      const digest = Buffer.alloc(32, 7)
      if (request.type === 'Ping') {
        return { type: 'Pong', address: self, version: '1', network: 'regtest', height, blockHash, digest }
      }
      if (request.type !== 'Bonds') return 'close'
      const from = request.after ? toInternal(request.after.txid).readUInt32BE() + 1 : 1
      const page = Array.from({ length: rows }, (_, i) => {
        // In internal order these come one after the other.
        const bytes = Buffer.alloc(32)
        bytes.writeUInt32BE(from + i)
        const txid = asTxid(fromInternal(bytes))
        return { ...bonds[0]!, outpoint: { txid, vout: 0 }, ...(address !== undefined && { address }) }
      }).sort((a, b) => compareOutpoints(a.outpoint, b.outpoint))
      return { type: 'Bonds', height, blockHash, digest, total: 1e6, bonds: page, next: page.at(-1)!.outpoint }
    })
  const { pageRows } = VISIT_LIMITS
  await using endlessly = await endless(undefined, pageRows)
  await using wordy = await endless('x'.repeat(400), pageRows)
  await using heavy = await endless('x'.repeat(4_000), pageRows)
  await using wide = await endless(undefined, pageRows + 1)
  const all = [endlessly, wordy, heavy, wide]
  const names = all.map(({ address }) => address)
  await using tracker = await Tracker.start(node, { args: [...FLAGS, '--trackers', names.join()], http: true })
  await tracker.caughtUp(node)
  const row = await known(tracker, endlessly.address, ({ agrees }) => agrees === false)
  assert.equal(row.only_theirs.length, COMPARISON_LIMITS.outpointsMax)
  assert.ok(!row.only_theirs.includes(formatOutpoint(bonds[0]!.outpoint)))
  const faults: [Pretender, RegExp][] = [
    [wordy, /an address of 400 characters/],
    [heavy, /the reply is too long/],
    [wide, /a page of 201, asked for 200/],
  ]
  for (const [liar, fault] of faults) {
    assert.match((await known(tracker, liar.address, ({ failure }) => failure !== null)).failure!, fault)
  }
  for (const { heard } of all) {
    const visits = heard.filter((type) => type === 'Ping').length
    assert.ok(heard.filter((type) => type === 'Bonds').length <= visits, 'one page a visit')
  }
})

test('strangers that are slow on purpose keep no configured tracker waiting', async () => {
  await using node = await Regtest.start()
  await using other = await Tracker.start(node, { args: FLAGS })
  const configured = `127.0.0.1:${other.port}`
  await using tracker = await Tracker.start(node, { args: [...FLAGS, '--trackers', configured], http: true })
  await aMarket(node)
  await Promise.all([other, tracker].map((one) => one.caughtUp(node)))
  await using stack = new AsyncDisposableStack()
  const never = Promise.withResolvers<never>()
  let asked = 0
  const mute = () => {
    asked++
    return never.promise
  }
  for (let i = 0; i < 12; i++) {
    await pings(tracker, stack.use(await startPretender(mute)))
  }
  await waitUntil('all places for strangers are taken', () => asked >= 8)
  await node.mine(1)
  const height = await node.height()
  await known(tracker, configured, (row) => row.agrees === true && row.compared_height === height)
  assert.equal(asked, 8, 'the others wait')
})
