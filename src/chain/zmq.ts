/**
 * What bitcoind publishes over ZMQ, decoded, with the gaps told. A publisher drops messages when a subscriber is slow,
 * and says nothing when it dies: so nothing is believed complete because of what comes here, it only comes sooner.
 * Source: Bitcoin Core's doc/zmq.md. Every message is three frames: topic, body, and a u32 little-endian that counts
 * the messages of the topic.
 */
import { isIP } from 'node:net'
import { Subscriber } from 'zeromq'
import { after } from '../world.ts'
import type { ZmqNotification } from './rpc.ts'
import { asTxid, type Txid } from './types.ts'

const LIMITS = {
  /** Messages waiting to be read. A burst of the mempool is some thousands of 45 bytes; what is dropped is noticed. */
  backlog: 20_000,
  /** A publisher on this machine or near takes up a subscription in milliseconds. */
  handshakeMs: 1_000,
}

/** `sequence`: a transaction entered the mempool, or left it for another reason than a block. */
export interface MempoolEvent {
  kind: 'added' | 'removed'
  txid: Txid
  /** The mempool's own counter: events below the one that a listing names are contained in it. */
  mempoolSequence: number
}

export interface ZmqListener {
  /** A block was connected to the best chain. */
  onBlock(): void
  /** A block as it was published, possibly not the best. */
  onRawBlock(raw: Buffer): void
  onMempoolEvent(event: MempoolEvent): void
  /** A transaction that entered the mempool or came with a block: which of the two is not said. */
  onRawTx(raw: Buffer): void
  /** Something happened in the mempool that these publishers don't describe, or messages were lost. */
  onGap(): void
}

/** What of it we listen to, where somebody has answered as a publisher does. */
export interface ZmqOffer {
  blocks: boolean
  mempoolEvents: boolean
  /** Addresses, as bitcoind names them, at which nobody has (yet). */
  silent: string[]
}

const TOPICS = ['sequence', 'rawtx', 'rawblock', 'hashblock', 'hashtx'] as const
type Topic = (typeof TOPICS)[number]

export class ZmqFeed {
  readonly #listener: ZmqListener
  #subscribers: { subscriber: Subscriber; ended: Promise<unknown> }[] = []
  #isClosed = false
  readonly #counts = new Map<Topic, number>()

  constructor(listener: ZmqListener) {
    this.#listener = listener
  }

  /** Listens to what is offered; ends what was listened to before. `nodeHost` stands for "every interface". */
  async listen(offered: readonly ZmqNotification[], nodeHost: string): Promise<ZmqOffer> {
    void this.#end()
    if (this.#isClosed) return { blocks: false, mempoolEvents: false, silent: [] }
    const at = new Map<Topic, string>()
    for (const { type, address } of offered) {
      const topic = TOPICS.find((name) => type === `pub${name}`)
      if (topic !== undefined && !at.has(topic)) at.set(topic, address)
    }
    const blockTopics = (['rawblock', 'hashblock', 'sequence'] as const).filter((topic) => at.has(topic))
    if (at.has('sequence')) at.delete('hashtx')
    if (at.has('rawblock')) at.delete('hashblock')
    // One socket per address keeps the order in which one publisher spoke.
    const addresses = [...new Set(at.values())]
    const answered = await Promise.all(
      addresses.map((address) => {
        const topics = [...at].filter(([, other]) => other === address).map(([topic]) => topic)
        return this.#subscribe(addressFrom(nodeHost, address), topics)
      }),
    )
    const silent = addresses.filter((_, i) => !answered[i])
    const speaks = (topic: Topic) => at.has(topic) && !silent.includes(at.get(topic)!)
    return { blocks: blockTopics.some(speaks), mempoolEvents: speaks('sequence'), silent }
  }

  /** Ends the subscriptions for good. The thread may be ended once this has resolved: not with a socket still open. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#end()
  }

  async #end(): Promise<void> {
    const ended = this.#subscribers.splice(0)
    this.#counts.clear()
    for (const { subscriber } of ended) subscriber.close()
    await Promise.all(ended.map((one) => one.ended))
  }

  /** Whether a publisher has taken up the subscription in time; one that does later is heard all the same. */
  async #subscribe(address: string, topics: readonly Topic[]): Promise<boolean> {
    const subscriber = new Subscriber({ receiveHighWaterMark: LIMITS.backlog, ipv6: address.includes('[') })
    const { events } = subscriber
    const answered = Promise.withResolvers<boolean>()
    const observe = async () => {
      for await (const event of events) {
        if (event?.type === 'handshake') answered.resolve(true)
      }
    }
    const observed = observe().catch(() => {})
    const cancel = after(LIMITS.handshakeMs, () => answered.resolve(false))
    try {
      subscriber.connect(address)
    } catch {
      answered.resolve(false) // no address for us: polled, as if nothing were offered
    }
    subscriber.subscribe(...topics)
    const receive = async () => {
      for await (const frames of subscriber) {
        try {
          this.#take(frames)
        } catch {
          this.#listener.onGap() // not what bitcoind publishes: asked for, it is told right
        }
      }
    }
    // Closed or broken: the looks that the loops take anyway go on without it.
    const received = receive().catch(() => this.#listener.onGap())
    this.#subscribers.push({ subscriber, ended: Promise.all([received, observed]) })
    const isAnswered = await answered.promise
    cancel()
    return isAnswered
  }

  #take([name, body, counter]: Buffer[]): void {
    const topic = TOPICS.find((known) => known === name?.toString('latin1'))
    if (topic === undefined || body === undefined || counter?.length !== 4) return
    const count = counter.readUInt32LE(0)
    const last = this.#counts.get(topic)
    this.#counts.set(topic, count)
    const isGap = last !== undefined && count !== (last + 1) % 2 ** 32
    if (isGap && topic !== 'rawtx') this.#listener.onGap() // raw transactions are asked for when they have not come
    switch (topic) {
      case 'rawblock':
        this.#listener.onRawBlock(body)
        return this.#listener.onBlock()
      case 'hashblock':
        return this.#listener.onBlock()
      case 'hashtx':
        return this.#listener.onGap()
      case 'rawtx':
        return this.#listener.onRawTx(body)
      case 'sequence':
        return this.#takeSequence(body)
    }
  }

  /** Body: 32-byte hash in display order, a letter, and for transactions the mempool's counter (u64 little-endian). */
  #takeSequence(body: Buffer): void {
    const letter = String.fromCharCode(body[32] ?? 0)
    if (letter === 'C') return this.#listener.onBlock()
    // A block taken back is followed by the ones that replace it; until then its transactions return to the mempool.
    if (letter === 'D') return this.#listener.onGap()
    if ((letter !== 'A' && letter !== 'R') || body.length !== 41) return
    this.#listener.onMempoolEvent({
      kind: letter === 'A' ? 'added' : 'removed',
      txid: asTxid(body.toString('hex', 0, 32)),
      mempoolSequence: Number(body.readBigUInt64LE(33)),
    })
  }
}

/**
 * Where `address`, at which bitcoind says that it publishes, is for us: "every interface" (`*`, `0.0.0.0`, `[::]`) and an
 * interface's name mean the host that we ask it at.
 */
export function addressFrom(nodeHost: string, address: string): string {
  const [, bracketed, plain = '', port] = /^tcp:\/\/(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(address) ?? []
  const host = bracketed ?? plain
  const isHere = host !== '0.0.0.0' && host !== '::' && isIP(host) !== 0
  if (port === undefined || isHere) return address
  // Whoever binds every interface of IPv4 is not on that of IPv6.
  const ours = nodeHost === '::1' && bracketed === undefined ? '127.0.0.1' : nodeHost
  return `tcp://${isIP(ours) === 6 ? `[${ours}]` : ours}:${port}`
}
