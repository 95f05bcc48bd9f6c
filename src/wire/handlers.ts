/**
 * Request → reply, from the store only. A handler for every request is a compile-time duty. The list is encoded once
 * per tip and shared by all connections until it changes.
 */
import { listMakers, type MakerList } from '../bonds/list.ts'
import { whyNotSynced } from '../chain/following.ts'
import { windowStart } from '../chain/plan.ts'
import { type BlockHash, formatOutpoint, type Network } from '../chain/types.ts'
import { PeerFault } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import type { Liveness } from '../peers/liveness.ts'
import type { Posts } from '../peers/post.ts'
import { explain, readWhyFacts } from '../peers/why.ts'
import { type Status, unseenHeights } from '../status.ts'
import { readBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'
import { type Answer, Subscription, type Watcher } from '../watch/watcher.ts'
import type { Clock } from '../world.ts'
import { encodeReply, type Request, type TipFields } from './messages.ts'
import type { Handle, Outcome, Peer } from './server.ts'

type Handlers = {
  [T in Request['type']]: (request: Extract<Request, { type: T }>, peer: Peer) => Promise<Outcome> | Outcome
}

export interface HandlerDeps {
  db: Db
  indexer: Indexer
  watcher: Watcher
  status: Status
  network: Network
  version: string
  clock: Clock
  /** `host:port` under which we are reached: the onion service, or the listener without one. */
  ownAddress: () => string
  liveness: Liveness
  posts: Posts
  allowTestAddresses: boolean
}

export function newHandle(deps: HandlerDeps): Handle {
  const { clock, status, watcher, version, network } = deps
  const { liveness } = deps
  const current = new CurrentList(deps.db, deps.indexer, liveness)
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
    Watch: async ({ outpoint }) => {
      mustBeSynced()
      const transactions = (await watcher.watch(outpoint))
        .filter(({ state }) => state.kind !== 'evicted') // v1 can't tell them from live ones
        .map(({ txid, rawTx, firstSeenS }) => ({ txid, rawTx, seenAtMs: firstSeenS * 1000 }))
      return { send: encodeReply({ type: 'WatchResponse', transactions }) }
    },
    Post: async ({ metadata: { url, proof, ...keys } }) => {
      mustBeSynced()
      return { send: encodeReply({ type: 'Posted', ...(await deps.posts.take(url, proof, keys)) }) }
    },
    Why: ({ address }) => {
      const tip = current.read()?.tip
      const unseen = unseenHeights(deps.indexer.scannedFrom(), tip)
      const { allowTestAddresses } = deps
      const context = { network, tip, unseen, notSynced: notSynced(), allowTestAddresses }
      const why = explain(readWhyFacts(deps.db, address, context), {
        recordOf: (maker) => liveness.record(maker),
        reachOf: (maker) => liveness.reachOf(maker),
        isProven: (bond) => liveness.isProven(bond),
        nowMs: clock.nowMs(),
      })
      return { send: encodeReply({ type: 'Why', ...why }) }
    },
    Ping: () => ({ send: encodeReply({ type: 'Pong', address: deps.ownAddress(), ...tipFields(current.read()) }) }),
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
    Register: async ({ outpoints, ttlBlocks }) => {
      mustBeSynced()
      return { send: encodeReply({ type: 'Registered', ...(await watcher.register(outpoints, ttlBlocks)) }) }
    },
  }
  return (request, peer) =>
    (handlers[request.type] as (request: Request, peer: Peer) => Promise<Outcome> | Outcome)(request, peer)
}

/** Where a hash must stand and there is none yet. */
const NO_BLOCK = '00'.repeat(32) as BlockHash

interface Listed extends MakerList {
  encodedAddresses: Buffer
}

/** The list at our tip, made anew only when rows have changed, or who is down. */
class CurrentList {
  readonly #db: Db
  readonly #indexer: Indexer
  readonly #liveness: Liveness
  #revision = -1
  #lifeRevision = -1
  #list: Listed | undefined

  constructor(db: Db, indexer: Indexer, liveness: Liveness) {
    this.#db = db
    this.#indexer = indexer
    this.#liveness = liveness
  }

  read(): Listed | undefined {
    const lifeRevision = this.#liveness.revision
    if (this.#revision === this.#indexer.revision && this.#lifeRevision === lifeRevision) return this.#list
    const tip = this.#indexer.tip()
    if (tip) {
      const list = listMakers(readBonds(this.#db, windowStart(tip.height)), tip)
      const addresses = list.addresses.filter((address) => !this.#liveness.isDown(address))
      const encodedAddresses = encodeReply({ type: 'Address', addresses })
      this.#list = { ...list, encodedAddresses }
    } else {
      this.#list = undefined
    }
    this.#revision = this.#indexer.revision
    this.#lifeRevision = lifeRevision
    return this.#list
  }
}
