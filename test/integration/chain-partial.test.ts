/**
 * A bitcoind that doesn't have all blocks of the window: pruned, still downloading (assumeutxo), damaged, or behind the
 * headers it knows. No partial list is given as a whole one, nothing storms, and what the messages advise works.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStoreReadonly, sql } from '../../src/store/open.ts'
import { NoReply } from '../../src/wire/client.ts'
import type { Request } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, makeCoins, spend } from '../support/coins.ts'
import { ask } from '../support/http.ts'
import { NodeProxy } from '../support/node-proxy.ts'
import { onionHost } from '../support/onions.ts'

const PRUNED = { args: ['-prune=1', '-fastprune'] }
const FLAGS = ['--no-tor', '--allow-test-addresses']
const bondOf = (node: Regtest, name: string) =>
  node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
const pruneHeightOf = async (node: Regtest) =>
  (await node.rpc<{ pruneheight: number }>('getblockchaininfo')).pruneheight
const scannedTo = (tracker: Tracker, height: number) =>
  waitUntil(`scanned to ${height}`, async () => {
    const status = await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined)
    return status?.height === height
  })
const isAnswered = (tracker: Tracker, request: Request) =>
  tracker.ask(request, 'Spends').then(
    () => true,
    () => false,
  )
const readiness = async (tracker: Tracker) => {
  const { status, json } = await ask(tracker.httpPort!, '/health/ready')
  return { status, bitcoind: json.checks.bitcoind.detail as string, sync: json.checks.sync.detail as string }
}

test('a pruned node that lacks blocks of the window: no list and no watch, until --serve-partial says so', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 110 })
  const old = await bondOf(node, 'old')
  await node.mine(690)
  await node.rpc('pruneblockchain', 400)
  const young = await bondOf(node, 'young')
  await node.mine(1)
  const from = await pruneHeightOf(node)
  assert.ok(from > 111)
  const unseen = { from: 0, to: from - 1 }

  await using tracker = await Tracker.start(node, { http: true })
  await scannedTo(tracker, 801)
  const status = await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(status.synced, false)
  assert.deepEqual(status.unseen, unseen)
  assert.equal(status.scannedFrom, from)
  const refusal = new RegExp(
    `^not synced: blocks 0 to ${from - 1} of the window .* rescan, .*--serve-partial.* block ${from + 25_920}`,
  )
  const requests = [
    { type: 'Bonds' },
    { type: 'WatchMany', outpoints: [young.outpoint] },
    { type: 'Subscribe', outpoints: [young.outpoint] },
    { type: 'Register', outpoints: [young.outpoint], ttlBlocks: 10 },
    { type: 'Watch', outpoint: young.outpoint },
    { type: 'BondProof', outpoint: young.outpoint },
  ] as const
  for (const request of requests) {
    const error = await tracker.ask(request, 'Error')
    assert.equal(error.code, 'not_synced')
    assert.match(error.message, refusal)
  }
  await assert.rejects(tracker.addresses(), NoReply)
  const notReady = await readiness(tracker)
  assert.equal(notReady.status, 503)
  assert.match(`not synced: ${notReady.sync}`, refusal)
  assert.equal((await ask(tracker.httpPort!, '/api/v1/bonds')).status, 503)
  const warning = await tracker.said(
    'bitcoind does not have all blocks of the window: bonds confirmed in them are not known, and no list is given',
  )
  assert.equal(warning.unseenTo, from - 1)

  await tracker.stop()
  await using partial = await Tracker.start(node, {
    dataDir: tracker.dataDir,
    http: true,
    args: [...FLAGS, '--serve-partial'],
  })
  await partial.caughtUp(node)
  assert.deepEqual(await partial.addresses(), [young.address])
  assert.deepEqual((await partial.ask({ type: 'Status' }, 'Status')).unseen, unseen)
  const list = await partial.ask({ type: 'Bonds' }, 'Bonds')
  assert.deepEqual([list.total, list.unseen], [1, unseen])
  await waitUntil('the mempool is known', () => isAnswered(partial, requests[1]))
  const ready = await readiness(partial)
  assert.equal(ready.status, 200)
  assert.match(ready.sync, new RegExp(`PARTIAL: blocks 0 to ${from - 1} of the window .*--serve-partial`))
  for (const path of ['bonds', 'makers', 'status']) {
    assert.deepEqual((await ask(partial.httpPort!, `/api/v1/${path}`)).json.unseen, unseen, path)
  }
  const flags = ['--network', 'regtest', '--datadir', partial.dataDir]
  assert.match(
    (await runVerb(['status', ...flags])).stdout,
    new RegExp(`NOT SEEN +blocks 0 to ${from - 1} were never read`),
  )
  const query = await runVerb(['query', `127.0.0.1:${partial.port}`, 'bonds', ...flags, '--no-tor'])
  assert.match(query.stdout, new RegExp(`PARTIAL: it has never read blocks 0 to ${from - 1}`))
  const why = await runVerb(['why', old.address, ...flags])
  assert.match(why.stdout, new RegExp(`Blocks 0 to ${from - 1} were never read`))
})

test('a list that is whole stays whole when bitcoind prunes what was read', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 110 })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  await node.mine(690)
  await node.rpc('pruneblockchain', 400)
  assert.ok((await pruneHeightOf(node)) > 111)
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  assert.equal((await tracker.ask({ type: 'Status' }, 'Status')).unseen, undefined)
})

test('a gap by pruning: what the message says works, and key, registrations and what was seen are kept', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 110 })
  const bond = await bondOf(node, 'x')
  await node.mine(3)
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const [waiting, coin] = (await makeCoins(node, 2)) as [Coin, Coin]
  await tracker.caughtUp(node)
  const watched = [waiting, coin].map(({ txid, vout }) => ({ txid, vout }))
  const registered = await tracker.ask({ type: 'Register', outpoints: watched, ttlBlocks: 5_000 }, 'Registered')
  await spend(node, [coin])
  const spentIn = (await node.mine(1))[0]!
  await tracker.caughtUp(node)
  const before = await tracker.ask({ type: 'WatchMany', outpoints: watched }, 'Spends')
  assert.deepEqual(
    before.spends.map(({ state, blockHash }) => [state, blockHash]),
    [
      ['unspent', undefined],
      ['confirmed', spentIn],
    ],
  )
  assert.equal(await tracker.stop(), 0)
  const key = join(tracker.dataDir, 'onion.key')
  writeFileSync(key, 'the key of our address', { mode: 0o600 })
  const seenTo = await node.height()

  await node.mine(800)
  await node.rpc('pruneblockchain', 500)
  const from = await pruneHeightOf(node)
  assert.ok(from > seenTo + 1)
  tracker.launch()
  assert.equal(await tracker.exited(), 2)
  assert.match(tracker.stderr, new RegExp(`pruned blocks ${seenTo + 1} to ${from - 1}, which this index has not read`))
  assert.match(tracker.stderr, /keeps the onion key, registrations and history.*unless --serve-partial/)
  assert.doesNotMatch(tracker.stderr, /empty --datadir/)
  const advice = /fidelity-tracker (rescan --from \d+)/.exec(tracker.stderr)?.[1]
  assert.ok(advice, tracker.stderr)
  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir]
  const rescan = await runVerb([...advice.split(' '), ...flags])
  assert.equal(rescan.code, 0, rescan.stderr)

  const begun = tracker.log.length
  tracker.launch()
  await scannedTo(tracker, await node.height())
  assert.match(
    (await tracker.ask({ type: 'Bonds' }, 'Error')).message,
    new RegExp(`blocks 0 to ${from - 1} of the window`),
  )
  assert.equal((await tracker.said('scan begins', begun)).fromHeight, from)
  assert.equal(await tracker.stop(), 0)

  await using partial = await Tracker.start(node, {
    dataDir: tracker.dataDir,
    http: true,
    args: [...FLAGS, '--serve-partial'],
  })
  await partial.caughtUp(node)
  assert.equal((await readiness(partial)).status, 200)
  assert.equal(readFileSync(key, 'utf8'), 'the key of our address')
  const status = (await ask(partial.httpPort!, '/api/v1/status')).json
  assert.equal(status.registrations, 2)
  using db = openStoreReadonly(partial.dataDir)
  assert.deepEqual(
    db.all(sql.selectFrom('watches').select('until_height')).map((row) => row.until_height),
    [registered.untilHeight, registered.untilHeight],
  )
  await waitUntil('the mempool is known', () => isAnswered(partial, { type: 'WatchMany', outpoints: watched }))
  const spends = await partial.ask({ type: 'WatchMany', outpoints: watched }, 'Spends')
  assert.equal(spends.indexedFrom, from)
  assert.deepEqual(
    spends.spends.map(({ registered: _, ...rest }) => rest),
    before.spends.map(({ registered: _, ...rest }) => rest),
    'a spend that was seen stays confirmed, although its block can not be read again',
  )
  assert.equal((await partial.ask({ type: 'Bonds', all: true }, 'Bonds')).total, 0, `${bond.address} is in the gap`)
  assert.equal((await runVerb(['check-db', ...flags])).code, 0)
})

test('another chain is told apart before anything is taken back', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 600 })
  await using other = await Regtest.start({ ...PRUNED, blocks: 650 })
  for (const one of [node, other]) await one.rpc('pruneblockchain', 300)
  await using tracker = await Tracker.start(node)
  await scannedTo(tracker, 600)
  await tracker.stop()
  const rows = tracker.chainRows()
  await using lost = await Tracker.start(other, { dataDir: tracker.dataDir })
  assert.equal(await lost.exited(), 2)
  assert.match(lost.stderr, /shares no block with this index.*is --rpc the right node.*rescan --from \d+ begins anew/)
  assert.doesNotMatch(lost.stderr, /empty --datadir/)
  assert.deepEqual(tracker.chainRows(), rows, 'nothing is lost by a wrong --rpc')
  const advice = /fidelity-tracker (rescan --from \d+)/.exec(lost.stderr)![1]!
  await runVerb([...advice.split(' '), '--network', 'regtest', '--datadir', tracker.dataDir])
  lost.launch()
  await scannedTo(lost, 650)
})

test('bitcoind knows headers whose blocks it does not have: said at once, in status and readiness', async () => {
  await using far = await Regtest.start({ blocks: 130 })
  await using node = await Regtest.start({ blocks: 0 })
  const blocks: string[] = []
  for (let height = 1; height <= 130; height++) {
    blocks.push(await far.rpc<string>('getblock', await far.rpc('getblockhash', height), 0))
  }
  for (const block of blocks.slice(0, 110)) await node.rpc('submitblock', block)
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const words = /bitcoind knows of 20 blocks that it does not have: its best header is 130/
  assert.doesNotMatch((await readiness(tracker)).bitcoind, words)
  for (const block of blocks.slice(110)) await node.rpc('submitheader', block.slice(0, 160))
  await waitUntil('it is said', async () => words.test((await readiness(tracker)).bitcoind))
  assert.equal((await readiness(tracker)).status, 200, 'for ten minutes that is a word')
  const { warnings } = (await ask(tracker.httpPort!, '/api/v1/status')).json.bitcoind
  assert.deepEqual(
    warnings.map((warning: string) => words.test(warning) || warning === 'bitcoind has no peers'),
    [true, true],
  )
  const status = await runVerb(['status', '--network', 'regtest', '--datadir', tracker.dataDir])
  assert.match(status.stdout, words)
  for (const block of blocks.slice(110)) await node.rpc('submitblock', block)
  await tracker.caughtUp(node)
  await waitUntil('it has them', async () => !words.test((await readiness(tracker)).bitcoind))
})

test('a newest block of hours ago is said, and keeps nobody from an answer', async () => {
  await using node = await Regtest.start({ blocks: 0 })
  await node.rpc('setmocktime', Math.floor(Date.now() / 1000) - 4 * 3_600 - 600)
  await node.mine(110)
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const { status, bitcoind } = await readiness(tracker)
  assert.equal(status, 200)
  assert.match(bitcoind, /^block 110; bitcoind has no peers; bitcoind's newest block is 4 hours old$/)
})

test('blocks that are not downloaded yet are waited for, without a storm; what is there is read', async (t) => {
  await using node = await Regtest.start({ blocks: 400 })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using proxy = await NodeProxy.before(node)
  const missing = new Set<string>()
  for (let height = 200; height < 300; height++) missing.add(await node.rpc('getblockhash', height))
  proxy.withhold(missing)
  await using tracker = await Tracker.start(proxy.of(node), { http: true })
  await scannedTo(tracker, 199)
  const state = async () => (await ask(tracker.httpPort!, '/api/v1/status')).json
  await waitUntil('it waits', async () => (await state()).bitcoind.state === 'waiting-for-block')
  const { status, bitcoind, sync } = await readiness(tracker)
  assert.equal(status, 503)
  assert.match(
    bitcoind,
    /waits for block 200: bitcoind can't give block [0-9a-f]{64}: .*Block not available \(not fully downloaded\)/,
  )
  assert.equal(sync, "scanned 199 of 401, waiting for block 200, which bitcoind can't give")
  assert.equal((await state()).progress.eta_s, null)
  assert.match(
    (await tracker.ask({ type: 'Bonds' }, 'Error')).message,
    /waiting for block 200, which bitcoind can't give$/,
  )

  // At their longest the pauses are five to ten seconds: then a look, and the block by REST and by RPC, and no more.
  const { answers } = proxy
  const chain = new Set(['getblockchaininfo', 'getblockhash', 'getblock', undefined])
  let exchanges = 0
  let lookedMs = performance.now()
  let pauseMs = 0
  proxy.answers = (exchange) => {
    if (chain.has(exchange.method)) exchanges++
    if (exchange.method === 'getblockchaininfo') {
      pauseMs = performance.now() - lookedMs
      lookedMs = performance.now()
    }
    return answers(exchange)
  }
  await waitUntil('the pauses have grown', () => pauseMs > 4_500, { timeoutMs: 60_000 })
  const lines = tracker.log.length
  exchanges = 0
  const asked = proxy.asked
  const fromMs = performance.now()
  await waitUntil('some tries more', () => exchanges >= 12, { timeoutMs: 120_000 })
  const seconds = (performance.now() - fromMs) / 1_000
  assert.ok(exchanges / seconds < 2, `${exchanges} exchanges in ${seconds} s`)
  t.diagnostic(
    `${(exchanges / seconds).toFixed(2)} exchanges/s, ${((proxy.asked - asked) / seconds).toFixed(2)} with the mempool`,
  )
  assert.deepEqual(tracker.log.slice(lines), [])
  assert.equal(tracker.log.filter(({ msg }) => msg === 'bitcoind connected').length, 1)
  assert.ok(!tracker.logged('bitcoind unreachable'))

  // The chain may move away meanwhile; a restart goes on waiting.
  proxy.answers = () => undefined
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  assert.equal((await tracker.said('the block that was waited for is there')).height, 200)
})

test('a block that bitcoind can not give, and a reorg past it', async () => {
  await using node = await Regtest.start({ blocks: 110 })
  await using proxy = await NodeProxy.before(node)
  await using tracker = await Tracker.start(proxy.of(node), { http: true })
  await tracker.caughtUp(node)
  const hashes: string[] = []
  proxy.withhold({ has: (hash: string) => hashes.includes(hash) } as ReadonlySet<string>, "Can't read block from disk")
  const [hash] = (await node.rpc<string[]>('generatetoaddress', 1, await node.newAddress(), 1_000_000)) as [string]
  hashes.push(hash)
  await tracker.ask({ type: 'Status' }, 'Status')
  await node.replaceTip({ drop: 1, mine: 2 })
  await tracker.caughtUp(node)
  assert.equal((await ask(tracker.httpPort!, '/api/v1/status')).json.bitcoind.state, 'following')
})

test('with --serve-partial the scan begins above what is not downloaded yet', async () => {
  await using node = await Regtest.start({ blocks: 400 })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using proxy = await NodeProxy.before(node)
  const missing = new Set<string>()
  for (let height = 0; height <= 260; height++) missing.add(await node.rpc('getblockhash', height))
  proxy.withhold(missing)
  await using tracker = await Tracker.start(proxy.of(node), { args: [...FLAGS, '--serve-partial'] })
  await tracker.caughtUp(node)
  const { scannedFrom, unseen } = await tracker.ask({ type: 'Status' }, 'Status')
  assert.deepEqual([scannedFrom, unseen], [261, { from: 0, to: 260 }])
  assert.deepEqual(await tracker.addresses(), [bond.address])
})

test('a mempool that can not be read is said once; lists are given, watches are not, and the daemon goes on', async () => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using proxy = await NodeProxy.before(node)
  await using tracker = await Tracker.start(proxy.of(node), { http: true })
  await tracker.caughtUp(node)
  const watch = { type: 'WatchMany', outpoints: [bond.outpoint] } as const
  await waitUntil('watches are answered', () => isAnswered(tracker, watch))
  const ends = [
    { status: 503, text: 'Work queue depth exceeded', words: /overloaded/ },
    { status: 403, text: '', words: /forbids getrawmempool/ },
  ]
  for (const { words, ...answer } of ends) {
    const before = tracker.log.length
    proxy.answers = ({ method }) => (method === 'getrawmempool' ? answer : undefined)
    const state = async () => (await ask(tracker.httpPort!, '/api/v1/status')).json
    await waitUntil('it is said', async () => words.test((await state()).mempool.detail ?? ''), { timeoutMs: 60_000 })
    const ready = await readiness(tracker)
    assert.equal(ready.status, 200)
    assert.match(ready.bitcoind, /mempool not read since \d{4}-.* UTC, watch requests are refused: /)
    assert.deepEqual(await tracker.addresses(), [bond.address])
    assert.equal((await tracker.ask(watch, 'Error')).code, 'not_synced')
    const told = tracker.log.slice(before).filter(({ msg }) => msg.includes('mempool'))
    assert.equal(told.length, 1, JSON.stringify(told))
    proxy.answers = () => undefined
    await waitUntil('it is read again', () => isAnswered(tracker, watch), { timeoutMs: 60_000 })
    assert.equal((await state()).mempool.detail, null)
    await tracker.said("bitcoind's mempool is read again", before)
  }
})
