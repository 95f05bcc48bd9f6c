/**
 * Other trackers: two honest ones on one chain agree digest for digest, through reorgs; one that lies is found out and
 * its lies are named; Pings and Pongs that lie change nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import { asTxid, formatOutpoint } from '../../src/chain/types.ts'
import type { TrackerRow } from '../../src/views/schemas/trackers.ts'
import { encodeFrame } from '../../src/wire/frame.ts'
import { encodeRequest, type Reply } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type BondList, consistent, startOldTracker } from '../support/forged-tracker.ts'
import { onionHost } from '../support/onions.ts'
import { startPretender } from '../support/pretender.ts'

const FLAGS = ['--no-tor', '--allow-test-addresses', '--tracker-interval', '1']

async function rowsOf(tracker: Tracker): Promise<TrackerRow[]> {
  const shown = await runVerb(['trackers', '--json', '--network', 'regtest', '--datadir', tracker.dataDir])
  assert.equal(shown.code, 0, shown.stderr)
  return JSON.parse(shown.stdout)
}

/** Waits for the row of `address` to be as wanted. */
function known(tracker: Tracker, address: string, isWanted: (row: TrackerRow) => boolean): Promise<TrackerRow> {
  return waitUntil(`${address} is known so`, async () => {
    const row = (await rowsOf(tracker)).find((one) => one.address === address)
    return row && isWanted(row) ? row : false
  })
}

const fund = (node: Regtest, name: string, lockBlocks?: number) =>
  node.fundBond({
    key: bondKey(name),
    format: 'D',
    address: `${onionHost(name)}:21`,
    ...(lockBlocks !== undefined && { lockBlocks }),
  })

test('two trackers find each other, agree digest for digest, and go on agreeing through bonds, spends and reorgs', async () => {
  await using node = await Regtest.start()
  const [portA, portB] = await freePorts(2)
  const [a, b] = [`127.0.0.1:${portA}`, `127.0.0.1:${portB}`]
  await using one = await Tracker.start(node, { port: portA!, args: [...FLAGS, '--trackers', b] })
  await using two = await Tracker.start(node, { port: portB!, args: FLAGS })
  const bond = await fund(node, 'a', 1)
  await fund(node, 'b')
  await node.mine(2)
  await Promise.all([one.caughtUp(node), two.caughtUp(node)])

  const agreeAt = async (height: number) => {
    const agrees = (row: TrackerRow) => row.agrees === true && row.compared_height === height
    await Promise.all([known(one, b, agrees), known(two, a, agrees)])
    const [first, second] = await Promise.all([one, two].map((tracker) => tracker.ask({ type: 'Status' }, 'Status')))
    assert.deepEqual(first!.digest, second!.digest)
    return Buffer.from(first!.digest).toString('hex')
  }
  const digests = new Set<string>()
  digests.add(await agreeAt(await node.height()))
  assert.equal((await known(one, b, () => true)).source, 'configured')
  assert.equal((await known(two, a, () => true)).source, 'learnt', 'from its Ping, once dialled back')

  await fund(node, 'c')
  await node.spendBond(bond)
  await node.mine(1)
  digests.add(await agreeAt(await node.height()))
  await node.replaceTip({ drop: 2, mine: 4 })
  digests.add(await agreeAt(await node.height()))
  assert.ok(digests.size >= 2, 'the list changed meanwhile')

  const { trackers } = await one.ask({ type: 'Trackers' }, 'Trackers')
  assert.deepEqual(
    trackers.map(({ address, agrees }) => [address, agrees]),
    [[b, true]],
  )
  const text = await runVerb(['trackers', '--network', 'regtest', '--datadir', two.dataDir])
  assert.match(text.stdout, new RegExp(`${a} +learnt +\\d+\\.\\d+\\.\\d+ .* agrees at block \\d+`))
  const asked = await runVerb(['query', a, 'trackers'])
  assert.match(asked.stdout, new RegExp(`${b} .*agrees`))

  // A restart forgets nobody, and one that has gone is said to be gone.
  await two.stop('SIGTERM')
  await known(one, b, ({ failure }) => failure !== null)
  two.launch()
  await known(one, b, ({ failure }) => failure === null)
  assert.equal((await known(two, a, () => true)).source, 'learnt')
})

test('a tracker that omits a bond and invents another disagrees, and both are named', async () => {
  await using node = await Regtest.start()
  const truth = await Tracker.start(node, { args: FLAGS })
  await using _truth = truth
  for (const name of ['a', 'b', 'c']) await fund(node, name)
  await node.mine(1)
  await truth.caughtUp(node)
  const lie = async (): Promise<BondList> => {
    const list = await truth.ask({ type: 'Bonds', limit: 1_000 }, 'Bonds')
    const [first, ...rest] = list.bonds
    const ghost = { ...first!, outpoint: { txid: asTxid('ab'.repeat(32)), vout: 0 } }
    const bonds = [...rest, ghost].sort((x, y) => compareOutpoints(x.outpoint, y.outpoint))
    return consistent({ ...list, bonds })
  }
  await using forged = await startPretender(async ({ type: request }, address) => {
    const list = await lie()
    const { height, blockHash, digest } = list
    if (request === 'Bonds') return list
    return { type: 'Pong', address, version: '9.9.9\u001b[2J', network: 'regtest', height, blockHash, digest }
  })
  await using old = await startOldTracker(() => [])
  const [port] = await freePorts(1)
  const others = [`127.0.0.1:${forged.port}`, `127.0.0.1:${old.port}`, `127.0.0.1:${port}`]
  await using judge = await Tracker.start(node, { args: [...FLAGS, '--trackers', others.join(',')] })
  await judge.caughtUp(node)

  const row = await known(judge, others[0]!, ({ agrees }) => agrees === false)
  const omitted = (await truth.ask({ type: 'Bonds' }, 'Bonds')).bonds[0]!.outpoint
  assert.deepEqual(row.only_ours, [formatOutpoint(omitted)])
  assert.deepEqual(row.only_theirs, [`${'ab'.repeat(32)}:0`])
  assert.equal(row.version, '9.9.9?[2J', 'no stranger steers a terminal')
  const text = await runVerb(['trackers', '--network', 'regtest', '--datadir', judge.dataDir])
  assert.match(text.stdout, /DIFFERS at block \d+/)
  assert.match(text.stdout, new RegExp(`${others[0]} lacks ${formatOutpoint(omitted)}`))
  assert.match(text.stdout, new RegExp(`${others[0]} has ${'ab'.repeat(32)}:0, we don't`))
  await judge.said('tracker disagrees: compare with the verify verb')
  assert.deepEqual(await judge.addresses(), await truth.addresses(), 'our own list is not moved by it')

  const v1 = await known(judge, others[1]!, ({ last_seen }) => last_seen !== null)
  assert.deepEqual([v1.agrees, v1.version], [null, null], 'a tracker of version 1 is seen, and not compared')
  const silent = await known(judge, others[2]!, ({ failure }) => failure !== null)
  assert.deepEqual([silent.last_seen, silent.agrees], [null, null])
})

test('a tracker that goes away in the middle of its list has failed; it is not one of version 1', async () => {
  await using node = await Regtest.start({ blocks: 20 })
  await using truth = await Tracker.start(node, { args: FLAGS })
  await truth.caughtUp(node)
  const { height, blockHash } = await truth.ask({ type: 'Status' }, 'Status')
  const said = { version: '1.0.0', network: 'regtest', height, blockHash, digest: Buffer.alloc(32, 7) }
  await using other = await startPretender(({ type: request }, address) => {
    if (request === 'Get') return { type: 'Address', addresses: [] }
    return request === 'Ping' ? { type: 'Pong', address, ...said } : 'close'
  })
  const address = `127.0.0.1:${other.port}`
  await using judge = await Tracker.start(node, { args: [...FLAGS, '--trackers', address] })
  await judge.caughtUp(node)
  const row = await known(judge, address, ({ failure }) => failure !== null)
  assert.match(row.failure!, /closed without a reply/)
  assert.equal(row.agrees, null)
})

test('Pings and Pongs that lie change nothing', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: FLAGS })
  await fund(node, 'a')
  await node.mine(1)
  await tracker.caughtUp(node)
  const status = await tracker.ask({ type: 'Status' }, 'Status')
  const { height, blockHash, digest } = status
  const said = { version: '1.0.0', network: 'regtest', height, blockHash, digest }
  const visits: string[] = []
  const liar = (name: string, answer: (request: string, self: string) => Reply | 'close') =>
    startPretender(({ type }, self) => {
      visits.push(name)
      return answer(type, self)
    })
  await using elsewhere = await liar('elsewhere', () => ({ type: 'Pong', address: `${onionHost('x')}:8080`, ...said }))
  await using foreign = await liar('foreign', (_, address) => ({ type: 'Pong', address, ...said, network: 'main' }))
  await using maker = await liar('maker', (_, address) => ({ type: 'Pong', address }))
  await using list = await liar('list', () => ({ type: 'Address', addresses: ['evil:1'] }))
  await using v1 = await liar('v1', () => 'close')
  const ping = (address: string, port: number) => tracker.ask({ type: 'Ping', address, port }, 'Pong')

  const before = await tracker.addresses()
  for (const server of [elsewhere, foreign, maker, list, v1]) await ping('127.0.0.1', server.port)
  await waitUntil('all were dialled back', () => new Set(visits).size === 5)
  for (let i = 0; i < 50; i++) {
    await ping(`${'a'.repeat(i + 1)}.onion`, 8080)
    await ping('127.0.0.1', tracker.port) // ourselves
    await ping(`host-${i}.example`, 80)
    await ping('127.0.0.1', elsewhere.port) // again: not within the hour
  }
  await tracker.ask({ type: 'Status' }, 'Status')
  const unasked = await tracker.connect()
  unasked.end(encodeFrame(encodeRequest({ type: 'Pong', address: 'evil.example:1' })))
  // A tracker that is honest is learnt all the same, after all of that.
  await using honest = await Tracker.start(node, { args: [...FLAGS, '--trackers', `127.0.0.1:${tracker.port}`] })
  await honest.caughtUp(node)
  await known(tracker, `127.0.0.1:${honest.port}`, ({ agrees }) => agrees === true)
  assert.deepEqual(
    (await rowsOf(tracker)).map(({ address }) => address),
    [`127.0.0.1:${honest.port}`],
  )
  assert.equal(
    visits.length,
    5,
    'each was dialled once, and one that closes is not asked as version 1 on a second line',
  )
  assert.deepEqual(await tracker.addresses(), before)
})
