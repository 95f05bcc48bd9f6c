/**
 * The order of things between the mempool and who is told of it: every fact that a look gives away, and that rests on a
 * transaction of the mempool, is followed by a leave. The node is a stand-in whose answers the test holds back.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import { Mempool } from '../../../src/chain/mempool.ts'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import type { BitcoindRpc } from '../../../src/chain/rpc.ts'
import type { TakeTxid } from '../../../src/chain/txid-listing.ts'
import { asBlockHash, asTxid, formatOutpoint, type Outpoint, type Txid } from '../../../src/chain/types.ts'
import { TransientError } from '../../../src/errors.ts'

const TIP = asBlockHash('aa'.repeat(32))

interface Tx {
  txid: Txid
  raw: Buffer
  spent: Outpoint
}

let made = 0
function transaction(): Tx {
  const tx = new Transaction()
  tx.version = 2
  const spent = { txid: asTxid((++made).toString(16).padStart(64, '0')), vout: 0 }
  tx.addInput(Buffer.from(spent.txid, 'hex').reverse(), 0, 1)
  tx.addOutput(Buffer.of(0x51), 1_000n)
  return { txid: asTxid(tx.getId()), raw: Buffer.from(tx.toBuffer()), spent }
}

/** A node of which the test says what is in its mempool; `before[call]` is awaited before that call answers. */
function setUp({ max, batchMax = 100 }: { max?: number; batchMax?: number } = {}) {
  let nowMs = 1_000_000
  const pool = new Map<Txid, Tx>()
  let listings = 0
  let sequence = 0
  const before: {
    [C in 'bestBlockHash' | 'outputs' | 'spenders' | 'rawTransactions' | 'listMempool']?: (() => unknown) | undefined
  } = {}
  const asked: Outpoint[] = []
  /** What is said is what is so when the question comes; it may be on its way for long. */
  const answer = async <T>(call: keyof typeof before, value: T): Promise<T> => {
    await before[call]?.()
    return value
  }
  const rpc = {
    bestBlockHash: () => answer('bestBlockHash', TIP),
    listMempool: async (take: TakeTxid) => {
      listings++
      const txids = [...pool.keys()]
      for (const txid of txids) {
        assert.ok(take(Buffer.from(txid), 0))
        await before.listMempool?.()
      }
      return { count: txids.length, sequence }
    },
    rawTransactions: async (txids: Txid[]) => {
      if (txids.length > batchMax) throw new TransientError('its answer is too long')
      return answer(
        'rawTransactions',
        txids.map((txid) => (pool.has(txid) ? { value: pool.get(txid)!.raw } : { code: -5 })),
      )
    },
    outputs: (outpoints: Outpoint[]) => {
      asked.push(...outpoints)
      const spent = new Set([...pool.values()].map((tx) => formatOutpoint(tx.spent)))
      return answer(
        'outputs',
        outpoints.map((one) =>
          pool.has(one.txid) && one.vout === 0 && !spent.has(formatOutpoint(one)) ? { isConfirmed: false } : undefined,
        ),
      )
    },
    spenders: (outpoints: Outpoint[]) => {
      asked.push(...outpoints)
      const spender = (one: Outpoint) =>
        [...pool.values()].find(({ spent }) => formatOutpoint(spent) === formatOutpoint(one))
      return answer(
        'spenders',
        outpoints.map((one) => spender(one) && { txid: spender(one)!.txid }),
      )
    },
  } as unknown as BitcoindRpc
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs }
  const mempool = new Mempool(rpc, new OutpointKeys(Buffer.alloc(16)), clock, max)
  return {
    mempool,
    listings: () => listings,
    pass: (ms: number) => {
      nowMs += ms
    },
    pool,
    before,
    asked,
    enter: (tx: Tx) => pool.set(tx.txid, tx),
    leave: (tx: Tx) => pool.delete(tx.txid),
    /** As the publisher says it. */
    say: (kind: 'added' | 'removed', { txid }: Tx) => mempool.onEvent({ kind, txid, mempoolSequence: ++sequence }),
    /** Time enough for a listing. */
    changes: () => {
      nowMs += 40_000
      return mempool.changes(TIP)
    },
    /** A round without a listing. */
    round: () => mempool.changes(TIP),
  }
}

test('an output is called unspent while its funding transaction is in the mempool, and that one is told of when it leaves', async () => {
  const node = setUp()
  await node.changes()
  const funding = transaction()
  node.enter(funding) // after the listing: nobody has heard of it
  const outpoint = { txid: funding.txid, vout: 0 }
  const { found } = await node.mempool.look([outpoint])
  assert.deepEqual(found, [{ kind: 'unspent', fundedBy: funding.txid }])
  node.leave(funding) // before the next one
  assert.deepEqual((await node.changes()).removed, [funding.txid])
  assert.deepEqual((await node.mempool.look([outpoint])).found, [{ kind: 'absent' }])
})

test('a funding or spending transaction that leaves while bitcoind answers is not told of as being there', async () => {
  for (const call of ['outputs', 'spenders'] as const) {
    const node = setUp()
    await node.changes()
    const tx = transaction()
    node.enter(tx)
    const outpoint = call === 'outputs' ? { txid: tx.txid, vout: 0 } : tx.spent
    node.before[call] = () => {
      node.leave(tx) // the answer "it is there" is on its way
      node.before[call] = undefined
    }
    assert.deepEqual((await node.mempool.look([outpoint])).found, [{ kind: 'absent' }], call)
  }
})

test('a spender that leaves during the last question of a look is asked about anew', async () => {
  const node = setUp()
  const spender = transaction()
  node.enter(spender)
  assert.equal((await node.changes()).added.length, 1)
  let bests = 0
  node.before.bestBlockHash = async () => {
    if (++bests !== 2) return // the last question of the look
    node.leave(spender)
    node.say('removed', spender)
    assert.deepEqual((await node.round()).removed, [spender.txid])
  }
  assert.deepEqual((await node.mempool.look([spender.spent])).found, [{ kind: 'absent' }])
})

test('whoever a look has named is told of when it leaves, though it never was in a round of changes', async () => {
  const node = setUp()
  await node.changes()
  const spender = transaction()
  node.enter(spender)
  assert.equal((await node.mempool.look([spender.spent])).found[0]!.kind, 'mempool')
  node.leave(spender)
  const rounds = [await node.changes(), await node.changes()]
  assert.deepEqual(
    rounds.flatMap(({ removed }) => removed),
    [spender.txid],
  )
})

test('whoever a look has named and no listing has is told of all the same', async () => {
  const node = setUp()
  await node.changes()
  const spender = transaction()
  node.enter(spender)
  assert.equal((await node.mempool.look([spender.spent])).found[0]!.kind, 'mempool')
  node.leave(spender)
  node.mempool.onGap() // the next round lists before it fetches
  assert.deepEqual((await node.round()).removed, [spender.txid])
})

test('a transaction that has left since it was fetched is not told of as having come', async () => {
  const node = setUp()
  await node.changes()
  const tx = transaction()
  node.enter(tx)
  node.say('added', tx)
  node.before.bestBlockHash = () => {
    node.leave(tx)
    node.say('removed', tx)
    node.before.bestBlockHash = undefined
  }
  const another = transaction()
  node.enter(another)
  node.say('added', another)
  node.leave(another)
  node.say('removed', another)
  const { added } = await node.round()
  // Whatever the order in which it came and went: at the end of all rounds nobody may believe that it is there.
  const later = await node.changes()
  const told = new Set(added.map(({ txid }) => txid))
  for (const txid of later.removed) told.delete(txid)
  assert.deepEqual([...told], [])
})

test('an output that no transaction can have is absent without a question', async () => {
  const node = setUp()
  await node.changes()
  const funding = transaction()
  node.enter(funding)
  const vouts = [0, 111_111, 2 ** 31, 2 ** 32 - 1]
  const { found } = await node.mempool.look(vouts.map((vout) => ({ txid: funding.txid, vout })))
  assert.deepEqual(
    found.map(({ kind }) => kind),
    ['unspent', 'absent', 'absent', 'absent'],
  )
  assert.ok(node.asked.every(({ vout }) => vout < 111_111))
})

test('a mempool that is too large is refused with a word, asked for seldom, and followed again when it is smaller', async () => {
  const node = setUp({ max: 3 })
  const [first, ...others] = [1, 2, 3, 4].map(transaction)
  node.enter(first!)
  for (const tx of others.slice(0, 2)) node.enter(tx)
  assert.equal((await node.changes()).added.length, 3)
  assert.equal((await node.changes()).size, 3, 'as many as may be, twice')
  node.enter(others[2]!)
  const words = { name: 'TransientError', message: /mempool has 4 transactions, 3 can be followed/ }
  await assert.rejects(node.changes(), words)
  let listings = 0
  node.before.bestBlockHash = () => listings++
  await assert.rejects(node.round(), words)
  assert.equal(listings, 0, 'not asked again at once')
  node.leave(first!)
  const { added, removed, settledAt } = await node.changes()
  assert.deepEqual([added.map(({ txid }) => txid), removed, settledAt], [[others[2]!.txid], [first!.txid], TIP])
})

test('what the publisher tells makes nothing grow beyond the limit', async () => {
  const node = setUp({ max: 3 })
  await node.changes()
  for (const tx of [1, 2, 3, 4, 5].map(transaction)) {
    node.enter(tx)
    node.say('added', tx)
  }
  await assert.rejects(node.round(), { message: /mempool has 5 transactions/ })
})

test('a batch whose reply is too long is asked for in smaller ones until all is told', async () => {
  const node = setUp({ batchMax: 30 })
  const all = Array.from({ length: 250 }, transaction)
  for (const tx of all) node.enter(tx)
  const told = new Set<Txid>()
  let refusals = 0
  for (let round = 0; told.size < all.length; round++) {
    assert.ok(round < 50, `${told.size} told`)
    try {
      for (const { txid } of (await node.changes()).added) told.add(txid)
    } catch (error) {
      assert.ok(error instanceof TransientError)
      refusals++
    }
  }
  assert.ok(refusals > 0)
})

/** All that is told until nothing is left, round by round. */
async function untilComplete(node: ReturnType<typeof setUp>) {
  const rounds = [await node.round()]
  while (!rounds.at(-1)!.isComplete) {
    assert.ok(rounds.length < 50)
    rounds.push(await node.round())
  }
  return rounds
}

test('thousands that come and go at once are told in pieces, and settled with the last of them', async () => {
  const node = setUp()
  const all = Array.from({ length: 2_500 }, transaction)
  const txids = all.map(({ txid }) => txid).sort()
  for (const tx of all) node.enter(tx)
  const came = await untilComplete(node)
  assert.deepEqual(came.flatMap(({ added }) => added.map(({ txid }) => txid)).sort(), txids)
  assert.ok(came.every(({ added }) => added.every(({ raw }) => raw === undefined)))
  for (const tx of all) node.leave(tx)
  node.mempool.onGap()
  const went = await untilComplete(node)
  assert.deepEqual(went.flatMap(({ removed }) => removed).sort(), txids)
  for (const rounds of [came, went]) {
    assert.ok(rounds.length >= 3, `${rounds.length} rounds`)
    for (const { added, removed, isComplete, settledAt } of rounds) {
      assert.ok(added.length + removed.length <= 1_100)
      assert.equal(settledAt, isComplete ? TIP : undefined)
    }
  }
  assert.equal(went.at(-1)!.size, 0)
})

test('whoever is replaced leaves with the last of those who have come, or after them', async () => {
  const node = setUp()
  const replaced = transaction()
  node.enter(replaced)
  await node.changes()
  node.leave(replaced)
  for (let i = 0; i < 1_500; i++) node.enter(transaction())
  node.mempool.onGap()
  const rounds = await untilComplete(node)
  assert.ok(rounds.length > 1)
  for (const { removed, isComplete } of rounds) assert.deepEqual(removed, isComplete ? [replaced.txid] : [])
})

test('a listing that fails half way changes nothing; what is published meanwhile counts all the same', async () => {
  const node = setUp()
  const [stays, leaves, comes, late] = [1, 2, 3, 4].map(transaction)
  node.enter(stays!)
  node.enter(leaves!)
  await node.changes()
  node.enter(comes!)
  node.leave(leaves!)
  node.before.listMempool = () => {
    throw new TransientError('its answer broke off')
  }
  await assert.rejects(node.changes(), /broke off/)
  // Before the listing is answered one more comes, and is published.
  node.before.listMempool = () => {
    node.before.listMempool = undefined
    node.enter(late!)
    node.say('added', late!)
  }
  const { added, removed } = await node.changes()
  assert.deepEqual(added.map(({ txid }) => txid).sort(), [comes!.txid, late!.txid].sort())
  assert.deepEqual(removed, [leaves!.txid])
})

test('who comes is told without a question; who leaves only when it is asked at which block the index is', async () => {
  const node = setUp()
  await node.changes()
  const [comes, leaves] = [transaction(), transaction()]
  for (const tx of [comes, leaves]) {
    node.enter(tx)
    node.say('added', tx)
    const told = await node.mempool.next(1_000)
    assert.deepEqual(
      told?.added.map(({ txid, raw }) => [txid, Buffer.from(raw!)]),
      [[tx.txid, tx.raw]],
    )
    assert.deepEqual([told!.removed, told!.isComplete, told!.settledAt], [[], true, TIP])
  }
  node.leave(leaves)
  node.say('removed', leaves)
  assert.equal(await node.mempool.next(1_000), undefined)
  assert.deepEqual((await node.round()).removed, [leaves.txid])
  // One has come and one has left: both are told at once.
  const [gone, other] = [transaction(), transaction()]
  node.enter(gone)
  node.say('added', gone)
  await node.round()
  node.leave(gone)
  node.say('removed', gone)
  node.enter(other)
  node.say('added', other)
  assert.equal(await node.mempool.next(1_000), undefined)
  const both = await node.round()
  assert.deepEqual([both.added[0]!.txid, both.removed], [other.txid, [gone.txid]])
  // It leaves while another one is fetched: what has come is told, and that there is more.
  const another = transaction()
  node.enter(another)
  node.say('added', another)
  node.before.rawTransactions = () => {
    node.leave(comes)
    node.say('removed', comes)
  }
  const told = await node.mempool.next(1_000)
  assert.deepEqual([told!.added[0]!.txid, told!.removed, told!.isComplete], [another.txid, [], false])
  assert.deepEqual((await node.round()).removed, [comes.txid])
})

test('listed some times a second without a publisher, every second with one that is silent, every ten with one that is not', async () => {
  const node = setUp()
  const listingsIn = async (ms: number, everyMs: number, meanwhile = () => {}) => {
    const before = node.listings()
    for (let passed = 0; passed < ms; passed += everyMs) {
      node.pass(everyMs)
      meanwhile()
      await node.round()
      await node.round() // one that lists when the first had something to fetch
    }
    return node.listings() - before
  }
  await node.changes()
  assert.equal(await listingsIn(3_000, 10), 20)
  const told = () => {
    const tx = transaction()
    node.enter(tx)
    node.say('added', tx)
  }
  told()
  await node.round()
  assert.equal(await listingsIn(10_000, 10), 10)
  await node.changes()
  assert.equal(await listingsIn(20_000, 500, told), 2)
  // It has said nothing of one that has come: it is polled, as if there were none.
  node.enter(transaction())
  await node.changes()
  assert.equal(await listingsIn(3_000, 10), 20)
})

test('a mempool that takes long to list is left alone for four times as long', async () => {
  const node = setUp()
  node.enter(transaction())
  node.before.listMempool = () => node.pass(200)
  await node.changes()
  const before = node.listings()
  for (let i = 0; i < 79; i++) {
    node.pass(10)
    await node.round()
  }
  assert.equal(node.listings(), before)
  node.pass(10)
  await node.round()
  assert.equal(node.listings(), before + 1)
})
