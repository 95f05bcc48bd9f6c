/**
 * kills [COUNT]: kill -9 at any moment, under load, again and again. Whatever was said to be registered is there after each
 * kill; in the end every registered coin's spend is told as bitcoind has it, first seen when it was first told, and the
 * rows are those of an index made from nothing.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { formatOutpoint, type Txid } from '../../src/chain/types.ts'
import { ask } from '../../src/wire/client.ts'
import type { Reply, Request } from '../../src/wire/messages.ts'
import { bondKey } from '../../test/sandbox/bond-key.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { type Coin, makeCoins, spend } from '../../test/support/coins.ts'
import { freshRows } from '../../test/support/fresh-index.ts'
import { keptOf } from '../../test/support/lived-in.ts'
import { onionHost } from '../../test/support/onions.ts'

const LIMITS = {
  /** A life, from the moment at which it is synced to its kill. */
  lifeMsMax: 1_500,
  /** Every fourth life is ended before it can answer, at any moment of its start. */
  startMsMax: 500,
  coinsPerLife: 4,
  ttlBlocks: 20_000,
  askMs: 10_000,
}

export interface KillsOutcome {
  kills: number
  registered: number
  spent: number
  bonds: number
  blocks: number
  /** What was lost, in words; empty is what is wanted. */
  losses: string[]
}

/** What the daemon's clients have been told, and what the chain has. */
interface Promised {
  /** Said to be registered. */
  registered: Map<string, Coin>
  /** By registered coin: who spends it. */
  spenders: Map<string, Txid>
  /** By registered coin: when its spend was first seen, as told first. */
  firstSeenS: Map<string, number>
  bonds: number
}

export async function soakKills(kills: number, onKill: (n: number) => void = () => {}): Promise<KillsOutcome> {
  await using node = await Regtest.start()
  const coins: Coin[] = []
  for (let left = kills * LIMITS.coinsPerLife; left > 0; left -= 400) {
    const some = await makeCoins(node, Math.min(left, 400), 20_000)
    await lock(node, some) // before the next ones are paid for
    coins.push(...some)
  }
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  const promised: Promised = { registered: new Map(), spenders: new Map(), firstSeenS: new Map(), bonds: 0 }
  const losses: string[] = []
  for (let n = 1; n <= kills; n++) {
    if (n % 4 === 0) await pause(Math.random() * LIMITS.startMsMax)
    else await liveAndDie(node, tracker, coins, promised)
    await tracker.stop('SIGKILL')
    losses.push(...missing(tracker, promised).map((what) => `after kill ${n}: ${what}`))
    if (n % 5 === 0) await node.mine(1) // while nobody looks
    tracker.launch()
    onKill(n)
  }
  await node.mine(1)
  await tracker.caughtUp(node)
  losses.push(...(await untold(tracker, promised)))
  losses.push(...(await differences(node, tracker)))
  if (!tracker.isRunning) losses.push(`the daemon has ended: ${tracker.stderr}`)
  return {
    kills,
    registered: promised.registered.size,
    spent: promised.spenders.size,
    bonds: promised.bonds,
    blocks: await node.height(),
    losses,
  }
}

/** The wallet does not choose them by itself. */
async function lock(node: Regtest, coins: readonly Coin[]): Promise<void> {
  await node.rpc(
    'lockunspent',
    false,
    coins.map(({ txid, vout }) => ({ txid, vout })),
  )
}

/** Waits until it is synced, then registers, spends, asks and mines, and kills it in the middle of that. */
async function liveAndDie(node: Regtest, tracker: Tracker, coins: Coin[], promised: Promised): Promise<void> {
  const isSynced = async () => (await tracker.ask({ type: 'Status' }, 'Status').catch(() => undefined))?.synced
  await waitUntil('it is synced', isSynced, { everyMs: 10 })
  const end = new AbortController()
  const work = [registering(tracker, coins, promised, end.signal), asking(tracker, promised, end.signal)]
  const chain = chaining(node, promised, end.signal)
  await pause(Math.random() * LIMITS.lifeMsMax)
  end.abort()
  await tracker.stop('SIGKILL')
  await Promise.all([...work, chain])
}

/** Undefined when the daemon died over it. */
async function answer(tracker: Tracker, request: Request): Promise<Reply | undefined> {
  try {
    const socket = await tracker.connect()
    try {
      return await ask(socket, request, { timeoutMs: LIMITS.askMs })
    } finally {
      socket.destroy()
    }
  } catch {
    return undefined
  }
}

async function registering(tracker: Tracker, coins: Coin[], promised: Promised, signal: AbortSignal): Promise<void> {
  for (let n = 0; n < LIMITS.coinsPerLife && !signal.aborted; ) {
    const coin = coins.at(-1)
    if (!coin) return
    const { txid, vout } = coin
    const reply = await answer(tracker, { type: 'Register', outpoints: [{ txid, vout }], ttlBlocks: LIMITS.ttlBlocks })
    if (reply?.type === 'Registered') {
      promised.registered.set(formatOutpoint(coin), coin)
      coins.pop()
      n++
    } else await pause(20) // behind for a moment after its start
  }
}

/** Notes when a spend was first seen, as it is told first. */
async function asking(tracker: Tracker, promised: Promised, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const spent = [...promised.spenders.keys()].slice(-20).map((name) => promised.registered.get(name)!)
    const outpoints = spent.map(({ txid, vout }) => ({ txid, vout }))
    const reply = outpoints.length > 0 ? await answer(tracker, { type: 'WatchMany', outpoints }) : undefined
    if (reply?.type === 'Spends') noteFirstSeen(reply, promised)
    await pause(30)
  }
}

function noteFirstSeen({ spends }: Extract<Reply, { type: 'Spends' }>, promised: Promised): void {
  for (const { outpoint, txid, firstSeenS } of spends) {
    const name = formatOutpoint(outpoint)
    if (txid === undefined || firstSeenS === undefined || promised.firstSeenS.has(name)) continue
    promised.firstSeenS.set(name, firstSeenS)
  }
}

/** Spends a registered coin, announces a bond, mines, takes back a block. */
async function chaining(node: Regtest, promised: Promised, signal: AbortSignal): Promise<void> {
  for (let step = Math.floor(Math.random() * 8); !signal.aborted; step++) {
    const unspent = [...promised.registered].find(([name]) => !promised.spenders.has(name))
    if (step % 8 === 7) await node.replaceTip({ drop: 1, mine: 2 })
    else if (step % 4 === 3) await node.mine(1)
    else if (step % 4 === 1) {
      const name = `kills-${promised.bonds++}`
      await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
    } else if (unspent) {
      const [name, coin] = unspent
      promised.spenders.set(name, (await spend(node, [coin])).txid)
    }
    await pause(30)
  }
}

/** What was said to be registered, and is not in the database that the killed daemon left. */
function missing(tracker: Tracker, { registered }: Promised): string[] {
  const rows = keptOf(tracker.dataDir).watches as { 'hex(txid)': string; vout: number }[]
  const stored = new Set(rows.map((row) => `${row['hex(txid)'].toLowerCase()}:${row.vout}`))
  const internal = ({ txid, vout }: Coin) => `${Buffer.from(txid, 'hex').reverse().toString('hex')}:${vout}`
  return [...registered].flatMap(([name, coin]) =>
    stored.has(name) || stored.has(internal(coin)) ? [] : [`the registration of ${name} is lost`],
  )
}

/** Registered coins of which something else is told than what happened to them. */
async function untold(tracker: Tracker, { registered, spenders, firstSeenS }: Promised): Promise<string[]> {
  const wrong: string[] = []
  const all = [...registered.values()].map(({ txid, vout }) => ({ txid, vout }))
  for (let at = 0; at < all.length; at += 200) {
    const outpoints = all.slice(at, at + 200)
    const { spends } = await tracker.ask({ type: 'WatchMany', outpoints }, 'Spends')
    for (const told of spends) {
      const name = formatOutpoint(told.outpoint)
      const spender = spenders.get(name)
      const expected = spender === undefined ? 'unspent' : 'confirmed'
      if (told.state !== expected || told.txid !== spender) {
        wrong.push(`${name}: told ${told.state} by ${told.txid}, it is ${expected} by ${spender}`)
      }
      const seenS = firstSeenS.get(name)
      if (seenS !== undefined && told.firstSeenS !== seenS) {
        wrong.push(`${name}: first seen at ${told.firstSeenS}, before it was ${seenS}`)
      }
    }
  }
  return wrong
}

/** From an index of the same chain made from nothing. It knows no registrations, so of spends only those of bonds. */
async function differences(node: Regtest, tracker: Tracker): Promise<string[]> {
  const lived = tracker.chainRows()
  const fresh = await freshRows(node, tracker)
  const hasRow = (rows: readonly unknown[], row: unknown) => rows.some((other) => isDeepStrictEqual(other, row))
  const lost = fresh.spends!.filter((row) => !hasRow(lived.spends!, row))
  const wrong = ['blocks', 'bonds', 'spent_keys'].filter((table) => !isDeepStrictEqual(lived[table], fresh[table]))
  return [
    ...wrong.map((table) => `${table} are not those of a fresh index`),
    ...lost.map((row) => `a bond's spend is lost: ${JSON.stringify(row).slice(0, 200)}`),
  ]
}
