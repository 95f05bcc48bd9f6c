/**
 * Every answer that bitcoind, or whatever stands before it, may give in place of the right one, at every call for a
 * moment each: the daemon lives, and follows again within seconds. WEATHER_EACH=1 plays every weather at every call by
 * itself, which takes an hour or two; WEATHER_ONLY=<text> those whose name has it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { freshRows } from '../support/fresh-index.ts'
import { NodeLine } from '../support/node-line.ts'
import { onionHost } from '../support/onions.ts'
import { WEATHERS } from '../support/weathers.ts'

const EACH = process.env.WEATHER_EACH === '1'
const ONLY = process.env.WEATHER_ONLY ?? ''

/** For the suite: of each kind a few, all of them at every call at once. */
const CHOSEN = [
  ...['HTTP 204', 'HTTP 302', 'HTTP 401', 'HTTP 403', 'HTTP 404', 'HTTP 429', 'HTTP 503', 'HTTP 504', 'HTTP 520'],
  ...['HTTP 200 with a page', 'HTTP 200 with "null"', 'HTTP 200 with "[]"', 'code -1', 'code -5', 'code -8', 'code -9'],
  ...['code -28', 'code -32601', 'code -32603', 'code 401', 'code -28 within a batch', 'code -1 within a batch'],
  ...['code -32603 within a batch', 'a code that is text', 'replies cut in half', 'connections reset', 'no answer'],
  ...['a body without an end', 'a body longer than any', 'the id of another question', 'a batch in another order'],
  ...['a reply too many', 'results that are null', 'results that are [7]', 'hex of odd length', 'hex that is none'],
  ...[
    'other bytes',
    'a bit of the body changed',
    'blocks -1',
    'blocks 1099511627776',
    'bestblockhash ""',
    'pruneheight -5',
    'chain "main"',
  ],
]

/** What bounds are held to; measured, they are far from it. */
const LIMITS = { linesAWeather: 40, exchangesAWeather: 2_000 }

/** Every call that is made, and where blocks come from. */
const CALLS = [
  ...['getblockchaininfo', 'getnetworkinfo', 'getbestblockhash', 'getblockhash', 'getblockheader', 'getblock'],
  ...['getrawmempool', 'getrawtransaction', 'gettxout', 'gettxspendingprevout', 'waitfornewblock'],
  ...['getzmqnotifications', 'getdeploymentinfo', '/rest/block', '/rest/chaininfo.json'],
]

test('whatever bitcoind answers for a moment, the daemon lives and follows again', async (t) => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await node.fundBond({ key: bondKey('w'), format: 'D', address: `${onionHost('w')}:21` })
  await node.mine(1)
  await using proxy = await NodeLine.before(node)
  await using tracker = await Tracker.start(node, { via: proxy })
  await tracker.caughtUp(node)
  /** Strangers who ask meanwhile are told something, or nothing; only the daemon's life counts here. */
  const ask = () => {
    const asked = [
      tracker.ask({ type: 'WatchMany', outpoints: [{ txid: bond.txid, vout: 1 }] }, 'Spends'),
      tracker.ask({ type: 'BondProof', outpoint: bond.outpoint }, 'BondProof'),
    ]
    return Promise.allSettled(asked)
  }
  const names = (EACH || ONLY ? Object.keys(WEATHERS) : CHOSEN).filter((name) => name.includes(ONLY))
  const worst = { recoveryMs: 0, lines: 0, exchanges: 0 }
  for (const name of names) {
    const weather = WEATHERS[name]!
    for (const call of EACH ? CALLS : [undefined]) {
      const [linesBefore, exchangesBefore] = [tracker.log.length, proxy.exchanges]
      await node.pay([{ [await node.newAddress()]: '0.001' }])
      proxy.fate = (asked) => {
        const at = asked.calls[0]?.method ?? asked.path
        if (call === 'getblock' && at.startsWith('/rest/block/')) return 'reset'
        return call === undefined || at === call || at.startsWith(`${call}/`) ? weather(asked) : undefined
      }
      const asked = ask()
      await node.mine(1)
      const isMet = () => proxy.met >= (call === undefined && !proxy.isHolding ? 4 : 1) || !tracker.isRunning
      await waitUntil(`${name} is met`, isMet, { timeoutMs: call === undefined ? 30_000 : 3_000, everyMs: 10 }).catch(
        (error: unknown) => {
          if (call === undefined) throw error // by itself it may not be asked for, or be let pass
        },
      )
      proxy.calm()
      const calmMs = performance.now()
      await node.mine(1)
      await tracker.caughtUp(node)
      await asked
      const lines = tracker.log.slice(linesBefore).filter(({ level }) => level >= 40)
      worst.recoveryMs = Math.max(worst.recoveryMs, performance.now() - calmMs)
      worst.lines = Math.max(worst.lines, lines.length)
      worst.exchanges = Math.max(worst.exchanges, proxy.exchanges - exchangesBefore)
      assert.ok(lines.length < LIMITS.linesAWeather, `${name}: ${lines.length} lines`)
      for (const { detail } of lines) assert.match(String(detail), /^[\x20-\x7e…“”]*$/, name)
    }
  }
  assert.ok(worst.exchanges < LIMITS.exchangesAWeather, `${worst.exchanges} exchanges`)
  assert.deepEqual(await tracker.addresses(), [bond.address])
  assert.deepEqual(tracker.chainRows(), await freshRows(node, tracker))
  t.diagnostic(`${names.length} weathers; worst: ${JSON.stringify(worst)}`)
})
