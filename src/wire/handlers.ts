/**
 * Request → reply, from the views and the watcher (and bitcoind, where a look-up or a proof needs it). A handler for every
 * request is a compile-time duty. The list is encoded once per tip and shared by all connections until it changes.
 */
import type { MakerList } from '../bonds/list.ts'
import { formatOutpoint, NO_BLOCK } from '../chain/types.ts'
import type { Core } from '../core.ts'
import { PeerFault } from '../errors.ts'
import type { Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'
import { formatHostPort } from '../tor/address.ts'
import { VERSION } from '../version.ts'
import { chainStatus } from '../views/status.ts'
import { trackerRows } from '../views/trackers.ts'
import { why } from '../views/why.ts'
import { Subscription } from '../watch/subscription.ts'
import type { WatchAnswer } from '../watch/watcher.ts'
import { BondPages } from './bond-pages.ts'
import { BondProofs } from './bond-proofs.ts'
import { encodeReply, type Request, type TipFields } from './messages.ts'
import { statusFields, trackerFields, whyFields } from './rows.ts'
import type { Handle, Outcome, Peer } from './server.ts'

type Handlers = {
  [T in Request['type']]: (request: Extract<Request, { type: T }>, peer: Peer) => Promise<Outcome> | Outcome
}

export function newHandle(core: Core): Handle {
  const { clock, market, watcher, registered, notSynced, config, startedAtMs, instance } = core
  const addresses = new EncodedAddresses(core.liveness)
  const pages = new BondPages(core)
  const proofs = new BondProofs(core)
  /** A watch answered while behind would call "unspent" what has been spent. */
  const mustBeSynced = () => {
    const behind = notSynced()
    if (behind !== undefined) throw new PeerFault('not_synced', `not synced: ${behind}`)
  }
  const subscriptions = new WeakMap<Peer, Subscription>()
  const subscriptionOf = (peer: Peer): Subscription => {
    let subscription = subscriptions.get(peer)
    if (!subscription) {
      const made: Subscription = new Subscription((entry) =>
        peer.push(entry.name, () => {
          const spend = watcher.news(entry, made)
          return spend && encodeReply({ type: 'Spend', ...spend })
        }),
      )
      subscriptions.set(peer, made)
      peer.onEnd(() => watcher.leave(made))
      subscription = made
    }
    return subscription
  }
  /** A piece of its own: a thousand spends with their transactions take megabytes. */
  const spends = (answer: WatchAnswer, { lane }: Peer): Promise<Outcome> =>
    lane.piece(() => ({ send: encodeReply({ type: 'Spends', ...answer }) }))
  /** Of the last block: what is pending is no concern of a list. */
  const atTip = (): Market => {
    const now = market.atTip()
    if (!now) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    return now
  }
  const tipFields = (): TipFields => {
    const list = market.atTip()?.list
    return {
      version: VERSION,
      network: config.network,
      height: list?.tip.height ?? 0,
      blockHash: list?.tip.hash ?? NO_BLOCK,
      digest: list?.digest ?? Buffer.alloc(32),
    }
  }

  const handlers: Handlers = {
    // v1 takers know no errors: without a reply they come again in ten seconds, which is right while we are behind.
    Get: () => (notSynced() === undefined ? { send: addresses.of(atTip().list) } : 'close'),
    Watch: async ({ outpoint }, peer) => {
      mustBeSynced()
      const spends = await watcher.watch(outpoint, peer.lane)
      await registered.registerIfFree(outpoint, subscriptionOf(peer), peer.lane)
      const transactions = spends.map(({ txid, rawTx, firstSeenS }) => ({ txid, rawTx, seenAtMs: firstSeenS * 1000 }))
      return { send: encodeReply({ type: 'WatchResponse', transactions }) }
    },
    Post: async ({ metadata: { url, proof, ...keys } }, { lane }) => {
      mustBeSynced()
      return { send: encodeReply({ type: 'Posted', ...(await core.posts.take(url, proof, keys, lane)) }) }
    },
    Why: ({ address }) => ({ send: encodeReply({ type: 'Why', ...whyFields(why(core, address)) }) }),
    Ping: ({ address, port }, { lane }) => {
      core.trackers.hint(address, port, lane.account)
      return { send: encodeReply({ type: 'Pong', address: formatHostPort(core.self()), ...tipFields() }) }
    },
    Trackers: () => ({
      send: encodeReply({ type: 'Trackers', trackers: trackerRows(core).flatMap(trackerFields) }),
    }),
    Pong: () => 'nothing', // nobody asked: a maker that mistakes us for a client
    Status: () => {
      const uptimeS = Math.max(0, Math.floor((clock.nowMs() - startedAtMs) / 1000))
      return { send: encodeReply({ type: 'Status', ...statusFields(chainStatus(core)), uptimeS, instance }) }
    },
    Bonds: async (request, peer) => {
      mustBeSynced()
      return { send: await pages.page(request, peer.lane) }
    },
    BondProof: async ({ outpoint }, { lane }) => {
      mustBeSynced()
      return { send: await proofs.read(outpoint, lane) }
    },
    WatchMany: async ({ outpoints }, peer) => {
      mustBeSynced()
      return spends(await watcher.watchMany(outpoints, peer.lane, subscriptionOf(peer)), peer)
    },
    Subscribe: async ({ outpoints }, peer) => {
      mustBeSynced()
      const subscription = subscriptionOf(peer)
      const answer = await watcher.subscribe(outpoints, peer.lane, subscription)
      peer.subscriptions = subscription.entries.size
      return spends(answer, peer)
    },
    Unsubscribe: ({ outpoints }, peer) => {
      const subscription = subscriptionOf(peer)
      watcher.unsubscribe(subscription, outpoints)
      for (const outpoint of outpoints) peer.unpush(formatOutpoint(outpoint))
      peer.subscriptions = subscription.entries.size
      return spends({ ...watcher.header(), spends: [] }, peer)
    },
    Register: async (request, peer) => {
      mustBeSynced()
      const granted = await registered.register(request, subscriptionOf(peer), peer.lane)
      return { send: encodeReply({ type: 'Registered', ...granted }) }
    },
  }
  return (request, peer) =>
    (handlers[request.type] as (request: Request, peer: Peer) => Promise<Outcome> | Outcome)(request, peer)
}

/** The reply to `Get`, encoded anew only when blocks have changed, or who is down. */
class EncodedAddresses {
  readonly #liveness: Liveness
  #of: MakerList | undefined
  #lifeRevision = -1
  #encoded: Buffer = Buffer.alloc(0)

  constructor(liveness: Liveness) {
    this.#liveness = liveness
  }

  /** `list`: the same object until blocks change. */
  of(list: MakerList): Buffer {
    const lifeRevision = this.#liveness.revision
    if (this.#of === list && this.#lifeRevision === lifeRevision) return this.#encoded
    const addresses = list.addresses.filter((address) => !this.#liveness.isDown(address))
    this.#encoded = encodeReply({ type: 'Address', addresses })
    this.#of = list
    this.#lifeRevision = lifeRevision
    return this.#encoded
  }
}
