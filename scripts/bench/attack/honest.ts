/**
 * The honest client beside an attack: what wallets and takers do of a tracker, at their pace, each request timed from the
 * moment at which it was due. Nothing it asks for is more than a wallet needs, and every answer is looked at.
 */
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { formatOutpoint, type Outpoint } from '../../../src/chain/types.ts'
import { type EffortAsked, EffortSearch, effortAskedBy } from '../../../src/watch/effort.ts'
import { encodeRequest, type Reply, type Request } from '../../../src/wire/messages.ts'
import type { Regtest } from '../../../test/sandbox/regtest.ts'
import type { Tracker } from '../../../test/sandbox/tracker.ts'
import { makeCoins, type Signed, send, sign, spend } from '../../../test/support/coins.ts'
import type { Stage } from './attack.ts'
import { Line } from './line.ts'

/** Connections that are kept, each subscribed to a coin, and how often each of them asks one of three things. */
const WALLETS = 10
const WALLET_EVERY_MS = 333
const FRESH_EVERY_MS = 200
const REGISTER_EVERY_MS = 1_000
const SPEND_EVERY_MS = 1_000
/** No answer, or no push, within this is a loss. */
const PATIENCE_MS = 10_000
const AGAIN_MS = 20
/** Hashes between two looks at the sockets: about a millisecond. */
const HASHES_AT_ONCE = 500
/** The blocks over the honest client's coins: no reorg of an attack reaches them. */
const BURIED = 10

export interface Figures {
  /** Milliseconds of every request, by what was asked. */
  asked: Map<string, number[]>
  /** From the broadcast of a spend to the subscriber's push. */
  pushMs: number[]
  /** What went wrong, and how often. */
  losses: Map<string, number>
}

/** What the honest client watches, made before the daemon starts. */
export interface Wallet {
  /** Unspent, and never spent. */
  kept: Outpoint[]
  /** Spent in a block long ago. */
  spent: Outpoint[]
  /** Subscribed to; each is spent when its turn has come. */
  turns: { outpoint: Outpoint; spender: Signed }[]
}

export interface HonestOptions {
  /** When it is told that the tracker is behind, instead of counting that as a loss. */
  comesAgain: boolean
  /** Spends its coins; needs bitcoind. */
  spends: boolean
  patienceMs: number
}

export async function fillWallet(node: Regtest, seconds: number): Promise<Wallet> {
  const turns = Math.ceil((1000 * seconds) / SPEND_EVERY_MS)
  const coins = await makeCoins(node, turns + 50)
  const spent = coins.slice(0, 10)
  await spend(node, spent)
  await node.mine(BURIED)
  const prepared: Wallet['turns'] = []
  for (const coin of coins.slice(50)) prepared.push({ outpoint: coin, spender: await sign(node, [coin]) })
  return { kept: coins.slice(10, 50), spent, turns: prepared }
}

export class HonestClient implements Disposable {
  readonly #node: Regtest
  readonly #tracker: Tracker
  readonly #wallet: Wallet
  readonly #options: HonestOptions
  readonly #kept: Line[]
  /** The connection whose subscription must stay. */
  readonly #subscriber: Line
  readonly #told = new Map<string, number>()
  /** What happens between two measurements counts for the next. */
  #figures = emptyFigures()
  #asked = 0

  private constructor({ node, tracker }: Pick<Stage, 'node' | 'tracker'>, wallet: Wallet, options: HonestOptions) {
    this.#node = node
    this.#tracker = tracker
    this.#wallet = wallet
    this.#options = options
    this.#kept = Array.from({ length: WALLETS }, () => this.#newLine('a wallet’s connection'))
    this.#subscriber = this.#newLine('subscription', (reply) => {
      if (reply.type === 'Spend' && reply.state !== 'unspent') {
        const name = formatOutpoint(reply.outpoint)
        if (!this.#told.has(name)) this.#told.set(name, performance.now())
      }
    })
  }

  static async open(
    stage: Pick<Stage, 'node' | 'tracker'>,
    wallet: Wallet,
    { comesAgain = false, spends = true, patienceMs = PATIENCE_MS }: Partial<HonestOptions> = {},
  ): Promise<HonestClient> {
    const client = new HonestClient(stage, wallet, { comesAgain, spends, patienceMs })
    await client.#subscribe()
    for (const [i, line] of client.#kept.entries()) {
      await line.ask(encodeRequest({ type: 'Subscribe', outpoints: [wallet.kept[i]!] }), patienceMs)
    }
    return client
  }

  /** Asks, subscribes and registers for so long; resolves when every answer has come or is given up. */
  async measure(forMs: number): Promise<Figures> {
    const figures = this.#figures
    const endMs = performance.now() + forMs
    const work: Promise<void>[] = []
    const begin = (task: Promise<void>) => void work.push(task)
    await Promise.all([
      ...this.#kept.map(async (line, i) => {
        await pause((WALLET_EVERY_MS * i) / WALLETS)
        await paced(WALLET_EVERY_MS, endMs, () => begin(this.#ask('kept', line, this.#question())))
      }),
      paced(FRESH_EVERY_MS, endMs, () => begin(this.#askFresh(this.#question()))),
      paced(REGISTER_EVERY_MS, endMs, () => begin(this.#register())),
      paced(SPEND_EVERY_MS, endMs, () => {
        if (this.#options.spends) begin(this.#spend())
      }),
    ])
    await Promise.all(work)
    this.#figures = emptyFigures()
    return figures
  }

  /** The next of three things in turn. */
  #question(): Request {
    const n = this.#asked++
    switch (n % 3) {
      case 0:
        return { type: 'Get' }
      case 1:
        return { type: 'Status' }
      default: {
        const { kept, spent } = this.#wallet
        const outpoints = Array.from({ length: 4 }, (_, i) => kept[(4 * n + i) % kept.length]!)
        return { type: 'WatchMany', outpoints: [...outpoints, spent[n % spent.length]!] }
      }
    }
  }

  /** Registers a coin, with an effort where one is asked for: then both answers are timed, the work between them is not. */
  async #register(): Promise<void> {
    const { kept } = this.#wallet
    const outpoint = kept[this.#asked++ % kept.length]!
    const line = this.#newLine('fresh connection')
    const asking: Request = { type: 'Register', outpoints: [outpoint], ttlBlocks: 1_000 }
    const register = (request: Request) => this.#timed('Register', 'fresh', line, encodeRequest(request))
    let answer = await register(asking)
    const asked = typeof answer !== 'string' && answer.type === 'Error' ? effortAskedBy(answer.message) : undefined
    if (asked) answer = await register({ ...asking, effort: await makeEffort(asked, outpoint) })
    this.#judge('Register', 'fresh', answer)
    line.close()
  }

  async #askFresh(request: Request): Promise<void> {
    const line = this.#newLine('fresh connection')
    await this.#ask('fresh', line, request)
    line.close()
  }

  async #ask(how: How, line: Line, request: Request): Promise<void> {
    this.#judge(request.type, how, await this.#timed(request.type, how, line, encodeRequest(request)))
  }

  /** One request, timed until it is answered for good. */
  async #timed(type: Request['type'], how: How, line: Line, payload: Buffer): Promise<Reply | string> {
    const { patienceMs, comesAgain } = this.#options
    const { asked } = this.#figures
    const startMs = performance.now()
    let answer = await line.ask(payload, patienceMs)
    while (comesAgain && isBehind(type, answer) && performance.now() - startMs < patienceMs) {
      await pause(AGAIN_MS)
      answer = await line.ask(payload, patienceMs)
    }
    const kind = `${type}, ${how}`
    const timesMs = asked.get(kind) ?? []
    asked.set(kind, timesMs)
    timesMs.push(performance.now() - startMs)
    return answer
  }

  /** What is wrong with an answer is a loss. */
  #judge(type: Request['type'], how: How, answer: Reply | string): void {
    const fault = typeof answer === 'string' ? answer : faultOf(type, answer)
    if (fault !== undefined) lose(this.#figures, `${type}, ${how}: ${fault}`)
  }

  async #subscribe(): Promise<void> {
    const outpoints = this.#wallet.turns.map(({ outpoint }) => outpoint)
    const answer = await this.#subscriber.ask(encodeRequest({ type: 'Subscribe', outpoints }), this.#options.patienceMs)
    if (typeof answer === 'string') lose(this.#figures, `subscription: ${answer}`)
    else if (answer.type === 'Error') lose(this.#figures, `subscription: ${answer.code}`)
  }

  /** A spend of the next coin, and how long until the subscriber is told. */
  async #spend(): Promise<void> {
    const figures = this.#figures
    const turn = this.#wallet.turns.shift()
    if (!turn) return
    if (this.#subscriber.isClosed) await this.#subscribe()
    const name = formatOutpoint(turn.outpoint)
    const startMs = performance.now()
    await send(this.#node, turn.spender)
    while (!this.#told.has(name) && performance.now() - startMs < this.#options.patienceMs) await pause(2)
    const toldMs = this.#told.get(name)
    if (toldMs === undefined) lose(figures, 'push: none came')
    else figures.pushMs.push(Math.max(0, toldMs - startMs))
  }

  #newLine(what: string, onPush: (reply: Reply) => void = () => {}): Line {
    const onLost = () => {
      if (!this.#options.comesAgain) lose(this.#figures, `${what} lost`)
    }
    return new Line(this.#tracker.port, { onPush, onLost })
  }

  [Symbol.dispose](): void {
    for (const line of [...this.#kept, this.#subscriber]) line.close()
  }
}

/** Calls `act` every so many milliseconds until `endMs`, by the clock: a late turn is followed by those it held up. */
async function paced(everyMs: number, endMs: number, act: () => void): Promise<void> {
  for (let dueMs = performance.now(); dueMs < endMs; dueMs += everyMs) {
    await pause(Math.max(0, dueMs - performance.now()))
    act()
  }
}

type How = 'kept' | 'fresh'

const ANSWER: Partial<Record<Request['type'], Reply['type']>> = {
  Get: 'Address',
  Status: 'Status',
  WatchMany: 'Spends',
  Register: 'Registered',
}

function faultOf(type: Request['type'], reply: Reply): string | undefined {
  if (reply.type === 'Error') return `${reply.code} (${reply.message.slice(0, 80)})`
  if (reply.type !== ANSWER[type]) return `answered with ${reply.type}`
  if (reply.type !== 'Spends') return undefined
  const states = reply.spends.map(({ state }) => state).join(' ')
  return states === 'unspent unspent unspent unspent confirmed' ? undefined : `wrong: ${states}`
}

/** An Error says so, except to those who know no errors: they lose their connection. */
function isBehind(type: Request['type'], answer: Reply | string): boolean {
  if (typeof answer === 'string') return type === 'Get'
  return answer.type === 'Error' && answer.code === 'not_synced'
}

function emptyFigures(): Figures {
  return { asked: new Map(), pushMs: [], losses: new Map() }
}

function lose(figures: Figures, what: string): void {
  figures.losses.set(what, (figures.losses.get(what) ?? 0) + 1)
}

/** In slices, so that who measures is not held up. */
async function makeEffort({ bits, blockHash }: EffortAsked, outpoint: Outpoint): Promise<Buffer> {
  const search = new EffortSearch({ blockHash, outpoints: [outpoint] }, bits)
  for (;;) {
    const effort = search.next(HASHES_AT_ONCE)
    if (effort) return effort
    await nextTurn()
  }
}
