/**
 * A taker of today's market at one relay: what it sends, which events it looks up, and whom it then takes into its offer
 * book (docs/nostr.md). It trusts nothing of the tracker's: events and transactions are judged from the relay's bytes and
 * bitcoind's answers. Left out: the offers it would then ask makers for.
 */
import type { Network } from '../../../src/chain/types.ts'
import { isRightlySigned, MARKET_KINDS, nowS, type SignedEvent } from './signed-event.ts'
import { type Era, judgeTransaction, type TakerChain } from './taker-rules.ts'
import { OPCODE, ReadTimeout, RelaySocket, type Route } from './wire.ts'

/** Txids a taker remembers, and how many it forgets at a time. */
const SEEN_MAX = 5_000
const FORGOTTEN_AT_ONCE = 10

export interface TakerOptions {
  url: string
  chain: TakerChain
  network?: Network
  era?: Era
  /** Blocks from confirmation to lock. A production taker's is 12,960 to 25,920; on regtest ours is 1 to 25,920. */
  lockRange?: readonly [number, number]
  /** Only what was created since; undefined at a taker's first start. */
  sinceS?: number
  /** How long it waits for EOSE. */
  eoseWaitMs?: number
  route?: Route
}

export interface TakenEvent {
  id: string
  content: string
  /** After EOSE. */
  isLive: boolean
  /** The subscription id came back as it was sent. */
  isEchoed: boolean
  verdict: 'accepted' | 'known' | 'seen-before' | 'refused' | 'ignored'
  /** Why `refused` or `ignored`. */
  why?: string
  txid?: string
}

export interface FoundMaker {
  host: string
  lockHeight: number
}

export class Taker {
  readonly subscriptionId: string
  /** Every event that came, in order. */
  readonly events: TakenEvent[] = []
  /** Its offer book's makers, by txid. */
  readonly found = new Map<string, FoundMaker>()
  /** Messages that it passed over. */
  passedOver = 0
  hasEose = false
  /** From REQ to EOSE. */
  eoseMs: number | undefined
  readonly #options: Required<Omit<TakerOptions, 'sinceS'>>
  readonly #seen: string[] = []
  #sinceS: number | undefined

  constructor(options: TakerOptions) {
    const { sinceS, ...given } = options
    this.#options = {
      ...{ network: 'regtest', era: 'today', lockRange: [1, 25_920], eoseWaitMs: 150_000, route: {} },
      ...given,
    }
    this.#sinceS = sinceS
    this.subscriptionId = `market-discovery-${options.url}`
  }

  /** The one message it writes. */
  get request(): string {
    const since = this.#sinceS === undefined ? {} : { since: this.#sinceS }
    return JSON.stringify(['REQ', this.subscriptionId, { kinds: [MARKET_KINDS[this.#options.network]], ...since }])
  }

  /**
   * One connection: returns after EOSE, or once it has waited for it long enough; with `signal` it stays for live events
   * until that. Rejects when there is no connection, or it ends before EOSE. Asked again, it goes on from its cursor.
   */
  async run(signal?: AbortSignal): Promise<this> {
    const { url, route, eoseWaitMs } = this.#options
    this.hasEose = false
    const socket = await RelaySocket.open(url, route)
    const leave = () => socket.drop()
    signal?.addEventListener('abort', leave)
    const startMs = performance.now()
    try {
      socket.sendText(this.request)
      while (!this.hasEose || (signal && !signal.aborted)) {
        const leftMs = this.hasEose ? 2 ** 31 - 1 : startMs + eoseWaitMs - performance.now()
        const { op, data } = await socket.read(leftMs)
        if (op === OPCODE.close) throw new Error('the relay closed the connection')
        if (op === OPCODE.text || op === OPCODE.binary) await this.#read(data.toString('utf8'))
        if (this.hasEose) this.eoseMs ??= performance.now() - startMs
      }
    } catch (error) {
      if (!(error instanceof ReadTimeout) && !signal?.aborted) throw error
    } finally {
      signal?.removeEventListener('abort', leave)
      socket.drop()
    }
    return this
  }

  async #read(text: string): Promise<void> {
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch {
      message = undefined
    }
    const [type, subscriptionId, event] = Array.isArray(message) ? message : []
    const isEchoed = subscriptionId === this.subscriptionId
    if (type === 'EOSE' && (isEchoed || this.#options.era !== 'today')) this.hasEose = true
    else if (type === 'EVENT' && typeof event === 'object' && event !== null) {
      const judged = await this.#judge(event)
      this.events.push({ id: event.id, content: event.content, isLive: this.hasEose, isEchoed, ...judged })
    } else this.passedOver++
  }

  async #judge(event: SignedEvent): Promise<Pick<TakenEvent, 'verdict' | 'why' | 'txid'>> {
    const { chain, era, lockRange } = this.#options
    const isToday = era === 'today'
    const fault = this.#faultOf(event)
    if (fault !== undefined) return { verdict: 'ignored', why: fault }
    const txid = txidNamed(event)!
    if (this.#seen.includes(txid)) {
      this.#moveCursor(event)
      return { verdict: this.found.has(txid) ? 'known' : 'seen-before', txid }
    }
    const looked = await chain.look(txid)
    // Both are tried again at the next event for it.
    if (!looked) return { verdict: 'ignored', why: 'no such transaction', txid }
    if (isToday && looked.confHeight === undefined) return { verdict: 'ignored', why: 'unconfirmed', txid }
    this.#moveCursor(event)
    this.#seen.push(txid)
    if (this.#seen.length > SEEN_MAX) this.#seen.splice(0, FORGOTTEN_AT_ONCE)
    if (isToday && !looked.isUnspent) return { verdict: 'ignored', why: 'spent', txid }
    const tipHeight = await chain.tipHeight()
    const judged = judgeTransaction(looked.transaction, looked.confHeight, tipHeight, { era, lockRange })
    if (judged.refusals.length > 0) return { verdict: 'refused', why: judged.refusals.join(' '), txid }
    this.found.set(txid, { host: judged.host!, lockHeight: judged.lockHeight! })
    return { verdict: 'accepted', txid }
  }

  /** What is wrong with the event itself. */
  #faultOf(event: SignedEvent): string | undefined {
    const isToday = this.#options.era === 'today'
    if (!hasShape(event)) return 'shape'
    if (event.kind !== MARKET_KINDS[this.#options.network]) return 'kind'
    if (isToday && !isRightlySigned(event)) return 'id or signature'
    const expiration = event.tags.find(([name]) => name === 'expiration')?.[1]
    if (expiration === undefined || !/^[0-9]+$/.test(expiration)) return 'no expiration'
    if (Number(expiration) <= nowS()) return 'expired'
    if (event.created_at > nowS() + 300) return 'from the future'
    if (event.created_at < nowS() - 86_400) return 'older than a day'
    if (txidNamed(event) === undefined) return 'content'
    return isToday && !/:0+$/.test(event.content.trim()) ? 'vout is not 0' : undefined
  }

  #moveCursor({ created_at }: SignedEvent): void {
    this.#sinceS = Math.max(this.#sinceS ?? 0, Math.min(created_at, nowS()))
  }
}

function hasShape(event: SignedEvent): boolean {
  return (
    /^[0-9a-f]{64}$/i.test(event.id) &&
    /^[0-9a-f]{64}$/i.test(event.pubkey) &&
    /^[0-9a-f]{128}$/i.test(event.sig) &&
    Number.isInteger(event.created_at) &&
    Number.isInteger(event.kind) &&
    typeof event.content === 'string' &&
    Array.isArray(event.tags)
  )
}

/** Of `<txid>:<vout>`, lower case. */
function txidNamed({ content }: SignedEvent): string | undefined {
  const [, txid, vout] = /^([0-9a-f]{64}):([0-9]+)$/i.exec(content.trim()) ?? []
  return txid === undefined || Number(vout) > 0xffff_ffff ? undefined : txid.toLowerCase()
}
