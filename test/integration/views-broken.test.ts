/**
 * A database that holds words of another version: each row that can't be shown is told as broken, by HTTP, the verbs and
 * the export, and costs the rows beside it nothing, on the wire neither.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import { bondKey } from '../sandbox/bond-key.ts'
import { serveMaker } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'

/** Everything is asked once, soon after the first start. */
const ONCE = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1800', '--tracker-interval', '86400']

test('one broken row in every list', async () => {
  await using node = await Regtest.start({ blocks: 110 })
  const [probed, other, nobody] = await freePorts(3)
  const address = `127.0.0.1:${probed}`
  const bond = await node.fundBond({ key: bondKey('probed'), format: 'B', address })
  const silent = await node.fundBond({ key: bondKey('silent'), format: 'B', address: `127.0.0.1:${other}` })
  const bent = await node.fundBond({ key: bondKey('bent'), format: 'D', address: `${onionHost('bent')}:21` })
  await node.mine(1)
  const offered = { ...bond, confHeight: await node.height(), certAddress: address }
  await using _maker = await serveMaker({
    listenPort: probed!,
    bond: offered,
    otherKey: bondKey('probed', 1),
    pongAddress: address,
  })
  const args = [...ONCE, '--trackers', `127.0.0.1:${nobody},127.0.0.1:${nobody! - 1}`]
  await using tracker = await Tracker.start(node, { args, http: true })
  await tracker.caughtUp(node)
  const http = async (path: string) => {
    const { status, json, text } = await ask(tracker.httpPort!, `/api/v1/${path}`)
    assert.equal(status, 200, `${path}: ${text}`)
    return json
  }
  await waitUntil('the maker is proven', async () => {
    const { makers, broken } = await http('makers')
    assert.deepEqual(broken, [])
    return makers.some((row: { proven: boolean }) => row.proven)
  })
  assert.equal(await tracker.stop(), 0)

  const db = new Database(join(tracker.dataDir, 'tracker.sqlite'))
  db.exec("UPDATE makers SET dialect = 'of tomorrow' WHERE dialect IS NOT NULL")
  db.prepare("UPDATE bonds SET refusal = 'of-tomorrow' WHERE address = ?").run(bent.address)
  db.exec(`UPDATE trackers SET height = -1 WHERE address = '127.0.0.1:${nobody}'`)
  db.close()
  tracker.launch()
  await tracker.caughtUp(node)

  const outpoint = `${bent.txid}:0`
  const bonds = await http('bonds?all=true')
  assert.deepEqual(bonds.bonds.map((row: { address: string }) => row.address).sort(), [address, silent.address].sort())
  assert.equal(bonds.broken.length, 1)
  assert.deepEqual([bonds.broken[0].list, bonds.broken[0].row], ['bonds', `${bent.address} ${outpoint}`])
  assert.match(bonds.broken[0].fault, /^refusal: /)
  const makers = await http('makers')
  assert.deepEqual([makers.makers.length, makers.makers[0].address, makers.total], [1, silent.address, 2])
  assert.match(`${makers.broken[0].row} ${makers.broken[0].fault}`, new RegExp(`^${address} .* dialect: `))
  const trackers = await http('trackers')
  assert.deepEqual([trackers.trackers.length, trackers.broken.length], [1, 1])
  assert.match(trackers.broken[0].fault, /^height: /)
  const own = await http(`makers/${bent.address}`)
  assert.deepEqual([own.bonds.length, own.broken.length], [0, 1])

  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir, ...ONCE]
  for (const [verb, left, says] of [
    [['bonds', '--all'], 2, /^bonds: .* can't be shown: refusal: [^\n]+\n$/],
    [['makers'], 1, /^makers: .* can't be shown: dialect: [^\n]+\n$/],
    [['trackers'], 1, /^trackers: .* can't be shown: height: [^\n]+\n$/],
    [['export', 'bonds'], 2, /^bonds: .* can't be shown: refusal: [^\n]+\n$/],
  ] as const) {
    const json = verb[0] === 'export' ? [] : ['--json']
    const { code, stdout, stderr } = await runVerb([...verb, ...json, ...flags])
    assert.equal(code, 0, stderr)
    const shown = JSON.parse(stdout)
    assert.equal((Array.isArray(shown) ? shown : shown.bonds).length, left, verb.join(' '))
    assert.match(stderr, says)
  }
  const page = await tracker.ask({ type: 'Bonds', all: true }, 'Bonds')
  assert.deepEqual(page.bonds.map((row) => row.address).sort(), [address, silent.address].sort())
})
