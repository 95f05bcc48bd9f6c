/**
 * Thousands of random steps, with and without ZMQ: spends, chains of them, replacements and evictions of what spends and of
 * what funds, outpoints that nobody has made and such as nobody can, hidden blocks, reorgs, double spends in blocks, kill
 * -9, registrations, wallets that come at different times and go. Whenever all is quiet the same question: does every
 * subscriber (by what it was told last) and every newcomer know exactly what bitcoind knows? The oracle asks bitcoind by
 * brute force and shares no code with the index. WATCH_MODEL_SEED repeats a run, WATCH_MODEL_STEPS makes it longer.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asTxid, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import type { SpendFields } from '../../src/wire/messages.ts'
import { Regtest, RpcError } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, makeCoins, type Signed, sign } from '../support/coins.ts'
import { SpendOracle, type Truth } from '../support/spend-oracle.ts'
import { Wallet } from '../support/subscriber.ts'

const SEED = Number(process.env.WATCH_MODEL_SEED ?? Date.now() % 1_000_000)
const STEPS = Number(process.env.WATCH_MODEL_STEPS ?? 600)
/** Steps between two comparisons. */
const STRIDE = 12
const WALLETS = 4

/** Mulberry32: the same steps for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

for (const zmq of [true, false]) {
  test(`${zmq ? 'with' : 'without'} ZMQ: after any steps all know what bitcoind knows (seed ${SEED})`, () => play(zmq))
}

/** One wallet's connection, and what it watches. */
interface Place {
  wallet: Wallet
  watched: Map<string, Outpoint>
}

async function play(zmq: boolean): Promise<void> {
  const random = randomFrom(SEED + Number(zmq))
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  await using node = await Regtest.start({ zmq })
  await using tracker = await Tracker.start(node)
  const oracle = new SpendOracle(node)
  /** Every coin there ever was, also of transactions that no longer exist. */
  const coins: Coin[] = await makeCoins(node, 40)
  await node.mine(6) // deeper than any reorg below
  /** Every transaction that was ever signed for an outpoint. */
  const spenders = new Map<string, Set<string>>()
  /** Transactions once in the mempool or a block, to be mined again or replaced. */
  const known: { signed: Signed; inputs: Coin[] }[] = []
  const places: Place[] = []
  const registered = new Set<string>()
  /** Spends somebody was told of an outpoint while it was watched without a break: none may be forgotten. */
  const seen = new Map<string, Set<string>>()
  await tracker.caughtUp(node)
  for (let i = 0; i < WALLETS; i++) places.push({ wallet: await Wallet.open(tracker), watched: new Map() })
  const watchedAnywhere = () => new Map(places.flatMap(({ watched }) => [...watched]))

  const subscribe = async (outpoints: readonly Outpoint[], { wallet, watched } = pick(places)) => {
    for (const outpoint of outpoints) watched.set(formatOutpoint(outpoint), outpoint)
    await waitUntil('it may subscribe', () => wallet.subscribe(outpoints).catch(notSynced))
  }
  /** Nobody is owed what nobody watches. */
  const forget = (name: string) => {
    if (!registered.has(name) && !places.some(({ watched }) => watched.has(name))) seen.delete(name)
  }
  const prepare = async (inputs: Coin[], outputs: number): Promise<Signed | undefined> => {
    const total = inputs.reduce((sum, { sats }) => sum + sats, 0)
    const feeSats = 300 + Math.floor(random() * 8_000)
    if (total - feeSats < 2_000 * outputs) return undefined
    const signed = await sign(node, inputs, { feeSats, outputs }).catch(() => undefined)
    if (!signed) return undefined // the wallet has forgotten a transaction that is gone
    for (const input of inputs) {
      const name = formatOutpoint(input)
      spenders.set(name, (spenders.get(name) ?? new Set()).add(signed.txid))
    }
    known.push({ signed, inputs })
    coins.push(...signed.outputs)
    return signed
  }
  const broadcast = async (hex: string) => {
    await node.rpc('sendrawtransaction', hex).catch((error) => {
      if (!(error instanceof RpcError)) throw error // refused: spent already, fee too low, input missing
    })
  }

  const steps: [weight: number, step: () => Promise<void>][] = [
    [
      30,
      async () => {
        const inputs = [pick(coins)]
        if (random() < 0.5) inputs.push(pick(coins))
        const signed = await prepare([...new Set(inputs)], random() < 0.3 ? 2 : 1)
        if (!signed) return
        if (random() < 0.5) await subscribe(signed.outputs.slice(0, 1)) // before it exists
        if (random() < 0.85) await broadcast(signed.hex)
      },
    ],
    [
      12, // spends again what a known transaction spends, or half of it: a replacement when its fee is higher
      async () => {
        if (known.length === 0) return
        const { inputs } = pick(known.slice(-8)) // mostly still in the mempool
        const signed = await prepare(random() < 0.6 ? inputs.slice(0, 1) : inputs, 1)
        if (signed) await broadcast(signed.hex)
      },
    ],
    [
      8, // a spend of two that everybody has seen, pushed out by a spend of one of them: the other is left evicted
      async () => {
        const pair = [...new Set([pick(coins), pick(coins)])]
        const both = await prepare(pair, 1)
        if (!both || pair.length < 2) return
        const place = pick(places)
        await subscribe(pair, place)
        await broadcast(both.hex)
        const isTold = () => place.wallet.last(pair[1]!)?.txid === both.txid
        if (!(await node.rpc<string[]>('getrawmempool')).includes(both.txid)) return
        await waitUntil('the pair is told', isTold)
        const one = await sign(node, pair.slice(0, 1), { feeSats: 12_000 }).catch(() => undefined)
        if (!one) return
        spenders.get(formatOutpoint(pair[0]!))!.add(one.txid)
        await broadcast(one.hex)
      },
    ],
    [6, async () => void (known.length > 0 && (await broadcast(pick(known).signed.hex)))],
    [4, async () => void (await node.mine(1))],
    [
      5, // a block with one transaction, possibly never seen, possibly a double spend of what the mempool has
      async () => {
        if (known.length === 0) return
        await node.mineWith([pick(known).signed.hex]).catch((error) => {
          if (!(error instanceof RpcError)) throw error
        })
      },
    ],
    [
      4,
      async () => {
        const drop = 1 + Math.floor(random() * 4)
        if (random() < 0.5) await node.replaceTip({ drop, mine: drop + Math.floor(random() * 2) })
        else {
          await node.rpc('invalidateblock', await node.rpc('getblockhash', (await node.height()) - drop + 1))
          await node.mine(drop) // the same transactions in other blocks
        }
      },
    ],
    [10, async () => void (await subscribe([pick(coins), pick(coins)]))],
    [
      8, // what is being funded just now: some come before, some while, some after
      async () => {
        const inputs = [pick(coins)]
        const signed = await prepare(inputs, 2)
        if (!signed) return
        const cheaper = random() < 0.5
        if (random() < 0.5) await subscribe(signed.outputs)
        await broadcast(signed.hex)
        if (random() < 0.7) await subscribe(signed.outputs)
        if (random() < 0.3) await subscribe(signed.outputs)
        // Replaced at once: possibly before anybody has told us that it was there.
        const rival = cheaper ? await sign(node, inputs, { feeSats: 15_000 }).catch(() => undefined) : undefined
        if (!rival) return
        spenders.get(formatOutpoint(inputs[0]!))!.add(rival.txid)
        known.push({ signed: rival, inputs })
        coins.push(...rival.outputs)
        await broadcast(rival.hex)
      },
    ],
    [
      4, // outpoints that nobody has made, and such as nobody can make
      async () => {
        const txid = random() < 0.5 ? pick(coins).txid : asTxid(randomHex(random))
        const vout = pick([2, 3, 200, 111_110, 111_111, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])
        await subscribe([{ txid, vout }, pick(coins)])
      },
    ],
    [
      4, // a wallet that was away is back on a new connection, perhaps for less
      async () => {
        const place = pick(places)
        const watched = [...place.watched].filter(() => random() < 0.5)
        place.wallet[Symbol.dispose]()
        place.wallet = await Wallet.open(tracker)
        place.watched.clear()
        for (const name of seen.keys()) forget(name) // blocks may have come meanwhile
        await subscribe(
          watched.map(([, outpoint]) => outpoint),
          place,
        )
      },
    ],
    [
      3, // asks about what it is subscribed to, too
      async () => {
        const { wallet, watched } = pick(places)
        if (watched.size === 0) return
        const outpoints = [...watched.values()].slice(-20)
        const spends = await wallet.ask({ type: 'WatchMany', outpoints }, 'Spends').catch(notSynced)
        if (spends) wallet.note(spends.spends)
      },
    ],
    [
      3,
      async () => {
        const { wallet, watched } = pick(places)
        const outpoint = pick([...watched.values(), pick(coins)])
        const name = formatOutpoint(outpoint)
        watched.delete(name)
        forget(name)
        await wallet.ask({ type: 'Unsubscribe', outpoints: [outpoint] }, 'Spends')
      },
    ],
    [
      4,
      async () => {
        const outpoint = pick(coins)
        const registering = tracker.ask({ type: 'Register', outpoints: [outpoint], ttlBlocks: 50_000 }, 'Registered')
        if (await registering.catch(notSynced)) registered.add(formatOutpoint(outpoint))
      },
    ],
    [
      0.4,
      async () => {
        await compare()
        await tracker.stop('SIGKILL')
        for (const { wallet } of places) wallet[Symbol.dispose]()
        tracker.launch()
        await tracker.caughtUp(node)
        for (const name of seen.keys()) if (!registered.has(name)) seen.delete(name)
        for (const place of places) {
          place.wallet = await Wallet.open(tracker)
          await subscribe([...place.watched.values()], place)
        }
      },
    ],
    [
      0.3, // bitcoind comes back without its mempool: everything unconfirmed is gone at once
      async () => {
        await compare()
        await node.stop()
        await node.launch(['-persistmempool=0', '-walletbroadcast=0'])
        await tracker.caughtUp(node)
      },
    ],
  ]
  const total = steps.reduce((sum, [weight]) => sum + weight, 0)
  const next = () => {
    let at = random() * total
    for (const [weight, step] of steps) {
      at -= weight
      if (at < 0) return step
    }
    return steps[0]![1]
  }

  let compared = 0
  const kinds = new Map<string, number>()
  async function compare(): Promise<void> {
    const outpoints = [
      ...new Map([...watchedAnywhere(), ...coins.slice(-30).map((coin) => [formatOutpoint(coin), coin] as const)]),
    ].map(([, { txid, vout }]) => ({ txid, vout }))
    let complaint = ''
    await waitUntil(
      'everybody knows what bitcoind knows',
      async () => {
        const truth = await oracle.of(outpoints)
        const newcomer: SpendFields[] = []
        for (let at = 0; at < outpoints.length; at += 500) {
          const asked = { type: 'WatchMany' as const, outpoints: outpoints.slice(at, at + 500) }
          const answer = await tracker.ask(asked, 'Spends').catch(notSynced)
          if (!answer) return false
          newcomer.push(...answer.spends)
        }
        complaint = newcomer.map((told) => disagreement('a newcomer', truth, told)).find(Boolean) ?? ''
        for (const [i, { wallet, watched }] of places.entries()) {
          for (const outpoint of watched.values()) {
            complaint ||= disagreement(`subscriber ${i}`, truth, wallet.last(outpoint)!)
          }
        }
        return complaint === ''
      },
      { timeoutMs: 20_000 },
    ).catch((error) => {
      throw new Error(`${complaint}\n${error}`)
    })
    for (const { wallet, watched } of places) {
      compared += watched.size
      for (const [name, outpoint] of watched) {
        const told = wallet.last(outpoint)!
        kinds.set(told.state, (kinds.get(told.state) ?? 0) + 1)
        const all = [...(told.txid === undefined ? [] : [told.txid]), ...(told.conflicts ?? [])]
        if (all.length > 0) seen.set(name, new Set([...(seen.get(name) ?? []), ...all]))
      }
    }
  }

  /** Empty when `told` is right: bitcoind's own answer, or a spend it has dropped since. */
  function disagreement(who: string, truth: ReadonlyMap<string, Truth>, told: SpendFields): string {
    const name = formatOutpoint(told.outpoint)
    const expected = truth.get(name)!
    const say = (what: string) =>
      `${who}: ${name}: ${what}; expected ${JSON.stringify(expected)}, told ${JSON.stringify({ ...told, tx: undefined })}`
    const all = new Set([...(told.txid === undefined ? [] : [told.txid]), ...(told.conflicts ?? [])])
    for (const txid of all) if (!spenders.get(name)?.has(txid)) return say(`${txid} never spent it`)
    for (const txid of seen.get(name) ?? []) if (!all.has(txid as never)) return say(`${txid} is forgotten`)
    if (told.registered) return say('registered is told to somebody who has not registered it')
    if (told.state === 'evicted')
      return expected.state === 'unspent' || expected.state === 'unknown' ? '' : say('not evicted')
    if (told.state !== expected.state || told.txid !== expected.txid) return say('wrong')
    return told.blockHash === expected.blockHash ? '' : say('another block')
  }

  for (let i = 0; i < STEPS; i++) {
    await next()()
    if (i % STRIDE === 0) {
      await tracker.caughtUp(node)
      await compare()
    }
  }
  await tracker.caughtUp(node)
  await compare()
  for (const { wallet } of places) wallet[Symbol.dispose]()
  assert.ok(compared > STEPS, `${compared} answers compared`)
  for (const state of ['unspent', 'mempool', 'confirmed', 'evicted', 'unknown']) {
    assert.ok((kinds.get(state) ?? 0) > 5, `${state} came up: ${JSON.stringify([...kinds])}`)
  }
}

/** While a block is being connected or the mempool read the tracker may refuse; then it is asked again. */
function notSynced(error: unknown): undefined {
  assert.match(String(error), /not_synced|busy/)
}

function randomHex(random: () => number): string {
  return Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join('')
}
