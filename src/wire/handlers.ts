/**
 * Request → reply, from the store (and bitcoind, where a look-up or a proof needs it). A handler for every request is a compile-time duty. The list is encoded once
 * per tip and shared by all connections until it changes.
 */

import type { MakerList } from '../bonds/list.ts'
import { whyNotSynced } from '../chain/following.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { formatOutpoint, type Network, NO_BLOCK } from '../chain/types.ts'
import { PeerFault } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import type { CurrentMarket } from '../market.ts'
import type { Posts } from '../peers/judge.ts'
import type { Liveness } from '../peers/liveness.ts'
import type { Trackers } from '../peers/trackers.ts'
import type { Why } from '../peers/why.ts'
import { type Status, unseenHeights } from '../status.ts'
import type { Db } from '../store/open.ts'
import { type Answer, Subscription, type Watcher } from '../watch/watcher.ts'
import type { Clock } from '../world.ts'
import { BondPages } from './bond-pages.ts'
import { BondProofs } from './bond-proofs.ts'
import { encodeReply, type Request, type TipFields } from './messages.ts'
import type { Handle, Outcome, Peer } from './server.ts'

type Handlers = {
  [T in Request['type']]: (request: Extract<Request, { type: T }>, peer: Peer) => Promise<Outcome> | Outcome
}

export interface HandlerDeps {
  db: Db
  indexer: Indexer
  watcher: Watcher
  api: Pick<NodeApi, 'txProof'>
  status: Status
  network: Network
  version: string
  clock: Clock
  /** `host:port` under which we are reached: the onion service, or the listener without one. */
  ownAddress: () => string
  market: CurrentMarket
  liveness: Liveness
  posts: Posts
  trackers: Trackers
  /** Why the maker of this address is listed or not. */
  why: (address: string) => Why
}

export function newHandle(deps: HandlerDeps): Handle {
  const { clock, status, watcher, version, network } = deps
  const { liveness } = deps
  const current = new CurrentList(deps.market, liveness)
  const pages = new BondPages({ ...deps, livenessOf: (bond) => liveness.livenessOfBond(bond) })
  const proofs = new BondProofs(deps)
  const startedAtMs = clock.monotonicMs()
  const notSynced = () => whyNotSynced(status.following, clock.monotonicMs())
  /** A watch answered while behind would call "unspent" what has been spent. */
  const mustBeSynced = () => {
    const behind = notSynced()
    if (behind !== undefined) throw new PeerFault('not_synced', `not synced: ${behind}`)
  }
  const subscriptions = new WeakMap<Peer, Subscription>()
  const subscriptionOf = (peer: Peer): Subscription => {
    let subscription = subscriptions.get(peer)
    if (!subscription) {
      const made = new Subscription((entry) =>
        peer.push(entry.name, () => {
          const spend = watcher.presentState(entry)
          return spend && encodeReply({ type: 'Spend', ...spend })
        }),
      )
      subscriptions.set(peer, made)
      peer.onEnd(() => {
        made.isOver = true
        watcher.unsubscribe(made)
      })
      subscription = made
    }
    return subscription
  }
  const spends = (answer: Answer): Outcome => ({ send: encodeReply({ type: 'Spends', ...answer }) })
  const makers = () => {
    const list = current.read()
    if (!list) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    return list
  }
  const tipFields = (list: Listed | undefined): TipFields => ({
    version,
    network,
    height: list?.tip.height ?? 0,
    blockHash: list?.tip.hash ?? NO_BLOCK,
    digest: list?.digest ?? Buffer.alloc(32),
  })

  const handlers: Handlers = {
    // v1 takers know no errors: without a reply they come again in ten seconds, which is right while we are behind.
    Get: () => (notSynced() === undefined ? { send: makers().encodedAddresses } : 'close'),
    Watch: async ({ outpoint }, peer) => {
      mustBeSynced()
      const transactions = (await watcher.watch(outpoint, subscriptionOf(peer)))
        .filter(({ state }) => state.kind !== 'evicted') // v1 can't tell them from live ones
        .map(({ txid, rawTx, firstSeenS }) => ({ txid, rawTx, seenAtMs: firstSeenS * 1000 }))
      return { send: encodeReply({ type: 'WatchResponse', transactions }) }
    },
    Post: async ({ metadata: { url, proof, ...keys } }) => {
      mustBeSynced()
      return { send: encodeReply({ type: 'Posted', ...(await deps.posts.take(url, proof, keys)) }) }
    },
    Why: ({ address }) => ({ send: encodeReply({ type: 'Why', ...deps.why(address) }) }),
    Ping: ({ address, port }) => {
      deps.trackers.hear(address, port)
      return { send: encodeReply({ type: 'Pong', address: deps.ownAddress(), ...tipFields(current.read()) }) }
    },
    Trackers: () => {
      const trackers = deps.trackers.list().flatMap(({ address, seenS, height, digest, compared }) => {
        if (seenS === undefined) return []
        const said = { address, lastSeenS: seenS, height: height ?? 0, digest: digest ?? Buffer.alloc(32) }
        return [{ ...said, ...(compared && { agrees: compared.agrees }) }]
      })
      return { send: encodeReply({ type: 'Trackers', trackers }) }
    },
    Pong: () => 'nothing', // nobody asked: a maker that mistakes us for a client
    Status: () => {
      const list = current.read()
      const unseen = unseenHeights(deps.indexer.scannedFrom(), list?.tip)
      return {
        send: encodeReply({
          type: 'Status',
          ...tipFields(list),
          blockTimeS: list?.tip.timeS ?? 0,
          scannedFrom: deps.indexer.scannedFrom() ?? 0,
          synced: notSynced() === undefined,
          bonds: list?.live.length ?? 0,
          makersUp: liveness.counts().up,
          uptimeS: Math.floor((clock.monotonicMs() - startedAtMs) / 1000),
          ...(unseen ? { unseen } : {}),
        }),
      }
    },
    Bonds: (request) => {
      mustBeSynced()
      return { send: pages.page(makers(), request) }
    },
    BondProof: async ({ outpoint }) => {
      mustBeSynced()
      return { send: await proofs.read(outpoint) }
    },
    WatchMany: async ({ outpoints }) => {
      mustBeSynced()
      return spends(await watcher.watchMany(outpoints))
    },
    Subscribe: async ({ outpoints }, peer) => {
      mustBeSynced()
      const subscription = subscriptionOf(peer)
      const answer = await watcher.subscribe(outpoints, subscription)
      peer.isSubscribed = subscription.entries.size > 0
      return spends(answer)
    },
    Unsubscribe: ({ outpoints }, peer) => {
      const subscription = subscriptionOf(peer)
      watcher.unsubscribe(subscription, outpoints)
      for (const outpoint of outpoints) peer.unpush(formatOutpoint(outpoint))
      peer.isSubscribed = subscription.entries.size > 0
      return spends({ ...watcher.header(), spends: [] })
    },
    Register: async ({ outpoints, ttlBlocks }, peer) => {
      mustBeSynced()
      return {
        send: encodeReply({
          type: 'Registered',
          ...(await watcher.register(outpoints, ttlBlocks, subscriptionOf(peer))),
        }),
      }
    },
  }
  return (request, peer) =>
    (handlers[request.type] as (request: Request, peer: Peer) => Promise<Outcome> | Outcome)(request, peer)
}

interface Listed extends MakerList {
  encodedAddresses: Buffer
}

/** The list at our tip, encoded anew only when blocks have changed, or who is down. */
class CurrentList {
  readonly #market: CurrentMarket
  readonly #liveness: Liveness
  #of: MakerList | undefined
  #lifeRevision = -1
  #list: Listed | undefined

  constructor(market: CurrentMarket, liveness: Liveness) {
    this.#market = market
    this.#liveness = liveness
  }

  read(): Listed | undefined {
    const list = this.#market.atTip()?.list
    const lifeRevision = this.#liveness.revision
    if (this.#of === list && this.#lifeRevision === lifeRevision) return this.#list
    const addresses = list?.addresses.filter((address) => !this.#liveness.isDown(address))
    this.#list = list && addresses && { ...list, encodedAddresses: encodeReply({ type: 'Address', addresses }) }
    this.#of = list
    this.#lifeRevision = lifeRevision
    return this.#list
  }
}
