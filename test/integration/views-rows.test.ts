/**
 * One noun, one row: for one database what HTTP sends, `--json` prints, export writes and the wire tells of every bond,
 * maker, offer, tracker, spend, reason and of the status is the same row, while the daemon runs and after it has stopped.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { formatOutpoint } from '../../src/chain/types.ts'
import { bondSchema } from '../../src/views/schemas/bonds.ts'
import { makerSchema } from '../../src/views/schemas/makers.ts'
import { relaySchema } from '../../src/views/schemas/relays.ts'
import { spendSchema } from '../../src/views/schemas/spends.ts'
import { statusSchema } from '../../src/views/schemas/status.ts'
import { trackerSchema } from '../../src/views/schemas/trackers.ts'
import { Float } from '../../src/wire/cbor.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'

type Row = Record<string, unknown>

const LIGHTNING = {
  ...{ swap_in: true, swap_out: false, base_fee: 100, amount_relative_fee_pct: new Float(0.1) },
  ...{ min_size: 10_000, max_size: 1_000_000 },
}

/** Everything is asked once, soon after the start; then nothing moves while rows are compared. */
const ONCE = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1800', '--tracker-interval', '86400']

let node: Regtest
let other: Tracker
let tracker: Tracker
let relay: Relay
const servers: MakerServer[] = []
const bonds: Record<string, FundedBond> = {}

before(async () => {
  node = await Regtest.start({ blocks: 150 })
  const [a, b, silent] = await freePorts(3)
  const onion = (name: string) => `${onionHost(name)}:21`
  const fund = async (name: string, plan: Partial<Parameters<Regtest['fundBond']>[0]>) => {
    bonds[name] = await node.fundBond({ key: bondKey(name), format: 'B', address: onion(name), ...plan })
  }
  await fund('proven', { address: `127.0.0.1:${a}`, amountSats: 90_000 })
  await fund('second', { address: `127.0.0.1:${a}`, amountSats: 60_000 })
  await fund('lying', { address: `127.0.0.1:${b}` })
  await fund('silent', { address: `127.0.0.1:${silent}` })
  await fund('onion', { format: 'D' })
  await fund('old', { format: 'A' })
  await fund('small', { format: 'D', amountSats: 9_999 })
  await fund('spent', { format: 'D', lockBlocks: 2 })
  await fund('expired', { format: 'D', lockBlocks: 3 })
  await node.mine(1)
  const confHeight = await node.height()
  for (const [name, port, lie] of [['proven', a, undefined] as const, ['lying', b, 'amount'] as const]) {
    const bond = { ...bonds[name]!, confHeight, certAddress: bonds[name]!.address }
    const otherKey = bondKey(name, 1)
    servers.push(
      await serveMaker({
        ...{ listenPort: port!, bond, otherKey, pongAddress: bond.address, ...(lie && { lie }) },
        terms: { lightning: lie ? null : LIGHTNING },
      }),
    )
  }
  await node.mine(3)
  await node.spendBond(bonds.spent!)
  await node.mine(1)

  other = await Tracker.start(node)
  await other.caughtUp(node)
  const [nobody] = await freePorts(1)
  relay = await Relay.start()
  await announce(relay.url, makerEvent('77'.repeat(32)))
  tracker = await Tracker.start(node, {
    http: true,
    args: [
      ...ONCE,
      ...['--trackers', `127.0.0.1:${other.port},127.0.0.1:${nobody}`],
      ...['--nostr-relays', `${relay.url},ws://127.0.0.1:${nobody}`],
    ],
  })
  await tracker.caughtUp(node)
  await fund('pending', { format: 'D' })
  await tracker.ask({ type: 'Register', outpoints: [bonds.onion!.outpoint], ttlBlocks: 100 }, 'Registered')
  await waitUntil('all that will be known is known', async () => {
    const makers: Row[] = await http('makers')
    const trackers: Row[] = await http('trackers')
    const relays: Row[] = await http('relays')
    const all: Row[] = await http('bonds', '?all=true')
    return (
      makers.filter(({ probes }) => probes === 1).length === 3 &&
      makers.filter(({ proof_failed: failed, proven }) => proven || failed !== null).length === 2 &&
      trackers.some(({ agrees }) => agrees === true) &&
      trackers.some(({ failures }) => failures === 1) &&
      relays.some(({ announced }) => announced !== null) &&
      all.some(({ state }) => state === 'pending')
    )
  })
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await other?.[Symbol.asyncDispose]()
  await relay?.[Symbol.asyncDispose]()
  for (const server of servers) await server[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function http(noun: string, query = ''): Promise<Row[]> {
  const { status, json, text } = await ask(tracker.httpPort!, `/api/v1/${noun}${query}`)
  assert.equal(status, 200, text)
  return json[noun]
}

async function verb(...args: string[]): Promise<string> {
  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir, '--address', `127.0.0.1:${tracker.port}`]
  const { code, stdout, stderr } = await runVerb([...args, ...flags, ...ONCE])
  assert.equal(code, 0, stderr)
  return stdout
}
const printed = async (...args: string[]) => JSON.parse(await verb(...args, '--json'))

/** In an order that no place prefers. */
function byKey(rows: Row[]): Row[] {
  const key = (row: Row) => String(row.outpoint ?? '') + String(row.address)
  return rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
}

/** What CSV makes of rows: text, nothing for null, `_` between names. */
function flat(row: Row, columns: readonly string[]): Row {
  const cells = cellsOf(row)
  const known = new Map(cells.map(([name, value]) => [name, value === null ? '' : String(value)]))
  return Object.fromEntries(columns.map((name) => [name, known.get(name) ?? '']))
}

function cellsOf(row: Row): [string, unknown][] {
  return Object.entries(row).flatMap(([name, value]): [string, unknown][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? cellsOf(value as Row).map(([inner, cell]) => [`${name}_${inner}`, cell])
      : [[name, Array.isArray(value) ? value.join(' ') : value]],
  )
}

async function csv(noun: string): Promise<{ columns: string[]; rows: Row[] }> {
  const [head, ...lines] = (await verb('export', noun, '--format', 'csv')).trimEnd().split('\r\n')
  const columns = head!.split(',')
  const cells = (line: string) =>
    [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, bare]) =>
      quoted === undefined ? bare! : quoted.replaceAll('""', '"'),
    )
  return { columns, rows: lines.map((line) => Object.fromEntries(cells(line).map((cell, i) => [columns[i]!, cell]))) }
}

const NOUNS = [
  ['bonds', '?all=true', ['bonds', '--all'], bondSchema],
  ['makers', '', ['makers'], makerSchema],
  ['trackers', '', ['trackers'], trackerSchema],
] as const

/** Of the running daemon; what it leaves behind must say the same. */
const told = new Map<string, Row[]>()

for (const [noun, query, verbArgs, schema] of NOUNS) {
  test(`${noun}: the rows of HTTP, --json, export and CSV are equal, field for field`, async () => {
    const rows = byKey(await http(noun, query))
    told.set(noun, rows)
    for (const row of rows) schema.parse(row)
    assert.deepEqual(byKey(await printed(...verbArgs)), rows)
    assert.deepEqual(byKey(JSON.parse(await verb('export'))[noun]), rows)
    assert.deepEqual(byKey(JSON.parse(await verb('export', noun))[noun]), rows)
    const { columns, rows: cells } = await csv(noun)
    assert.deepEqual(byKey(cells), byKey(rows.map((row) => flat(row, columns))))
  })
}

/** Relays are read anew and tried again all the time. */
function settled({ last_read, failures, state, state_since, failure, ...row }: Row): Row {
  return row
}

test('relays: the same rows everywhere, but for what passes by itself', async () => {
  const rows = await http('relays')
  for (const row of rows) relaySchema.parse(row)
  assert.deepEqual(
    rows.map(({ announced, missing, dead, invalid }) => [announced, missing, dead, invalid]).toSorted(),
    [
      [null, null, null, null],
      [0, 1, 1, 0],
    ],
  )
  assert.match(String(rows.find(({ announced }) => announced === null)!.failure), /ECONNREFUSED/)
  const expected = rows.map(settled)
  await waitUntil('they are stored', async () => {
    return JSON.stringify((await printed('relays')).map(settled)) === JSON.stringify(expected)
  })
  assert.deepEqual(JSON.parse(await verb('export', 'relays')).relays.map(settled), expected)
  const { columns, rows: cells } = await csv('relays')
  assert.deepEqual(
    cells.map(settled),
    rows.map((row) => settled(flat(row, columns))),
  )
  // By URL, so that either comes first.
  const text = await verb('relays')
  for (const line of [/ live +0 +1 +1 +0 +- /, / not read, .*ECONNREFUSED/, / lacks [0-9a-f]{64}:0$/m]) {
    assert.match(text, line)
  }

  const { address, outpoint } = bonds.onion!
  const { json: why } = await ask(tracker.httpPort!, `/api/v1/why/${address}`)
  const reason = why.reasons.find(({ code }: Row) => code === 'not-on-relay')
  assert.deepEqual(
    [reason?.outpoint, reason?.text.includes(`no valid event at ${relay.url} announces`)],
    [formatOutpoint(outpoint), true],
  )
  assert.deepEqual(await printed('why', address), why)
})

test('the rows are of every kind there is', () => {
  assert.deepEqual(
    new Set(told.get('bonds')!.map(({ state }) => state)),
    new Set(['live', 'pending', 'expired', 'spent', 'refused']),
  )
  const makers = told.get('makers')!
  const proven = makers.find(({ address }) => address === bonds.proven!.address)!
  assert.deepEqual(
    [proven.outpoint, proven.amount, proven.bonds, proven.total_amount, proven.proven],
    [formatOutpoint(bonds.proven!.outpoint), 90_000, 2, 150_000, true],
    'its best bond, and sums that say so',
  )
  assert.equal(makers.find(({ address }) => address === bonds.lying!.address)!.proof_failed, 'amount')
  assert.ok(makers.some(({ offer }) => offer === null) && makers.some(({ offer }) => offer !== null))
})

test('one bond and one maker alone are the rows of their lists', async () => {
  const spent = formatOutpoint(bonds.spent!.outpoint)
  const { json } = await ask(tracker.httpPort!, `/api/v1/bonds/${spent.replace(':', '/')}`)
  assert.deepEqual(
    json.bond,
    told.get('bonds')!.find(({ outpoint }) => outpoint === spent),
  )
  const { address } = bonds.proven!
  const page = (await ask(tracker.httpPort!, `/api/v1/makers/${address}`)).json
  assert.deepEqual(
    page.maker,
    told.get('makers')!.find((row) => row.address === address),
  )
  assert.deepEqual(
    byKey(page.bonds),
    told.get('bonds')!.filter((row) => row.address === address),
  )
})

test('over the wire the same, as far as the wire tells it', async () => {
  const us = `127.0.0.1:${tracker.port}`
  const asked = async (...args: string[]) => JSON.parse(await verb('query', us, ...args, '--json'))
  const wire = await asked('bonds', '--all')
  assert.deepEqual(
    byKey(wire.bonds),
    told.get('bonds')!.map((row) => ({ ...row, spent_by: null })),
  )
  const { json: listed } = await ask(tracker.httpPort!, '/api/v1/bonds?all=true')
  for (const name of ['height', 'block_hash', 'digest', 'total']) assert.equal(wire[name], listed[name], name)
  assert.deepEqual(
    byKey((await asked('trackers')).trackers),
    told
      .get('trackers')!
      .filter(({ last_seen: seen }) => seen !== null)
      .map(({ address, last_seen, height, digest, agrees }) => ({ address, last_seen, height, digest, agrees })),
  )
  const { json: status } = await ask(tracker.httpPort!, '/api/v1/status')
  const { type, uptime_s: _, ...fields } = await asked('status')
  assert.equal(type, 'Status')
  for (const [name, value] of Object.entries(fields)) assert.deepEqual(value, status[name], name)
})

test('why and spends: HTTP, verb and wire', async () => {
  const { address } = bonds.lying!
  const { json: why } = await ask(tracker.httpPort!, `/api/v1/why/${address}`)
  assert.ok(why.reasons.length > 0)
  assert.deepEqual(await printed('why', address), why)
  const { type, ...overWire } = JSON.parse(await verb('query', `127.0.0.1:${tracker.port}`, 'why', address, '--json'))
  assert.deepEqual([type, overWire], ['Why', why])

  const outpoint = bonds.spent!.outpoint
  const { json } = await ask(tracker.httpPort!, `/api/v1/spends/${outpoint.txid}/${outpoint.vout}`)
  spendSchema.parse(json.spend)
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [outpoint] }, 'Spends')
  assert.deepEqual(
    [json.spend.txid, json.spend.vin, json.spend.height, json.spend.block_hash, json.spend.first_seen, json.spend.tx],
    [
      spends[0]!.txid,
      spends[0]!.vin,
      spends[0]!.height,
      spends[0]!.blockHash,
      spends[0]!.firstSeenS,
      Buffer.from(spends[0]!.tx!).toString('hex'),
    ],
  )
})

/** What passes by itself. */
function still({ time, uptime_s, connections, ...row }: Row): Row {
  return row
}

test('status: the verb prints what HTTP says', async () => {
  const { json } = await ask(tracker.httpPort!, '/api/v1/status')
  statusSchema.parse(json)
  assert.deepEqual([json.running, json.registrations, json.makers], [true, 1, 5])
  await waitUntil('it is stored', async () => {
    const row: Row = await printed('status')
    assert.deepEqual(Object.keys(row), Object.keys(json))
    return JSON.stringify(still(row)) === JSON.stringify(still(json))
  })
  const health = await printed('health')
  assert.deepEqual(health.checks, json.checks)
  assert.deepEqual((await ask(tracker.httpPort!, '/health/ready')).json.checks, json.checks)
})

test('after the daemon has stopped its database tells the same rows', async () => {
  const before: Row = await printed('status')
  await tracker.stop()
  for (const [noun, , verbArgs] of NOUNS) {
    assert.deepEqual(byKey(await printed(...verbArgs)), told.get(noun), noun)
    assert.deepEqual(byKey(JSON.parse(await verb('export'))[noun]), told.get(noun), noun)
  }
  const relays: Row[] = await printed('relays')
  assert.deepEqual(relays.map(({ state, missing }) => [state, missing]).toSorted(), [
    ['stopped', null],
    ['stopped', 1],
  ])
  const status: Row = await printed('status')
  statusSchema.parse(status)
  assert.deepEqual(
    [status.running, status.ready, status.not_ready, status.synced, status.pid],
    [false, false, ['the daemon is not running'], false, null],
  )
  for (const name of ['height', 'block_hash', 'bonds', 'makers', 'digest', 'registrations', 'address']) {
    assert.deepEqual(status[name], before[name], name)
  }
  assert.match(await verb('status'), /^daemon {6}not running \(last seen 20\d\d-\d\d-\d\d \d\d:\d\d UTC, \d+ s ago\)$/m)
})
