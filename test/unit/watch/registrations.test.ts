/**
 * Places: who gets one, for how long, what it costs, and that none is lost. Indexer, watcher and bitcoind are stand-ins
 * whose state the test sets; recorder and database are the real ones.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import type { NodeApi } from '../../../src/chain/node-reader.ts'
import { asBlockHash, asTxid, formatOutpoint, type Outpoint } from '../../../src/chain/types.ts'
import { PeerFault, TransientError } from '../../../src/errors.ts'
import type { Indexer, IndexListener } from '../../../src/indexer.ts'
import { upsertMempoolSpends } from '../../../src/store/local/spends.ts'
import { insertBlock } from '../../../src/store/local/tip.ts'
import { openStore } from '../../../src/store/open.ts'
import { readRegistrationEnds } from '../../../src/store/shared/registrations.ts'
import { EffortSearch, effortAskedBy } from '../../../src/watch/effort.ts'
import { SpendRecorder } from '../../../src/watch/recorder.ts'
import { ENDS_LIMITS } from '../../../src/watch/registration-ends.ts'
import { REGISTRATION_LIMITS, Registrations } from '../../../src/watch/registrations.ts'
import { Subscription } from '../../../src/watch/subscription.ts'
import type { Watcher } from '../../../src/watch/watcher.ts'
import { Work } from '../../../src/wire/work.ts'
import { systemClock } from '../../../src/world.ts'
import { waitUntil } from '../../sandbox/wait.ts'
import { alone } from '../../support/alone.ts'
import { tempDir } from '../../support/temp-dir.ts'

const hash = (height: number) => asBlockHash(height.toString(16).padStart(64, '0'))
const outpoint = (n: number): Outpoint => ({ txid: asTxid(n.toString(16).padStart(64, 'a')), vout: n % 3 })
const outpoints = (from: number, count: number) => Array.from({ length: count }, (_, i) => outpoint(from + i))
const lane = new Work({ unitsPerS: 1, unitsBurst: 1 }, systemClock).lane(new AbortController().signal)
const client = () => new Subscription(() => {})

/** A tracker at block 100. */
function setUp({ watchesMax = 100, perConnection = 1_000 } = {}) {
  const dir = tempDir()
  const { db, identity } = openStore(dir.path, 'regtest')
  const made = new Set<string>()
  const listeners: IndexListener[] = []
  const stopping = new AbortController()
  const state = { height: 99, isSettled: true, looks: 0, isReachable: true, largestLook: 0 }
  const world = { clock: systemClock, random: Math.random, log: pino({ level: 'silent' }) }
  const api = {
    async look(asked: readonly Outpoint[]) {
      if (!state.isReachable) throw new TransientError('gone')
      state.looks++
      state.largestLook = Math.max(state.largestLook, asked.length)
      const found = asked.map((one) => ({ kind: made.has(formatOutpoint(one)) ? 'unspent' : 'absent' }))
      return { at: hash(state.height), found }
    },
  } as unknown as NodeApi
  const indexer = {
    listen: (listener: IndexListener) => listeners.push(listener),
    tip: () => ({ height: state.height, hash: hash(state.height), timeS: 0 }),
    get isSettled() {
      return state.isSettled
    },
  } as unknown as Indexer
  const watcher = {
    assertFew() {},
    async whenKnown(_: readonly Outpoint[], __: unknown, build: (isMade: (one: Outpoint) => boolean) => unknown) {
      await Promise.resolve()
      return build((one) => made.has(formatOutpoint(one)))
    },
  } as unknown as Watcher
  const start = () => {
    listeners.length = 0
    const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
    const limits = { watchesMax, registrationsPerConnection: perConnection }
    const registrations = new Registrations({ ...world, db, indexer, recorder, watcher, api, limits, ...alone(db) })
    return { recorder, registrations }
  }
  const setup = {
    db,
    made,
    state,
    start,
    ...start(),
    mine(blocks = 1) {
      for (; blocks > 0; blocks--) {
        state.height++
        insertBlock(db, { height: state.height, hash: hash(state.height), prevHash: hash(state.height - 1), timeS: 0 })
      }
      for (const listener of listeners) listener.onBlock(state.height)
    },
    /** A transaction with these outputs comes. */
    fund(...outputs: Outpoint[]) {
      for (const one of outputs) made.add(formatOutpoint(one))
      for (const listener of listeners) listener.onTransactions(outputs.map(({ txid }) => txid))
    },
    run(registrations: Registrations) {
      registrations.run(stopping.signal).catch(() => {})
    },
    [Symbol.dispose]() {
      stopping.abort()
      db[Symbol.dispose]()
      dir[Symbol.dispose]()
    },
  }
  setup.mine()
  return setup
}

/** The message of the refusal. */
async function refusal(asked: Promise<unknown>): Promise<string> {
  let message: string | undefined
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof PeerFault)
    assert.equal(error.code, 'limit')
    message = error.message
    return true
  })
  return message!
}

function effortFor(message: string, asked: readonly Outpoint[]): Buffer {
  const { bits, blockHash } = effortAskedBy(message)!
  return new EffortSearch({ blockHash, outpoints: asked }, bits).next(2 ** (bits + 6))!
}

test('half of the places are free; then a request without effort is told how much, and one with it gets its places', async () => {
  using setup = setUp()
  const { registrations } = setup
  await registrations.register({ outpoints: outpoints(0, 50), ttlBlocks: 100 }, client(), lane)
  assert.deepEqual([registrations.count, registrations.effortBits], [50, 13])
  const asked = outpoints(50, 2)
  const message = await refusal(registrations.register({ outpoints: asked, ttlBlocks: 100 }, client(), lane))
  assert.match(message, new RegExp(`effort of 14 bits over the block ${hash(100)}: it had none, and 50 of 100`))
  assert.equal(registrations.count, 50, 'what is refused changes nothing')
  assert.equal(registrations.refused.effort, 1)

  const effort = effortFor(message, asked)
  assert.match(
    await refusal(registrations.register({ outpoints: outpoints(60, 2), ttlBlocks: 100, effort }, client(), lane)),
    /it had \d+, and/,
    'it is good for these outpoints alone',
  )
  setup.mine(5) // blocks that come meanwhile void nothing
  await registrations.register({ outpoints: asked, ttlBlocks: 100, effort }, client(), lane)
  assert.equal(registrations.count, 52)
  setup.mine(1)
  assert.match(
    await refusal(registrations.register({ outpoints: asked, ttlBlocks: 120, effort }, client(), lane)),
    new RegExp(`over the block ${hash(106)}`),
    'after six blocks it is void',
  )
})

test('many requests at once get no more for nothing than one after the other', async () => {
  using setup = setUp()
  const { registrations } = setup
  const asked = Array.from({ length: 10 }, (_, i) =>
    registrations.register({ outpoints: outpoints(10 * i, 10), ttlBlocks: 100 }, client(), lane),
  )
  const settled = await Promise.allSettled(asked)
  assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 5)
  assert.equal(registrations.count, 50)
})

test('what is registered for as long is free and writes nothing; what is prolonged is like a fresh one', async () => {
  using setup = setUp()
  const { registrations, db } = setup
  const own = outpoints(0, 50)
  setup.fund(...own)
  await registrations.register({ outpoints: own, ttlBlocks: 100 }, client(), lane)
  const { writes } = db
  for (const ttlBlocks of [100, 50, 1]) {
    const reply = await registrations.register({ outpoints: own, ttlBlocks }, client(), lane)
    assert.deepEqual(reply, { count: 50, untilHeight: 200 })
  }
  assert.equal(db.writes, writes)
  await refusal(registrations.register({ outpoints: own, ttlBlocks: 101 }, client(), lane))
})

test('one reply for all: the lowest end that is stored; those that no transaction has made are counted', async () => {
  using setup = setUp()
  const { registrations } = setup
  const [a, b, c] = outpoints(0, 3) as [Outpoint, Outpoint, Outpoint]
  setup.fund(a, b)
  const ask = (outpoints: Outpoint[], ttlBlocks: number) =>
    registrations.register({ outpoints, ttlBlocks }, client(), lane)
  assert.deepEqual(await ask([a, b, a], 1_000), { count: 2, untilHeight: 1_100 })
  assert.equal((await ask([b], 3_000)).untilHeight, 3_100)
  assert.equal((await ask([b], 100)).untilHeight, 3_100)
  assert.equal((await ask([a, b], 100)).untilHeight, 1_100)
  assert.deepEqual(await ask([b, c], 1_000), { count: 2, untilHeight: 1_100, unfunded: 1, unfundedUntil: 244 })
  assert.deepEqual(await ask([c], 10), { count: 1, untilHeight: 1_100, unfunded: 1, unfundedUntil: 244 })
  setup.fund(c)
  assert.deepEqual(await ask([c], 10), { count: 1, untilHeight: 1_100 })
  assert.deepEqual(await ask([], 10), { count: 0, untilHeight: 110 })
})

test('made-up outpoints fall out after a day, funded ones stay to their end, each looked for before it goes', async () => {
  using setup = setUp()
  const { registrations, recorder, db, state } = setup
  const [funded, silent, spent, madeUp] = outpoints(0, 4) as [Outpoint, Outpoint, Outpoint, Outpoint]
  await registrations.register({ outpoints: [funded, silent, spent, madeUp], ttlBlocks: 1_000 }, client(), lane)
  setup.run(registrations)
  assert.equal(readRegistrationEnds(db, 144).unfunded, 4)
  setup.fund(funded)
  await waitUntil('its funding is seen', () => readRegistrationEnds(db, 144).unfunded === 3)
  setup.made.add(formatOutpoint(silent)) // of which nobody has told
  const spends = [{ outpoint: spent, vin: 0 }]
  upsertMempoolSpends(db, { txid: asTxid('cc'.repeat(32)), rawTx: Buffer.of(0), spends }, 1)
  setup.mine(REGISTRATION_LIMITS.unfundedBlocks)
  const { looks } = state
  setup.mine(1)
  await waitUntil('one is dropped', () => registrations.count === 3)
  assert.ok(state.looks > looks)
  assert.equal(recorder.isRegistered(madeUp), false)
  assert.deepEqual(readRegistrationEnds(db, 144).unfunded, 0)
  setup.mine(1_000)
  await waitUntil('all have ended', () => registrations.count === 0)
})

test('nothing is dropped while bitcoind or the mempool is not known; nor what is registered again', async () => {
  using setup = setUp()
  const { registrations, state } = setup
  const [a, b] = outpoints(0, 2) as [Outpoint, Outpoint]
  await registrations.register({ outpoints: [a, b], ttlBlocks: 1_000 }, client(), lane)
  state.isReachable = false
  setup.run(registrations)
  setup.mine(145)
  state.isSettled = false
  state.isReachable = true
  setup.mine(1)
  await registrations.register({ outpoints: [b], ttlBlocks: 1_000 }, client(), lane)
  state.isSettled = true
  setup.mine(1)
  await waitUntil('one is dropped', () => registrations.count === 1)
  assert.equal((await registrations.register({ outpoints: [b], ttlBlocks: 1 }, client(), lane)).untilHeight, 1_246)
})

test('funded while the daemon was down: looked for at the start, in slices', async () => {
  using setup = setUp({ watchesMax: 10_000 })
  const own = outpoints(0, 600)
  await setup.registrations.register({ outpoints: own, ttlBlocks: 1_000 }, client(), lane)
  for (const one of own) setup.made.add(formatOutpoint(one))
  const { registrations } = setup.start()
  assert.equal(registrations.count, 600)
  setup.run(registrations)
  await waitUntil('all are seen', () => readRegistrationEnds(setup.db, 144).unfunded === 0)
  const { lookAtOnce } = ENDS_LIMITS
  assert.deepEqual([setup.state.largestLook, setup.state.looks], [lookAtOnce, 600 / lookAtOnce])
})

test('many that end with one block end in slices, with what is recorded of them', async () => {
  using setup = setUp({ watchesMax: 10_000 })
  const { registrations, recorder } = setup
  const own = outpoints(0, 1_000)
  setup.fund(...own)
  await registrations.register({ outpoints: own, ttlBlocks: 10 }, client(), lane)
  setup.run(registrations)
  setup.mine(10)
  assert.equal(registrations.count, 1_000)
  setup.mine(1)
  await waitUntil('all have ended', () => registrations.count === 0)
  assert.equal(
    own.some((one) => recorder.track(one, 'asked')),
    false,
  )
})

test('a connection has its share, and a full table says when the next place is free', async () => {
  using setup = setUp({ watchesMax: 10, perConnection: 4 })
  const { registrations } = setup
  const one = client()
  const ask = (outpoints: Outpoint[], who = client()) => registrations.register({ outpoints, ttlBlocks: 50 }, who, lane)
  await ask(outpoints(0, 4), one)
  assert.match(await refusal(ask(outpoints(4, 1), one)), /may register 4 outpoints: open another/)
  assert.match(
    await refusal(registrations.register({ outpoints: outpoints(10, 4), ttlBlocks: 50 }, client(), lane)),
    /effort of \d+ bits/,
  )
  using tight = setUp({ watchesMax: 3 })
  await tight.registrations.register({ outpoints: outpoints(0, 1), ttlBlocks: 50 }, client(), lane)
  const full = tight.registrations.register({ outpoints: outpoints(1, 3), ttlBlocks: 50 }, client(), lane)
  assert.match(await refusal(full), /room for 3 registered outpoints, and 1 of 3 .* ends after block 150/)
  assert.deepEqual(registrations.refused, { effort: 1, full: 0, connection: 1 })
})

test('v1: registers where it is free, says nothing where it is not, and writes once a day', async () => {
  using setup = setUp()
  const { registrations, db } = setup
  const own = outpoint(0)
  setup.fund(own)
  await registrations.registerIfFree(own, client(), lane)
  assert.equal(registrations.count, 1)
  const { writes } = db
  setup.mine(100)
  const mined = db.writes
  await registrations.registerIfFree(own, client(), lane)
  assert.equal(db.writes, mined)
  assert.ok(mined > writes)
  setup.mine(100)
  await registrations.registerIfFree(own, client(), lane)
  assert.equal((await registrations.register({ outpoints: [own], ttlBlocks: 1 }, client(), lane)).untilHeight, 2_316)
  await registrations.register({ outpoints: outpoints(1, 49), ttlBlocks: 50 }, client(), lane)
  await registrations.registerIfFree(outpoint(70), client(), lane)
  assert.equal(registrations.count, 50)
})
