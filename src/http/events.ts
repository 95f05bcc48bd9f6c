/**
 * The event stream: looks at the store when it has changed, tells the difference to whoever listens (server-sent
 * events). Nobody has to announce anything: what the store says is what happened. Compares only while our tip is the
 * node's, so that a reorg is told once, as a whole, and only while somebody listens. A reader that was away reads the lists again; nothing is replayed.
 */
import type { ServerResponse } from 'node:http'
import type { CurrentMarket } from '../market.ts'
import type { Reach } from '../peers/types.ts'
import type { Status } from '../status.ts'
import type { Db } from '../store/open.ts'
import { readRecentSpends } from '../store/spends.ts'
import { readRecentBlocks } from '../store/tip.ts'
import { every } from '../world.ts'
import { eventsBetween, type Look, type SeenSpend } from './changes.ts'
import { HTTP_LIMITS, HttpFault } from './guard.ts'
import type { Probing } from './probing.ts'
import { EVENTS, type TrackerEvent } from './replies.ts'
import type { ChainFacts } from './routes.ts'

export interface FeedDeps {
  db: Db
  chain: ChainFacts
  status: Status
  market: CurrentMarket
  probing: Probing
}

export class EventFeed implements Disposable {
  readonly #deps: FeedDeps
  readonly #streams = new Set<ServerResponse>()
  readonly #stops: (() => void)[]
  /** Writes and facts at the last look. */
  #seen = ''
  #last: Look | undefined

  /** `onFault` gets what a look throws: the database, most likely, which the loops will meet as well. */
  constructor(deps: FeedDeps, onFault: (error: unknown) => void) {
    this.#deps = deps
    const look = () => {
      try {
        if (this.#streams.size > 0) this.#look()
      } catch (error) {
        onFault(error)
      }
    }
    this.#stops = [
      every(HTTP_LIMITS.lookMs, look),
      every(HTTP_LIMITS.heartbeatMs, () => this.#write(': still here\n\n')),
    ]
  }

  /** Takes over `response`, whose head has not been written. Throws HttpFault `busy` when there are too many. */
  open(response: ServerResponse, headers: Record<string, string>): void {
    if (this.#streams.size >= HTTP_LIMITS.streamsMax) {
      throw new HttpFault('busy', `${HTTP_LIMITS.streamsMax} event streams are open: close one`)
    }
    if (this.#streams.size === 0) this.#forget()
    this.#look() // what happens from now on is news to this reader
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write('retry: 2000\n\n')
    this.#streams.add(response)
    response.on('error', () => {}) // 'close' follows
    response.on('close', () => this.#streams.delete(response))
  }

  #look(): void {
    const { chain, status, market, probing } = this.#deps
    const tip = chain.tip()
    // In the midst of a reorg or a catch-up there is nothing to tell yet; but a first look can be had at any time.
    if (!tip || (this.#last && tip.hash !== status.following.best?.hash)) return
    const seen = `${this.#deps.db.writes} ${probing.revision}`
    if (this.#seen === seen) return
    const now = market.read()
    if (!now) return
    this.#seen = seen
    const blocks = readRecentBlocks(this.#deps.db, HTTP_LIMITS.blocksRemembered)
    const spends = readRecentSpends(this.#deps.db, blocks.at(-1)!.height, HTTP_LIMITS.spendsRemembered)
    const look: Look = {
      blocks,
      digest: now.list.digest.toString('hex'),
      liveCount: now.counts.live,
      bonds: new Map(now.known.map(({ key, bond, state }) => [key, { address: bond.address, state }])),
      makers: new Map<string, Reach>(
        [...now.makers.keys()].map((address) => [address, probing.livenessOf(address).reach]),
      ),
      spends: new Map<string, SeenSpend>(spends.map((spend) => [`${spend.outpoint} ${spend.txid}`, spend])),
    }
    const before = this.#last
    this.#last = look
    if (!before) return
    const events = eventsBetween(before, look).slice(0, HTTP_LIMITS.eventsPerLook)
    if (events.length > 0) this.#write(events.map(format).join(''))
  }

  #forget(): void {
    this.#seen = ''
    this.#last = undefined
  }

  #write(text: string): void {
    for (const stream of this.#streams) {
      if (stream.writableLength > HTTP_LIMITS.unsentBytesMax) stream.destroy()
      else stream.write(text)
    }
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop()
    for (const stream of this.#streams) stream.end()
  }
}

function format({ kind, data }: TrackerEvent): string {
  return `event: ${kind}\ndata: ${JSON.stringify(EVENTS[kind].parse(data))}\n\n`
}
