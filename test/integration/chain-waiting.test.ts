/**
 * A bitcoind that answers and yet can't be relied on: blocks that are not downloaded yet or can't be read, headers without
 * their blocks, an old tip, a mempool that can't be listed. It is waited for without a storm, and said in words.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { NodeLine } from '../support/node-line.ts'
import { bondOf, isAnswered, readiness, scannedTo } from '../support/progress.ts'

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
  await waitUntil('the status that is stored says it, too', async () => {
    return words.test((await runVerb(['status', '--network', 'regtest', '--datadir', tracker.dataDir])).stdout)
  })
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
  await using line = await NodeLine.before(node)
  const missing = new Set<string>()
  for (let height = 200; height < 300; height++) missing.add(await node.rpc('getblockhash', height))
  line.withhold(missing)
  await using tracker = await Tracker.start(node, { http: true, via: line })
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
  const { fate } = line
  const chain = new Set(['getblockchaininfo', 'getblockhash', 'getblock', undefined])
  let exchanges = 0
  let lookedMs = performance.now()
  let pauseMs = 0
  line.fate = (asked) => {
    const method = asked.calls[0]?.method
    if (chain.has(method)) exchanges++
    if (method === 'getblockchaininfo') {
      pauseMs = Math.max(pauseMs, performance.now() - lookedMs)
      lookedMs = performance.now()
    }
    return fate(asked)
  }
  await waitUntil('the pauses have grown', () => pauseMs > 4_500, { timeoutMs: 60_000 })
  const lines = tracker.log.length
  exchanges = 0
  const before = line.exchanges
  const fromMs = performance.now()
  await waitUntil('some tries more', () => exchanges >= 12, { timeoutMs: 120_000 })
  const seconds = (performance.now() - fromMs) / 1_000
  assert.ok(exchanges / seconds < 2, `${exchanges} exchanges in ${seconds} s`)
  t.diagnostic(
    `${(exchanges / seconds).toFixed(2)} exchanges/s, ${((line.exchanges - before) / seconds).toFixed(2)} with the mempool`,
  )
  assert.deepEqual(tracker.log.slice(lines), [])
  assert.equal(tracker.log.filter(({ msg }) => msg === 'bitcoind connected').length, 1)
  assert.ok(!tracker.logged('bitcoind unreachable'))

  // The chain may move away meanwhile; a restart goes on waiting.
  line.calm()
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  assert.equal((await tracker.said('the block that was waited for is there')).height, 200)
})

test('a block at the tip that can not be read, and a reorg past it: lists go on, and the chain is followed', async () => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using line = await NodeLine.before(node)
  await using tracker = await Tracker.start(node, { http: true, via: line })
  await tracker.caughtUp(node)
  const known = new Set<string>()
  for (let height = 0; height <= 111; height++) known.add(await node.rpc('getblockhash', height))
  const damaged = { has: (hash: string) => !known.has(hash) }
  line.withhold(damaged, "Can't read block from disk")
  await node.mine(1)
  const state = async () => (await ask(tracker.httpPort!, '/api/v1/status')).json.bitcoind
  await waitUntil('it waits', async () => (await state()).state === 'waiting-for-block')
  assert.match((await state()).detail, /^waits for block 112: .*Can't read block from disk/)
  assert.equal((await readiness(tracker)).status, 200, 'one block behind is near enough, for an hour')
  assert.deepEqual(await tracker.addresses(), [bond.address])
  for (const hash of await node.replaceTip({ drop: 1, mine: 2 })) known.add(hash)
  await tracker.caughtUp(node)
  assert.equal((await state()).state, 'following')
})

test('a mempool that can not be read is said once; lists are given, watches are not, and the daemon goes on', async () => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await bondOf(node, 'x')
  await node.mine(1)
  await using line = await NodeLine.before(node)
  await using tracker = await Tracker.start(node, { http: true, via: line })
  await tracker.caughtUp(node)
  const watch = { type: 'WatchMany', outpoints: [bond.outpoint] } as const
  await waitUntil('watches are answered', () => isAnswered(tracker, watch))
  const ends = [
    { status: 503, body: Buffer.from('Work queue depth exceeded'), words: /overloaded/ },
    { status: 403, body: Buffer.alloc(0), words: /forbids getrawmempool/ },
  ]
  for (const { words, ...answer } of ends) {
    const before = tracker.log.length
    line.fate = ({ calls }) => (calls[0]?.method === 'getrawmempool' ? { say: answer } : undefined)
    const state = async () => (await ask(tracker.httpPort!, '/api/v1/status')).json
    await waitUntil('it is said', async () => words.test((await state()).mempool.detail ?? ''), { timeoutMs: 60_000 })
    const ready = await readiness(tracker)
    assert.equal(ready.status, 200)
    assert.match(ready.bitcoind, /mempool not read since \d{4}-.* UTC, watch requests are refused: /)
    assert.deepEqual(await tracker.addresses(), [bond.address])
    assert.equal((await tracker.ask(watch, 'Error')).code, 'not_synced')
    const told = tracker.log.slice(before).filter(({ msg }) => msg.includes('mempool'))
    assert.equal(told.length, 1, JSON.stringify(told))
    line.calm()
    await waitUntil('it is read again', () => isAnswered(tracker, watch), { timeoutMs: 60_000 })
    assert.equal((await state()).mempool.detail, null)
    await tracker.said("bitcoind's mempool is read again", before)
  }
})
