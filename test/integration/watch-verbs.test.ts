/** The verbs register and watches: against a daemon whose places get few, and on the database beside it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatOutpoint } from '../../src/chain/types.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins } from '../support/coins.ts'

test('register brings the effort it is asked for; watches tells of places and ends, and ends some without the daemon', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, {
    args: ['--no-tor', '--allow-test-addresses', '--watches-max', '8'],
  })
  const coins = (await makeCoins(node, 6)).map(formatOutpoint)
  await tracker.caughtUp(node)
  const height = await node.height()
  const settings = ['--network', 'regtest', '--datadir', tracker.dataDir, '--watches-max', '8']
  const register = (...args: string[]) =>
    runVerb(['register', ...args, '--tracker', `127.0.0.1:${tracker.port}`, ...settings])

  const free = await register(...coins.slice(0, 3), '--blocks', '100')
  assert.deepEqual([free.code, free.stdout], [0, `3 registered until block ${height + 100}\n`])
  const madeUp = await register(`${'ee'.repeat(32)}:1`, '--json')
  assert.deepEqual(JSON.parse(madeUp.stdout), {
    type: 'Registered',
    count: 1,
    until_height: height + 2_016,
    unfunded: 1,
    unfunded_until: height + 144,
    efforts: [],
  })
  const dear = await register(coins[3]!, '--json')
  assert.match(dear.stderr, /an effort of 16 bits is asked for/)
  const { efforts, ...granted } = JSON.parse(dear.stdout)
  assert.deepEqual(granted, {
    type: 'Registered',
    count: 1,
    until_height: height + 2_016,
    unfunded: 0,
    unfunded_until: null,
  })
  assert.equal(efforts.length, 1)
  assert.equal(efforts[0].bits, 16)
  const tooDear = await register(...coins.slice(4), `${'ef'.repeat(32)}:0`, '--blocks', '52560')
  assert.equal(tooDear.code, 2)
  assert.match(tooDear.stderr, /an effort of 3\d bits, more than 33 are not looked for: name fewer outpoints/)
  const full = await register(...coins.slice(0, 3), ...coins.slice(4), `${'ef'.repeat(32)}:0`, `${'ef'.repeat(32)}:1`)
  assert.equal(full.code, 1)
  assert.match(full.stdout, /limit: this tracker has room for 8 registered outpoints/)

  const watches = (...args: string[]) => runVerb(['watches', ...args, ...settings])
  const told = JSON.parse((await watches('--json')).stdout)
  assert.deepEqual([told.count, told.places, told.unfunded, told.height], [5, 8, 1, height])
  assert.equal(
    told.ends.reduce((sum: number, { count }: { count: number }) => sum + count, 0),
    5,
  )
  assert.match((await watches()).stdout, /^5 of 8 places taken, at block \d+\n1 of them wait/)
  const running = await watches('--drop', coins[0]!)
  assert.equal(running.code, 2)
  assert.match(running.stderr, /is running: stop it first/)

  await tracker.stop('SIGTERM')
  const some = await watches('--drop', coins[0]!, coins[5]!, '--json')
  assert.deepEqual([some.code, JSON.parse(some.stdout)], [1, { dropped: 1, missing: [coins[5]!] }])
  const later = await watches('--drop-after', String(height + 100))
  assert.deepEqual([later.code, later.stdout], [0, '2 registrations ended. Start the daemon\n'])
  tracker.launch()
  await tracker.caughtUp(node)
  await waitUntil('two are left', () => tracker.status()?.registrations === 2)
})
