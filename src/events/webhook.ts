/**
 * Webhooks: what an operator may want to be told of, taken out of what changes, and delivered to one URL in its order:
 * signed, retried with backoff, dropped when it has become old or the queue is full. Source of the format:
 * docs/webhooks.md.
 */
import { createHmac, randomUUID } from 'node:crypto'
import { type ClientRequest, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Bell } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { type TorPort, urlHost } from '../tor/address.ts'
import { freshIsolation, routeTo, socksAgent } from '../tor/socks.ts'
import { after, Backoff, sleep, type World } from '../world.ts'
import type { Change } from './changes.ts'
import { Flaps } from './flaps.ts'

export const WEBHOOK_LIMITS = {
  /** Events of one look; of more only that there were so many: the lists tell the rest. */
  eventsPerLook: 500,
  /** Events that wait, about 1 kB each; beyond it the oldest is dropped. A reorg that moves every maker fits. */
  queue: 1_000,
  /** Nobody wants to hear tomorrow that a maker was down today. */
  ageMs: 86_400_000,
  /** From the connection to the status line; an onion takes its time. */
  timeoutMs: 60_000,
  backoff: { firstMs: 1_000, maxMs: 300_000 },
  /**
   * Of what comes and goes, a canary above all: six times of being lost and back are told at once, and then the state of
   * every ten minutes, if it has changed.
   */
  flaps: { atOnce: 12, everyMs: 600_000 },
}

export const WEBHOOK_EVENTS = [
  'ready',
  'not_ready',
  'onion_key_elsewhere',
  'onion_key_ours',
  'bond_expiring',
  'maker_down',
  'maker_up',
  'reorg',
  'tracker_disagrees',
  'tracker_agrees',
  'reset',
] as const

/** What is told, by name; `data` is that of the change. */
export interface WebhookEvent {
  event: (typeof WEBHOOK_EVENTS)[number]
  data: Change['data']
}

/** Pure: what of these changes is worth telling. `reorgDepth`: a reorg of at least so many blocks. */
export function webhookEvents(changes: readonly Change[], reorgDepth: number): WebhookEvent[] {
  const events = changes.flatMap((change): WebhookEvent[] => {
    const event = eventOf(change, reorgDepth)
    return event ? [{ event, data: change.data }] : []
  })
  if (events.length <= WEBHOOK_LIMITS.eventsPerLook) return events
  const height = changes.find(({ kind }) => kind !== 'reset')?.data.height ?? null
  return [{ event: 'reset', data: { changes: events.length, height } }]
}

function eventOf({ kind, data }: Change, reorgDepth: number): WebhookEvent['event'] | undefined {
  switch (kind) {
    case 'readiness':
      return data.ready ? 'ready' : 'not_ready'
    case 'onion_key':
      return data.elsewhere ? 'onion_key_elsewhere' : 'onion_key_ours'
    case 'expiring':
      return 'bond_expiring'
    case 'reorg':
      return data.depth >= reorgDepth ? 'reorg' : undefined
    case 'maker':
      // `unknown` is no news: only that a maker went down, and that one that was down answers again.
      if (!data.listed || data.previous === null) return undefined
      if (data.reach === 'down') return 'maker_down'
      return data.previous === 'down' ? 'maker_up' : undefined
    case 'tracker':
      // The first comparison is told when it is bad news; after that each change.
      if (data.agrees === (data.previous ?? true)) return undefined
      return data.agrees ? 'tracker_agrees' : 'tracker_disagrees'
    default:
      return undefined
  }
}

export interface WebhookOptions {
  url: URL
  secret: Secret
  reorgDepth: number
  /** Tor's SOCKS port; undefined without Tor. */
  socks: TorPort | undefined
  /** Not through Tor, unless the target is an onion. */
  direct: boolean
  /** Who sends: our own address. */
  tracker: () => string
}

interface Queued {
  id: string
  atMs: number
  event: WebhookEvent
}

/** The two states of each thing that may come and go often, by the events that tell of them. */
const FLAPPING: Partial<Record<WebhookEvent['event'], { of: 'readiness' | 'onion_key'; isOn: boolean }>> = {
  ready: { of: 'readiness', isOn: true },
  not_ready: { of: 'readiness', isOn: false },
  onion_key_elsewhere: { of: 'onion_key', isOn: true },
  onion_key_ours: { of: 'onion_key', isOn: false },
}

export class Webhook {
  readonly #options: WebhookOptions
  readonly #world: World
  readonly #flaps: Record<'readiness' | 'onion_key', Flaps<Omit<Queued, 'id'>>>
  readonly #queue: Queued[] = []
  readonly #bell = new Bell()
  #dropped = 0
  /** Since there was room last: the log has the first of them. */
  #pushedOut = 0
  /** Of our circuit through Tor: another one after a failure, which may have been its exit's. */
  #isolation = freshIsolation()

  constructor(options: WebhookOptions, world: World) {
    this.#options = options
    this.#world = world
    const flaps = () => new Flaps<Omit<Queued, 'id'>>(WEBHOOK_LIMITS.flaps)
    this.#flaps = { readiness: flaps(), onion_key: flaps() }
  }

  get waiting(): number {
    return this.#queue.length
  }

  /** Events that were dropped since the start: too many waited, too old, or refused. */
  get dropped(): number {
    return this.#dropped
  }

  /** Queues what of these changes is worth telling. */
  tell(changes: readonly Change[]): void {
    for (const event of webhookEvents(changes, this.#options.reorgDepth)) this.send(event)
  }

  send(event: WebhookEvent): void {
    const { clock } = this.#world
    const news = { atMs: clock.nowMs(), event }
    const flapping = FLAPPING[event.event]
    const due = flapping ? this.#flaps[flapping.of].change(flapping.isOn, news, clock.monotonicMs()) : news
    if (due) this.#enqueue(due)
    else this.#bell.ring() // so that it is waited for no longer than until it is due
  }

  #enqueue(news: Omit<Queued, 'id'>): void {
    this.#queue.push({ id: randomUUID(), ...news })
    if (this.#queue.length > WEBHOOK_LIMITS.queue) this.#pushOut(this.#queue.shift()!)
    this.#bell.ring()
  }

  /** Queues what was held back for long enough; tells how long until the next is due. */
  #releaseFlaps(): number {
    const nowMs = this.#world.clock.monotonicMs()
    const all = Object.values(this.#flaps)
    for (const flaps of all) {
      const news = flaps.due(nowMs)
      if (news) this.#enqueue(news)
    }
    return Math.min(...all.map((flaps) => flaps.dueInMs(nowMs) ?? Number.POSITIVE_INFINITY))
  }

  /** A look may push out hundreds: the first is told, and when there is room again how many they were. */
  #pushOut(oldest: Queued): void {
    if (this.#pushedOut++ === 0) this.#drop(oldest, `${WEBHOOK_LIMITS.queue} events wait: the oldest make room`)
    else this.#dropped++
  }

  #noteRoom(): void {
    if (this.#pushedOut === 0 || this.#queue.length > WEBHOOK_LIMITS.queue / 2) return
    this.#world.log.warn({ dropped: this.#pushedOut }, 'webhook events were dropped: too many waited')
    this.#pushedOut = 0
  }

  #drop({ id, event }: Queued, detail: string): void {
    this.#dropped++
    this.#world.log.warn({ id, event: event.event, detail }, 'webhook event dropped')
  }

  /** Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, random } = this.#world
    const backoff = new Backoff(WEBHOOK_LIMITS.backoff, random)
    signal.addEventListener('abort', () => this.#bell.ring(), { once: true })
    for (;;) {
      signal.throwIfAborted()
      const heldMs = this.#releaseFlaps()
      const next = this.#queue[0]
      if (!next) {
        await this.#bell.wait(Math.min(WEBHOOK_LIMITS.timeoutMs, heldMs))
        continue
      }
      if (clock.nowMs() - next.atMs > WEBHOOK_LIMITS.ageMs) {
        this.#queue.shift()
        this.#drop(next, 'it could not be delivered for a day')
        continue
      }
      try {
        await this.#deliver(next, signal)
        if (backoff.failures > 0) log.info('webhook delivered again')
        backoff.reset()
        this.#take(next)
        this.#noteRoom()
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (error instanceof Refused) {
          this.#take(next)
          this.#drop(next, error.message)
          continue
        }
        if (!(error instanceof TransientError)) throw error
        this.#isolation = freshIsolation()
        if (backoff.failures === 0) log.warn({ detail: error.message }, 'webhook not delivered: trying again')
        await sleep(backoff.nextMs(), signal)
      }
    }
  }

  /** Unless it was pushed out of a full queue meanwhile. */
  #take(queued: Queued): void {
    if (this.#queue[0] === queued) this.#queue.shift()
  }

  /** Throws Refused or TransientError. */
  async #deliver({ id, atMs, event }: Queued, signal: AbortSignal): Promise<void> {
    const { url, secret, tracker } = this.#options
    const at = Math.floor(atMs / 1000)
    const body = JSON.stringify({ id, at, tracker: tracker(), ...event })
    const sentS = Math.floor(this.#world.clock.nowMs() / 1000)
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'user-agent': 'fidelity-tracker',
      'fidelity-tracker-event': event.event,
      'fidelity-tracker-signature': `t=${sentS},v1=${webhookSignature(secret, sentS, body)}`,
    }
    const { clock, log } = this.#world
    const startMs = clock.monotonicMs()
    const status = await this.#post(url, headers, body, signal)
    log.debug({ id, event: event.event, status, tookMs: Math.round(clock.monotonicMs() - startMs) }, 'webhook answered')
    if (status >= 200 && status < 300) return
    const isRefusal = status >= 300 && status < 500 && status !== 408 && status !== 429
    const message = `${url.host} answered ${status}`
    throw isRefusal ? new Refused(message) : new TransientError(message)
  }

  #post(url: URL, headers: Record<string, string | number>, body: string, signal: AbortSignal): Promise<number> {
    const route = webhookRoute(this.#options)
    const agent = route === 'direct' ? undefined : socksAgent(route, WEBHOOK_LIMITS.timeoutMs, this.#isolation)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) =>
        reject(new TransientError(`${url.host} was not reached: ${describeError(error)}`, { cause: error }))
      const request: ClientRequest = send(
        url,
        { method: 'POST', headers, signal, ...(agent ? { agent } : { agent: false }) },
        (response) => {
          resolve(response.statusCode ?? 0)
          response.destroy() // what it has to say beyond the status is nobody's concern
        },
      )
      const { timeoutMs } = WEBHOOK_LIMITS
      const cancel = after(timeoutMs, () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
      request.on('error', fail)
      request.on('close', cancel)
      request.end(body)
    })
  }
}

/**
 * How the target is reached: through Tor, but for one of this machine (Tor refuses those) and where the operator wants it
 * otherwise. An onion address without Tor is refused with the settings.
 */
export function webhookRoute({ url, socks, direct }: Pick<WebhookOptions, 'url' | 'socks' | 'direct'>) {
  const host = urlHost(url)
  return routeTo(host, direct && !host.endsWith('.onion') ? undefined : socks) ?? 'direct'
}

/** The receiver understood and does not want it: sent again it would be refused again. */
class Refused extends Error {
  override readonly name = 'Refused'
}

/** Of a webhook's body: hex HMAC-SHA256 over `<t>.<body>`, t in Unix seconds. */
export function webhookSignature(secret: Secret, sentS: number, body: string): string {
  return createHmac('sha256', secret.reveal()).update(`${sentS}.${body}`).digest('hex')
}
