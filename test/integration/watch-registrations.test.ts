/** Registered outpoints: kept over restarts and kill -9, looked up backwards, ended by height, bounded in number. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { asTxid, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { type Db, openStoreReadonly } from '../../src/store/open.ts'
import { readRegistrationEnds, readRegistrations } from '../../src/store/shared/registrations.ts'
import { EffortSearch, effortAskedBy } from '../../src/watch/effort.ts'
import { WATCHER_LIMITS } from '../../src/watch/watcher.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, send, sign, spend } from '../support/coins.ts'
import { brief, present, Wallet } from '../support/subscriber.ts'

const TEST_FLAGS = ['--no-tor', '--allow-test-addresses']

function register(tracker: Tracker, outpoints: readonly Outpoint[], ttlBlocks: number) {
  return tracker.ask({ type: 'Register', outpoints: [...outpoints], ttlBlocks }, 'Registered')
}

function readDatabase<T>(tracker: Tracker, look: (db: Db) => T): T {
  using db = openStoreReadonly(tracker.dataDir)
  return look(db)
}

/** What the database has, whoever is told. */
function registeredAt(tracker: Tracker): Set<string> {
  return readDatabase(tracker, (db) => new Set(readRegistrations(db).map(formatOutpoint)))
}

function madeUp(count: number): Outpoint[] {
  return Array.from({ length: count }, (_, i) => ({
    txid: asTxid(createHash('sha256').update(`output ${i}`).digest('hex')),
    vout: i % 3,
  }))
}

/** Refused, in whatever words. */
async function refusal(asked: Promise<unknown>): Promise<string> {
  const error = await asked.then(
    () => undefined,
    (reason) => String(reason),
  )
  assert.ok(error, 'expected an Error')
  return error
}

test('killed between mempool and block: the spend is known before anything is answered', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [a, b, c, d] = await makeCoins(node, 4)
  await tracker.caughtUp(node)
  assert.deepEqual(await register(tracker, [a!, b!, c!, d!], 100), {
    type: 'Registered',
    count: 4,
    untilHeight: (await node.height()) + 100,
  })
  const inMempool = await spend(node, [a!])
  const evictedWhileDown = await spend(node, [c!])
  await waitUntil('both are seen', async () => {
    const states = await Promise.all([a!, c!].map(async (outpoint) => (await present(tracker, outpoint)).state))
    return states.every((state) => state === 'mempool')
  })
  await tracker.stop('SIGKILL')

  const unseen = await sign(node, [b!])
  const rival = await sign(node, [c!], { feeSats: 4_000 })
  await send(node, rival)
  const blockHash = await node.mineWith([inMempool.hex, unseen.hex])
  tracker.launch()
  // The very first answer that is no refusal must be right.
  const ask = async (outpoint: Outpoint) =>
    waitUntil('an answer', () =>
      tracker.ask({ type: 'WatchMany', outpoints: [outpoint] }, 'Spends').then(
        ({ spends }) => spends[0]!,
        (error) => {
          assert.match(String(error), /not_synced|busy|ECONNREFUSED/)
          return undefined
        },
      ),
    )
  assert.deepEqual(brief(await ask(a!)), {
    state: 'confirmed',
    txid: inMempool.txid,
    height: await node.height(),
    blockHash,
  })
  assert.deepEqual(brief(await ask(b!)), {
    state: 'confirmed',
    txid: unseen.txid,
    height: await node.height(),
    blockHash,
  })
  assert.deepEqual(brief(await ask(c!)), { state: 'mempool', txid: rival.txid, conflicts: [evictedWhileDown.txid] })
  assert.equal((await ask(d!)).state, 'unspent')
  assert.equal(registeredAt(tracker).size, 4)
})

test('an outpoint registered late is looked up backwards as far as the index reaches; deeper, unspent is told from gone', async () => {
  await using node = await Regtest.start()
  const [deep, shallow, kept] = await makeCoins(node, 3)
  const old = await spend(node, [deep!])
  await node.mine(12)
  const recent = await spend(node, [shallow!])
  const [blockHash] = await node.mine(1)
  const height = await node.height()
  await using tracker = await Tracker.start(node, { args: [...TEST_FLAGS, '--retention-blocks', '10'] })
  await tracker.caughtUp(node)
  const answer = await tracker.ask({ type: 'WatchMany', outpoints: [deep!, shallow!, kept!] }, 'Spends')
  assert.equal(answer.indexedFrom, height - 9)
  assert.deepEqual([answer.height, answer.blockHash], [height, blockHash])
  assert.deepEqual(answer.spends.map(brief), [
    { state: 'unknown' },
    { state: 'confirmed', txid: recent.txid, height, blockHash },
    { state: 'unspent' },
  ])
  assert.ok(old.txid)
  // Registered, it is known for longer than the index reaches.
  await register(tracker, [shallow!], 1_000)
  await node.mine(15)
  await tracker.caughtUp(node)
  await tracker.stop('SIGTERM')
  tracker.launch()
  await tracker.caughtUp(node)
  const later = await waitUntil('it answers', () => present(tracker, shallow!).catch(() => undefined))
  assert.deepEqual(brief(later), { state: 'confirmed', txid: recent.txid, height, blockHash })
})

test('a registration ends after its height, is prolonged by another, never shortened; then its past is forgotten', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: [...TEST_FLAGS, '--retention-blocks', '2'] })
  const [short, long] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  await register(tracker, [short!, long!], 3)
  await register(tracker, [long!], 50)
  await register(tracker, [long!], 1)
  const spent = await spend(node, [short!])
  await node.mine(3)
  await tracker.caughtUp(node)
  assert.equal((await present(tracker, short!)).txid, spent.txid)
  await node.mine(1)
  await tracker.caughtUp(node)
  await waitUntil('one registration is left', () => tracker.status()?.registrations === 1)
  assert.deepEqual(registeredAt(tracker), new Set([formatOutpoint(long!)]))
  // Nobody has asked for it for some blocks, and the index no longer reaches its block: gone, but never "unspent".
  await node.mine(4)
  await tracker.caughtUp(node)
  assert.equal((await present(tracker, short!)).state, 'unknown')
})

test('10,000 registrations survive a restart, and every one of them is still watched', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 6)
  await tracker.caughtUp(node)
  const strangers = madeUp(10_000 - coins.length)
  const all: Outpoint[] = [
    ...strangers.slice(0, 5_000),
    ...coins.map(({ txid, vout }) => ({ txid, vout })),
    ...strangers.slice(5_000),
  ]
  for (let i = 0; i < all.length; i += 1_000) await register(tracker, all.slice(i, i + 1_000), 2_000)
  assert.equal(
    (await tracker.ask({ type: 'WatchMany', outpoints: all.slice(0, 1_000) }, 'Spends')).spends.length,
    1_000,
  )
  await tracker.stop('SIGKILL')
  const spent = await Promise.all(coins.slice(0, 3).map((coin) => spend(node, [coin])))
  await node.mine(1)
  const pending = await Promise.all(coins.slice(3).map((coin) => spend(node, [coin])))
  tracker.launch()
  await tracker.caughtUp(node)
  const told = await waitUntil('it answers', () =>
    tracker.ask({ type: 'WatchMany', outpoints: coins }, 'Spends').catch(() => undefined),
  )
  assert.deepEqual(
    told.spends.map(({ state, txid, registered }) => [state, txid, registered]),
    [...spent.map(({ txid }) => ['confirmed', txid, false]), ...pending.map(({ txid }) => ['mempool', txid, false])],
    'who registered them was another connection',
  )
  await waitUntil('all are counted', () => tracker.status()?.registrations === 10_000)
  const status = await runVerb(['status', '--network', 'regtest', '--datadir', tracker.dataDir])
  assert.match(status.stdout, /watching +10000 outpoints registered, 0 subscriptions/)
})

test('limits: too many in one request, on one connection, altogether; what is refused changes nothing', async () => {
  await using node = await Regtest.start()
  const limits = [...['--outpoints-per-request', '4', '--subscriptions-per-connection', '5'], ...['--watches-max', '6']]
  await using tracker = await Tracker.start(node, { args: [...TEST_FLAGS, ...limits] })
  const coins = await makeCoins(node, 8)
  await tracker.caughtUp(node)
  const ask = (type: 'WatchMany' | 'Register', outpoints: Outpoint[]) =>
    type === 'Register' ? register(tracker, outpoints, 10) : tracker.ask({ type, outpoints }, 'Spends')
  assert.match(await refusal(ask('WatchMany', coins.slice(0, 5))), /"limit".*5 outpoints in one request, 4 are allowed/)
  assert.match(await refusal(register(tracker, coins.slice(0, 1), 52_561)), /bad_request.*1 to 52560/)
  assert.match(await refusal(register(tracker, coins.slice(0, 1), 0)), /bad_request/)
  await ask('Register', coins.slice(0, 3))
  assert.match(
    await refusal(ask('Register', coins.slice(2, 4))),
    /"limit".*effort of \d+ bits over the block [0-9a-f]{64}: it had none, and 3 of 6 places are taken/,
  )
  assert.match(
    await refusal(ask('Register', coins.slice(3, 7))),
    new RegExp(`"limit".*room for 6 registered outpoints.*ends after block ${(await node.height()) + 10}`),
  )
  await ask('Register', coins.slice(0, 3)) // again: they have their places
  const spent = await spend(node, [coins[7]!])
  const answered = await waitUntil('v1 Watch answers all the same', async () => {
    const { transactions } = await tracker.ask({ type: 'Watch', outpoint: coins[7]! }, 'WatchResponse')
    return transactions.length > 0 && transactions
  })
  assert.deepEqual(
    answered.map(({ txid }) => txid),
    [spent.txid],
  )
  assert.deepEqual(registeredAt(tracker), new Set(coins.slice(0, 3).map(formatOutpoint)))

  await using greedy = await Tracker.start(node, { args: [...TEST_FLAGS, '--registrations-per-connection', '3'] })
  await greedy.caughtUp(node)
  using hoarder = await Wallet.open(greedy)
  const hoard = (outpoints: Outpoint[]) => ({ type: 'Register' as const, outpoints, ttlBlocks: 5 })
  await hoarder.ask(hoard(coins.slice(0, 3)), 'Registered')
  await hoarder.ask(hoard(coins.slice(0, 2)), 'Registered')
  assert.match((await hoarder.ask(hoard(coins.slice(3, 4)), 'Error')).message, /may register 3 outpoints: open another/)
  await hoarder.ask({ type: 'Watch', outpoint: coins[3]! }, 'WatchResponse')
  assert.equal(registeredAt(greedy).size, 3)
  await register(greedy, coins.slice(3, 4), 5)

  using one = await Wallet.open(tracker)
  await one.subscribe(coins.slice(0, 4))
  const refused = await one.ask({ type: 'Subscribe', outpoints: coins.slice(4, 6) }, 'Error')
  assert.match(refused.message, /5 subscriptions/)
  await one.subscribe([coins[0]!, coins[4]!]) // one of them is not new
  await one.ask({ type: 'Unsubscribe', outpoints: coins.slice(0, 4) }, 'Spends')
  await one.subscribe(coins.slice(2, 6))
})

test('when all subscriptions are taken, whoever has few can subscribe all the same', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: [...TEST_FLAGS, '--subscriptions-max', '150'] })
  await tracker.caughtUp(node)
  const always = WATCHER_LIMITS.subscriptionsAlways
  using greedy = await Wallet.open(tracker)
  await greedy.subscribe(madeUp(150))
  const refused = await greedy.ask({ type: 'Subscribe', outpoints: madeUp(151) }, 'Error')
  assert.match(refused.message, /serves 150 subscriptions already, and a connection may have 100 now/)
  using honest = await Wallet.open(tracker)
  await honest.ask({ type: 'Subscribe', outpoints: madeUp(always + 1) }, 'Error')
  await honest.subscribe(madeUp(always))
  await waitUntil('all are counted', () => tracker.status()?.subscriptions === 150 + always)
  await greedy.ask({ type: 'Unsubscribe', outpoints: madeUp(150) }, 'Spends')
  await honest.subscribe(madeUp(always + 1))
})

test('that an outpoint is registered is told to the connection that has registered it, and to nobody else', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { http: true })
  const [a, b, other] = await makeCoins(node, 3)
  await tracker.caughtUp(node)
  using owner = await Wallet.open(tracker)
  using stranger = await Wallet.open(tracker)
  await owner.ask({ type: 'Register', outpoints: [a!], ttlBlocks: 100 }, 'Registered')
  await owner.ask({ type: 'Watch', outpoint: b! }, 'WatchResponse')
  const all = [a!, b!, other!]
  const told = async (wallet: Wallet, type: 'WatchMany' | 'Subscribe') => {
    const { spends } = await wallet.ask({ type, outpoints: all }, 'Spends')
    return spends.map(({ registered }) => registered)
  }
  for (const type of ['WatchMany', 'Subscribe'] as const) {
    assert.deepEqual(await told(owner, type), [true, true, false])
    assert.deepEqual(await told(stranger, type), [false, false, false])
  }
  const { txid } = await spend(node, [a!, other!])
  for (const [wallet, registered] of [[owner, true] as const, [stranger, false] as const]) {
    await waitUntil('both are told', () => [a!, other!].every((outpoint) => wallet.last(outpoint)?.txid === txid))
    assert.equal(wallet.last(a!)!.registered, registered)
    assert.equal(wallet.last(other!)!.registered, false)
  }
  // Who registers what another has registered is told so from then on.
  await stranger.ask({ type: 'Register', outpoints: [b!], ttlBlocks: 100 }, 'Registered')
  assert.deepEqual(await told(stranger, 'WatchMany'), [false, true, false])
  const operators = await Promise.all(
    all.map(async (outpoint) => {
      const response = await fetch(
        `http://127.0.0.1:${tracker.httpPort}/api/v1/spends/${outpoint.txid}/${outpoint.vout}`,
      )
      return ((await response.json()) as { spend: { registered: boolean } }).spend.registered
    }),
  )
  assert.deepEqual(operators, [true, true, false])
})

test('half of the places taken by strangers: v1 is answered, and whoever brings an effort is registered', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: [...TEST_FLAGS, '--watches-max', '1000'] })
  const [a, b, spent] = await makeCoins(node, 3)
  const spender = await spend(node, [spent!])
  await tracker.caughtUp(node)
  const madeUp = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ txid: asTxid((from + i).toString(16).padStart(64, 'e')), vout: i }))
  assert.match(await refusal(register(tracker, madeUp(0, 1_000), 52_560)), /"limit".*effort of 4\d bits/)
  const filled = await register(tracker, madeUp(0, 500), 52_560)
  const height = await node.height()
  assert.deepEqual(filled, {
    type: 'Registered',
    count: 500,
    untilHeight: height + 52_560,
    unfunded: 500,
    unfundedUntil: height + 144,
  })
  const v1 = await tracker.ask({ type: 'Watch', outpoint: spent! }, 'WatchResponse')
  assert.deepEqual(
    v1.transactions.map(({ txid }) => txid),
    [spender.txid],
  )
  const outpoints = [a!, b!].map(({ txid, vout }) => ({ txid, vout }))
  const { bits, blockHash } = effortAskedBy(await refusal(register(tracker, outpoints, 100)))!
  assert.equal(blockHash, await node.rpc('getbestblockhash'))
  const effort = new EffortSearch({ blockHash, outpoints }, bits).next(2 ** (bits + 6))!
  await node.mine(1)
  await tracker.caughtUp(node)
  const asked = { type: 'Register' as const, outpoints, ttlBlocks: 100, effort }
  const granted = { type: 'Registered', count: 2, untilHeight: height + 101 }
  assert.deepEqual(await tracker.ask(asked, 'Registered'), granted)
  assert.deepEqual(await tracker.ask(asked, 'Registered'), granted) // again: the same
  await assert.rejects(tracker.ask({ ...asked, effort: effort.subarray(1) }, 'Registered'), /bad_request/)
})

test('made-up outpoints are kept a day; one that is funded meanwhile, seen or not, to its end', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 3)
  await tracker.caughtUp(node)
  // Contracts are registered before the transactions that make them are broadcast.
  const signed = await Promise.all(coins.map((coin) => sign(node, [coin])))
  const [seen, unseen, never] = signed.map(({ txid }) => ({ txid, vout: 0 })) as [Outpoint, Outpoint, Outpoint]
  const all = [seen, unseen, never]
  const height = await node.height()
  assert.deepEqual(await register(tracker, all, 1_000), {
    type: 'Registered',
    count: 3,
    untilHeight: height + 1_000,
    unfunded: 3,
    unfundedUntil: height + 144,
  })
  const unfunded = () => readDatabase(tracker, (db) => readRegistrationEnds(db, 144).unfunded)
  await send(node, signed[0]!)
  await waitUntil('its funding is seen', () => unfunded() === 2)
  await tracker.stop('SIGKILL')
  await node.mineWith([signed[0]!.hex, signed[1]!.hex])
  await node.mine(1)
  tracker.launch()
  await tracker.caughtUp(node)
  await waitUntil('the other one, too', () => unfunded() === 1)
  // Taken back, it keeps its place.
  const [tip] = await node.rpc<string[]>('generatetoaddress', 1, await node.rpc('getnewaddress'))
  await node.rpc('invalidateblock', tip)
  await node.mine(150)
  await tracker.caughtUp(node)
  await waitUntil('the third is dropped', () => tracker.status()?.registrations === 2)
  const last = await register(tracker, all, 1)
  assert.deepEqual([last.unfunded, last.untilHeight], [1, (await node.height()) + 1])
  assert.equal((await register(tracker, [seen, unseen], 1)).untilHeight, height + 1_000)
})

test('registered again for less: it says until when it is watched, and that is what is kept', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [a, b] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  const height = await node.height()
  await register(tracker, [a!], 3_000)
  assert.equal((await register(tracker, [a!], 50)).untilHeight, height + 3_000)
  assert.equal((await register(tracker, [a!, b!], 50)).untilHeight, height + 50)
  await node.mine(52)
  await tracker.caughtUp(node)
  await waitUntil('the shorter one has ended', () => registeredAt(tracker).size === 1)
  assert.deepEqual(registeredAt(tracker), new Set([formatOutpoint(a!)]))
})
