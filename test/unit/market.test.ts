/**
 * The market kept up block by block is the one read anew, whatever comes and is taken back; and what others make (refused
 * announcements, spends of registered outpoints) costs a block and a page nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import type { AnnouncedOutput, Refusal, Tip } from '../../src/bonds/types.ts'
import { asBlockHash, asSats, asTxid, formatOutpoint, type Outpoint, type Txid } from '../../src/chain/types.ts'
import type { Config } from '../../src/config.ts'
import { forgetSurplus } from '../../src/forgetting.ts'
import { Indexer } from '../../src/indexer.ts'
import { CurrentMarket, MARKET_LIMITS, type Market } from '../../src/market.ts'
import type { Liveness } from '../../src/peers/liveness.ts'
import {
  deleteBondsAt,
  insertBond,
  insertPendingBond,
  readBondsOf,
  readPendingBondsOf,
  readUnreadBonds,
  type UnreadBond,
  updateTxRefusals,
} from '../../src/store/local/bonds.ts'
import {
  readSpends,
  type SpendingTx,
  unconfirmSpendersAt,
  upsertConfirmedSpends,
  upsertMempoolSpends,
} from '../../src/store/local/spends.ts'
import { deleteBlock, insertBlock, readBlockHash, readTip } from '../../src/store/local/tip.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { SpendRecorder } from '../../src/watch/recorder.ts'
import { BondPages } from '../../src/wire/bond-pages.ts'
import { parseReply, type Reply } from '../../src/wire/messages.ts'
import { systemClock } from '../../src/world.ts'
import { tempDir } from '../support/temp-dir.ts'

const START = 1_000

function setUp() {
  const dir = tempDir()
  const { db, identity } = openStore(dir.path, 'regtest')
  const chain = { tip: () => readTip(db), revision: 0, pendingRevision: 0 }
  let made = 0
  const txid = () => {
    const n = (made++).toString(16).padStart(8, '0')
    return asTxid(`${n}${'00'.repeat(24)}${[...n].reverse().join('')}`)
  }
  const announced = (lockHeight: number, host = `${made % 7}`): AnnouncedOutput => ({
    outpoint: { txid: txid(), vout: 0 },
    address: `${host.padStart(56, 'a')}.onion:${21 + (made % 3)}`,
    format: 'D',
    amountSats: asSats(20_000 + made),
    isP2wsh: true,
    txRefusals: [],
    lockHeight,
  })
  const connect = (work: (height: number) => void = () => {}) => {
    const height = (readTip(db)?.height ?? START - 1) + 1
    const id = (made++).toString(16)
    db.transaction(() => {
      const hash = asBlockHash(id.padStart(64, '0'))
      insertBlock(db, { height, hash, prevHash: hash, timeS: 1_700_000_000 + 600 * height })
      work(height)
    })
    chain.revision++
  }
  return {
    db,
    identity,
    chain,
    market: new CurrentMarket(db, chain),
    txid,
    announced,
    connect,
    disconnect() {
      const { height } = readTip(db)!
      if (height === START) return
      db.transaction(() => {
        unconfirmSpendersAt(db, height)
        deleteBondsAt(db, height)
        deleteBlock(db, height)
      })
      chain.revision++
    },
    [Symbol.dispose]() {
      db[Symbol.dispose]()
      dir[Symbol.dispose]()
    },
  }
}
type Setup = ReturnType<typeof setUp>

function spending(txid: Txid, outpoint: Outpoint): SpendingTx {
  return { txid, rawTx: Buffer.of(1), spends: [{ outpoint, vin: 0 }] }
}

/** Everything that is told of a market, in short. */
function told({ tip, known, live, list, makers, counts, pending }: Market) {
  return {
    tip,
    known: known.map(({ key, bond, state, value }) => [
      key,
      state,
      value,
      'spentBy' in bond ? bond.spentBy : undefined,
    ]),
    live: live.map(({ key, value }) => [key, value]),
    digest: list.digest.toString('hex'),
    addresses: list.addresses,
    makers: [...makers].map(([address, { bonds }]) => [
      address,
      bonds.map(({ bond }) => formatOutpoint(bond.outpoint)),
    ]),
    counts,
    pending: pending.length,
  }
}

test('kept up through blocks, spends, ends and reorgs it is the market that is read anew', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('block' as const), bonds: fc.nat(3), spends: fc.nat(3) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('reorg' as const), blocks: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('pending' as const) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), fc.array(fc.boolean()), (steps, asks) => {
      using setup = setUp()
      const { db, chain, market, announced, connect } = setup
      const outpoints: Outpoint[] = []
      connect()
      for (const [i, one] of steps.entries()) {
        if (one.kind === 'reorg') for (let n = 0; n < one.blocks; n++) setup.disconnect()
        else if (one.kind === 'pending') {
          insertPendingBond(db, announced(2_000))
          chain.pendingRevision++
        } else {
          connect((height) => {
            for (let n = 0; n < one.bonds; n++) {
              const bond = announced(height + 1 + ((i + n) % 9))
              insertBond(db, n === 2 ? { ...bond, refusal: 'too-small' } : bond, height)
              outpoints.push(bond.outpoint)
            }
            for (let n = 0; n < one.spends && outpoints.length > 0; n++) {
              const outpoint = outpoints[(7 * i + n) % outpoints.length]!
              if (readSpends(db, outpoint)[0]?.state.kind === 'confirmed') continue
              upsertConfirmedSpends(db, spending(setup.txid(), outpoint), height, 1)
            }
          })
        }
        if (asks[i] === false) continue
        const anew = new CurrentMarket(db, chain)
        assert.deepEqual(told(market.read()!), told(anew.read()!))
        const { known } = market.read()!
        assert.ok(
          known.every(({ bond }, at) => at === 0 || compareOutpoints(known[at - 1]!.bond.outpoint, bond.outpoint) < 0),
        )
      }
    }),
    { numRuns: 60 },
  )
})

/** Runs `work`, and returns the rows that statements gave and the texts of those that read something. */
function watched(db: Db, work: () => void): { rows: number; statements: Set<string> } {
  const statements = new Set<string>()
  let rows = 0
  const { all } = Object.getPrototypeOf(db) as Db
  const spied = all.bind(db)
  db.all = ((query: Parameters<Db['all']>[0]) => {
    const found = spied(query)
    rows += found.length
    statements.add(query.compile().sql)
    return found
  }) as Db['all']
  try {
    work()
  } finally {
    db.all = all
  }
  return { rows, statements }
}

/** A market of `live` bonds that others have spammed: with refused announcements, and with spends of registered outpoints. */
function spammed(setup: Setup, { live, refused, spends }: Record<'live' | 'refused' | 'spends', number>) {
  const { db, announced, connect } = setup
  connect((height) => {
    for (let n = 0; n < live; n++) insertBond(db, announced(20_000), height)
    for (let n = 0; n < refused; n++) insertBond(db, { ...announced(20_000), refusal: 'too-small' as Refusal }, height)
    for (let n = 0; n < spends; n++) {
      const outpoint = { txid: setup.txid(), vout: 0 }
      upsertConfirmedSpends(db, spending(setup.txid(), outpoint), height, 1)
    }
  })
}

test('10,000 refused, 10,000 spends of others: a block reads what it brings, and nothing when it brings nothing', () => {
  using setup = setUp()
  const { db, market, announced, connect } = setup
  spammed(setup, { live: 500, refused: 10_000, spends: 10_000 })
  assert.equal(market.atTip()!.counts.refused, 10_000)
  connect()
  assert.equal(watched(db, () => market.atTip()).rows, 0)
  const { outpoint } = market.atTip()!.list.live[3]!.bond
  connect((height) => {
    for (let n = 0; n < 3; n++) insertBond(db, announced(20_000), height)
    upsertConfirmedSpends(db, spending(setup.txid(), outpoint), height, 1)
  })
  assert.equal(watched(db, () => market.atTip()).rows, 4)
  assert.deepEqual([market.atTip()!.counts.live, market.atTip()!.counts.spent], [502, 1])
  // What is written that concerns no bond costs no list anything.
  upsertMempoolSpends(db, spending(setup.txid(), { txid: setup.txid(), vout: 0 }), 1)
  assert.equal(watched(db, () => market.read()).rows, 0)
  assert.equal(market.read(), market.read())
})

test('no statement about bonds goes through all spends, all spenders or all announcements of a host', () => {
  using setup = setUp()
  const { db, market, connect } = setup
  spammed(setup, { live: 50, refused: 200, spends: 500 })
  const first = watched(db, () => market.atTip())
  connect()
  const next = watched(db, () => {
    market.atTip()
    readBondsOf(db, { address: 'a.onion:21' })
    readBondsOf(db, { host: 'a.onion' })
    readPendingBondsOf(db, { address: 'a.onion:21' })
    readPendingBondsOf(db, { host: 'a.onion' })
  })
  const raw = new Database(db.path, { readonly: true })
  try {
    const plansOf = (statements: Iterable<string>) =>
      [...statements].flatMap((text) => {
        const parameters = Array((text.match(/\?/g) ?? []).length).fill(1)
        return (raw.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...parameters) as { detail: string }[]).map(
          ({ detail }) => detail,
        )
      })
    const isScan = (step: string) => /^SCAN |AUTOMATIC|TEMP B-TREE/.test(step)
    assert.ok(first.statements.size >= 2 && next.statements.size >= 6)
    assert.deepEqual(
      plansOf(first.statements).filter((step) => isScan(step) && !/^SCAN b\b/.test(step)),
      [],
    )
    assert.deepEqual(plansOf(next.statements).filter(isScan), [])
  } finally {
    raw.close()
  }
})

test('a page costs its own rows, in pieces, however many bonds are known; the same one is made once a second', async () => {
  using setup = setUp()
  const { db, market } = setup
  spammed(setup, { live: 500, refused: 5_000, spends: 0 })
  let rowsMade = 0
  let pieces = 0
  let nowMs = 0
  const liveness = {
    isProven: () => false,
    lifeOf() {
      rowsMade++
      return { reach: 'unknown', day: { answered: 0, observed: 0 }, month: { answered: 0, observed: 0 } }
    },
  } as unknown as Liveness
  const clock = { ...systemClock, monotonicMs: () => nowMs }
  const config = { network: 'regtest' } as Config
  const pages = new BondPages({ market, liveness, config, clock, unseen: () => undefined })
  const lane = {
    async piece<T>(work: () => T): Promise<T> {
      pieces++
      const before = rowsMade
      const result = work()
      assert.ok(rowsMade - before <= 50)
      return result
    },
  }
  const ask = async (request: Parameters<BondPages['page']>[0]) =>
    parseReply(await pages.page(request, lane)) as Extract<Reply, { type: 'Bonds' }>
  market.read()
  const seen: Outpoint[] = []
  const read = watched(db, () => {})
  let page = await ask({ all: true, limit: 1_000 })
  assert.deepEqual([page.total, rowsMade, pieces, read.rows], [5_500, 1_000, 20, 0])
  await ask({ all: true, limit: 1_000 })
  assert.equal(rowsMade, 1_000)
  nowMs += 2_000
  for (; ; page = await ask({ all: true, limit: 1_000, after: page.next })) {
    seen.push(...page.bonds.map(({ outpoint }) => outpoint))
    if (!page.next) break
  }
  assert.equal(seen.length, 5_500)
  assert.ok(seen.every((outpoint, i) => i === 0 || compareOutpoints(seen[i - 1]!, outpoint) < 0))
  assert.equal((await ask({ limit: 1 })).total, 500)
  const { live } = market.read()!
  const value = live[7]!.value
  const worthMore = live.filter((bond) => bond.value >= value).length
  assert.equal((await ask({ limit: 1, minValue: value })).total, worthMore)
  assert.equal((await ask({ limit: 1, minValue: value, all: true })).total, worthMore)
})

test('what is learnt of bonds between blocks shows at once, and changes nothing else', () => {
  using setup = setUp()
  const { db, chain, market, announced, connect } = setup
  const unread = (lockHeight: number) => {
    const { txRefusals: _, ...bond } = announced(lockHeight)
    return bond
  }
  const bonds = [unread(20_000), unread(START + 1), unread(20_001), announced(20_002)]
  connect((height) => {
    for (const bond of bonds) insertBond(db, bond, height)
  })
  connect()
  const before = market.atTip()!
  const readings = new Map([
    [formatOutpoint(bonds[0]!.outpoint), []],
    [formatOutpoint(bonds[1]!.outpoint), ['outputs' as const]],
  ])
  for (const bond of bonds.slice(0, 2)) {
    updateTxRefusals(db, bond.outpoint, readings.get(formatOutpoint(bond.outpoint))!)
  }
  chain.revision++
  market.reread(readings)
  const after = market.atTip()!
  const said = (now: Market) =>
    bonds.map(({ outpoint }) => now.known.find(({ key }) => key === formatOutpoint(outpoint))!.bond.txRefusals)
  assert.deepEqual(said(before), [undefined, undefined, undefined, []])
  assert.deepEqual(said(after), [[], ['outputs'], undefined, []])
  assert.deepEqual(told(after), told(new CurrentMarket(db, chain).atTip()!))
  assert.deepEqual([after.list.digest, after.list.addresses], [before.list.digest, before.list.addresses])
  connect()
  assert.deepEqual(said(market.atTip()!), said(after), 'and stays')
})

test('unread bonds are found the youngest first, each once, however many are asked for at once', () => {
  using setup = setUp()
  const { db, announced, connect } = setup
  const unread: string[] = []
  for (let block = 0; block < 5; block++) {
    connect((height) => {
      for (let n = 0; n < 7; n++) {
        const { txRefusals: _, ...bond } = announced(20_000)
        const isRead = n % 3 === 0
        insertBond(db, isRead ? { ...bond, txRefusals: ['push'] } : bond, height)
        if (!isRead) unread.push(formatOutpoint(bond.outpoint))
      }
    })
  }
  for (const limit of [1, 2, 3, 20, 100]) {
    const found: UnreadBond[] = []
    for (let some = readUnreadBonds(db, limit); some.length > 0; some = readUnreadBonds(db, limit, found.at(-1))) {
      assert.ok(some.length <= limit)
      found.push(...some)
    }
    assert.deepEqual(found.map(({ outpoint }) => formatOutpoint(outpoint)).sort(), unread.toSorted())
    assert.ok(found.every(({ conf }, i) => i === 0 || conf.height <= found[i - 1]!.conf.height))
    assert.ok(found.every(({ conf }) => readBlockHash(db, conf.height) === conf.hash))
  }
})

test('beyond the bound the oldest refused and the longest ended are forgotten, never what is live or ended lately', async () => {
  using setup = setUp()
  const { db, identity, announced, connect } = setup
  const { refusedKept, endedKept, endedBlocks } = MARKET_LIMITS
  const old = announced(20_000)
  const endedLong: Outpoint[] = []
  connect((height) => {
    insertBond(db, { ...old, refusal: 'too-small' }, height)
    for (let n = 0; n < 30; n++) {
      const bond = announced(START + 1)
      insertBond(db, bond, height)
      endedLong.push(bond.outpoint)
    }
  })
  connect((height) => {
    for (let n = 0; n < refusedKept; n++) insertBond(db, { ...announced(20_000), refusal: 'too-small' }, height)
    for (let n = 0; n < endedKept - 20; n++) insertBond(db, announced(height + endedBlocks), height)
    for (let n = 0; n < 10; n++) insertBond(db, announced(20_000), height)
  })
  for (let n = 0; n < endedBlocks; n++) connect()
  const options = { network: 'regtest' as const, allowTestAddresses: false, retentionBlocks: 100 }
  const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
  const indexer = new Indexer(db, recorder, options)
  const market = new CurrentMarket(db, indexer)
  const before = market.atTip()!
  assert.deepEqual(
    [before.counts.refused, before.counts.expired, before.counts.live],
    [refusedKept, endedKept + 10, 10], // no more of the refused are read
  )
  assert.equal(await forgetSurplus({ db, market, indexer }), 11)
  const after = market.atTip()!
  assert.deepEqual([after.counts.refused, after.counts.expired], [refusedKept, endedKept])
  assert.ok(after.known.every(({ key }) => key !== formatOutpoint(old.outpoint)))
  assert.equal(endedLong.filter((outpoint) => recorder.track(outpoint, 'asked')).length, 20)
  assert.deepEqual([after.list.digest, after.list.addresses], [before.list.digest, before.list.addresses])
  assert.equal(await forgetSurplus({ db, market, indexer }), 0)
  assert.deepEqual(told(after), told(new CurrentMarket(db, indexer).atTip()!))
  const tip: Tip = after.tip
  assert.equal(tip.height, START + 1 + endedBlocks)
})
