/**
 * A daemon's life in rounds: calm, attacks that come and go, reorgs, bitcoind and Tor restarted. In each of them honest
 * clients do what they do; after each, when they have gone, what the daemon holds is measured. One wallet is there from
 * the first to the last, and is told of its coin in the end.
 */
import { formatHostPort } from '../../src/tor/address.ts'
import { encodeRequest } from '../../src/wire/messages.ts'
import { freePorts } from '../../test/sandbox/ports.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { TorNetwork } from '../../test/sandbox/tor-network.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { makeCoins, send, sign } from '../../test/support/coins.ts'
import type { Attack, Stage } from '../bench/attack/attack.ts'
import { Attackers } from '../bench/attack/attackers.ts'
import { type Figures, fillWallet, HonestClient } from '../bench/attack/honest.ts'
import { Line } from '../bench/attack/line.ts'
import { ATTACKS } from '../bench/attack/list.ts'
import { Collector, inspected } from './collector.ts'
import { type Held, heldAtRest } from './held.ts'

export interface LifeOptions {
  /** Which rounds, in this order; see ROUNDS. */
  next: (done: number) => string | undefined
  roundMs: number
  /** A private Tor network, and the daemon's onion service in it. */
  withTor: boolean
  /** How long honest clients wait before they call it a loss; theirs unless given. */
  patienceMs?: number
  onRound?: (round: Round) => void
}

export interface Round {
  name: string
  figures: Figures
  held: Held
  /** What honest clients have lost that they may not lose in such a round. */
  losses: string[]
}

/**
 * Attacks that can be made again and again, leave nothing behind that is there to stay, and leave bitcoind something to
 * spare: in 18 a thousand clients that ask no more than a wallet does have it between them, and an honest one its share.
 */
const ATTACKERS = ATTACKS.filter(({ number, needsTor }) => !needsTor && ![7, 17, 18].includes(number))

export const ROUNDS = ['calm', 'reorg', 'bitcoind', 'tor', ...ATTACKERS.map(({ number }) => `attack ${number}`)]

const PATIENCE_MS = 60_000
/** The wallet that stays is the only client at rest. */
const STAYING = 1

export async function liveThrough(options: LifeOptions): Promise<{ rounds: Round[]; losses: string[] }> {
  await using tor = options.withTor ? await TorNetwork.start({ clients: 1 }) : undefined
  await using node = await Regtest.start()
  const [coin] = await makeCoins(node, 1)
  const kept = { txid: coin!.txid, vout: coin!.vout }
  const isPersistent = true // bitcoind is restarted
  await node.rpc('lockunspent', false, [kept], isPersistent)
  const client = tor?.clients[0]
  const reach = client
    ? ['--control-port', formatHostPort(client.control), '--socks-port', formatHostPort(client.socks)]
    : ['--no-tor']
  const args = ['--allow-test-addresses', ...reach, ...ATTACKERS.flatMap(({ flags = [] }) => flags)]
  const [inspectorPort] = await freePorts(1)
  await using tracker = await Tracker.start(node, { http: true, nostr: true, args, env: inspected(inspectorPort!) })
  await tracker.caughtUp(node)
  using collector = await Collector.open(inspectorPort!)

  const losses: string[] = []
  let isTold = false
  const staying = new Line(tracker.port, {
    onPush: ({ type, ...spend }) => {
      if (type === 'Spend' && 'state' in spend && spend.state === 'mempool') isTold = true
    },
    onLost: () => losses.push('the wallet that stays has lost its connection'),
  })
  await staying.ask(encodeRequest({ type: 'Subscribe', outpoints: [kept] }), PATIENCE_MS)

  const prepared = new Map<number, unknown>()
  const rounds: Round[] = []
  for (let name = options.next(0); name !== undefined; name = options.next(rounds.length)) {
    const { figures, further } = await pass(name, { node, tracker, tor, prepared }, options)
    const held = await heldAtRest(tracker, collector, STAYING)
    const lost = [...figures.losses].map(([what, n]) => `${n} × ${what}`)
    // While bitcoind is away, what only it knows can't be told; everything else is.
    const round = { name, figures, held, losses: [...(name === 'bitcoind' ? [] : lost), ...further] }
    rounds.push(round)
    options.onRound?.(round)
    losses.push(...round.losses.map((loss) => `round ${rounds.length}, ${name}: ${loss}`))
    if (!tracker.isRunning) throw new Error(`the daemon has ended: ${tracker.stderr}`)
  }

  await send(node, await sign(node, [coin!]))
  await waitUntil('the wallet that stayed is told', () => isTold, { timeoutMs: PATIENCE_MS }).catch(() => {
    losses.push('the wallet that stayed is not told of its coin')
  })
  staying.close()
  const errors = tracker.log.filter(({ level }) => level >= 50)
  losses.push(...errors.map((line) => `the log has an error: ${JSON.stringify(line).slice(0, 400)}`))
  return { rounds, losses }
}

interface Place {
  node: Regtest
  tracker: Tracker
  tor: TorNetwork | undefined
  /** What attacks have prepared, each once. */
  prepared: Map<number, unknown>
}

async function pass(
  name: string,
  place: Place,
  { roundMs, patienceMs }: LifeOptions,
): Promise<{ figures: Figures; further: string[] }> {
  const { node, tracker, tor, prepared } = place
  const attack: Attack | undefined = ATTACKERS.find(({ number }) => name === `attack ${number}`)
  if (attack && !prepared.has(attack.number)) prepared.set(attack.number, await attack.prepare?.(node))
  const wallet = await fillWallet(node, roundMs / 1_000 + 5)
  await tracker.caughtUp(node)
  const comesAgain = name === 'reorg' || name === 'bitcoind' || attack?.isReorg === true
  using honest = await HonestClient.open(place, wallet, {
    comesAgain,
    spends: name !== 'bitcoind',
    ...(patienceMs !== undefined && { patienceMs }),
  })
  if (attack) {
    const data = prepared.get(attack.number)
    const target = { port: tracker.port, httpPort: tracker.httpPort!, nostrPort: tracker.nostrPort!, data }
    await using attackers = await Attackers.launch(attack, target)
    const stage: Stage = { node, tracker, tor: [], data }
    const [figures, lost = []] = await Promise.all([honest.measure(roundMs), attack.meanwhile?.(stage, roundMs)])
    const tally = await attackers.stop()
    return { figures, further: [...lost, ...(attack.faults?.(tally) ?? [])] }
  }
  const logged = tracker.log.length
  const [figures] = await Promise.all([honest.measure(roundMs), happen(name, node, tor)])
  if (name === 'bitcoind') await tracker.caughtUp(node)
  if (name === 'tor') {
    await waitUntil(
      'the onion service is published again',
      () => tracker.log.slice(logged).find(({ msg }) => msg === 'onion service published'),
      { timeoutMs: 120_000 },
    )
  }
  return { figures, further: [] }
}

/** What happens in a round without attackers. */
async function happen(name: string, node: Regtest, tor: TorNetwork | undefined): Promise<void> {
  switch (name) {
    case 'reorg': {
      const drop = 1 + Math.floor(Math.random() * 3)
      await node.replaceTip({ drop, mine: drop + 1 })
      return
    }
    case 'bitcoind':
      await node.stop() // killed, it forgets blocks, and the coins in them
      await node.launch()
      await node.mine(1)
      return
    case 'tor':
      await tor?.kill(0)
      tor?.restart(0)
      return
    default:
      await node.mine(1)
  }
}
