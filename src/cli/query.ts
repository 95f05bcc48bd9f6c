/** The query verb: asks any tracker, through Tor or on this machine. */
import type { Socket } from 'node:net'
import { formatOutpoint, parseOutpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { ConfigError, TransientError, UnreachableError } from '../errors.ts'
import { type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { dial } from '../tor/socks.ts'
import { ask } from '../wire/client.ts'
import type { Reply, Request } from '../wire/messages.ts'
import { describeSpend, utc } from './text.ts'

const LIMITS = {
  /** A fresh circuit to an onion service takes seconds; one that dies under us is known by then. */
  dialMs: 30_000,
  replyMs: 60_000,
  /** Tor loses a circuit now and then: each try has one of its own. */
  tries: 3,
}

export function requestOf(word: string, outpoint: string | undefined): Request {
  if (outpoint !== undefined && word !== 'watch' && word !== 'why') throw new ConfigError(`${word} takes no outpoint`)
  switch (word) {
    case 'get':
      return { type: 'Get' }
    case 'status':
      return { type: 'Status' }
    case 'ping':
      return { type: 'Ping', address: '', port: 0 }
    case 'watch': {
      const parsed = parseOutpoint(outpoint ?? '')
      if (!parsed) throw new ConfigError('watch wants an outpoint: <txid as bitcoin-cli prints it>:<vout>')
      return { type: 'Watch', outpoint: parsed }
    }
    case 'why':
      if (outpoint === undefined) throw new ConfigError("why wants a maker's address: <56 characters>.onion:<port>")
      return { type: 'Why', address: outpoint }
    default:
      throw new ConfigError(`${word} is no request: use get, status, ping, watch <txid:vout>, or why <address>`)
  }
}

/** Where the daemon of these settings listens, as seen from this machine. */
export function localAddress({ listen }: Config): HostPort {
  const isAny = listen.host === '0.0.0.0' || listen.host === '::'
  return isAny ? { ...listen, host: '127.0.0.1' } : listen
}

/** The tracker somebody named. Throws ConfigError. */
export function trackerAddress(target: string): HostPort {
  const address = parseHostPort(target)
  if (!address)
    throw new ConfigError(`${target} is no address: expected host:port, for example <56 characters>.onion:8080`)
  if (address.host.endsWith('.onion') && !isOnionHost(address.host)) {
    throw new ConfigError(`${address.host} is no v3 onion address: a character is wrong or missing`)
  }
  return address
}

export async function query(config: Config, target: string, request: Request, signal: AbortSignal): Promise<Reply> {
  const address = trackerAddress(target)
  for (let tries = 1; ; tries++) {
    try {
      return await askOnce(config, address, request, signal)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      // A tracker that closed without a reply has said all it will say to this request.
      const isSilence = error.message.includes('without a reply')
      if (tries < LIMITS.tries && !isSilence && proxyFor(config, address) !== 'direct') continue
      const hint = isSilence && request.type === 'Get' ? ' (as a tracker that is not synced does: ask its status)' : ''
      throw new UnreachableError(error.message + hint, { cause: error })
    }
  }
}

async function askOnce(config: Config, address: HostPort, request: Request, signal: AbortSignal): Promise<Reply> {
  const socket = await dialTracker(config, address, signal)
  try {
    return await ask(socket, request, { timeoutMs: LIMITS.replyMs })
  } finally {
    socket.destroy()
  }
}

/** A connection of its own, over a circuit of its own. Throws TransientError. */
export function dialTracker(config: Config, address: HostPort, signal: AbortSignal): Promise<Socket> {
  const isolation = `query-${process.pid}-${process.hrtime.bigint()}`
  return dial(address, { proxy: proxyFor(config, address), isolation, timeoutMs: LIMITS.dialMs, signal })
}

/** This machine is reached directly, everything else through Tor. */
function proxyFor({ tor }: Config, { host }: HostPort): HostPort | 'direct' {
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.')
  return isLocal || tor.kind === 'none' ? 'direct' : tor.socks
}

export function describeReply(reply: Reply): string {
  switch (reply.type) {
    case 'Address':
      return reply.addresses.length > 0 ? reply.addresses.join('\n') : 'no makers'
    case 'WatchResponse':
      if (reply.transactions.length === 0) return 'no spend known'
      return reply.transactions.map(({ txid, seenAtMs }) => `${txid}  first seen ${utc(seenAtMs)}`).join('\n')
    case 'Spends':
      return reply.spends.map(describeSpend).join('\n')
    case 'Spend':
      return describeSpend(reply)
    case 'Registered':
      return `${reply.count} registered until block ${reply.untilHeight}`
    case 'Posted':
      return `${reply.address} is proven to own ${formatOutpoint(reply.outpoint)}`
    case 'Why':
      return [
        `${reply.address} is ${reply.listed ? 'listed' : 'NOT listed'}`,
        ...reply.reasons.map(({ code, text }) => `- ${code}: ${text}.`),
      ].join('\n')
    case 'Error':
      return `the tracker answered ${reply.code}: ${reply.message}`
    case 'Pong':
    case 'Status': {
      const fields = Object.entries(jsonOf(reply)).filter(([name]) => name !== 'type')
      return fields
        .map(([name, value]) => `${name.padEnd(14)}${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join('\n')
    }
  }
}

/** The reply as JSON: snake_case as on the wire, bytes as hex, hashes in display order. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const snake = (name: string) =>
    name
      .replace(/(Time|Seen)S$/, '$1')
      .replace(/Ms$/, '')
      .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  const plain = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    if (Array.isArray(value)) return value.map(plain)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, inner]) => inner !== undefined)
        .map(([name, inner]) => [snake(name), plain(inner)]),
    )
  }
  return plain(reply) as Record<string, unknown>
}
