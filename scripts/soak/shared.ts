/**
 * shared [ROUNDS]: three trackers, one of which is killed with -9 in every round, at any moment, in the middle of a
 * `Register` too. A client registers outpoints at it, and comes back to another: whatever was said to be registered is
 * watched, and its spend is told.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { formatOutpoint, type Outpoint, type Txid } from '../../src/chain/types.ts'
import type { Ending } from '../../test/sandbox/postgres.ts'
import type { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { type Coin, makeCoins, spend } from '../../test/support/coins.ts'
import { Fleet, knows, register, registrationsAt, spendOf } from '../../test/support/fleet.ts'

const LIMITS = {
  coinsPerRound: 12,
  ttlBlocks: 20_000,
  /** From the first `Register` to the kill: some of them are answered by then, and one is under way. */
  lifeMsMax: 150,
  /** Until another has learnt of a registration, and until it tells of a spend; far more than it takes. */
  learnMs: 30_000,
  tellMs: 30_000,
}

export interface SharedOutcome {
  rounds: number
  /** Outpoints that were said to be registered, and those that were asked for without an answer. */
  registered: number
  unanswered: number
  /** From the kill until each of the others has all that was promised in its own file, milliseconds, by round. */
  knownMs: number[]
  /** From a spend's sending until another tracker tells of it, by outpoint. */
  toldMs: number[]
  /** From the launch of the one that was killed until it serves again, by round. */
  backMs: number[]
  /** What was lost, in words; empty is what is wanted. */
  losses: string[]
}

/** `end`: who ends PostgreSQL. */
export async function soakShared(
  end: Ending,
  rounds: number,
  onRound: (n: number) => void = () => {},
): Promise<SharedOutcome> {
  await using fleet = await Fleet.start(end)
  const outcome: SharedOutcome = {
    rounds,
    registered: 0,
    unanswered: 0,
    knownMs: [],
    toldMs: [],
    backMs: [],
    losses: [],
  }
  /** Who spends what was said to be registered. */
  const spenders = new Map<Outpoint, Txid>()
  for (let n = 1; n <= rounds; n++) {
    const coins = await makeCoins(fleet.node, LIMITS.coinsPerRound, 20_000)
    await fleet.together()
    const victim = chosen(fleet.trackers)
    const promised = await registerUntilKilled(victim, coins, outcome)
    const others = fleet.trackers.filter((tracker) => tracker !== victim)
    const killedMs = performance.now()
    for (const other of others) {
      // A question is answered from the chain as well: what is watched while nobody asks is what its file says.
      await knows(other, promised, LIMITS.learnMs).catch((error) => outcome.losses.push(`round ${n}: ${error}`))
    }
    outcome.knownMs.push(performance.now() - killedMs)
    for (const coin of promised) {
      const { txid } = await spend(fleet.node, [coin])
      spenders.set(coin, txid)
      const lost = await untold(chosen(others), coin, txid, outcome)
      if (lost) outcome.losses.push(`round ${n}: ${lost}`)
    }
    const launchedMs = performance.now()
    victim.launch()
    await fleet.together()
    outcome.backMs.push(performance.now() - launchedMs)
    onRound(n)
  }
  await fleet.node.mine(1)
  await fleet.together()
  for (const tracker of fleet.trackers) outcome.losses.push(...(await unlike(tracker, spenders)))
  return outcome
}

function chosen<T>(all: readonly T[]): T {
  return all[Math.floor(Math.random() * all.length)]!
}

/** One request for each coin, all at once, and a kill meanwhile. Returns those of which it was said that they are registered. */
async function registerUntilKilled(victim: Tracker, coins: readonly Coin[], outcome: SharedOutcome): Promise<Coin[]> {
  const promised: Coin[] = []
  const asking = coins.map(async (coin, i) => {
    await pause((i / coins.length) * LIMITS.lifeMsMax)
    const isSaid = await register(victim, [coin], LIMITS.ttlBlocks).then(
      () => true,
      () => false,
    )
    if (isSaid) promised.push(coin)
    else outcome.unanswered++
  })
  await pause(Math.random() * LIMITS.lifeMsMax)
  await victim.stop('SIGKILL')
  await Promise.all(asking)
  outcome.registered += promised.length
  return promised
}

/** Undefined when the tracker has told the spend in time. */
async function untold(tracker: Tracker, coin: Coin, txid: Txid, outcome: SharedOutcome): Promise<string | undefined> {
  const sentMs = performance.now()
  const isTold = async () => (await spendOf(tracker, coin)).txid === txid
  try {
    await waitUntil('the spend is told', isTold, { timeoutMs: LIMITS.tellMs, everyMs: 10 })
    outcome.toldMs.push(performance.now() - sentMs)
  } catch (error) {
    return `the spend of ${formatOutpoint(coin)}: ${String(error)}`
  }
}

/** What the tracker doesn't know in the end of what was promised, though a client may come to any of them. */
async function unlike(tracker: Tracker, spenders: ReadonlyMap<Outpoint, Txid>): Promise<string[]> {
  const wrong: string[] = []
  const known = registrationsAt(tracker)
  for (const [coin, txid] of spenders) {
    const name = formatOutpoint(coin)
    if (!known.has(name)) wrong.push(`the registration of ${name} is not in the file of one of them`)
    const told = await spendOf(tracker, coin)
    if (told.state !== 'confirmed' || told.txid !== txid) wrong.push(`${name} is told ${told.state} by ${told.txid}`)
  }
  return wrong
}
