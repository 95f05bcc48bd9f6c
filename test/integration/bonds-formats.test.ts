/**
 * All four announcement formats and every refusal, from real transactions on a regtest chain to the daemon's answers.
 * Method: broadcast, look at the pending ones, mine, ask over the socket, compare with what was made.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { freshRows } from '../support/fresh-index.ts'
import { onionHost } from '../support/onions.ts'

interface Row {
  outpoint: string
  address: string
  format: string
  state: string
  refusal: string | null
  value: number
  spent_by: { txid: string } | null
}

async function bondRows(tracker: Tracker, ...args: string[]): Promise<Row[]> {
  const { stdout, code, stderr } = await runVerb([
    'bonds',
    '--json',
    '--network',
    'regtest',
    '--datadir',
    tracker.dataDir,
    ...args,
  ])
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

test('bonds of formats A, B, C and D are listed, best first; whatever does not qualify is not, and says why', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [])

  const a = await node.fundBond({ key: bondKey('a'), format: 'A', address: `${onionHost('a')}:6102` })
  const b = await node.fundBond({
    key: bondKey('b'),
    format: 'B',
    address: `${onionHost('b')}:16102`,
    amountSats: 3_000_000,
  })
  const c = await node.fundBond({
    key: bondKey('c'),
    format: 'C',
    address: `${onionHost('c')}:21`,
    amountSats: 2_000_000,
  })
  const d = await node.fundBond({
    key: bondKey('d'),
    format: 'D',
    address: `${onionHost('d')}:21`,
    amountSats: 4_000_000,
  })
  const d2 = await node.fundBond({
    key: bondKey('d', 1),
    format: 'D',
    address: `${onionHost('d')}:21`,
    amountSats: 10_000,
  })
  const t = await node.fundBond({ key: bondKey('t'), format: 'B', address: '127.0.0.1:6102', amountSats: 1_000_000 })

  const flipped = onionHost('bad').replace(/.\.onion$/, (end) => (end.startsWith('d') ? 'x.onion' : 'd.onion'))
  const badSum = await node.fundBond({ key: bondKey('bad'), format: 'D', address: `${flipped}:21` })
  const plain = await node.fundBond({
    key: bondKey('plain'),
    format: 'D',
    address: `${onionHost('plain')}:21`,
    isPlain: true,
  })
  const small = await node.fundBond({
    key: bondKey('small'),
    format: 'D',
    address: `${onionHost('small')}:21`,
    amountSats: 9_999,
  })
  const long = await node.fundBond({
    key: bondKey('long'),
    format: 'D',
    address: `${onionHost('long')}:21`,
    lockBlocks: 25_921,
  })
  const passed = await node.fundBond({
    key: bondKey('passed'),
    format: 'D',
    address: `${onionHost('passed')}:21`,
    lockBlocks: 0,
  })
  const brief = await node.fundBond({
    key: bondKey('brief'),
    format: 'D',
    address: `${onionHost('brief')}:21`,
    lockBlocks: 2,
  })
  const spent = await node.fundBond({
    key: bondKey('spent'),
    format: 'C',
    address: `${onionHost('spent')}:21`,
    lockBlocks: 1,
  })
  const wide = await node.fundBond({
    key: bondKey('wide'),
    format: 'D',
    address: `${onionHost('wide')}:21`,
    extraOutputs: 3,
  })
  const five = await node.fundBond({
    key: bondKey('five'),
    format: 'D',
    address: `${onionHost('five')}:21`,
    extraOutputs: 2,
    amountSats: 500_000,
  })

  const announced = [a, b, c, d, d2, t, plain, small, long, passed, brief, spent, five]
  const pending = await waitUntil('all announcements are pending', async () => {
    const rows = await bondRows(tracker, '--all')
    return rows.length === announced.length && rows
  })
  assert.ok(pending.every((row) => row.state === 'pending'))
  assert.deepEqual(await tracker.addresses(), [], 'nothing unconfirmed is listed')

  await node.mine(1)
  await tracker.caughtUp(node)
  const listed = [d, b, c, t, five, spent, brief, a]
  const unordered = (addresses: readonly string[]) => [...addresses].sort()
  const first = await tracker.addresses()
  assert.deepEqual(unordered(first), unordered(listed.map(({ address }) => address)), 'each maker once')
  assert.deepEqual(
    first.slice(0, 5),
    [d, b, c, t, five].map(({ address }) => address),
    'highest value first',
  )
  assert.ok(!first.includes(badSum.address) && !first.includes(wide.address))

  await node.mine(2) // brief and spent pass their locks
  const spend = await node.spendBond(spent)
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(
    await tracker.addresses(),
    [d, b, c, t, five, a].map(({ address }) => address),
    'no value: last',
  )

  const rows = new Map((await bondRows(tracker, '--all')).map((row) => [row.outpoint, row]))
  const stateOf = (bond: { txid: string }) => {
    const row = rows.get(`${bond.txid}:0`)
    return row && [row.state, row.refusal, row.format]
  }
  assert.deepEqual(stateOf(a), ['live', null, 'A'])
  assert.deepEqual(stateOf(b), ['live', null, 'B'])
  assert.deepEqual(stateOf(c), ['live', null, 'C'])
  assert.deepEqual(stateOf(d), ['live', null, 'D'])
  assert.deepEqual(stateOf(d2), ['live', null, 'D'])
  assert.deepEqual(stateOf(plain), ['refused', 'not-p2wsh', 'D'])
  assert.deepEqual(stateOf(small), ['refused', 'too-small', 'D'])
  assert.deepEqual(stateOf(long), ['refused', 'lock-too-long', 'D'])
  assert.deepEqual(stateOf(passed), ['refused', 'lock-passed', 'D'])
  assert.deepEqual(stateOf(brief), ['expired', null, 'D'])
  assert.deepEqual(stateOf(spent), ['spent', null, 'C'])
  assert.equal(rows.get(`${spent.txid}:0`)?.spent_by?.txid, spend.txid)
  assert.equal(stateOf(badSum), undefined, 'no announcement at all')
  assert.equal(stateOf(wide), undefined)
  assert.equal(rows.size, announced.length)

  const status = await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(status.bonds, 7)
  assert.equal(status.network, 'regtest')
  assert.equal(status.height, await node.height())
  assert.equal(status.scannedFrom, 0)
  const shown = await bondRows(tracker)
  assert.deepEqual(
    [...shown].map((row) => row.outpoint).sort(),
    [a, b, c, d, d2, t, five]
      .map(({ outpoint }) => outpoint)
      .sort(compareOutpoints)
      .map(({ txid }) => `${txid}:0`)
      .sort(),
  )
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
})

test('without --allow-test-addresses 127.0.0.1 is no announcement', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { args: ['--no-tor'] })
  await node.fundBond({ key: bondKey('t'), format: 'A', address: '127.0.0.1:6102' })
  const real = await node.fundBond({ key: bondKey('r'), format: 'D', address: `${onionHost('r')}:21` })
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [real.address])
})
