/**
 * What takers of today accept, from real transactions to every place that tells it. Method: one bond for each deviation in
 * one block of a real chain; a second, independent set of rules (taker-rules.ts) judges what bitcoind says of each; rows,
 * HTTP, wire, text, why and verify must come to the same, also after a reorg and out of a database of an older version.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { checkDatabase } from '../../src/store/check.ts'
import { openStore } from '../../src/store/open.ts'
import type { BondRow } from '../../src/views/schemas/bonds.ts'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import type { BondFields } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { chainOf, judgeTransaction } from '../sandbox/nostr/taker-rules.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { copyDatabase } from '../support/damage.ts'
import { type Deviation, deviations, labelOf, signPlans } from '../support/deviations.ts'
import { consistent, startForgedTracker } from '../support/forged-tracker.ts'
import { freshRows } from '../support/fresh-index.ts'
import { ask } from '../support/http.ts'
import { NodeLine } from '../support/node-line.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'
import { WEATHERS } from '../support/weathers.ts'

/** Makers are not dialled: onion names, and no Tor. */
const FLAGS = ['--no-tor']

let node: Regtest
let tracker: Tracker
let planned: Record<string, Deviation>
/** By name. */
const made = new Map<string, { txid: string; hex: string }>()

before(async () => {
  node = await Regtest.start({ args: ['-txindex'] })
  // The coins are in the next block, the bonds in the one after it.
  planned = deviations((await node.height()) + 2)
  const signed = await signPlans(
    node,
    Object.values(planned).map(({ plan }) => plan),
  )
  for (const [i, name] of Object.keys(planned).entries()) made.set(name, signed[i]!)
  await node.mineWith(signed.map(({ hex }) => hex))
  await node.mine(3)
  tracker = await Tracker.start(node, { http: true, args: FLAGS })
  await tracker.caughtUp(node)
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function http(path: string) {
  const { status, json, text } = await ask(tracker.httpPort!, `/api/v1/${path}`)
  assert.equal(status, 200, text)
  return json
}

function verb(dataDir: string, ...args: string[]) {
  return runVerb([...args, '--network', 'regtest', '--datadir', dataDir, ...FLAGS])
}

async function printed(dataDir: string, ...args: string[]) {
  const { code, stdout, stderr } = await verb(dataDir, ...args, ...(args[0] === 'export' ? [] : ['--json']))
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

/** What is told of the deviation `name`. */
function of<T extends { outpoint: string }>(rows: readonly T[], name: string): T {
  const row = rows.find(({ outpoint }) => outpoint === `${made.get(name)!.txid}:0`)
  assert.ok(row, name)
  return row
}

async function assertJudged(rows: readonly BondRow[], tipHeight: number) {
  const chain = chainOf(node)
  for (const [name, { refusals, isLive }] of Object.entries(planned)) {
    const { transaction, confHeight } = (await chain.look(made.get(name)!.txid))!
    const oracle = judgeTransaction(transaction, confHeight, tipHeight, { lockRange: [1, 25_920] })
    const row = of(rows, name)
    assert.deepEqual([row.today, row.today_refusals], [refusals.length === 0, refusals], name)
    assert.equal(row.today, oracle.refusals.length === 0, `${name}: ${oracle.refusals}`)
    assert.equal(row.state, isLive ? 'live' : 'refused', name)
  }
  assert.equal(confirmed(rows).length, made.size)
}

/** A reorg may leave those in the mempool that one of the tests has put there, or make them impossible. */
function confirmed(rows: readonly BondRow[]): BondRow[] {
  return rows.filter(({ state }) => state !== 'pending')
}

test('each bond is judged as a taker would judge it, and is live or not all the same', async () => {
  await assertJudged((await http('bonds?all=true')).bonds, await node.height())
})

test('HTTP, the verbs, export and the wire tell the same', async () => {
  const { bonds, digest } = await http('bonds?all=true')
  const byOutpoint = (rows: BondRow[]) => rows.toSorted((a, b) => (a.outpoint < b.outpoint ? -1 : 1))
  assert.deepEqual(byOutpoint(await printed(tracker.dataDir, 'bonds', '--all')), byOutpoint(bonds))
  assert.deepEqual(byOutpoint((await printed(tracker.dataDir, 'export')).bonds), byOutpoint(bonds))
  const us = `127.0.0.1:${tracker.port}`
  assert.deepEqual(byOutpoint((await printed(tracker.dataDir, 'query', us, 'bonds', '--all')).bonds), byOutpoint(bonds))

  const page = await tracker.ask({ type: 'Bonds', all: true }, 'Bonds')
  assert.equal(Buffer.from(page.digest).toString('hex'), digest)
  for (const { outpoint, today, todayRefusals } of page.bonds) {
    const row: BondRow = bonds.find((bond: BondRow) => bond.outpoint === `${outpoint.txid}:${outpoint.vout}`)
    assert.deepEqual([today, todayRefusals ?? []], [row.today, row.today_refusals])
    assert.equal(todayRefusals !== undefined, !today, 'no key where there are none')
  }

  const makers: MakerRow[] = (await http('makers')).makers
  assert.equal(makers.length, Object.values(planned).filter(({ isLive }) => isLive).length)
  for (const maker of makers) {
    const row: BondRow = bonds.find(({ outpoint }: BondRow) => outpoint === maker.outpoint)
    assert.deepEqual([maker.today, maker.today_refusals], [row.today, row.today_refusals])
    assert.equal(maker.bonds_today, row.today ? 1 : 0)
  }
  const text = (await verb(tracker.dataDir, 'bonds')).stdout
  assert.match(text, /^STATE .* TODAY +MAKER/m)
  assert.match(text, new RegExp(`live .* no: push, old format C .*${made.get('format C')!.txid}:0$`, 'm'))
  assert.match(text, new RegExp(`live .* yes .*${made.get('ordinary')!.txid}:0$`, 'm'))
  assert.match((await verb(tracker.dataDir, 'makers')).stdout, /^ADDRESS .* TODAY/m)
})

test('why says what takers hold against each, and nothing of those they take', async () => {
  const { bonds } = await http('bonds?all=true')
  for (const [name, { refusals, isLive }] of Object.entries(planned)) {
    const { address } = of(bonds as BondRow[], name)
    const { reasons } = await http(`why/${address}`)
    const skipped = reasons.filter(({ code }: { code: string }) => code === 'not-today')
    assert.equal(skipped.length, isLive && refusals.length > 0 ? 1 : 0, name)
    for (const { text, outpoint } of skipped) {
      assert.equal(outpoint, `${made.get(name)!.txid}:0`)
      for (const refusal of refusals) assert.ok(text.includes(`(${refusal})`), text)
    }
    const overWire = await tracker.ask({ type: 'Why', address }, 'Why')
    assert.deepEqual(
      overWire.reasons.map(({ code }) => code),
      reasons.map(({ code }: { code: string }) => code),
    )
  }
})

test('verify holds a tracker to what it says of today’s takers; one that says nothing is not held to it', async () => {
  const truth = await tracker.ask({ type: 'Bonds', limit: 1_000 }, 'Bonds')
  const rpc = ['--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]
  let told = truth
  await using forged = await startForgedTracker(() => told)
  const verdict = async () => {
    const { stdout } = await verb(tracker.dataDir, 'verify', `127.0.0.1:${forged.port}`, '--json', ...rpc)
    return JSON.parse(stdout)
  }
  const change = (name: string, lie: (row: BondFields) => BondFields) => {
    const bonds = truth.bonds.map((row) => (row.outpoint.txid === made.get(name)!.txid ? lie(row) : row))
    told = consistent({ ...truth, bonds })
  }
  assert.equal((await verdict()).agrees, true)
  change('four outputs', ({ todayRefusals: _, ...row }) => ({ ...row, today: true }))
  const [{ differences }] = (await verdict()).invents
  assert.deepEqual(differences, [
    { field: 'today', says: 'true', is: 'false' },
    { field: 'today_refusals', says: 'none', is: 'outputs' },
  ])
  change('four outputs', (row) => ({ ...row, todayRefusals: ['push'] }))
  assert.deepEqual((await verdict()).invents[0].differences, [{ field: 'today_refusals', says: 'push', is: 'outputs' }])
  const silent: Record<string, (row: BondFields) => BondFields> = {
    'an older one': ({ today: _, todayRefusals: __, ...row }) => row,
    'one that could not read it': (row) => ({ ...row, today: false, todayRefusals: ['unread'] }),
    'one of a later version': (row) => ({ ...row, today: false, todayRefusals: ['something-new'] }),
  }
  for (const [who, lie] of Object.entries(silent)) {
    change('ordinary', lie)
    assert.equal((await verdict()).agrees, true, who)
  }
})

test('in the mempool: not accepted yet, with what will not be accepted either', async () => {
  const plan = { format: 'D', key: bondKey('pending') } as const
  const wide = await node.fundBond({ ...plan, address: `${onionHost('wide')}:21`, extraOutputs: 1 })
  const fine = await node.fundBond({ ...plan, address: `${onionHost('fine')}:21` })
  const rows = await waitUntil('both are pending', async () => {
    const { bonds } = await http('bonds?all=true')
    const pending = bonds.filter(({ state }: BondRow) => state === 'pending')
    return pending.length === 2 && (pending as BondRow[])
  })
  const refusalsOf = ({ txid }: { txid: string }) => {
    const row = rows.find(({ outpoint }) => outpoint === `${txid}:0`)!
    assert.equal(row.today, false)
    return row.today_refusals
  }
  assert.deepEqual([refusalsOf(wide), refusalsOf(fine)], [['outputs', 'unconfirmed'], ['unconfirmed']])
  const codes = async (name: string) =>
    (await http(`why/${onionHost(name)}:21`)).reasons.map(({ code }: { code: string }) => code)
  assert.deepEqual([await codes('wide'), await codes('fine')], [['pending', 'not-today'], ['pending']])
  // Whatever becomes of their inputs, no block of the following tests has them.
  for (const { txid } of [wide, fine]) await node.rpc('prioritisetransaction', txid, 0, -100_000_000)
})

test('after a reorg the same transactions are judged in their new block', async () => {
  const depth = 4
  await node.replaceTip({ drop: depth, mine: depth - 1 })
  await tracker.caughtUp(node)
  assert.deepEqual(confirmed((await http('bonds?all=true')).bonds), [])
  await node.mineWith([...made.values()].map(({ hex }) => hex))
  await node.mine(1)
  await tracker.caughtUp(node)
  const { bonds } = await http('bonds?all=true')
  // Three blocks higher the one that was locked for too long no longer is.
  planned['too long'] = { ...planned['too long']!, refusals: [], isLive: true }
  await assertJudged(bonds, await node.height())
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker, FLAGS))
})

/** What an older version has stored of a transaction, once the database is brought up to date: not this. */
function makeOlder(file: string): void {
  const db = new Database(file)
  db.exec(`UPDATE bonds SET tx_refusals = NULL; UPDATE pending_bonds SET tx_refusals = NULL;
    PRAGMA wal_checkpoint(TRUNCATE)`)
  db.close()
}

test('bonds of an older database are unread at first; the daemon reads their transactions again, whatever comes in between', async () => {
  await tracker.stop()
  using dir = tempDir()
  const file = join(dir.path, 'tracker.sqlite')
  copyDatabase(join(tracker.dataDir, 'tracker.sqlite'), file)
  makeOlder(file)
  openStore(dir.path, 'regtest').db[Symbol.dispose]()
  assert.deepEqual(checkDatabase(file), [])
  const before = confirmed(await printed(dir.path, 'bonds', '--all'))
  assert.equal(before.length, made.size)
  for (const { today, today_refusals } of before) {
    assert.deepEqual([today, today_refusals!.at(-1)], [false, 'unread'])
  }
  assert.match((await verb(dir.path, 'why', labelOf('ordinary'))).stdout, /not-today: whether .* is not known/)

  makeOlder(file)
  await using line = await NodeLine.before(node)
  const weathers = ['connections reset', 'HTTP 200 with a page', 'other bytes', 'results of the next question']
  line.fate = (asked) => {
    const isReread = asked.calls.some(({ method, params }) => method === 'getrawtransaction' && params.length === 3)
    return isReread && weathers.length > 0 ? WEATHERS[weathers.shift()!]!(asked) : undefined
  }
  await using upgraded = await Tracker.start(node, { dataDir: dir.path, args: FLAGS, via: line })
  await upgraded.caughtUp(node)
  const said = await upgraded.said('bonds stored by an older version were looked at again')
  assert.deepEqual([said.read, said.unread, weathers], [made.size, 0, []])
  const { bonds } = await upgraded.ask({ type: 'Bonds', all: true, limit: 1_000 }, 'Bonds')
  for (const [name, { refusals }] of Object.entries(planned)) {
    const row = bonds.find(({ outpoint }) => outpoint.txid === made.get(name)!.txid)!
    assert.deepEqual([row.today, row.todayRefusals ?? []], [refusals.length === 0, refusals], name)
  }
  assert.deepEqual(upgraded.chainRows(), tracker.chainRows())
  assert.equal(await upgraded.stop(), 0)
  assert.deepEqual(checkDatabase(file), [])
})

test('what bitcoind has pruned stays unread, is told so, and costs nothing else', async () => {
  await using pruned = await Regtest.start({ args: ['-prune=1', '-fastprune'], blocks: 110 })
  await using old = await Tracker.start(pruned, { args: FLAGS })
  const early = await pruned.fundBond({ key: bondKey('early'), format: 'D', address: `${onionHost('early')}:21` })
  await pruned.mine(700)
  const late = await pruned.fundBond({ key: bondKey('late'), format: 'D', address: `${onionHost('late')}:21` })
  await pruned.mine(1)
  await old.caughtUp(pruned)
  assert.equal(await old.stop(), 0)
  makeOlder(join(old.dataDir, 'tracker.sqlite'))
  assert.ok((await pruned.rpc<number>('pruneblockchain', 500)) > 111)

  old.launch()
  await old.caughtUp(pruned)
  const said = await old.said('bonds stored by an older version were looked at again')
  assert.deepEqual([said.read, said.unread], [1, 1])
  const { bonds } = await old.ask({ type: 'Bonds' }, 'Bonds')
  const rowOf = ({ txid }: { txid: string }) => bonds.find(({ outpoint }) => outpoint.txid === txid)!
  assert.deepEqual([rowOf(late).today, rowOf(late).todayRefusals], [true, undefined])
  assert.deepEqual([rowOf(early).today, rowOf(early).todayRefusals, rowOf(early).state], [false, ['unread'], 'live'])
  const { reasons } = await old.ask({ type: 'Why', address: early.address }, 'Why')
  assert.match(
    reasons.find(({ code }) => code === 'not-today')!.text,
    /with one that has pruned it nothing can be done/,
  )
  assert.equal((await old.addresses()).length, 2)
})
