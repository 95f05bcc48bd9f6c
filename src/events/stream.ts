/**
 * The event stream: what changes, as server-sent events to whoever listens over HTTP. A reader that was away reads the
 * lists again; nothing is replayed. What no longer fits is told as `reset`.
 */
import type { ServerResponse } from 'node:http'
import { Slots } from '../wire/slots.ts'
import { every } from '../world.ts'
import { CHANGES, type Change, type ChangeKind } from './changes.ts'
import type { ChangeFeed } from './feed.ts'

export const STREAM_LIMITS = {
  /**
   * Streams stay open for days: fewer than the HTTP server's connections, so that a list can always be asked for. One more
   * takes the place of another, but never of the half that has been open longest; a browser comes again by itself.
   */
  streamsMax: 32,
  /** Comments on a quiet stream, so that both ends notice when the other has gone. */
  heartbeatMs: 15_000,
  /** Events told of one look, about 250 bytes each; of more only that there were so many. */
  eventsPerLook: 500,
  /** Bytes a stream may leave unread; beyond it the reader is gone or asleep and will come again. */
  unsentBytesMax: 262_144,
}

/** The kinds that are told here. */
export const STREAM_KINDS = ['block', 'reorg', 'bond', 'maker', 'spend', 'reset'] as const satisfies ChangeKind[]

export class EventStreams implements Disposable {
  readonly #feed: ChangeFeed
  readonly #streams = new Map<ServerResponse, () => void>()
  readonly #slots: Slots<ServerResponse>
  readonly #stop: () => void

  constructor(feed: ChangeFeed, random: () => number) {
    this.#feed = feed
    this.#slots = new Slots(STREAM_LIMITS.streamsMax, random)
    this.#stop = every(STREAM_LIMITS.heartbeatMs, () => {
      for (const stream of this.#streams.keys()) write(stream, ': still here\n\n')
    })
  }

  /** Takes over `response`, whose head has not been written. */
  open(response: ServerResponse, headers: Record<string, string>): void {
    this.#slots.add(response)?.victim.destroy()
    this.#slots.move(response, 'subscribed')
    const mute = this.#feed.listen((changes) => {
      const text = format(changes)
      if (text !== '') write(response, text)
    }, true)
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write('retry: 2000\n\n')
    this.#streams.set(response, mute)
    response.on('error', () => {}) // 'close' follows
    response.on('close', () => {
      mute()
      this.#streams.delete(response)
      this.#slots.remove(response)
    })
  }

  [Symbol.dispose](): void {
    this.#stop()
    for (const [stream, mute] of this.#streams) {
      mute()
      stream.end()
    }
  }
}

function write(stream: ServerResponse, text: string): void {
  if (stream.writableLength > STREAM_LIMITS.unsentBytesMax) stream.destroy()
  else stream.write(text)
}

/** Of one look, as it goes over the line; empty when nothing of it is told here. */
export function format(changes: readonly Change[]): string {
  const told = changes.filter(({ kind }) => (STREAM_KINDS as readonly string[]).includes(kind))
  if (told.length <= STREAM_LIMITS.eventsPerLook) return told.map(formatOne).join('')
  const height = told.find(({ kind }) => kind !== 'reset')?.data.height ?? null
  return formatOne({ kind: 'reset', data: { changes: told.length, height } })
}

function formatOne({ kind, data }: Change): string {
  return `event: ${kind}\ndata: ${JSON.stringify(CHANGES[kind].parse(data))}\n\n`
}
