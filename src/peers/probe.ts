/**
 * One probe of one maker: a fresh connection for every dialect tried, over a circuit of its own, closed right after the
 * answer; and some more for who closes at once, as a maker does that has no room just now. Whatever the maker does is a
 * result; only a stop is thrown. Judges nobody: what a failure means is reach.ts.
 */
import { describeError, isAbort, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { HostPort, TorPort } from '../tor/address.ts'
import { dial, ProxyUnreached } from '../tor/socks.ts'
import { exchange, NoReply } from '../wire/client.ts'
import { type Clock, sleep } from '../world.ts'
import type { Attempt } from './attempts.ts'
import { DIALECT_LIMITS, type Dialect } from './dialects.ts'
import type { MakerReply, ProbeFailure, ProbeResult } from './types.ts'

const LIMITS = {
  /** It may list a few protocols; today's list two. */
  protocolsMax: 8,
  protocolLengthMax: 32,
  /** A probe may take this many times its connection's deadline, all dialects together. */
  totalFactor: 4,
  /**
   * Pauses before a further connection to a maker that closed all before. Today's admits four a second, all askers together,
   * and closes on the others.
   */
  closedPausesMs: [500, 1_000, 2_000],
}

export interface ProbeOptions {
  /** Tor's SOCKS port; undefined without Tor. */
  socks: TorPort | undefined
  /** For circuit and connection. Half of it is for each reply. */
  timeoutMs: number
  /** Our own onion service, which only pings tell. */
  self: HostPort
  clock: Clock
  signal: AbortSignal
}

export interface ProbeTarget {
  address: HostPort
  attempts: readonly Attempt[]
  /** Ask for the offer where the dialect doesn't bring it anyway. */
  wantsOffer: boolean
}

/** Rejects with the signal's reason only. */
export async function probe(target: ProbeTarget, options: ProbeOptions): Promise<ProbeResult> {
  const { clock, timeoutMs } = options
  const startMs = clock.monotonicMs()
  let hasPinged = false
  let failed: { failure: ProbeFailure; text: string } | undefined
  for (const { dialect, pauseMs } of connectionsTo(target)) {
    if (failed && clock.monotonicMs() - startMs > LIMITS.totalFactor * timeoutMs) break
    if (pauseMs > 0) await sleep(pauseMs, options.signal)
    if (dialect.prefix === 0x02) hasPinged = true
    const said = await converse(target, dialect, options)
    const latencyMs = clock.monotonicMs() - startMs
    if (said.kind === 'answered') return { ...said, dialect: dialect.name, latencyMs, hasPinged }
    failed = said
    // Makers close on what they don't understand; anything else another dialect won't better.
    if (said.failure !== 'closed') break
  }
  const { failure, text } = failed ?? { failure: 'closed' as const, text: 'no dialect to try' }
  return { kind: 'failed', failure, text, latencyMs: clock.monotonicMs() - startMs, hasPinged }
}

/** Each dialect once, then the first of them again: an old maker closes on what it does not know, today's when it is full. */
function connectionsTo({ attempts }: ProbeTarget): { dialect: Dialect; pauseMs: number }[] {
  const once = attempts.map(({ dialect }) => ({ dialect, pauseMs: 0 }))
  const [first] = attempts.filter(({ dialect }) => dialect.prefix !== 0x02)
  return first ? [...once, ...LIMITS.closedPausesMs.map((pauseMs) => ({ dialect: first.dialect, pauseMs }))] : once
}

type Said =
  | {
      kind: 'answered'
      protocols?: readonly string[]
      offer?: OfferReply['offer']
      offerFault?: string
      noOffer?: string
    }
  | { kind: 'failed'; failure: ProbeFailure; text: string }
type OfferReply = Extract<MakerReply, { type: 'offer' }>

/** One dialect on one connection. */
async function converse(target: ProbeTarget, dialect: Dialect, options: ProbeOptions): Promise<Said> {
  const { socks, timeoutMs, signal, self } = options
  let socket: Awaited<ReturnType<typeof dial>>
  try {
    socket = await dial(target.address, { socks, timeoutMs, signal })
  } catch (error) {
    if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
    const failure = error instanceof ProxyUnreached ? 'proxy' : 'unreachable'
    return { kind: 'failed', failure, text: printable(describeError(error)) }
  }
  const said: Extract<Said, { kind: 'answered' }> = { kind: 'answered' }
  let hasAnswered = false
  try {
    for (const ask of dialect.asks) {
      if (hasAnswered && !target.wantsOffer) break
      const read = ask.read(
        await exchange(socket, ask.request(self), {
          timeoutMs: timeoutMs / 2,
          signal,
          replyBytesMax: DIALECT_LIMITS.replyBytesMax,
          ...(dialect.prefix !== undefined && { prefix: dialect.prefix }),
        }),
      )
      if (!read.ok) {
        if (!hasAnswered) return { kind: 'failed', failure: 'rubbish', text: printable(read.fault) }
        said.offerFault = printable(read.fault)
        break
      }
      hasAnswered = true
      const { reply } = read
      if (reply.type === 'unsupported' && ask.brings === 'offer') said.offerFault = unsupportedText(reply)
      if (reply.type === 'offer') {
        said.offer = reply.offer
        if (reply.fault !== undefined) said.offerFault = reply.fault
      }
      if (reply.type === 'hello' && reply.protocols) said.protocols = shortened(reply.protocols)
    }
    return said
  } catch (error) {
    if (isAbort(error, signal) || !(error instanceof TransientError)) throw error
    const text = printable(describeError(error))
    if (!hasAnswered) return { kind: 'failed', failure: failureOf(error), text }
    return error instanceof NoReply ? { ...said, noOffer: text } : { ...said, offerFault: text }
  } finally {
    socket.destroy()
  }
}

/** In the maker's words, fit for a terminal. */
function unsupportedText({ what, reason }: Extract<MakerReply, { type: 'unsupported' }>): string {
  return printable(`the maker answers Unsupported when asked for it: ${what}: ${reason}`)
}

function failureOf(error: TransientError): ProbeFailure {
  if (!(error instanceof NoReply)) return 'rubbish'
  return error.how === 'silent' ? 'silent' : 'closed'
}

function shortened(protocols: readonly string[]): string[] {
  return protocols.slice(0, LIMITS.protocolsMax).map((name) => printable(name, LIMITS.protocolLengthMax))
}
