/**
 * The relays that the operator names, each against the chain: who is announced there, who is missing, what is dead. Runs a
 * watch for each, counts, keeps rows and hours in the store. Decides nothing of what we list.
 */
import type { ConfirmedBond } from '../bonds/types.ts'
import type { Height, Network, Txid } from '../chain/types.ts'
import { runAll } from '../concurrency.ts'
import { indexAfter, type Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import {
  claimRelays,
  deleteRelayHoursBefore,
  RELAY_HISTORY_LIMITS,
  readRelayBonds,
  updateRelay,
  upsertRelayHour,
  writeRelayBonds,
} from '../store/local/relays.ts'
import type { Db } from '../store/open.ts'
import { HeldLease } from '../store/shared/held-lease.ts'
import type { Leases } from '../store/shared/leases.ts'
import type { HostPort, TorPort } from '../tor/address.ts'
import type { Work } from '../wire/work.ts'
import { breathe, sleep, type World } from '../world.ts'
import { announceable } from './announceable.ts'
import { type Mendable, Mender } from './mender.ts'
import { OwnNews } from './own-news.ts'
import { EventJudge } from './relay-events.ts'
import { RelayLedger } from './relay-ledger.ts'
import { RELAY_MENDING_LIMITS } from './relay-mending.ts'
import { sumOfFaults } from './relay-view.ts'
import { type RelayRecord, RelayWatch } from './relay-watch.ts'
import type { EventSigner } from './signatures.ts'
import type { TrackerNews } from './tracker-event.ts'

export const OBSERVER_LIMITS = {
  /** How often the counts are made, where something has changed. */
  countMs: 1_000,
  /** How often what changed is written. */
  storeMs: 2_000,
  /** How often the counts of the hour are. */
  hourMs: 60_000,
}

const HOUR_S = 3_600

export interface ObserverOptions {
  /** URLs, as they were configured. */
  relays: readonly string[]
  network: Network
  socks: TorPort | undefined
}

export interface ObserverDeps extends World {
  db: Db
  work: Work
  liveness: Pick<Liveness, 'reachOf' | 'isProven' | 'changes'>
  /** With what the chain has, whether our list is whole or not. */
  market: () => Market | undefined
  /** Whether our own list is whole and synced: else nothing is counted, and nothing sent. */
  isWhole: () => boolean
  /** What is said of ourselves where something is sent; undefined while we can't be reached. */
  ownNews: () => TrackerNews | undefined
  /** A relay, for which `from` stands, says that a tracker is there. */
  onTracker: (at: HostPort, from: object) => void
  /** Signs what is sent; undefined where nothing is. */
  signer: EventSigner | undefined
  /** Of trackers that share a store one mends a relay. */
  leases: Leases
  /** How a relay is told of: its row. */
  rowOf: (record: RelayRecord) => unknown
}

/** Bonds that takers should find, and what it was made of. */
interface Wanted {
  of: string
  tipHeight: Height
  txids: ReadonlySet<Txid>
  bonds: readonly ConfirmedBond[]
}

/** Confirmed since: not those whose maker is back. */
function newBonds(before: Wanted, { bonds }: Wanted): Txid[] {
  return bonds.flatMap(({ conf, outpoint }) =>
    conf.height > before.tipHeight && !before.txids.has(outpoint.txid) ? [outpoint.txid] : [],
  )
}

export class Observer {
  readonly #options: ObserverOptions
  readonly #deps: ObserverDeps
  readonly #watches: readonly RelayWatch[]
  #wanted: Wanted | undefined
  /** When each of them was seen first, Unix seconds: a block's header may be of the future. */
  #seenS: ReadonlyMap<Txid, number> = new Map()
  #revision = 0

  constructor(options: ObserverOptions, deps: ObserverDeps) {
    this.#options = options
    this.#deps = deps
    const { db, signer } = deps
    const { network, socks, relays } = options
    const judge = new EventJudge(network, signer?.pubkey)
    const isKnown = (txid: Txid) => this.#stateOf(txid) !== undefined
    this.#watches = claimRelays(db, relays.toSorted()).map((past) => {
      const { url } = past
      const ledger = new RelayLedger(past, readRelayBonds(db, past.id), { clock: deps.clock, judge, isKnown })
      const mending = signer && {
        mender: new Mender(network, deps.clock, deps.random),
        lease: new HeldLease(deps.leases, `relay:${url}`, RELAY_MENDING_LIMITS.leaseMs, deps.clock),
        signer,
        bonds: () => this.#mendable(),
        ownNews: new OwnNews(deps.ownNews, past.newsS),
      }
      return new RelayWatch({ url, network, socks }, { ...deps, ledger, ...(mending && { mending }) })
    })
  }

  /** By URL. */
  list(): RelayRecord[] {
    return this.#watches.map((watch) => watch.record())
  }

  /** URLs of relays of which it is known that no valid event announces the bond there. */
  without(txid: Txid): string[] {
    return this.#watches.filter(({ ledger }) => ledger.lacks(txid)).map(({ url }) => url)
  }

  /** Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#watches.length === 0) return
    await runAll(signal, {
      ...Object.fromEntries(this.#watches.map((watch) => [watch.url, (s: AbortSignal) => watch.run(s)])),
      count: (s) => this.#countNowAndThen(s),
      store: (s) => this.#storeNowAndThen(s),
    })
  }

  async #countNowAndThen(signal: AbortSignal): Promise<void> {
    for (;;) {
      this.#count()
      await sleep(OBSERVER_LIMITS.countMs, signal)
    }
  }

  #count(): void {
    const before = this.#wanted
    const wanted = this.#deps.isWhole() ? this.#wantedNow() : undefined
    this.#wanted = wanted
    const fresh = before && wanted ? newBonds(before, wanted) : []
    const isDead = (txid: Txid) => {
      const state = this.#stateOf(txid)
      return state !== 'live' && state !== 'pending'
    }
    for (const watch of this.#watches) {
      if (fresh.length > 0) watch.expect(fresh)
      watch.count(wanted?.txids, isDead, wanted?.of ?? '')
    }
  }

  /** The same object while nothing has changed. */
  #wantedNow(): Wanted | undefined {
    const market = this.#deps.market()
    if (!market) return undefined
    const bonds = announceable(market, this.#deps.liveness, this.#options.network)
    const before = this.#wanted
    const isSame =
      before?.bonds.length === bonds.length &&
      bonds.every((bond, i) => bond.outpoint.txid === before.bonds[i]!.outpoint.txid)
    const txids = isSame ? before.txids : new Set(bonds.map(({ outpoint }) => outpoint.txid))
    if (!isSame) {
      this.#revision++
      const nowS = Math.floor(this.#deps.clock.nowMs() / 1_000)
      this.#seenS = new Map([...txids].map((txid) => [txid, this.#seenS.get(txid) ?? nowS]))
    }
    const { tip, pending } = market
    return { of: `${tip.hash} ${pending.length} ${this.#revision}`, tipHeight: tip.height, txids, bonds }
  }

  #stateOf(txid: Txid) {
    const market = this.#deps.market()
    if (!market) return undefined
    const known = market.known[indexAfter(market.known, { txid, vout: 0 }) - 1]
    return known?.bond.outpoint.txid === txid ? known.state : undefined
  }

  /** Bonds that takers should find, proven to be their maker's, who answers. */
  #mendable(): Mendable[] {
    const { isWhole, liveness } = this.#deps
    if (!this.#wanted || !isWhole()) return []
    return this.#wanted.bonds.flatMap((bond) =>
      liveness.isProven(bond) && liveness.reachOf(bond.address) === 'up'
        ? [{ txid: bond.outpoint.txid, sinceS: Math.min(bond.confTimeS, this.#seenS.get(bond.outpoint.txid) ?? 0) }]
        : [],
    )
  }

  // ---- the store -----------------------------------------------------------------------------------------------------

  async #storeNowAndThen(signal: AbortSignal): Promise<void> {
    const told = new Map<string, string>()
    let hourDueMs = 0
    try {
      for (;;) {
        await this.#store(told)
        const nowMs = this.#deps.clock.monotonicMs()
        if (nowMs >= hourDueMs) {
          this.#storeHour()
          hourDueMs = nowMs + OBSERVER_LIMITS.hourMs
        }
        await sleep(OBSERVER_LIMITS.storeMs, signal)
      }
    } finally {
      await this.#store(told)
    }
  }

  /** Rows of bonds first: where reading goes on must not be ahead of what was read. */
  async #store(told: Map<string, string>): Promise<void> {
    const { db, rowOf } = this.#deps
    for (const watch of this.#watches) {
      const { ledger, url } = watch
      for (;;) {
        const changes = ledger.takeChanges(RELAY_HISTORY_LIMITS.bondsAtOnce)
        if (changes.length === 0) break
        writeRelayBonds(db, ledger.id, changes)
        await breathe()
      }
      const row = rowOf(watch.record())
      const past = watch.past()
      const text = JSON.stringify([past, row])
      if (told.get(url) === text) continue
      updateRelay(db, past, row)
      told.set(url, text)
    }
  }

  #storeHour(): void {
    const { db, clock } = this.#deps
    const hour = Math.floor(clock.nowMs() / 1_000 / HOUR_S)
    db.transaction(() => {
      for (const { ledger } of this.#watches) {
        if (!ledger.counts) continue
        const { announced, missing, dead, invalid } = ledger.counts
        const row = { announced, missing: missing.length, dead, invalid: sumOfFaults(invalid) }
        upsertRelayHour(db, ledger.id, { hour, ...row })
      }
      deleteRelayHoursBefore(db, hour - RELAY_HISTORY_LIMITS.hours)
    })
  }
}
