/**
 * Thousands of random steps (spends, chains of them, replacements, hidden blocks, reorgs, double spends in blocks, kill
 * -9, registrations, subscriptions that come and go), and again and again the same question: does every subscriber, and
 * every newcomer, know exactly what bitcoind knows? The oracle asks bitcoind by brute force and shares no code with the
 * index. WATCH_MODEL_SEED repeats a run, WATCH_MODEL_STEPS makes it longer.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import type { SpendFields } from '../../src/wire/messages.ts'
import { Regtest, RpcError } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, makeCoins, type Signed, sign } from '../support/coins.ts'
import { Wallet } from '../support/subscriber.ts'

const SEED = Number(process.env.WATCH_MODEL_SEED ?? Date.now() % 1_000_000)
const STEPS = Number(process.env.WATCH_MODEL_STEPS ?? 2_000)
/** Steps between two comparisons. */
const STRIDE = 12

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

/** What bitcoind says, by looking at every block of its best chain and asking for every output. */
class Oracle {
  readonly #node: Regtest
  readonly #spendsOf = new Map<string, Map<string, string>>()

  constructor(node: Regtest) {
    this.#node = node
  }

  async of(outpoints: readonly Outpoint[]): Promise<Map<string, { state: string; txid?: string; blockHash?: string }>> {
    const confirmed = new Map<string, { txid: string; blockHash: string }>()
    for (let hash: string | undefined = await this.#node.tipHash(); hash !== undefined; ) {
      const spends = await this.#spendsIn(hash)
      for (const [outpoint, txid] of spends.spends) confirmed.set(outpoint, { txid, blockHash: hash })
      hash = spends.previous
    }
    const inMempool = await this.#node.rpc<{ spendingtxid?: string }[]>(
      'gettxspendingprevout',
      outpoints.map(({ txid, vout }) => ({ txid, vout })),
    )
    const answers = new Map<string, { state: string; txid?: string; blockHash?: string }>()
    for (const [i, outpoint] of outpoints.entries()) {
      const name = formatOutpoint(outpoint)
      const spend = confirmed.get(name)
      const spender = inMempool[i]!.spendingtxid
      if (spend) answers.set(name, { state: 'confirmed', ...spend })
      else if (spender !== undefined) answers.set(name, { state: 'mempool', txid: spender })
      else {
        const output = await this.#node.rpc('gettxout', outpoint.txid, outpoint.vout, true)
        answers.set(name, { state: output === null ? 'unknown' : 'unspent' })
      }
    }
    return answers
  }

  readonly #previous = new Map<string, string | undefined>()
  async #spendsIn(hash: string): Promise<{ spends: Map<string, string>; previous: string | undefined }> {
    let spends = this.#spendsOf.get(hash)
    if (!spends) {
      const block = await this.#node.rpc<{
        previousblockhash?: string
        tx: { txid: string; vin: { txid?: string; vout?: number }[] }[]
      }>('getblock', hash, 2)
      spends = new Map(
        block.tx.flatMap((tx) => tx.vin.map((input) => [`${input.txid}:${input.vout}`, tx.txid] as const)),
      )
      this.#spendsOf.set(hash, spends)
      this.#previous.set(hash, block.previousblockhash)
    }
    return { spends, previous: this.#previous.get(hash) }
  }
}

test(`after any steps every subscriber and every newcomer knows what bitcoind knows (seed ${SEED})`, async () => {
  const random = randomFrom(SEED)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const oracle = new Oracle(node)
  /** Every coin there ever was, also of transactions that no longer exist. */
  const coins: Coin[] = await makeCoins(node, 40)
  await node.mine(6) // deeper than any reorg below
  /** Every transaction that was ever signed for an outpoint. */
  const spenders = new Map<string, Set<string>>()
  /** Transactions once in the mempool or a block, to be mined again or replaced. */
  const known: { signed: Signed; inputs: Coin[] }[] = []
  const watched = new Map<string, Outpoint>()
  const registered = new Set<string>()
  /** Spends somebody was told of an outpoint while it was watched without a break: none may be forgotten. */
  const seen = new Map<string, Set<string>>()
  await tracker.caughtUp(node)
  let wallet = await Wallet.open(tracker)

  const subscribe = async (outpoints: readonly Outpoint[]) => {
    for (const outpoint of outpoints) watched.set(formatOutpoint(outpoint), outpoint)
    await waitUntil('it may subscribe', () => wallet.subscribe(outpoints).catch(notSynced))
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
        await subscribe(pair)
        await broadcast(both.hex)
        const isTold = () => wallet.last(pair[1]!)?.txid === both.txid
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
      3,
      async () => {
        const outpoint = pick([...watched.values(), pick(coins)])
        const name = formatOutpoint(outpoint)
        watched.delete(name)
        if (!registered.has(name)) seen.delete(name)
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
        wallet[Symbol.dispose]()
        tracker.launch()
        await tracker.caughtUp(node)
        for (const name of seen.keys()) if (!registered.has(name)) seen.delete(name)
        await waitUntil('the wallet is back', async () => {
          wallet = await Wallet.open(tracker)
          const back = await wallet
            .ask({ type: 'Subscribe', outpoints: [...watched.values()] }, 'Spends')
            .catch(() => undefined)
          if (!back) wallet[Symbol.dispose]()
          return back
        })
        await wallet.subscribe([...watched.values()])
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
      ...new Map([...watched, ...coins.slice(-30).map((coin) => [formatOutpoint(coin), coin] as const)]),
    ]
    const names = outpoints.map(([name]) => name)
    const bare = outpoints.map(([, { txid, vout }]) => ({ txid, vout }))
    let complaint = ''
    await waitUntil(
      'everybody knows what bitcoind knows',
      async () => {
        const truth = await oracle.of(bare)
        const newcomer = await tracker.ask({ type: 'WatchMany', outpoints: bare }, 'Spends').catch(notSynced)
        if (!newcomer) return false
        complaint = ''
        for (const [i, name] of names.entries()) {
          const expected = truth.get(name)!
          for (const [who, told] of [
            ['a newcomer', newcomer.spends[i]!],
            ['the subscriber', watched.has(name) ? wallet.last(bare[i]!)! : newcomer.spends[i]!],
          ] as const) {
            complaint ||= disagreement(name, expected, told) && `${who}: ${disagreement(name, expected, told)}`
          }
        }
        return complaint === ''
      },
      { timeoutMs: 20_000 },
    ).catch((error) => {
      throw new Error(`${complaint}\n${error}`)
    })
    compared += names.length
    for (const name of names) {
      const told = watched.has(name) ? wallet.last(watched.get(name)!) : undefined
      if (!told) continue
      kinds.set(told.state, (kinds.get(told.state) ?? 0) + 1)
      if (told.txid !== undefined) seen.set(name, (seen.get(name) ?? new Set()).add(told.txid))
      for (const rival of told.conflicts ?? []) seen.get(name)!.add(rival)
    }
  }

  /** Empty when `told` is right: bitcoind's own answer, or a spend it has dropped since. */
  function disagreement(
    name: string,
    expected: { state: string; txid?: string; blockHash?: string },
    told: SpendFields,
  ): string {
    const say = (what: string) =>
      `${name}: ${what}; expected ${JSON.stringify(expected)}, told ${JSON.stringify({ ...told, tx: undefined })}`
    const all = new Set([...(told.txid === undefined ? [] : [told.txid]), ...(told.conflicts ?? [])])
    for (const txid of all) if (!spenders.get(name)?.has(txid)) return say(`${txid} never spent it`)
    for (const txid of seen.get(name) ?? []) if (!all.has(txid as never)) return say(`${txid} is forgotten`)
    if (told.registered !== registered.has(name) && who(told)) return say('registered is wrong')
    if (told.state === 'evicted')
      return expected.state === 'unspent' || expected.state === 'unknown' ? '' : say('not evicted')
    if (told.state !== expected.state || told.txid !== expected.txid) return say('wrong')
    return told.blockHash === expected.blockHash ? '' : say('another block')
  }
  /** A push carries `registered` as it was then; only an answer to a question must have it right. */
  function who(told: SpendFields): boolean {
    return !wallet.history.includes(told)
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
  wallet[Symbol.dispose]()
  assert.ok(compared > STEPS, `${compared} answers compared`)
  for (const state of ['unspent', 'mempool', 'confirmed', 'evicted', 'unknown']) {
    assert.ok((kinds.get(state) ?? 0) > 5, `${state} came up: ${JSON.stringify([...kinds])}`)
  }
})

/** While a block is being connected or the mempool read the tracker may refuse; then it is asked again. */
function notSynced(error: unknown): undefined {
  assert.match(String(error), /not_synced|busy/)
}
