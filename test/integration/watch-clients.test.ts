/** Watch as clients use it: the watch verb, v1 and v2 side by side, a client that comes back after having been cut off. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { MAIN, runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { present, Wallet } from '../support/subscriber.ts'

/** The watch verb, running; its lines as they come. */
class WatchVerb implements AsyncDisposable {
  readonly lines: string[] = []
  stderr = ''
  readonly #child

  constructor(args: string[]) {
    this.#child = spawn(process.execPath, [MAIN, 'watch', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let rest = ''
    this.#child.stdout.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      this.lines.push(...lines)
    })
    this.#child.stderr.on('data', (chunk) => {
      this.stderr += chunk
    })
  }

  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) {
      const exited = once(this.#child, 'exit')
      this.#child.kill('SIGINT')
      await exited
    }
    return this.#child.exitCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

test('the watch verb follows live, comes back when the tracker does, and ends with Ctrl-C', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [a, b] = (await makeCoins(node, 2)).map(({ txid, vout }) => ({ txid, vout }))
  const coins = new Map([a!, b!].map((outpoint) => [outpoint, { ...outpoint, sats: 100_000 }]))
  await tracker.caughtUp(node)
  const settings = ['--network', 'regtest', '--address', `127.0.0.1:${tracker.port}`]
  await using people = new WatchVerb([formatOutpoint(a!), formatOutpoint(b!), ...settings])
  await using program = new WatchVerb([formatOutpoint(a!), formatOutpoint(b!), '--json', ...settings])
  await waitUntil('both know where they stand', () => people.lines.length === 2 && program.lines.length === 2)
  assert.deepEqual(
    people.lines,
    [a!, b!].map((outpoint) => `${formatOutpoint(outpoint)}  unspent`),
  )

  const spent = await spend(node, [coins.get(a!)!])
  const [blockHash] = await node.mine(1)
  const height = await node.height()
  await waitUntil('the block is told', () => people.lines.at(-1)?.includes('confirmed'))
  assert.match(
    people.lines.at(-1)!,
    new RegExp(
      `^${formatOutpoint(a!)}  confirmed  by ${spent.txid}:0  in block ${height} \\(${blockHash}\\)  first seen 20`,
    ),
  )
  await waitUntil('the program is told too', () => program.lines.at(-1)?.includes('confirmed'))
  const line = JSON.parse(program.lines.at(-1)!)
  assert.deepEqual(
    { ...line, first_seen: typeof line.first_seen },
    {
      outpoint: formatOutpoint(a!),
      state: 'confirmed',
      registered: false,
      txid: spent.txid,
      vin: 0,
      tx: spent.hex,
      height,
      block_hash: blockHash,
      first_seen: 'number',
      conflicts: [],
    },
  )

  await tracker.stop('SIGKILL')
  await waitUntil('the loss is said', () => people.stderr.includes('trying again'))
  const other = await spend(node, [coins.get(b!)!])
  tracker.launch()
  await waitUntil('what happened meanwhile is told', () =>
    people.lines.at(-1)?.includes(`mempool    by ${other.txid}:0`),
  )
  assert.equal(await people.stop(), 0)
  assert.equal(await program.stop(), 0)

  const wrong = await runVerb(['watch', 'abc:0', ...settings])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /abc:0 is no outpoint: expected <txid as bitcoin-cli prints it>:<vout>/)
})

test('v1 Watch and v2 speak of the same: one registers, the other sees it', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const [coin, other] = await makeCoins(node, 2)
  await tracker.caughtUp(node)
  using taker = await Wallet.open(tracker)
  const v1 = async (outpoint: Outpoint) =>
    (await taker.ask({ type: 'Watch', outpoint }, 'WatchResponse')).transactions.map(({ txid }) => txid)
  assert.deepEqual(await v1(coin!), [])
  const both = await taker.ask({ type: 'WatchMany', outpoints: [coin!, other!] }, 'Spends')
  assert.deepEqual(
    both.spends.map(({ registered }) => registered),
    [true, false],
  )
  using wallet = await Wallet.open(tracker)
  await wallet.subscribe([coin!])
  const low = await spend(node, [coin!])
  await wallet.told(tracker, coin!, { state: 'mempool', txid: low.txid })
  assert.deepEqual(await v1(coin!), [low.txid])
  const high = await spend(node, [coin!], { feeSats: 5_000 })
  await wallet.told(tracker, coin!, { state: 'mempool', txid: high.txid, conflicts: [low.txid] })
  assert.deepEqual(await v1(coin!), [high.txid], 'v1 can not tell an evicted one from a live one')

  const { spends, indexedFrom } = await wallet.ask({ type: 'Unsubscribe', outpoints: [coin!, other!] }, 'Spends')
  assert.deepEqual([spends, indexedFrom], [[], 0])
  await node.mine(1)
  await tracker.caughtUp(node)
  await waitUntil('the spend is confirmed', async () => (await present(tracker, coin!)).state === 'confirmed')
  assert.equal(wallet.last(coin!)!.state, 'mempool', 'who has unsubscribed is told no more')
})

test('a client that was cut off subscribes again and has lost nothing; many outpoints spent by one transaction', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const coins = await makeCoins(node, 200, 10_000)
  await tracker.caughtUp(node)
  using lost = await Wallet.open(tracker)
  await lost.subscribe(coins)
  lost[Symbol.dispose]()
  const sweep = await spend(node, coins, { feeSats: 40_000 })
  await node.mine(1)
  await tracker.caughtUp(node)
  using back = await Wallet.open(tracker)
  const states = await waitUntil('it subscribes again', () => back.subscribe(coins).catch(() => undefined))
  assert.ok(states.every(({ state, txid }) => state === 'confirmed' && txid === sweep.txid))
  assert.deepEqual(
    states.map(({ vin }) => vin),
    coins.map((_, vin) => vin),
  )
  await waitUntil('the connection that was lost holds nothing', () => tracker.status()?.subscriptions === 200)
})
