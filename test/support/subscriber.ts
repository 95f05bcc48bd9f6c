/** A wallet on a socket: subscribes, and keeps the last state it was told of each outpoint. */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import type { Reply, Request, SpendFields } from '../../src/wire/messages.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { Client } from './wire.ts'

export class Wallet implements Disposable {
  readonly #client: Client
  readonly #last = new Map<string, SpendFields>()
  /** Every state it was told, in order. */
  readonly history: SpendFields[] = []
  #read = 0

  private constructor(client: Client) {
    this.#client = client
  }

  static async open(tracker: Tracker): Promise<Wallet> {
    return new Wallet(await Client.open(tracker.port))
  }

  get isClosed(): boolean {
    return this.#client.isClosed
  }

  /** One request, its reply; pushes that come before it are taken too. */
  async ask<T extends Reply['type']>(request: Request, expected: T): Promise<Extract<Reply, { type: T }>> {
    this.#take()
    this.#client.send(request)
    const reply = await waitUntil(`a reply to ${request.type}`, () => {
      if (this.#client.isClosed) throw new Error('the tracker closed the connection')
      return this.#take()
    })
    assert.equal(reply.type, expected, JSON.stringify(reply))
    return reply as Extract<Reply, { type: T }>
  }

  async subscribe(outpoints: readonly Outpoint[]): Promise<SpendFields[]> {
    const { spends } = await this.ask({ type: 'Subscribe', outpoints: [...outpoints] }, 'Spends')
    this.note(spends)
    return [...spends]
  }

  /** What an answer has told it counts as told. */
  note(spends: readonly SpendFields[]): void {
    for (const spend of spends) this.#note(spend)
  }

  /** Takes what has come; returns the first message that is no push. */
  #take(): Reply | undefined {
    for (; this.#read < this.#client.replies.length; this.#read++) {
      const reply = this.#client.replies[this.#read]!
      if (reply.type !== 'Spend') {
        this.#read++
        return reply
      }
      const { type: _, ...spend } = reply
      this.#note(spend)
    }
    return undefined
  }

  #note(spend: SpendFields): void {
    this.#last.set(formatOutpoint(spend.outpoint), spend)
    this.history.push(spend)
  }

  /** What it was last told. */
  last(outpoint: Outpoint): SpendFields | undefined {
    assert.equal(this.#take(), undefined, 'only pushes come unasked')
    return this.#last.get(formatOutpoint(outpoint))
  }

  /** Waits until it was told this of `outpoint`, and that a newcomer who asks is told the same. */
  async told(tracker: Tracker, outpoint: Outpoint, expected: Told): Promise<SpendFields> {
    let last: SpendFields | undefined
    let newcomer: SpendFields | undefined
    const isTold = () => {
      last = this.last(outpoint)
      return last !== undefined && isLike(last, expected)
    }
    try {
      await waitUntil(
        'the subscriber is told, and a newcomer the same',
        async () => {
          if (!isTold()) return false
          newcomer = await present(tracker, outpoint)
          // Between a push and an answer the state may have moved on, if only in the order of the conflicts.
          return isTold() && isDeepStrictEqual(last, newcomer)
        },
        { timeoutMs: 15_000, everyMs: 10 },
      )
    } catch (error) {
      assert.deepEqual(last && brief(last), expected, String(error))
      assert.deepEqual(newcomer, last, String(error))
    }
    return last!
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]()
  }
}

/** What a test expects of an answer; `conflicts` in any order. */
export interface Told {
  state: SpendFields['state']
  txid?: string
  height?: number
  blockHash?: string
  conflicts?: string[]
}

export function brief({ state, txid, height, blockHash, conflicts }: SpendFields): Told {
  return {
    state,
    ...(txid !== undefined && { txid }),
    ...(height !== undefined && { height }),
    ...(blockHash !== undefined && { blockHash }),
    ...(conflicts && { conflicts: [...conflicts].sort() }),
  }
}

function isLike(spend: SpendFields, expected: Told): boolean {
  const got: Record<string, unknown> = { ...brief(spend) }
  return Object.entries(expected).every(
    ([name, value]) => JSON.stringify(got[name]) === JSON.stringify(Array.isArray(value) ? [...value].sort() : value),
  )
}

/** What a newcomer is told. */
export async function present(tracker: Tracker, outpoint: Outpoint): Promise<SpendFields> {
  const { spends } = await tracker.ask({ type: 'WatchMany', outpoints: [outpoint] }, 'Spends')
  return spends[0]!
}
