/**
 * Dials out: SOCKS5 with names left to Tor, a circuit of its own for each dial, a deadline each; or plain TCP. Which of
 * the two is decided here and nowhere else.
 */
import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { ClientRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { SocksProxyAgent } from 'socks-proxy-agent'
import { raceAbort, ScopedAbort } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { after } from '../world.ts'
import { formatHostPort, formatTorPort, type HostPort, isLoopback, isUnixSocket, type TorPort } from './address.ts'
import { describeConnectFault } from './port-fault.ts'

export interface DialOptions {
  /** Tor's SOCKS port; undefined without Tor. */
  socks: TorPort | undefined
  timeoutMs: number
  signal: AbortSignal
  /** Same token, same circuit; other token, never the same (Tor's IsolateSOCKSAuth, on by default). Fresh unless given. */
  isolation?: string
}

/** There was no connection: refused, not found, or not in time. */
export class Unreached extends TransientError {}

/** Our own Tor could not be used, which says nothing about the target. */
export class ProxyUnreached extends Unreached {}

/** How a host is dialled: one of this machine directly, everybody else through Tor; undefined: an onion without Tor. */
export function routeTo(host: string, socks: TorPort | undefined): TorPort | 'direct' | undefined {
  if (isLoopback(host)) return 'direct'
  if (socks) return socks
  return host.endsWith('.onion') ? undefined : 'direct'
}

export function freshIsolation(): string {
  return randomBytes(12).toString('hex')
}

/**
 * Connects to `target`. The socket is paused: bytes that came with the proxy's answer are not lost; it flows as soon as
 * somebody listens for data. Throws Unreached naming the target and what happened; rejects with the signal's reason.
 */
export async function dial(target: HostPort, options: DialOptions): Promise<Socket> {
  const { socks, timeoutMs, signal } = options
  const what = formatHostPort(target)
  signal.throwIfAborted()
  const route = routeTo(target.host, socks)
  if (route === undefined) throw new ProxyUnreached(`${what}: an onion address needs Tor (--no-tor is given)`)
  using attempt = new ScopedAbort(signal)
  const tooLate = () => attempt.abort(new Unreached(`${what}: no connection within ${timeoutMs / 1000} s`))
  const cancel = after(timeoutMs, tooLate)
  const dialled = route === 'direct' ? dialDirect(target) : dialSocks(target, route, options)
  try {
    const socket = await raceAbort(dialled, attempt.signal)
    socket.on('error', () => {}) // 'close' follows; whoever uses the socket adds its own
    return socket
  } catch (error) {
    dialled.then(
      (late) => late.destroy(),
      () => {},
    )
    if (attempt.signal.aborted) throw attempt.signal.reason
    throw route === 'direct'
      ? new Unreached(`${what}: ${describeError(error)}`, { cause: error })
      : asUnreached(what, route, error)
  } finally {
    cancel()
  }
}

/** For HTTP clients: an agent that goes through Tor. */
export function socksAgent(socks: TorPort, timeoutMs: number, isolation = freshIsolation()): SocksProxyAgent {
  const user = encodeURIComponent(isolation)
  // The library wants a host and a port in any case; of a socket the path wins, as `connect` has it.
  const isSocket = isUnixSocket(socks)
  const where = isSocket ? 'localhost:1' : formatHostPort(socks)
  const socketOptions: object = isSocket ? { path: socks.path } : {}
  return new SocksProxyAgent(`socks5h://${user}:isolated@${where}`, { timeout: timeoutMs, socketOptions })
}

function dialDirect(target: HostPort): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port, noDelay: true })
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
    socket.once('error', reject)
  })
}

async function dialSocks(target: HostPort, socks: TorPort, { isolation, timeoutMs }: DialOptions): Promise<Socket> {
  const agent = socksAgent(socks, timeoutMs, isolation)
  // The agent was made for HTTP: of the request it only wants somebody to destroy.
  const request = Object.assign(new EventEmitter(), { destroy() {} }) as unknown as ClientRequest
  const socket = await agent.connect(request, { host: target.host, port: target.port, secureEndpoint: false })
  socket.setTimeout(0) // the agent's deadline is for HTTP: a connection of ours may be quiet
  socket.setNoDelay(true)
  return socket.pause()
}

/** What Tor says of the target; whatever else went wrong did so between us and Tor, and is told to nobody else. */
function asUnreached(what: string, socks: TorPort, cause: unknown): Unreached {
  const text = describeError(cause)
  const said = /Socks5 proxy rejected connection - (\w+)/.exec(text)?.[1]
  if (said === undefined && !/connection timed out/i.test(text)) {
    const where = `the proxy at ${formatTorPort(socks)} (--socks-port)`
    return new ProxyUnreached(`${what}: ${where} is not reachable: ${describeConnectFault(socks, cause)}`, { cause })
  }
  switch (said) {
    case 'Failure':
    case 'HostUnreachable':
    case 'TTLExpired':
      return new Unreached(`${what}: the onion service is not known, or its descriptor is gone`, { cause })
    case 'ConnectionRefused':
      return new Unreached(`${what}: the onion service refused the port`, { cause })
    case undefined:
      return new Unreached(`${what}: no connection in time`, { cause })
    default:
      return new Unreached(`${what}: Tor answers ${said}`, { cause })
  }
}
