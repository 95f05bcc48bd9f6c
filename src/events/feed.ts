/**
 * Looks at the tracker now and then, and tells whoever listens what has changed since the look before. Nobody has to
 * announce anything: what store and memory say is what happened. Chain and market are looked at only while our tip is the
 * node's and nothing that was taken back waits to be replaced, so that a reorg is told once, as a whole.
 */
import { blocksLeft } from '../bonds/verify.ts'
import { formatOutpoint } from '../chain/types.ts'
import type { Core } from '../core.ts'
import type { Market } from '../market.ts'
import { readRecentSpends } from '../store/local/spends.ts'
import { readRecentBlocks } from '../store/local/tip.ts'
import { currentReadiness } from '../views/status.ts'
import { every } from '../world.ts'
import { type Change, changesBetween, type Look, type MarketLook } from './changes.ts'

export const FEED_LIMITS = {
  /** How often we look while somebody listens. A person sees a block at once. */
  lookMs: 250,
  /** Blocks remembered to tell a reorg. */
  blocksRemembered: 100,
  /** Spends compared at each look: those in the mempool, and confirmed in the blocks remembered. Beyond it: `reset`. */
  spendsRemembered: 5_000,
  /** While there are more spends than that, `reset` is told this often at the most: each makes readers read lists again. */
  resetMs: 5_000,
  /** About a week: time to make the next bond. Where no webhook says else. */
  expiringBlocks: 1_008,
}

export type ChangeListener = (changes: readonly Change[]) => void

export class ChangeFeed implements Disposable {
  readonly #core: Core
  /** Whether each is told of spends, too. */
  readonly #listeners = new Map<ChangeListener, boolean>()
  readonly #stop: () => void
  #last: Look | undefined
  /** What store and memory had been through at the last look at the market. */
  #seen = ''
  #isResetDue = false
  #resetAtMs = Number.NEGATIVE_INFINITY
  /** The market looked at last, and its bonds: many may be known, and mostly none has changed. */
  #ofMarket: Market | undefined
  #bonds: MarketLook['bonds'] = new Map()

  /** `onFault` gets what a look throws: the database, most likely, which the loops will meet as well. */
  constructor(core: Core, onFault: (error: unknown) => void) {
    this.#core = core
    this.#stop = every(FEED_LIMITS.lookMs, () => {
      try {
        if (this.#listeners.size > 0) this.#look()
      } catch (error) {
        onFault(error)
      }
    })
  }

  /**
   * `listener` is told what happens from now on, until the returned function is called. Spends are looked at only while
   * somebody wants them: there may be thousands.
   */
  listen(listener: ChangeListener, wantsSpends: boolean): () => void {
    if (this.#listeners.size === 0) this.#forget()
    this.#look() // what has happened until now is no news to this one
    const isFirst = wantsSpends && !this.#wantsSpends()
    this.#listeners.set(listener, wantsSpends)
    if (isFirst) {
      this.#seen = ''
      this.#look() // as they are now
    }
    return () => this.#listeners.delete(listener)
  }

  #wantsSpends(): boolean {
    return [...this.#listeners.values()].includes(true)
  }

  #look(): void {
    const before = this.#last
    const { ready, notReady } = currentReadiness(this.#core)
    const onionKey = this.#onionKey() ?? before?.onionKey
    const after: Look = { ready, notReady, onionKey, market: this.#marketLook() ?? before?.market }
    this.#last = after
    if (!before) return
    const { webhook } = this.#core.config
    const changes = changesBetween(before, after, webhook?.expiringBlocks ?? FEED_LIMITS.expiringBlocks)
    if (after.market !== before.market && (before.market?.areSpendsCut || after.market?.areSpendsCut)) {
      this.#isResetDue = true
    }
    const nowMs = this.#core.clock.monotonicMs()
    if (this.#isResetDue && nowMs - this.#resetAtMs >= FEED_LIMITS.resetMs) {
      changes.push({ kind: 'reset', data: { changes: null, height: after.market?.blocks[0]?.height ?? null } })
      this.#isResetDue = false
      this.#resetAtMs = nowMs
    }
    if (changes.length > 0) for (const listener of this.#listeners.keys()) listener(changes)
  }

  /** Only who answered, or a descriptor, says whose it is; a canary that reached nobody says nothing. */
  #onionKey(): Look['onionKey'] {
    const { canary } = this.#core.cells
    if (canary?.kind !== 'green' && canary?.kind !== 'impostor') return undefined
    const { kind, detail } = canary
    return { address: this.#core.ownAddress(), isElsewhere: kind === 'impostor', detail }
  }

  /** Undefined when nothing has changed, and while our tip isn't the node's. */
  #marketLook(): MarketLook | undefined {
    const { db, chain, cells, market, liveness, trackers, notSynced } = this.#core
    const tip = chain.tip()
    const { best, takenBack } = cells.following
    if (!tip || tip.hash !== best?.hash || takenBack || notSynced() !== undefined) return undefined
    const seen = `${db.writes} ${liveness.changes} ${trackers.revision}`
    if (this.#seen === seen) return undefined
    const now = market.read()
    if (!now) return undefined
    this.#seen = seen
    return this.#lookAt(now)
  }

  #lookAt(now: Market): MarketLook {
    const { list, counts, makers } = now
    const { db, cells, liveness, trackers } = this.#core
    const { reorgs, lastReorgs } = cells.following
    const blocks = readRecentBlocks(db, FEED_LIMITS.blocksRemembered)
    const wantsSpends = this.#wantsSpends()
    const oldest = blocks.at(-1)!.height
    const spends = wantsSpends ? readRecentSpends(db, oldest, FEED_LIMITS.spendsRemembered) : undefined
    return {
      blocks,
      digest: list.digest.toString('hex'),
      liveCount: counts.live,
      bonds: this.#bondsOf(now),
      makers: new Map(
        [...makers.keys()].map((address) => {
          const { reach, lastUpS } = liveness.lifeOf(address)
          return [address, { reach, lastUpS: lastUpS ?? null }]
        }),
      ),
      spends: wantsSpends ? new Map(spends?.map((spend) => [`${spend.outpoint} ${spend.txid}`, spend])) : undefined,
      areSpendsCut: wantsSpends && spends === undefined,
      reorgs: { count: reorgs, last: lastReorgs },
      trackers: new Map(
        trackers.list().flatMap(({ address, source, compared }) => {
          // What a learnt one says any stranger may have it say: that is no news.
          if (!compared || source !== 'configured') return []
          const { agrees, height, onlyOurs, onlyTheirs } = compared
          const names = { onlyOurs: onlyOurs.map(formatOutpoint), onlyTheirs: onlyTheirs.map(formatOutpoint) }
          return [[address, { agrees, height, ...names }] as const]
        }),
      ),
    }
  }

  #bondsOf(now: Market): MarketLook['bonds'] {
    if (this.#ofMarket === now) return this.#bonds
    this.#ofMarket = now
    this.#bonds = new Map(
      now.known.map(({ key, bond, state }) => {
        const isLive = state === 'live' && 'conf' in bond
        return [key, { address: bond.address, state, ...(isLive && { blocksLeft: blocksLeft(bond, now.tip) }) }]
      }),
    )
    return this.#bonds
  }

  #forget(): void {
    this.#ofMarket = undefined
    this.#seen = ''
    this.#last = undefined
    this.#isResetDue = false
  }

  [Symbol.dispose](): void {
    this.#stop()
    this.#listeners.clear()
  }
}
