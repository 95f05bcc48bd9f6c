/**
 * The verbs that look after the data, as an operator would use them on a daemon that runs, and after it was stopped. One
 * chain for the file: a live bond, one refused, one spent, one pending, and a watched outpoint.
 */
import assert from 'node:assert/strict'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Database from 'better-sqlite3'
import { bondKey } from '../sandbox/bond-key.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { chainRows, runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { damage } from '../support/damage.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
let tracker: Tracker
let live: FundedBond
let spent: FundedBond
let pending: FundedBond

before(async () => {
  node = await Regtest.start({ blocks: 130 })
  const address = (name: string) => `${onionHost(name)}:21`
  live = await node.fundBond({ key: bondKey('live'), format: 'D', address: address('live') })
  await node.fundBond({ key: bondKey('small'), format: 'D', address: address('small'), amountSats: 9_999 })
  spent = await node.fundBond({ key: bondKey('spent'), format: 'D', address: address('spent'), lockBlocks: 2 })
  await node.mine(4)
  await node.spendBond(spent)
  await node.mine(6)
  tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  await tracker.ask({ type: 'Watch', outpoint: spent.outpoint }, 'WatchResponse')
  pending = await node.fundBond({ key: bondKey('pending'), format: 'B', address: `${onionHost('pending')}:6102` })
  await waitUntil('the pending bond is known', async () => (await exported()).some((row) => row.state === 'pending'))
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

function verb(name: string, ...args: string[]) {
  return runVerb([name, ...args, '--network', 'regtest', '--datadir', tracker.dataDir])
}

const NOT_SPENT = { txid: null, vin: null, height: null, block_hash: null }

async function exported(): Promise<Record<string, unknown>[]> {
  const { stdout } = await verb('export')
  return stdout === '' ? [] : JSON.parse(stdout).bonds
}

/** A confirmed transaction, recorded under a txid that is not its own. */
const ANOTHER_SPENDER =
  'INSERT INTO spenders SELECT zeroblob(32), raw_tx, first_seen_s, height, 0 FROM spenders WHERE height IS NOT NULL LIMIT 1'

/** What a verb leaves beside the file it was asked for: nothing. */
function leftovers(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.includes('.part'))
}

test('backup: whole while blocks are connected, refuses to overwrite, and a daemon goes on from it', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'backup.sqlite')
  const mining = node.mine(60) // the daemon commits these meanwhile
  const { code, stdout, stderr } = await verb('backup', file)
  await mining
  assert.equal(code, 0, stderr)
  assert.match(stdout, /backup\.sqlite: [\d.]+ MB, checked\n.*onion\.key/)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(leftovers(dir.path), [])

  const before = readFileSync(file)
  const again = await verb('backup', file)
  assert.equal(again.code, 2)
  assert.match(again.stderr, /is there already/)
  assert.deepEqual(readFileSync(file), before)
  const nowhere = await verb('backup', join(dir.path, 'missing', 'backup.sqlite'))
  assert.equal(nowhere.code, 2)
  assert.match(nowhere.stderr, /can't be written: ENOENT/)

  const dataDir = join(dir.path, 'restored')
  mkdirSync(dataDir, { mode: 0o700 })
  renameSync(file, join(dataDir, 'tracker.sqlite'))
  const checked = await runVerb(['check-db', '--network', 'regtest', '--datadir', dataDir])
  assert.equal(checked.code, 0, checked.stdout)
  await using restored = await Tracker.start(node, { dataDir })
  await restored.caughtUp(node)
  await tracker.caughtUp(node)
  assert.deepEqual(chainRows(dataDir), tracker.chainRows())
})

test('export: every state with its history, as JSON and as CSV; a file is replaced whole', async () => {
  using dir = tempDir()
  await tracker.caughtUp(node)
  const file = join(dir.path, 'bonds.json')
  writeFileSync(file, 'the export of yesterday')
  assert.equal((await verb('export', '-o', file)).code, 0)
  const { bonds, makers, trackers, relays, ...head } = JSON.parse(readFileSync(file, 'utf8'))
  const status = await tracker.ask({ type: 'Status' }, 'Status')
  assert.deepEqual(head, {
    network: 'regtest',
    height: status.height,
    block_hash: status.blockHash,
    scanned_from: 0,
    digest: Buffer.from(status.digest).toString('hex'),
  })
  const states = (rows: Record<string, unknown>[]) => rows.map((row) => row.state).sort()
  assert.ok(states(bonds).includes('live'))
  const gone = bonds.find((row: { state: string }) => row.state === 'spent')
  assert.equal(gone.outpoint, `${spent.txid}:0`)
  assert.equal(gone.spent_by.height, gone.conf_height + 4)
  assert.match(gone.spent_by.txid, /^[0-9a-f]{64}$/)
  assert.deepEqual(
    makers.map(({ address }: { address: string }) => address),
    await tracker.addresses(),
  )
  assert.deepEqual([trackers, relays], [[], []])
  assert.equal(bonds.find((row: { state: string }) => row.state === 'refused').refusal, 'too-small')

  const { stdout, code } = await verb('export', '--format', 'csv')
  assert.equal(code, 0)
  const [columns, ...lines] = stdout.trimEnd().split('\r\n')
  const rows = lines.map((line) => Object.fromEntries(line.split(',').map((cell, i) => [columns!.split(',')[i], cell])))
  const asText = ({ spent_by, ...row }: Record<string, unknown>) => {
    const spent = Object.entries(spent_by ?? NOT_SPENT).map(([name, value]) => [`spent_by_${name}`, value])
    const cells = Object.entries({ ...row, ...Object.fromEntries(spent) })
    const text = (value: unknown) => (Array.isArray(value) ? value.join(' ') : String(value ?? ''))
    return Object.fromEntries(cells.map(([name, value]) => [name, text(value)]))
  }
  assert.deepEqual(new Set(rows), new Set((await exported()).map(asText)))
  assert.ok(rows.some((row) => row.outpoint === `${live.txid}:0` && row.amount === '50000'))

  assert.equal((await verb('export', '-o', join(dir.path, 'missing', 'x.csv'), '--format', 'csv')).code, 2)
  assert.equal((await verb('export', '--format', 'xml')).code, 2)
  assert.deepEqual(leftovers(dir.path), [])
})

test('health: 0 while it answers takers; 1 when it is stopped, hangs, or waits', async () => {
  const healthy = await verb('health')
  assert.equal(healthy.code, 0, healthy.stdout)
  assert.match(healthy.stdout, /^ready at 127\.0\.0\.1:\d+, block \d+$/m)
  assert.equal((await verb('health', '--live')).code, 0)

  const db = new Database(join(tracker.dataDir, 'tracker.sqlite'))
  // The lock is ours first: stopped in the middle of a commit, the daemon would keep us out.
  db.exec('BEGIN IMMEDIATE')
  process.kill(tracker.pid, 'SIGSTOP')
  try {
    db.prepare("UPDATE daemon SET report = json_set(report, '$.time', ?)").run(Math.floor(Date.now() / 1000) - 61)
    db.exec('COMMIT')
    db.close()
    const hanging = await verb('health', '--live')
    assert.equal(hanging.code, 1)
    assert.match(hanging.stdout, /has not reported for \d+ s/)
  } finally {
    process.kill(tracker.pid, 'SIGCONT')
  }
  await waitUntil('the heartbeat goes on', async () => (await verb('health')).code === 0)

  await using waiting = await Tracker.start(node, { args: ['--control-port', '1'] })
  await waiting.said('not ready')
  const flags = ['--network', 'regtest', '--datadir', waiting.dataDir]
  await waitUntil('it reports', () => waiting.status() !== undefined)
  const notReady = await runVerb(['health', ...flags])
  assert.equal(notReady.code, 1)
  assert.match(notReady.stdout, /^not ready: /)
  assert.equal((await runVerb(['health', '--live', ...flags])).code, 0)
  await waiting.stop()
  assert.equal((await runVerb(['health', '--live', ...flags])).code, 1)
  assert.equal((await runVerb(['health', '--datadir', '/nonexistent'])).code, 1)
})

test('rescan: refused while the daemon runs; afterwards the next start makes the same rows again', async () => {
  await tracker.caughtUp(node)
  const refused = await verb('rescan', '--from', '100')
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /daemon of --datadir .* is running: stop it first/)
  assert.equal(await tracker.stop(), 0)
  const rows = tracker.chainRows()
  const height = await node.height()

  assert.equal((await verb('rescan', '--from', 'ten')).code, 2)
  assert.equal((await verb('rescan')).code, 2)
  const above = await verb('rescan', '--from', String(height + 1))
  assert.equal(above.code, 2)
  assert.match(above.stderr, /is above the last scanned block/)

  const { code, stdout } = await verb('rescan', '--from', '133')
  assert.equal(code, 0)
  assert.match(stdout, new RegExp(`^${height - 132} blocks taken back, down to 133. The tip is now block 132`))
  assert.equal((await verb('check-db')).code, 0)
  tracker.launch()
  await tracker.caughtUp(node)
  assert.deepEqual(tracker.chainRows(), rows)

  assert.equal(await tracker.stop(), 0)
  const all = await verb('rescan', '--from', '0')
  assert.match(all.stdout, /Nothing is left: the next start scans the whole window/)
  assert.deepEqual(chainRows(tracker.dataDir).blocks, [])
  tracker.launch()
  await tracker.caughtUp(node)
  assert.deepEqual(tracker.chainRows(), rows)
  const seen = await tracker.ask({ type: 'Watch', outpoint: spent.outpoint }, 'WatchResponse')
  assert.equal(seen.transactions.length, 1, 'the watch has survived, and its spend was found again')
  assert.ok(pending.txid)
})

test('check-db names every way in which rows contradict each other', async () => {
  await tracker.caughtUp(node)
  using dir = tempDir()
  const sound = join(dir.path, 'sound.sqlite')
  assert.equal((await verb('backup', sound)).code, 0)
  const cases: [string, RegExp][] = [
    ['DELETE FROM blocks WHERE height = 50', /the chain has a gap above this height: height 49/],
    [
      'DELETE FROM blocks WHERE height = (SELECT conf_height FROM bonds LIMIT 1)',
      /a row of bonds refers to a missing blocks row/,
    ],
    [
      `${ANOTHER_SPENDER}; INSERT INTO spends SELECT txid, vout, zeroblob(32), vin FROM spends LIMIT 1`,
      /an outpoint has two confirmed spends: txid [0-9a-f]{64}, vout 0/,
    ],
    [ANOTHER_SPENDER, /a recorded transaction spends nothing of interest: txid 0{64}/],
    ['UPDATE spenders SET height = 1', /a bond is spent before it was made/],
    ['UPDATE bonds SET is_p2wsh = 0', /a bond that qualified lies in no P2WSH output/],
    ['UPDATE bonds SET tx_refusals = \'["colour"]\'', /hold against a bond is nothing they know: .*value colour/],
    ["UPDATE spent_keys SET keys = x'0102'", /keys of spent outpoints can't be read: no such row/],
    ["UPDATE indexed_blocks SET keys = x'0102' WHERE keys IS NOT NULL", /can't be read: a key is cut off/],
    ['INSERT INTO spent_keys SELECT max(id) + 10240, keys FROM spent_keys', /of a block without any: height \d+/],
    ['INSERT INTO indexed_blocks SELECT max(height) + 9, NULL FROM indexed_blocks', /refers to a missing blocks row/],
    ["UPDATE bonds SET address = 'abc.onion:21'", /a bond announces no onion address: abc\.onion:21/],
    ['UPDATE spenders SET raw_tx = randomblob(100)', /recorded as the spend of [0-9a-f]{64}:0 is another one/],
    ['UPDATE spends SET vin = 7', /recorded as the spend of/],
    ['DELETE FROM identity', /there is not one identity row: n 0/],
    ["UPDATE identity SET network = 'regtesu'", /is damaged \(network regtesu\)/],
  ]
  for (const [change, complaint] of cases) {
    const dataDir = join(dir.path, 'broken')
    rmSync(dataDir, { recursive: true, force: true })
    mkdirSync(dataDir)
    const file = join(dataDir, 'tracker.sqlite')
    copyFileSync(sound, file)
    const db = new Database(file)
    db.pragma('foreign_keys = OFF')
    db.exec(change)
    const { changes } = db.prepare('SELECT total_changes() AS changes').get() as { changes: number }
    assert.ok(changes > 0, change)
    db.close()
    const { code, stdout } = await runVerb(['check-db', '--network', 'regtest', '--datadir', dataDir])
    assert.equal(code, 74, change)
    assert.match(stdout, complaint, change)
  }
})

test('check-db of a database of another version: start it first, or upgrade', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'tracker.sqlite')
  assert.equal((await verb('backup', file)).code, 0)
  const db = new Database(file)
  const schema = db.pragma('user_version', { simple: true }) as number
  for (const [other, advice] of [
    [schema - 1, /start the daemon once/],
    [schema + 1, /upgrade fidelity-tracker/],
  ] as const) {
    db.pragma(`user_version = ${other}`)
    const { code, stderr } = await runVerb(['check-db', '--network', 'regtest', '--datadir', dir.path])
    assert.equal(code, 2)
    assert.match(stderr, advice)
    for (const name of ['status', 'bonds', 'makers', 'trackers']) {
      const read = await runVerb([name, '--network', 'regtest', '--datadir', dir.path])
      assert.equal(read.code, 2, name)
      assert.match(read.stderr, advice)
    }
  }
  db.close()
})

test('check-db on pages that were overwritten; its advice, followed, leads to a sound database', async () => {
  await tracker.caughtUp(node)
  assert.equal(await tracker.stop(), 0)
  const rows = tracker.chainRows()
  const file = join(tracker.dataDir, 'tracker.sqlite')
  damage(file, (bytes) => bytes.fill(0xff, bytes.length - 4096 * 3))
  const { code, stdout } = await verb('check-db')
  assert.equal(code, 74, stdout)
  const [command] = stdout.match(/(?<=^ {2}fidelity-tracker ).*$/m)!
  const salvaged = await verb(...(command.split(' ') as [string, ...string[]]))
  assert.equal(salvaged.code, 0, salvaged.stderr)
  assert.ok(existsSync(`${file}.damaged`))
  tracker.launch()
  await tracker.caughtUp(node)
  assert.equal((await verb('check-db', '--json')).code, 0)
  const { blocks, bonds } = tracker.chainRows()
  assert.deepEqual({ blocks, bonds }, { blocks: rows.blocks, bonds: rows.bonds })
})

test('verbs on a data directory without a database say so', async () => {
  using dir = tempDir()
  for (const name of [['backup', join(dir.path, 'x')], ['check-db'], ['export'], ['rescan', '--from', '1']]) {
    const { code, stderr } = await runVerb([...name, '--network', 'regtest', '--datadir', join(dir.path, 'none')])
    assert.equal(code, 2, name[0])
    assert.match(stderr, /there is no database in --datadir/)
  }
})

test('no reading verb shows the data of another network as its own', async () => {
  for (const name of ['status', 'bonds', 'makers', 'trackers', 'export']) {
    const { code, stdout, stderr } = await runVerb([name, '--network', 'signet', '--datadir', tracker.dataDir])
    assert.equal(code, 2, name)
    assert.equal(stdout, '', name)
    assert.match(stderr, /belongs to network regtest, but --network is signet: give --network regtest, or/, name)
  }
})
