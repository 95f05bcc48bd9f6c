/** Dials out: SOCKS5 with names left to Tor, one circuit per isolation token, a deadline each; or plain TCP. */
import { EventEmitter } from 'node:events'
import type { ClientRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { SocksProxyAgent } from 'socks-proxy-agent'
import { describeError, TransientError } from '../errors.ts'
import { formatHostPort, type HostPort } from './address.ts'

export interface DialOptions {
  proxy: HostPort | 'direct'
  /** Same token, same circuit; other token, never the same (Tor's IsolateSOCKSAuth, on by default). */
  isolation: string
  timeoutMs: number
  signal: AbortSignal
}

/**
 * Connects to `target`. The socket is paused: bytes that came with the proxy's answer are not lost; it flows as soon as
 * somebody listens for data. Throws TransientError naming the target and what happened; rejects with the signal's reason.
 */
export async function dial(target: HostPort, options: DialOptions): Promise<Socket> {
  const { proxy, timeoutMs, signal } = options
  const what = formatHostPort(target)
  signal.throwIfAborted()
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  const dialled = proxy === 'direct' ? dialDirect(target) : dialSocks(target, proxy, options)
  try {
    const socket = await raceAbort(dialled, deadline)
    socket.on('error', () => {}) // 'close' follows; whoever uses the socket adds its own
    return socket
  } catch (error) {
    dialled.then(
      (late) => late.destroy(),
      () => {},
    )
    if (signal.aborted) throw signal.reason
    if (deadline.aborted) throw new TransientError(`${what}: no connection within ${timeoutMs / 1000} s`)
    throw new TransientError(`${what}: ${explain(error, proxy)}`, { cause: error })
  }
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

async function dialSocks(target: HostPort, proxy: HostPort, { isolation, timeoutMs }: DialOptions): Promise<Socket> {
  const user = encodeURIComponent(isolation)
  const agent = new SocksProxyAgent(`socks5h://${user}:isolated@${formatHostPort(proxy)}`, { timeout: timeoutMs })
  // The agent was made for HTTP: of the request it only wants somebody to destroy.
  const request = Object.assign(new EventEmitter(), { destroy() {} }) as unknown as ClientRequest
  const socket = await agent.connect(request, { host: target.host, port: target.port, secureEndpoint: false })
  socket.setNoDelay(true)
  return socket.pause()
}

function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function explain(error: unknown, proxy: HostPort | 'direct'): string {
  const text = describeError(error)
  if (proxy === 'direct') return text
  if (/HostUnreachable|Socks5 proxy rejected connection - Failure|TTLExpired/i.test(text)) {
    return 'the onion service is not known, or its descriptor is gone'
  }
  if (/ConnectionRefused/i.test(text)) return 'the onion service refused the port'
  if (/ECONNREFUSED|ENOENT|EHOSTUNREACH|ECONNRESET/.test(text)) {
    return `the proxy at ${formatHostPort(proxy)} is not reachable (--socks-port)`
  }
  return text
}
