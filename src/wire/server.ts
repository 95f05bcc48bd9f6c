/**
 * The listener: takes connections, holds them all to one deadline sweep, and makes room when they are too many. What
 * happens on one of them is `connection.ts`.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { ConfigError, describeError } from '../errors.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { after, every } from '../world.ts'
import { Connection, type ConnectionWorld, type Handle } from './connection.ts'
import type { WireLimits } from './limits.ts'

export type { Handle, Outcome, Peer } from './connection.ts'

export interface WireServer extends AsyncDisposable {
  readonly host: string
  /** The actual one, also when 0 was asked for. */
  readonly port: number
  /** Open just now. */
  connections(): number
  /** `kind/outcome` → how often; see ConnectionWorld.count. */
  readonly counts: ReadonlyMap<string, number>
}

/**
 * Listens. Throws ConfigError naming --address when that can't be had. Disposing grants the requests being answered
 * `limits.stopMsMax`, then closes everything.
 */
export async function serveWire(
  { listen, limits }: { listen: HostPort; limits: WireLimits },
  handle: Handle,
  {
    clock,
    log,
    signal,
    onHandled = () => {},
  }: Pick<ConnectionWorld, 'clock' | 'log' | 'signal'> & Partial<Pick<ConnectionWorld, 'onHandled'>>,
): Promise<WireServer> {
  const connections = new Set<Connection>()
  /** Those too whose client has left while a handler is still at work for it. */
  const conversations = new Set<Promise<void>>()
  const counts = new Map<string, number>()
  const world: ConnectionWorld = {
    limits,
    handle,
    clock,
    log,
    signal,
    onHandled,
    count: (kind, outcome) => counts.set(`${kind}/${outcome}`, (counts.get(`${kind}/${outcome}`) ?? 0) + 1),
  }
  // Half-open clients (who say all they have to say and then only listen) still get their replies.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (connections.size >= limits.connectionsMax && !makeRoom(connections)) {
      log.debug({ connections: connections.size }, 'connection refused: all others are being answered')
      return socket.destroy()
    }
    const connection = new Connection(socket, world)
    connections.add(connection)
    socket.on('close', () => connections.delete(connection))
    const { conversation } = connection
    conversations.add(conversation)
    void conversation.then(() => conversations.delete(conversation))
  })
  try {
    server.listen({ host: listen.host, port: listen.port, backlog: 1_024 })
    await once(server, 'listening')
  } catch (error) {
    throw new ConfigError(`--address ${formatHostPort(listen)} can't be listened on: ${whyNot(error)}`, {
      cause: error,
    })
  }
  // Out of file descriptors and the like: the newcomer is lost, the rest goes on.
  server.on('error', (error) => log.warn({ detail: describeError(error) }, 'a connection could not be taken'))
  const stopSweeping = every(limits.sweepMs, () => {
    for (const connection of connections) connection.sweep()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('listening on something that is no port')
  return {
    host: address.address,
    port: address.port,
    counts,
    connections: () => connections.size,
    async [Symbol.asyncDispose]() {
      const all = [...connections]
      const closed = new Promise<void>((resolve) => server.close(() => resolve())) // the listener and all connections
      for (const connection of all) connection.stop()
      let cancelDeadline = () => {}
      const deadline = new Promise<void>((resolve) => {
        cancelDeadline = after(limits.stopMsMax, resolve)
      })
      // Handlers too: who disposes of us closes the store next.
      await Promise.race([Promise.all([closed, ...conversations]), deadline])
      cancelDeadline()
      for (const connection of all) connection.destroy()
      await closed
      stopSweeping()
    },
  }
}

function whyNot(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'another program listens there. Stop it, or choose another port'
  if (code === 'EACCES') return 'this user may not use that port. Choose one above 1023'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address. Choose 127.0.0.1'
  return describeError(error)
}

/**
 * Closes one connection for a newcomer's sake; false when every single one is being answered right now. All are
 * strangers and look alike behind Tor, so the longest idle has to go. But those that have said nothing yet, those that
 * have asked something and those that are subscribed keep their slots from each other, because it is taken from the
 * largest of the three: ten thousand that only connect push out one another, not the clients; a thousand that asked once
 * and stay don't keep newcomers from speaking; and a wallet that watches its coins is not pushed out by either.
 */
function makeRoom(connections: Set<Connection>): boolean {
  const groups = { silent: 0, asked: 0, subscribed: 0 }
  for (const connection of connections) groups[groupOf(connection)]++
  const largest = (Object.keys(groups) as Group[]).reduce((a, b) => (groups[b] > groups[a] ? b : a))
  let victim: Connection | undefined
  for (const connection of connections) {
    if (connection.isHandling) continue
    const isTurn = groupOf(connection) === largest
    const wasTurn = victim !== undefined && groupOf(victim) === largest
    if (!victim || (isTurn === wasTurn ? connection.isIdlerThan(victim) : isTurn)) victim = connection
  }
  if (!victim) return false
  connections.delete(victim) // before its 'close', lest it be chosen again for the next newcomer of this turn
  victim.destroy()
  return true
}

type Group = 'silent' | 'asked' | 'subscribed'

function groupOf(connection: Connection): Group {
  if (connection.isSubscribed) return 'subscribed'
  return connection.isSilent ? 'silent' : 'asked'
}
