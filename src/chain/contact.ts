/**
 * How the sync loop stands with bitcoind: reached, lost, or short of the one block that comes next. Writes
 * `following.node`, says in the log when that changes, and how long to wait before the next try. Only progress (a block
 * connected or taken back, a new best block) makes the pauses short again: an answer alone doesn't.
 */
import { Backoff, type World } from '../world.ts'
import { FOLLOWING_LIMITS, type Following } from './following.ts'
import type { ChainView, NodeInfo } from './node-reader.ts'
import type { BlockHash, Height } from './types.ts'

const LIMITS = {
  /** bitcoind is on this machine or near: come back soon after it does. */
  lost: { firstMs: 200, maxMs: 3_000 },
  /** A block that isn't there a moment later either is being downloaded, or gone. */
  lacking: { firstMs: 200, maxMs: 10_000 },
  /** The first failure may be a reorg between two calls: the next look shows it. */
  triesUntold: 1,
  /** While a trouble changes its words or comes and goes, it is logged this often; the tries are counted. */
  logMs: 60_000,
}

interface ContactDeps extends World {
  following: Following
}

interface Trouble {
  sinceMs: number
  tries: number
  detail: string
  /** When it was logged last. */
  toldMs?: number
}

export class Contact {
  readonly #deps: ContactDeps
  readonly #lostPause: Backoff
  readonly #lackingPause: Backoff
  #isOpen = false
  #met: NodeInfo | undefined
  #lost: Trouble | undefined
  #lacking: (Trouble & { hash: BlockHash; height: Height }) | undefined
  #lackingToldMs: number | undefined
  /** Since it was lost last: whether a look was answered, and whether anything more was. */
  #hasAnswered = false
  #hasWorked = false
  /** It answered looks and was lost each time before anything came of it: an answer is not believed any more. */
  #isDoubtful = false

  constructor(deps: ContactDeps) {
    this.#deps = deps
    this.#lostPause = new Backoff(LIMITS.lost, deps.random)
    this.#lackingPause = new Backoff(LIMITS.lacking, deps.random)
  }

  /** Whether `connect` has succeeded since bitcoind was lost. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Whether it has been the right node once. */
  get hasMet(): boolean {
    return this.#met !== undefined
  }

  /** Whether the block that comes next could not be had at the last try: nothing is to be fetched ahead of it. */
  get isLacking(): boolean {
    return this.#lacking !== undefined
  }

  opened(info: NodeInfo): void {
    const isFirst = this.#met === undefined
    this.#met = info
    this.#isOpen = true
    this.#deps.following.source = info.source
    if (isFirst) this.#tellConnected()
  }

  /** A look was answered. `isNew`: its best block is another one than at the last look. */
  answered(view: ChainView, isNew: boolean): void {
    const { following, log } = this.#deps
    this.#hasAnswered = true
    if (view.isInitialDownload) {
      if (following.node.kind !== 'initial-download') {
        log.info({ height: view.best.height, headers: view.headers }, 'waiting: bitcoind is in initial download')
      }
      const detail = `bitcoind is in initial download: block ${view.best.height} of ${view.headers}`
      this.#found({ kind: 'initial-download', detail })
      return
    }
    if (isNew) this.#progressed()
    else if (!this.#isDoubtful && this.#lacking === undefined) this.#found()
  }

  /** There is nothing to do but to wait, or a wait has ended well. */
  idle(): void {
    this.#lacking = undefined
    if (!this.#isDoubtful) this.#found()
  }

  waited(): void {
    this.#hasWorked = true
    this.#isDoubtful = false
    this.#found()
  }

  /** A block was connected or taken back. */
  moved(): void {
    const lacked = this.#lacking
    this.#lacking = undefined
    if (lacked?.toldMs !== undefined) {
      const { log, clock } = this.#deps
      const waitedMs = Math.round(clock.monotonicMs() - lacked.sinceMs)
      log.info({ height: lacked.height, waitedMs, tries: lacked.tries }, 'the block that was waited for is there')
    }
    this.#progressed()
  }

  /** An exchange has failed. Returns how long to wait before the next try. */
  lost(detail: string): number {
    const { following, clock, log } = this.#deps
    const nowMs = clock.monotonicMs()
    if (this.#hasAnswered && !this.#hasWorked) this.#isDoubtful = true
    this.#hasAnswered = this.#hasWorked = false
    this.#isOpen = false
    this.#lacking = undefined
    this.#lost ??= { sinceMs: nowMs, tries: 0, detail }
    const trouble = this.#lost
    trouble.tries++
    const isChanged = trouble.detail !== detail
    if (trouble.toldMs === undefined || (isChanged && nowMs - trouble.toldMs >= LIMITS.logMs)) {
      log.warn({ detail, ...(trouble.tries > 1 && { tries: trouble.tries }) }, 'bitcoind unreachable')
      trouble.toldMs = nowMs
      trouble.detail = detail
    }
    following.node = { kind: 'unreachable', detail }
    this.#stopMeter()
    return this.#lostPause.nextMs()
  }

  /** bitcoind can't give the block that comes next. Returns how long to wait before the next try. */
  lacks(height: Height, hash: BlockHash, reason: string): number {
    const { following, clock, log } = this.#deps
    const nowMs = clock.monotonicMs()
    const detail = `waits for block ${height}: ${reason}`
    if (this.#lacking?.hash !== hash) this.#lacking = { hash, height, sinceMs: nowMs, tries: 0, detail }
    const trouble = this.#lacking
    trouble.tries++
    this.#hasWorked = true
    if (trouble.tries > LIMITS.triesUntold) {
      following.node = { kind: 'waiting-for-block', detail, height }
      this.#stopMeter()
      const isDue = nowMs - (this.#lackingToldMs ?? Number.NEGATIVE_INFINITY) >= LIMITS.logMs
      if (isDue && trouble.toldMs === undefined) {
        trouble.toldMs = this.#lackingToldMs = nowMs
        log.warn({ height, detail: reason }, 'waiting for a block that bitcoind can not give')
      }
    }
    return this.#lackingPause.nextMs()
  }

  #progressed(): void {
    this.#lostPause.reset()
    this.#lackingPause.reset()
    this.#hasWorked = true
    this.#isDoubtful = false
    if (this.#lacking === undefined) this.#found()
  }

  #found(condition: Following['node'] = { kind: 'following', detail: 'ok' }): void {
    this.#deps.following.node = condition
    if (this.#lost) this.#tellConnected()
  }

  #tellConnected(): void {
    const { log, clock } = this.#deps
    const { version, subversion, source, zmq, warnings = [] } = this.#met!
    const lost = this.#lost && {
      downMs: Math.round(clock.monotonicMs() - this.#lost.sinceMs),
      tries: this.#lost.tries,
    }
    log.info({ version, subversion, blocksBy: source, zmq, ...lost }, 'bitcoind connected')
    for (const detail of warnings) log.warn({ detail }, 'bitcoind is not as it should be')
    this.#lost = undefined
  }

  /** What is left to do takes as long as it takes: no rate, no time left. */
  #stopMeter(): void {
    const { following } = this.#deps
    if (following.progress) following.progress = { ...following.progress, blocksPerS: 0, mbPerS: 0, etaS: undefined }
  }
}

/** Writes into `following` what a look has shown. Returns whether the node's best block is another one than before. */
export function noteView({ following, clock }: Pick<ContactDeps, 'following' | 'clock'>, view: ChainView): boolean {
  const nowMs = clock.monotonicMs()
  const isNew = view.best.hash !== following.best?.hash
  following.best = view.best
  following.answeredAtMs = nowMs
  following.headersAhead = Math.max(0, view.headers - view.best.height)
  if (following.headersAhead <= FOLLOWING_LIMITS.headersAheadMax) following.headersAheadSinceMs = undefined
  else following.headersAheadSinceMs ??= nowMs
  following.bestAgeS = view.bestTimeS === undefined ? undefined : clock.nowMs() / 1000 - view.bestTimeS
  following.peers = view.peers
  return isNew
}
