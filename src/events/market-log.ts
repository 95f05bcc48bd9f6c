/**
 * The log's ear: listens to what changes, as streams and webhooks do, and writes what an operator is to read of it
 * (log-lines.ts), of crowds only how many (crowds.ts). Says when this tracker is ready and when it is not. Of the chain
 * before the first whole list only what has come of it: a scan's bonds are no news.
 */
import type { Core } from '../core.ts'
import { findKnown } from '../market.ts'
import { currentReadiness } from '../views/status.ts'
import { sleep } from '../world.ts'
import type { Change } from './changes.ts'
import { Crowds } from './crowds.ts'
import { Flaps } from './flaps.ts'
import { type LogLine, lineOf, type MakerTold, makerLine } from './log-lines.ts'

const LIMITS = {
  /** How often is looked whether something that was held back is due. */
  lookMs: 1_000,
  /** Ready and not ready a dozen times at once; then as it is every ten minutes, if it has changed. */
  readiness: { atOnce: 12, everyMs: 600_000 },
}

type Listener = Pick<
  Core,
  'changes' | 'market' | 'liveness' | 'cells' | 'db' | 'clock' | 'log' | 'unseen' | 'ownAddress'
>

interface ReadinessNews {
  isReady: boolean
  notReady: readonly string[]
  atMs: number
}

/** Runs until the signal. */
export async function runMarketLog(core: Listener, signal: AbortSignal): Promise<void> {
  const log = new MarketLog(core)
  const mute = core.changes.listen((changes) => log.tell(changes), false)
  try {
    for (;;) {
      log.tellDue()
      await sleep(LIMITS.lookMs, signal)
    }
  } finally {
    mute()
    log.tellDue(true)
  }
}

class MarketLog {
  readonly #core: Listener
  readonly #crowds = new Crowds()
  readonly #readiness = new Flaps<ReadinessNews>(LIMITS.readiness)
  /** By address, of makers that are listed. */
  readonly #makers = new Map<string, MakerTold>()
  #hasMarket = false
  /** Since when it is not ready, as was told; monotonic. */
  #notReadySinceMs: number

  constructor(core: Listener) {
    this.#core = core
    this.#notReadySinceMs = core.clock.monotonicMs()
    const { ready, notReady } = currentReadiness(core)
    if (!ready) core.log.info({ notReady }, 'not ready') // everything is still coming up
  }

  tell(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'readiness') this.#noteReadiness(change.data.ready, change.data.not_ready)
      else if (change.kind === 'maker') this.#write(this.#makerLine(change))
      else if (change.kind === 'reset' && !this.#hasMarket) this.#begin()
      else this.#write(lineOf(change, (outpoint) => this.#known(outpoint)))
    }
  }

  /** `isEnd`: whatever is held back. */
  tellDue(isEnd = false): void {
    const { clock, log } = this.#core
    const nowMs = clock.monotonicMs()
    this.#sayReadiness(this.#readiness.due(nowMs))
    const untold = this.#crowds.due(nowMs, isEnd)
    if (untold) log.info({ untold }, 'there were more than were told one by one')
  }

  /** The first whole list, after a scan or a start: what there is, and how the makers stood when we were last here. */
  #begin(): void {
    const { market, liveness, log } = this.#core
    const now = market.read()
    if (!now) return
    this.#hasMarket = true
    for (const address of now.makers.keys()) {
      const { reach, lastUpS } = liveness.lifeOf(address)
      if (reach === 'down') this.#makers.set(address, { reach, lastUpS: lastUpS ?? null })
      else if (lastUpS !== undefined) this.#makers.set(address, { reach: 'up', lastUpS })
    }
    const { live, expired, spent, refused, pending } = now.counts
    const reached = liveness.counts()
    log.info(
      {
        height: now.tip.height,
        ...{ bonds: live, makers: now.makers.size, makersUp: reached.up, makersDown: reached.down },
        ...{ expired, spent, refused, pending },
      },
      'the market is known: from here on its changes are told',
    )
  }

  #known(outpoint: string) {
    const now = this.#core.market.read()
    return now && findKnown(now.known, outpoint)
  }

  #makerLine({ data }: Extract<Change, { kind: 'maker' }>): LogLine | undefined {
    const { address, listed, reach, last_up: lastUpS } = data
    if (!listed) {
      this.#makers.delete(address) // its bonds' lines say why
      return undefined
    }
    const line = makerLine(data, this.#makers.get(address), this.#core.liveness.record(address))
    if (reach !== 'unknown') this.#makers.set(address, { reach, lastUpS })
    return line
  }

  #write(line: LogLine | undefined): void {
    if (!line) return
    const { log, clock } = this.#core
    const { level, fields, msg } = line
    if (level === 'debug' || this.#crowds.add(msg, clock.monotonicMs())) log[level](fields, msg)
    else log.debug(fields, msg)
  }

  #noteReadiness(isReady: boolean, notReady: readonly string[]): void {
    const atMs = this.#core.clock.monotonicMs()
    this.#sayReadiness(this.#readiness.change(isReady, { isReady, notReady, atMs }, atMs))
  }

  #sayReadiness(news: ReadinessNews | undefined): void {
    if (!news) return
    const { log, unseen, ownAddress } = this.#core
    const { isReady, notReady, atMs } = news
    if (!isReady) {
      this.#notReadySinceMs = atMs
      return log.warn({ notReady }, 'not ready')
    }
    const missing = unseen()
    const afterMs = Math.round(atMs - this.#notReadySinceMs)
    log.info({ address: ownAddress(), afterMs, ...(missing && { unseen: missing }) }, 'ready')
  }
}
