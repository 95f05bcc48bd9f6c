/**
 * A bitcoind that has pruned blocks of the window: no partial list is given as a whole one, another chain is no reorg, and
 * what the messages advise works and loses nothing.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStoreReadonly, sql } from '../../src/store/open.ts'
import { NoReply } from '../../src/wire/client.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, makeCoins, spend } from '../support/coins.ts'
import { ask } from '../support/http.ts'
import { NodeLine } from '../support/node-line.ts'
import { bondOf, isAnswered, readiness, scannedTo } from '../support/progress.ts'

const PRUNED = { args: ['-prune=1', '-fastprune'] }
const FLAGS = ['--no-tor', '--allow-test-addresses']
const pruneHeightOf = async (node: Regtest) =>
  (await node.rpc<{ pruneheight: number }>('getblockchaininfo')).pruneheight

test('a pruned node that lacks blocks of the window: no list and no watch, until --serve-partial says so', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 110 })
  const old = await bondOf(node, 'old')
  await node.mine(490)
  await node.rpc('pruneblockchain', 400)
  const young = await bondOf(node, 'young')
  await node.mine(1)
  const from = await pruneHeightOf(node)
  assert.ok(from > 111)
  const unseen = { from: 0, to: from - 1 }

  await using tracker = await Tracker.start(node, { http: true })
  await scannedTo(tracker, 601)
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
  const note = new RegExp(`PARTIAL: blocks 0 to ${from - 1} were never read`)
  assert.match(query.stdout, note)
  for (const verb of ['bonds', 'makers']) assert.match((await runVerb([verb, ...flags])).stdout, note)
  const why = await runVerb(['why', old.address, ...flags])
  assert.match(why.stdout, new RegExp(`Blocks 0 to ${from - 1} were never read`))
})

test('a list that is whole stays whole when bitcoind prunes what was read; a partial one accuses nobody, and is not accused', async () => {
  await using node = await Regtest.start({ ...PRUNED, blocks: 110 })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using tracker = await Tracker.start(node, { http: true, args: [...FLAGS, '--tracker-interval', '1'] })
  await tracker.caughtUp(node)
  await node.mine(490)
  await node.rpc('pruneblockchain', 400)
  assert.ok((await pruneHeightOf(node)) > 111)
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  assert.equal((await tracker.ask({ type: 'Status' }, 'Status')).unseen, undefined)

  await using partial = await Tracker.start(node, {
    http: true,
    args: [...FLAGS, '--serve-partial', '--tracker-interval', '1', '--trackers', `127.0.0.1:${tracker.port}`],
  })
  await partial.caughtUp(node)
  assert.deepEqual(await partial.addresses(), [])
  const other = async (of: Tracker) => (await ask(of.httpPort!, '/api/v1/trackers')).json.trackers?.[0]
  for (const one of [tracker, partial]) {
    const height = await node.height()
    await waitUntil('it has heard the other at this block', async () => (await other(one))?.height === height)
    const { agrees, failures, digest } = await other(one)
    assert.deepEqual([agrees, failures], [null, 0])
    assert.notEqual(digest, (await ask(one.httpPort!, '/api/v1/status')).json.digest)
  }
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

  await node.mine(600)
  await node.rpc('pruneblockchain', 400)
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

test('with --serve-partial the scan begins above what is not downloaded yet', async () => {
  await using node = await Regtest.start({ blocks: 400 })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using line = await NodeLine.before(node)
  const missing = new Set<string>()
  for (let height = 0; height <= 260; height++) missing.add(await node.rpc('getblockhash', height))
  line.withhold(missing)
  await using tracker = await Tracker.start(node, { args: [...FLAGS, '--serve-partial'], via: line })
  await tracker.caughtUp(node)
  const { scannedFrom, unseen } = await tracker.ask({ type: 'Status' }, 'Status')
  assert.deepEqual([scannedFrom, unseen], [261, { from: 0, to: 260 }])
  assert.deepEqual(await tracker.addresses(), [bond.address])
})
