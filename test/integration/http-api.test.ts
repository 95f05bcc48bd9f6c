/**
 * The HTTP API of the real daemon on a real regtest chain. Every JSON reply is checked by an outside validator against
 * the OpenAPI document that the daemon itself serves; that document is checked by another one.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { asTxid } from '../../src/chain/types.ts'
import { STREAM_LIMITS } from '../../src/events/stream.ts'
import { HTTP_LIMITS } from '../../src/http/guard.ts'
import type { SybilPlaceRow } from '../../src/views/schemas/past.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { mineMarket } from '../sandbox/market.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { REGTEST_INFO, startFakeBitcoind } from '../support/fake-bitcoind.ts'
import { type Answer, ask, EventStream } from '../support/http.ts'
import { METRICS } from '../support/metric-names.ts'
import { onionHost } from '../support/onions.ts'
import { Wallet } from '../support/subscriber.ts'

type Json = Record<string, unknown>

/** Checks replies against the served document; throws for a path or status that it does not have. */
async function openValidator(port: number): Promise<(path: string, answer: Answer) => void> {
  const { json: document } = await ask(port, '/openapi.json')
  const result = await new Validator().validate(structuredClone(document))
  assert.ok(result.valid, JSON.stringify(result.errors))
  assert.equal(document.openapi, '3.1.0')
  const ajv = new Ajv2020({ strict: true, allErrors: true, strictTypes: false })
  ajv.addKeyword('components')
  ajv.addSchema({ $id: 'http://tracker.invalid/openapi', components: document.components } as Json)
  return (path, answer) => {
    const response = document.paths[path]?.get.responses[answer.status]
    assert.ok(response, `the document has no ${answer.status} for ${path}: ${answer.text.slice(0, 200)}`)
    const { $ref } = response.content['application/json'].schema
    const check = ajv.getSchema(`http://tracker.invalid/openapi${$ref}`)
    assert.ok(check, `no schema ${$ref}`)
    assert.ok(check(answer.json), `${path}: ${JSON.stringify(check.errors)} in ${answer.text.slice(0, 500)}`)
  }
}

const A_TXID = '11'.repeat(32)
const UNSERVED = `${onionHost('nobody')}:21`

test('every path answers what its document says, and the facts are those of the chain', async () => {
  await using node = await Regtest.start({ blocks: 210 })
  await using tracker = await Tracker.start(node, { http: true })
  const port = tracker.httpPort!
  const bonds = await mineMarket(node, 30)
  const ending = await node.fundBond({
    key: bondKey('end'),
    format: 'D',
    address: `${onionHost('end')}:21`,
    lockBlocks: 1,
  })
  const small = await node.fundBond({
    key: bondKey('s'),
    format: 'D',
    address: `${onionHost('s')}:21`,
    amountSats: 9_999,
  })
  await node.mine(2)
  const spend = await node.spendBond(ending)
  await node.mine(1)
  const pending = await node.fundBond({ key: bondKey('p'), format: 'D', address: `${onionHost('p')}:21` })
  await tracker.caughtUp(node)
  const validate = await openValidator(port)
  const get = async (path: string, url: string, status = 200) => {
    const answer = await ask(port, url)
    assert.equal(answer.status, status, `${url}: ${answer.text}`)
    validate(path, answer)
    return answer.json
  }

  assert.deepEqual(await get('/health/live', '/health/live'), { status: 'ok' })
  const ready = await get('/health/ready', '/health/ready')
  assert.deepEqual(Object.keys(ready.checks), ['database', 'bitcoind', 'sync', 'tor', 'onion'])
  assert.equal(ready.status, 'ok')

  const wire = await tracker.ask({ type: 'Status' }, 'Status')
  const status = await get('/api/v1/status', '/api/v1/status')
  assert.deepEqual(
    {
      height: status.height,
      hash: status.block_hash,
      bonds: status.bonds,
      digest: status.digest,
      synced: status.synced,
    },
    {
      height: wire.height,
      hash: wire.blockHash,
      bonds: 30,
      digest: Buffer.from(wire.digest).toString('hex'),
      synced: true,
    },
  )

  const makers = await get('/api/v1/makers', '/api/v1/makers?limit=1000')
  assert.deepEqual(
    makers.makers.map((maker: Json) => maker.address),
    await tracker.addresses(),
    'the order of Get: best first',
  )
  assert.ok(
    makers.makers.every((maker: Json) => maker.reach === 'unknown' && maker.probes === 0 && maker.offer === null),
  )

  const live = await get('/api/v1/bonds', '/api/v1/bonds')
  assert.equal(live.total, 30)
  assert.equal(live.next, null)
  assert.equal(live.digest, status.digest)
  await waitUntil('the pending bond is known', async () => (await ask(port, '/api/v1/bonds?all=1')).json.total === 33)
  const all = await get('/api/v1/bonds', '/api/v1/bonds?all=true')
  const stateOf = (txid: string) => all.bonds.find((bond: Json) => bond.outpoint === `${txid}:0`)?.state
  assert.equal(stateOf(ending.txid), 'spent')
  assert.equal(stateOf(small.txid), 'refused')
  assert.equal(stateOf(pending.txid), 'pending')

  // Pages of any size, put together, are the list.
  for (const [path, rows] of [
    ['/api/v1/bonds', 'bonds'],
    ['/api/v1/makers', 'makers'],
  ] as const) {
    const whole = (await ask(port, path)).json[rows]
    const gathered: unknown[] = []
    for (let after = '', pages = 0; ; pages++) {
      assert.ok(pages < 10)
      const page = await get(path, `${path}?limit=7${after}`)
      gathered.push(...page[rows])
      if (page.next === null) break
      after = `&after=${page.next}`
    }
    assert.deepEqual(gathered, whole)
  }
  const beyond = await get('/api/v1/bonds', `/api/v1/bonds?after=${'ff'.repeat(32)}:4294967295`)
  assert.deepEqual(beyond.bonds, [])
  const best = Math.max(...live.bonds.map((bond: { value: number }) => bond.value))
  const bestOnly = await get('/api/v1/bonds', `/api/v1/bonds?min_value=${best}`)
  assert.equal(bestOnly.total, 1)

  const first = bonds[0]!
  const bond = await get('/api/v1/bonds/{txid}/{vout}', `/api/v1/bonds/${first.txid}/0`)
  assert.equal(bond.bond.address, first.address)
  assert.equal(bond.bond.amount, first.amountSats)
  const spent = await get('/api/v1/bonds/{txid}/{vout}', `/api/v1/bonds/${ending.txid}/0`)
  assert.equal(spent.bond.spent_by.txid, spend.txid)
  const maker = await get('/api/v1/makers/{address}', `/api/v1/makers/${first.address}`)
  assert.equal(maker.listed, true)
  assert.equal(maker.bonds[0].outpoint, `${first.txid}:0`)
  const ended = await get('/api/v1/makers/{address}', `/api/v1/makers/${ending.address}`)
  assert.deepEqual([ended.listed, ended.maker, ended.bonds.length], [false, null, 1])
  assert.equal(maker.maker.pick.obstacle, 'not-today')
  const probes = await get('/api/v1/makers/{address}/probes', `/api/v1/makers/${first.address}/probes?hours=24`)
  assert.deepEqual([probes.address, probes.hours, probes.probes], [first.address, [], []])
  const sybil = await get('/api/v1/sybil', '/api/v1/sybil?makers=3&chance=75&points=20')
  assert.deepEqual([sybil.makers, sybil.chance_ppm, sybil.points.length], [3, 750_000, 20])
  assert.deepEqual(
    sybil.places.map(({ held, today }: SybilPlaceRow) => [held, today.bonds, today.sats]),
    [
      [1, 1, 10_000],
      [2, 2, 20_000],
      [3, 3, 30_000],
    ],
  )
  const costs = sybil.places.map(({ by_value }: SybilPlaceRow) => by_value.sats)
  assert.deepEqual(
    costs,
    costs.toSorted((a: number, b: number) => a - b),
  )
  const { makers: counted, places: now } = sybil.points.at(-1)
  assert.equal(counted, sybil.counted.makers)
  assert.deepEqual(
    now.map(({ sats }: Json) => sats),
    costs,
  )

  const found = await get('/api/v1/spends/{txid}/{vout}', `/api/v1/spends/${ending.txid}/0`)
  assert.deepEqual([found.spend.state, found.spend.txid, found.spend.tx], ['confirmed', spend.txid, spend.hex])
  const unknown = await get('/api/v1/spends/{txid}/{vout}', `/api/v1/spends/${A_TXID}/0`)
  assert.equal(unknown.spend.state, 'unknown')
  const unspent = await get('/api/v1/spends/{txid}/{vout}', `/api/v1/spends/${first.txid}/0`)
  assert.deepEqual([unspent.spend.state, unspent.spend.registered], ['unspent', false])
  const codes = async (address: string) =>
    (await get('/api/v1/why/{address}', `/api/v1/why/${address}`)).reasons.map(({ code }: Json) => code)
  // An onion can't be asked without Tor: what the chain says is all that is known of it.
  assert.deepEqual(await codes(first.address), ['never-probed', 'not-today'])
  assert.deepEqual(await codes(ending.address), ['spent'])
  assert.deepEqual(await codes(small.address), ['refused-too-small'])
  assert.deepEqual(await codes(pending.address), ['pending'])
  assert.deepEqual(await codes(UNSERVED), ['no-bond'])

  assert.deepEqual(await get('/api/v1/trackers', '/api/v1/trackers'), { trackers: [], broken: [] })
  const noRelays = { relays: [], history: [], broken: [] }
  assert.deepEqual(await get('/api/v1/relays', '/api/v1/relays?hours=2160'), noRelays)
  assert.match((await get('/api/v1/relays', '/api/v1/relays?hours=2161', 400)).error.message, /expected 1 to 2160/)
  const history = await get('/api/v1/history', '/api/v1/history?points=50')
  assert.equal(history.points.length, 50)
  assert.equal(history.points.at(-1).bonds, 30)
  assert.equal(history.points[0].bonds, 0)
  assert.deepEqual(history.probes, [])

  await get('/api/v1/bonds/{txid}/{vout}', `/api/v1/bonds/${A_TXID}/0`, 404)
  await get('/api/v1/makers/{address}', `/api/v1/makers/${UNSERVED}`, 404)
  for (const [path, url] of [
    ['/api/v1/bonds', '/api/v1/bonds?limit=0'],
    ['/api/v1/bonds', '/api/v1/bonds?limit=1001'],
    ['/api/v1/bonds', '/api/v1/bonds?limit=ten'],
    ['/api/v1/bonds', '/api/v1/bonds?limit=1&limit=2'],
    ['/api/v1/bonds', '/api/v1/bonds?after=nothing'],
    ['/api/v1/bonds', '/api/v1/bonds?nonsense=1'],
    ['/api/v1/makers', '/api/v1/makers?after=nobody'],
    ['/api/v1/bonds/{txid}/{vout}', '/api/v1/bonds/12/0'],
    ['/api/v1/bonds/{txid}/{vout}', `/api/v1/bonds/${A_TXID}/4294967296`],
    ['/api/v1/spends/{txid}/{vout}', `/api/v1/spends/${A_TXID}/-1`],
    ['/api/v1/why/{address}', '/api/v1/why/nobody'],
    ['/api/v1/history', '/api/v1/history?points=1'],
    ['/api/v1/sybil', '/api/v1/sybil?makers=1'],
    ['/api/v1/makers/{address}/probes', `/api/v1/makers/${UNSERVED}/probes?hours=9601`],
  ] as const) {
    const { error } = await get(path, url, 400)
    assert.equal(error.code, 'bad_request')
    assert.ok(error.message.length > 5, error.message)
  }
})

test('only names of this machine are answered, read-only, and never to another site’s page', async () => {
  await using node = await Regtest.start({ blocks: 3 })
  await using tracker = await Tracker.start(node, { http: true })
  const port = tracker.httpPort!
  await tracker.caughtUp(node)
  const statusOf = async (headers: Record<string, string>, path = '/api/v1/status', method = 'GET') =>
    (await ask(port, path, { headers, method })).status

  for (const host of ['localhost', `localhost:${port}`, '127.0.0.1:9', '[::1]:8081', 'LOCALHOST:80', '127.1.2.3']) {
    assert.equal(await statusOf({ host }), 200, host)
  }
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    '10.0.0.1',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1@evil.example',
    'localhost:80:80',
    'x'.repeat(300),
  ]) {
    for (const path of ['/', '/api/v1/status', '/metrics', '/health/live', '/api/v1/events', '/nothing']) {
      assert.equal(await statusOf({ host }, path), 421, `${host} ${path}`)
    }
  }

  assert.equal(await statusOf({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }), 403)
  assert.equal(await statusOf({ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }), 403)
  assert.equal(await statusOf({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, '/'), 200)
  assert.equal(await statusOf({ 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }), 200)

  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const answer = await ask(port, '/api/v1/status', {
      method,
      body: '{}',
      headers: { 'content-type': 'application/json' },
    })
    assert.equal(answer.status, 405, method)
    assert.equal(answer.headers.allow, 'GET, HEAD')
  }
  assert.equal(await statusOf({}, '/', 'HEAD'), 200)

  for (const path of ['/', '/assets/app.js', '/api/v1/status', '/metrics', '/nothing', '/api/v1/bonds?limit=0']) {
    const { headers } = await ask(port, path)
    assert.match(String(headers['content-security-policy']), /default-src 'none'.*frame-ancestors 'none'/, path)
    assert.doesNotMatch(String(headers['content-security-policy']), /unsafe/)
    assert.equal(headers['x-content-type-options'], 'nosniff', path)
    assert.equal(headers['referrer-policy'], 'no-referrer', path)
    assert.equal(headers['access-control-allow-origin'], undefined, path)
    assert.equal(headers['set-cookie'], undefined, path)
  }
  for (const path of [
    '/nothing',
    '/assets/../package.json',
    '/assets/%2e%2e/server.js',
    '//',
    '/%00',
    '/api/v1/%E0%A4%A',
    '/api/v2/status',
  ]) {
    const { status, json } = await ask(port, path)
    assert.ok(status === 404 || status === 400, `${path}: ${status}`)
    assert.ok(['not_found', 'bad_request'].includes(json.error.code), path)
  }
  const page = await ask(port, '/')
  assert.equal((await ask(port, '/', { headers: { 'if-none-match': page.headers.etag! } })).status, 304)
})

test('while behind, lists are refused whole: 503 not_synced, never an empty list', async () => {
  await using fake = await startFakeBitcoind({
    getblockchaininfo: () => ({ ...REGTEST_INFO, initialblockdownload: true, headers: 900 }),
    getnetworkinfo: () => ({ version: 250000, subversion: '/Satoshi:25.0.0/' }),
    getzmqnotifications: () => [],
    getblockhash: () => '00'.repeat(32),
  })
  const [listen, http] = await freePorts(2)
  await using node = await Regtest.start({ blocks: 0 })
  const args = ['--no-tor', '--rpc', `127.0.0.1:${fake.port}`, '--auth', 'a:b', '--http', `127.0.0.1:${http}`]
  await using tracker = await Tracker.start(node, { args, cookie: false, port: listen! })
  await tracker.said('listening')
  const validate = await openValidator(http!)
  const behind = async () => {
    for (const [path, url = path] of [
      ['/api/v1/bonds'],
      ['/api/v1/bonds/{txid}/{vout}', `/api/v1/bonds/${A_TXID}/0`],
      ['/api/v1/makers'],
      ['/api/v1/makers/{address}', `/api/v1/makers/${UNSERVED}`],
      ['/api/v1/trackers'],
      ['/api/v1/spends/{txid}/{vout}', `/api/v1/spends/${A_TXID}/0`],
      ['/api/v1/why/{address}', `/api/v1/why/${UNSERVED}`],
      ['/api/v1/history'],
    ] as [string, string?][]) {
      const answer = await ask(http!, url)
      assert.equal(answer.status, 503, url)
      assert.equal(answer.json.error.code, 'not_synced')
      assert.ok(answer.headers['retry-after'])
      validate(path, answer)
    }
    const ready = await ask(http!, '/health/ready')
    assert.equal(ready.status, 503)
    assert.equal(ready.json.status, 'not_ready')
    assert.equal(ready.json.checks.sync.ok, false)
    assert.equal(ready.json.checks.database.ok, true)
    validate('/health/ready', ready)
    const status = await ask(http!, '/api/v1/status')
    assert.equal(status.json.synced, false)
    validate('/api/v1/status', status)
    assert.equal((await ask(http!, '/health/live')).status, 200)
    assert.match((await ask(http!, '/metrics')).text, /^fidelity_tracker_synced 0$/m)
  }
  await behind()
  await waitUntil('bitcoind is known to be downloading', async () => {
    return (await ask(http!, '/api/v1/status')).json.bitcoind.state === 'initial-download'
  })
  await behind()
})

test('metrics have the promised names and labels, and follow the chain', async () => {
  await using node = await Regtest.start({ blocks: 120 })
  await using tracker = await Tracker.start(node, { http: true })
  await node.fundBond({ key: bondKey('m'), format: 'D', address: `${onionHost('m')}:21` })
  await node.mine(1)
  await tracker.caughtUp(node)
  const { text, headers } = await ask(tracker.httpPort!, '/metrics')
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/)
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]))
  const expected: Record<string, string> = {
    tip_height: 'gauge',
    scanned_height: 'gauge',
    synced: 'gauge',
    bonds: 'gauge',
    makers: 'gauge',
    requests_total: 'counter',
    request_duration_seconds: 'histogram',
    connections: 'gauge',
    subscriptions: 'gauge',
    probes_total: 'counter',
    probe_duration_seconds: 'histogram',
    reorgs_total: 'counter',
    reorg_depth_max: 'gauge',
    mempool_transactions: 'gauge',
    trackers: 'gauge',
    onion_up: 'gauge',
    bitcoind_up: 'gauge',
    ready: 'gauge',
    canary_up: 'gauge',
    onion_descriptor_age_seconds: 'gauge',
    onion_republished_total: 'counter',
    onion_withdrawn_total: 'counter',
    registrations: 'gauge',
    webhook_queue: 'gauge',
    webhook_dropped_total: 'counter',
    build_info: 'gauge',
    db_bytes: 'gauge',
  }
  for (const [name, type] of Object.entries(expected)) assert.equal(types.get(`fidelity_tracker_${name}`), type, name)
  const ours = [...types.keys()].filter((name) => name.startsWith('fidelity_tracker_'))
  const known = Object.keys(METRICS).map((name) => `fidelity_tracker_${name}`)
  assert.deepEqual(ours.sort(), known.sort(), 'no others')
  assert.ok(types.has('process_cpu_seconds_total') && types.has('nodejs_eventloop_lag_seconds'))
  const height = await node.height()
  for (const line of [
    `fidelity_tracker_tip_height ${height}`,
    `fidelity_tracker_scanned_height ${height}`,
    'fidelity_tracker_synced 1',
    'fidelity_tracker_bonds{state="live"} 1',
    'fidelity_tracker_bonds{state="refused"} 0',
    'fidelity_tracker_makers{reach="unknown"} 1',
    'fidelity_tracker_makers{reach="up"} 0',
    'fidelity_tracker_bitcoind_up 1',
    'fidelity_tracker_ready 1',
    'fidelity_tracker_registrations 0',
    'fidelity_tracker_onion_up 0',
    'fidelity_tracker_reorgs_total 0',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} in\n${text}`)
  }
  assert.match(text, /^fidelity_tracker_requests_total\{kind="Status",outcome="ok"\} [1-9]/m)
  assert.match(text, /^fidelity_tracker_request_duration_seconds_count\{kind="Status"\} [1-9]/m)
  assert.match(text, /^fidelity_tracker_db_bytes [1-9]\d{4,}$/m)
  await node.replaceTip({ drop: 2, mine: 3 })
  await tracker.caughtUp(node)
  const later = (await ask(tracker.httpPort!, '/metrics')).text
  assert.match(later, /^fidelity_tracker_reorgs_total 1$/m)
  assert.match(later, /^fidelity_tracker_reorg_depth_max 2$/m)
})

test('who is connected is told with what it costs, over HTTP and by the verb', async () => {
  await using node = await Regtest.start({ blocks: 210 })
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const port = tracker.httpPort!
  const validate = await openValidator(port)
  using watching = await Wallet.open(tracker)
  using asking = await Wallet.open(tracker)
  await watching.subscribe(Array.from({ length: 30 }, (_, vout) => ({ txid: asTxid('ab'.repeat(32)), vout })))
  await asking.ask({ type: 'Status' }, 'Status')
  const answer = await ask(port, '/api/v1/clients')
  validate('/api/v1/clients', answer)
  const { total, clients, next } = answer.json
  assert.deepEqual([total, next], [clients.length, null])
  const of = (group: string) => clients.filter((client: Json) => client.group === group)
  assert.equal(of('subscribed').length, 1)
  assert.equal(of('subscribed')[0].subscriptions, 30)
  assert.ok(of('subscribed')[0].units > 30)
  assert.ok(of('asked').some((client: Json) => client.requests === 1 && (client.units as number) < 30))
  const first = await ask(port, '/api/v1/clients?limit=1')
  assert.equal(first.json.clients[0].id, clients[0].id)
  assert.equal((await ask(port, `/api/v1/clients?after=${first.json.next}`)).json.clients[0].id, clients[1].id)
  const settings = ['--network', 'regtest', '--http', `127.0.0.1:${port}`]
  const verb = await runVerb(['clients', '--json', ...settings])
  assert.equal(JSON.parse(verb.stdout)[0].id, of('subscribed')[0].id, 'who costs most comes first')
  assert.match((await runVerb(['clients', ...settings])).stdout, / subscribed [\s\S]*connections; 30 subscriptions/)
  const [nobody] = await freePorts(1)
  const away = await runVerb(['clients', '--network', 'regtest', '--http', `127.0.0.1:${nobody}`])
  assert.equal(away.code, 69)
  assert.match(away.stderr, /the daemon did not answer at --http 127\.0\.0\.1:\d+/)
  const off = await runVerb(['clients', '--network', 'regtest', '--http', 'off'])
  assert.equal(off.code, 2)
  assert.match(off.stderr, /--http is off/)
})

test('the event stream tells of blocks, bonds, makers, spends and reorgs, as they happen', async () => {
  await using node = await Regtest.start({ blocks: 210 })
  await using tracker = await Tracker.start(node, { http: true })
  const port = tracker.httpPort!
  const ending = await node.fundBond({
    key: bondKey('end'),
    format: 'D',
    address: `${onionHost('end')}:21`,
    lockBlocks: 1,
  })
  await node.mine(1)
  await tracker.caughtUp(node)
  using stream = await EventStream.open(port)
  assert.equal(stream.headers['content-type'], 'text/event-stream')
  const { json: document } = await ask(port, '/openapi.json')
  const ajv = new Ajv2020({ strict: true, strictTypes: false })
  ajv.addKeyword('components')
  ajv.addSchema({ $id: 'http://tracker.invalid/openapi', components: document.components } as Json)
  const told = (kind: string, is: (data: Json) => boolean) =>
    waitUntil(`a ${kind} event is told that ${is}`, () => stream.of(kind).find(({ data }) => is(data)))

  const outpoint = (txid: string) => `${txid}:0`
  const fresh = await node.fundBond({ key: bondKey('new'), format: 'D', address: `${onionHost('new')}:21` })
  await told('bond', (data) => data.outpoint === outpoint(fresh.txid) && data.state === 'pending')
  const [hash] = await node.mine(1)
  await told('block', (data) => data.block_hash === hash && data.bonds === 1)
  await told(
    'bond',
    (data) => data.outpoint === outpoint(fresh.txid) && data.state === 'live' && data.previous === 'pending',
  )
  await told('bond', (data) => data.outpoint === outpoint(ending.txid) && data.state === 'expired')
  await told('maker', (data) => data.address === fresh.address && data.listed === true)
  const spend = await node.spendBond(ending)
  await told('spend', (data) => data.txid === spend.txid && data.state === 'mempool')
  await node.mine(1)
  await told('spend', (data) => data.txid === spend.txid && data.state === 'confirmed')
  await told('bond', (data) => data.outpoint === outpoint(ending.txid) && data.state === 'spent')
  const many = await node.mine(5)
  for (const block of many) await told('block', (data) => data.block_hash === block)
  await node.replaceTip({ drop: 3, mine: 4 })
  // bitcoind takes blocks back one by one, and a look may fall in between: then it is told in pieces.
  const reorgs = () => stream.of('reorg')
  await waitUntil(
    'a reorg of three blocks is told',
    () => reorgs().reduce((sum, { data }) => sum + data.depth, 0) === 3,
  )
  assert.equal(reorgs()[0]!.data.from.block_hash, many.at(-1))
  await told('block', (data) => data.height === reorgs().at(-1)!.data.to.height)
  for (const { kind, data } of stream.events) {
    const check = ajv.getSchema(
      `http://tracker.invalid/openapi#/components/schemas/${kind[0]!.toUpperCase()}${kind.slice(1)}Event`,
    )!
    assert.ok(check(data), `${kind}: ${JSON.stringify(check.errors)}`)
  }

  // Streams are few: more of them push out one another, but not those that have been open longest; all end with the
  // daemon, which does not wait for them.
  const streams = [stream]
  while (streams.length < STREAM_LIMITS.streamsMax + 5) streams.push(await EventStream.open(port))
  await waitUntil('five had to go', () => streams.filter(({ isEnded }) => isEnded).length === 5)
  assert.ok(streams.slice(0, STREAM_LIMITS.streamsMax / 2).every(({ isEnded }) => !isEnded))
  assert.equal(await tracker.stop(), 0)
  await waitUntil('all streams have ended', () => streams.every(({ isEnded }) => isEnded))
})

test('a client that sends nothing, or half a request, or too much of it, is closed', async () => {
  await using node = await Regtest.start({ blocks: 3 })
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.said('listening')
  const talk = (text: string) =>
    new Promise<string>((resolve) => {
      let reply = ''
      const socket = connect(tracker.httpPort!, '127.0.0.1', () => socket.write(text))
      socket.setEncoding('utf8').on('data', (chunk) => {
        reply += chunk
      })
      socket.on('error', () => {}).on('close', () => resolve(reply))
    })
  const long = `GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(HTTP_LIMITS.headerBytesMax)}\r\n\r\n`
  assert.match(await talk(long), /^HTTP\/1\.1 431 /)
  assert.match(await talk('GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 4(00|21) /, 'no Host')
  assert.match(await talk('GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 421 /, 'an empty one')
  assert.match(await talk('\x16\x03\x01 this is TLS\r\n\r\n'), /^HTTP\/1\.1 400 /)
  assert.match(
    await talk('GET / HTTP/1.1\r\nHost: localhost\r\n'),
    /^HTTP\/1\.1 408 |^$/,
    'half a request, after its time',
  )
})

test('--http: loopback unless host names are given, off when asked, a taken port is named', async () => {
  const start = ['start', '--network', 'regtest', '--no-tor', '--datadir', '/nonexistent/x']
  const open = await runVerb([...start, '--http', '0.0.0.0:8081'])
  assert.equal(open.code, 2)
  assert.match(open.stderr, /--http 0\.0\.0\.0:8081 .*--http-hosts/)
  assert.equal((await runVerb([...start, '--http', 'nowhere'])).code, 2)
  const wrong = await runVerb([...start, '--http-hosts', 'a b'])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--http-hosts: .*host names/)

  await using node = await Regtest.start({ blocks: 3 })
  const [http] = await freePorts(1)
  const args = ['--no-tor', '--http', `0.0.0.0:${http}`, '--http-hosts', 'tracker.lan,Umbrel.local']
  await using tracker = await Tracker.start(node, { args })
  await tracker.caughtUp(node)
  for (const host of ['tracker.lan', 'umbrel.local:80', 'localhost']) {
    assert.equal((await ask(http!, '/health/live', { headers: { host } })).status, 200, host)
  }
  for (const host of ['0.0.0.0', 'other.lan']) {
    assert.equal((await ask(http!, '/health/live', { headers: { host } })).status, 421, host)
  }
  const second = await Tracker.start(node, { args: ['--no-tor', '--http', `127.0.0.1:${http}`] })
  assert.equal(await second.exited(), 2)
  assert.match(second.stderr, /--http 127\.0\.0\.1:\d+ can't be listened on: .*--http off/)
})
