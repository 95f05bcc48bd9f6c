/**
 * `verify` against honest, old and lying trackers. Method: one real chain, one real tracker whose list is the truth, and
 * servers that tell it changed; then what the verb says of each, and its exit code.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import { asSats, asTxid, formatOutpoint, NO_BLOCK } from '../../src/chain/types.ts'
import { type BondFields, encodeReply } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { type BondList, consistent, startForgedTracker, startOldTracker } from '../support/forged-tracker.ts'
import { onionHost } from '../support/onions.ts'
import { startServer } from '../support/wire.ts'

const fund = (node: Regtest, name: string, plan: { lockBlocks?: number; isPlain?: boolean } = {}) =>
  node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21`, ...plan })

function verify(node: Regtest, port: number, dataDir: string, ...args: string[]) {
  const settings = ['--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]
  return runVerb(['verify', `127.0.0.1:${port}`, ...settings, '--datadir', dataDir, ...args])
}

async function verdictOf(node: Regtest, port: number, dataDir: string, code: number) {
  const result = await verify(node, port, dataDir, '--json')
  assert.equal(result.code, code, result.stderr + result.stdout)
  return JSON.parse(result.stdout)
}

function emptyDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'ft-empty-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

const whole = (tracker: Tracker) => tracker.ask({ type: 'Bonds', limit: 1_000 }, 'Bonds')
const fields = (row: { differences: { field: string }[] }) => row.differences.map(({ field }) => field)

test('an honest tracker agrees, with a database of our own or without one', async (t) => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  for (const name of ['a', 'b', 'c']) await fund(node, name)
  await node.mine(1)
  await tracker.caughtUp(node)

  const found = await verdictOf(node, tracker.port, tracker.dataDir, 0)
  assert.deepEqual([found.agrees, found.protocol, found.rows], [true, 2, 3])
  assert.deepEqual([found.height, found.block_hash], [await node.height(), await node.tipHash()])
  assert.deepEqual([found.invents, found.omits, found.list, found.omits_unjudged], [[], [], [], null])

  const dir = emptyDir(t)
  const alone = await verify(node, tracker.port, dir)
  assert.equal(alone.code, 0, alone.stderr)
  assert.match(alone.stdout, /3 live bonds\nWhat it omits can't be judged in full: there is no database .*\nagrees\n$/s)
})

test('what a tracker invents and omits is named, also when its digest agrees with its rows', async (t) => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  for (const name of ['a', 'b', 'c']) await fund(node, name)
  const plain = await fund(node, 'plain', { isPlain: true })
  const ended = await fund(node, 'ended', { lockBlocks: 1 })
  const expired = await fund(node, 'expired', { lockBlocks: 1 })
  await node.mine(1)
  await node.mine(1)
  await node.spendBond(ended)
  const [spendingBlock] = await node.mine(1)
  await tracker.caughtUp(node)
  const truth = await whole(tracker)
  assert.equal(truth.total, 3)
  const dir = emptyDir(t)

  let told: BondList = truth
  await using forged = await startForgedTracker(() => told)
  const tell = (change: (rows: BondFields[]) => BondFields[]) => {
    const bonds = change([...truth.bonds])
    bonds.sort((a, b) => compareOutpoints(a.outpoint, b.outpoint))
    told = consistent({ ...truth, bonds })
  }
  const [a, b] = truth.bonds as [BondFields, BondFields]

  // The forged third one of many: a bond left out, another made up.
  const ghost = { ...a, outpoint: { txid: asTxid('ab'.repeat(32)), vout: 0 }, address: `${onionHost('ghost')}:21` }
  tell((rows) => [...rows.slice(1), ghost])
  const found = await verdictOf(node, forged.port, tracker.dataDir, 1)
  assert.deepEqual(
    found.invents.map((row: { outpoint: string; address: string }) => [row.outpoint, row.address]),
    [[formatOutpoint(ghost.outpoint), ghost.address]],
  )
  assert.deepEqual(found.omits, [{ outpoint: formatOutpoint(a.outpoint), address: a.address, value: a.value }])
  assert.deepEqual(found.list, [])
  const text = await verify(node, forged.port, tracker.dataDir)
  assert.equal(text.code, 1)
  assert.match(text.stdout, new RegExp(`INVENTS  ${formatOutpoint(ghost.outpoint)}  ${ghost.address}`))
  assert.match(text.stdout, new RegExp(`OMITS    ${formatOutpoint(a.outpoint)}  ${a.address}`))
  assert.match(text.stdout, /differs: 1 invented, 1 omitted\n$/)

  // Without a list of our own what it invents is told all the same.
  const alone = await verdictOf(node, forged.port, dir, 1)
  assert.deepEqual([alone.invents.length, alone.omits.length], [1, 0])
  assert.match(alone.omits_unjudged, /there is no database/)

  const block = await node.rpc<{ height: number; time: number }>('getblockheader', truth.blockHash)
  const other = { confHeight: block.height, blockHash: spendingBlock as BondFields['blockHash'] }
  const of = ({ outpoint, lockHeight, address }: typeof plain): BondFields => ({ ...a, outpoint, lockHeight, address })
  const lies: [string, BondFields, string[]][] = [
    ['another address', { ...b, address: ghost.address }, ['address']],
    ['an amount', { ...b, amountSats: asSats(b.amountSats + 1) }, ['amount']],
    ['a height', { ...b, confHeight: b.confHeight + 1 }, ['conf_height']],
    ['a time', { ...b, blockTimeS: b.blockTimeS - 1 }, ['block_time']],
    ['a lock', { ...b, lockHeight: b.lockHeight! + 1 }, ['lock_height']],
    ['a value', { ...b, value: b.value * 2 }, ['value']],
    ['a format', { ...b, format: 'C' }, ['format']],
    ['a state', { ...b, state: 'expired' }, ['state']],
    ['another block', { ...b, ...other }, ['outpoint']],
    ['a block that is not', { ...b, blockHash: NO_BLOCK }, ['block_hash']],
    ['another output', { ...b, outpoint: { ...b.outpoint, vout: 1 } }, ['outpoint']],
    ['a bond that was spent', of(ended), ['value', 'state']],
    ['a bond that has expired', of(expired), ['value', 'state']],
    ['one that says so itself', { ...of(expired), state: 'expired', value: 0 }, ['state']],
    ['what never was a bond', of(plain), ['value', 'state', 'refusal']],
  ]
  for (const [what, lie, expected] of lies) {
    tell((rows) => [...rows.filter((row) => row !== b), lie])
    const verdict = await verdictOf(node, forged.port, dir, 1)
    assert.equal(verdict.invents.length, 1, what)
    assert.deepEqual(fields(verdict.invents[0]), expected, what)
  }

  told = { ...truth, digest: Buffer.alloc(32), total: 4, height: truth.height + 1 }
  const boast = await verdictOf(node, forged.port, tracker.dataDir, 1)
  assert.deepEqual(
    boast.list.map(({ field }: { field: string }) => field),
    ['height', 'total', 'digest'],
  )
  assert.deepEqual([boast.invents, boast.omits], [[], []])

  // What a stranger writes does not reach the terminal as it is.
  told = { ...truth, bonds: truth.bonds.with(0, { ...a, address: `\u001b[2J${'x'.repeat(300)}` }) }
  const poisoned = await verify(node, forged.port, dir)
  assert.equal(poisoned.code, 1)
  assert(!poisoned.stdout.includes('\u001b'))
})

test('a tracker of version 1 is judged by the addresses of our own list', async (t) => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  for (const name of ['a', 'b']) await fund(node, name)
  await node.mine(1)
  await tracker.caughtUp(node)
  let told = await tracker.addresses()
  const [first] = told
  await using old = await startOldTracker(() => told)

  const found = await verdictOf(node, old.port, tracker.dataDir, 0)
  assert.deepEqual([found.protocol, found.agrees, found.rows, found.height], [1, true, 2, null])
  told = [first!]
  const fewer = await verdictOf(node, old.port, tracker.dataDir, 0)
  assert.deepEqual([fewer.agrees, fewer.omits.length], [true, 1])
  told = [first!, 'evil.onion:21']
  const more = await verdictOf(node, old.port, tracker.dataDir, 1)
  assert.deepEqual(more.invents, [{ outpoint: null, address: 'evil.onion:21', differences: [] }])

  const blind = await verify(node, old.port, emptyDir(t))
  assert.equal(blind.code, 2)
  assert.match(blind.stderr, /speaks v1 only, .* there is no database in --datadir/)
})

test('a tracker at another block is not compared; it and bitcoind must be there', async (t) => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  await fund(node, 'a')
  await node.mine(1)
  await tracker.caughtUp(node)
  const dir = emptyDir(t)

  // One that is a block behind at first: waited for, then compared.
  const before = await whole(tracker)
  await node.mine(1)
  await tracker.caughtUp(node)
  const now = await whole(tracker)
  let asked = 0
  await using slow = await startForgedTracker(() => (++asked < 3 ? before : now))
  assert.equal((await verdictOf(node, slow.port, dir, 0)).height, now.height)
  assert.equal(asked, 3)

  const [closed] = await freePorts(1)
  assert.equal((await verify(node, closed!, dir)).code, 69)
  await node.stop()
  const alone = await verify(node, tracker.port, dir)
  assert.equal(alone.code, 69)
  assert.match(alone.stderr, /bitcoind at 127\.0\.0\.1:\d+ \(--rpc\)|no cookie/)
})

test('a node that has pruned the blocks judges by what it still has, and says which announcements it has not seen', async (t) => {
  await using node = await Regtest.start({ args: ['-prune=1', '-fastprune'], blocks: 110 })
  await using tracker = await Tracker.start(node)
  for (const name of ['a', 'b']) await fund(node, name)
  const ended = await fund(node, 'ended', { lockBlocks: 1 })
  await node.mine(2)
  await node.spendBond(ended)
  await node.mine(700)
  await tracker.caughtUp(node)
  const truth = await whole(tracker)
  assert.equal(truth.total, 2)
  assert((await node.rpc<number>('pruneblockchain', 500)) > 111)
  const dir = emptyDir(t)

  const honest = await verdictOf(node, tracker.port, dir, 0)
  assert.deepEqual(
    honest.unchecked,
    truth.bonds.map(({ outpoint }) => formatOutpoint(outpoint)),
  )
  assert.deepEqual(honest.invents, [])

  const [a, b] = truth.bonds as [BondFields, BondFields]
  let told: BondList = truth
  await using forged = await startForgedTracker(() => told)
  const lies: [string, BondFields, string[]][] = [
    ['a spent one', { ...b, outpoint: ended.outpoint, lockHeight: ended.lockHeight }, ['outpoint']],
    ['an amount', { ...b, amountSats: b.amountSats + 1 }, ['amount']],
    ['a value', { ...b, value: b.value + 1 }, ['value']],
    ['a time', { ...b, blockTimeS: b.blockTimeS + 1 }, ['block_time']],
    ['a height', { ...b, confHeight: b.confHeight + 1 }, ['conf_height']],
    ['a block', { ...b, blockHash: await node.rpc('getblockhash', b.confHeight + 1) }, ['outpoint']],
    ['an output', { ...b, outpoint: { ...b.outpoint, vout: 1 } }, ['outpoint']],
  ]
  for (const [what, lie, expected] of lies) {
    const bonds = [a, lie].sort((x, y) => compareOutpoints(x.outpoint, y.outpoint))
    told = consistent({ ...truth, bonds })
    const verdict = await verdictOf(node, forged.port, dir, 1)
    assert.equal(verdict.invents.length, 1, what)
    assert.deepEqual(fields(verdict.invents[0]), expected, what)
  }
})

test('a tracker of another network is told so, and nothing is held against it', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  await fund(node, 'a')
  await node.mine(1)
  await tracker.caughtUp(node)
  const [list, status] = [await whole(tracker), await tracker.ask({ type: 'Status' }, 'Status')]
  for (const [network, advice] of [
    ['testnet4', /is a tracker of testnet4, this is asked for regtest: give --network testnet4\n$/],
    ['\u001b[2Jnet', /is a tracker of \?\[2Jnet, this is asked for regtest: ask another one\n$/],
  ] as const) {
    await using other = await startServer((request) => ({
      send: encodeReply(request.type === 'Status' ? { ...status, network } : { ...list, bonds: [] }),
    }))
    const { code, stdout, stderr } = await verify(node, other.port, tracker.dataDir)
    assert.deepEqual([code, stdout], [2, ''], stderr)
    assert.match(stderr, advice)
  }

  await using old = await startOldTracker(() => [`${onionHost('elsewhere')}:21`])
  const { code, stdout } = await verify(node, old.port, tracker.dataDir)
  assert.equal(code, 1)
  assert.match(stdout, /none of its makers is ours, it may be of another network, which v1 does not tell\.\n/)
})
