/**
 * The listener: takes connections, holds them all to one deadline sweep, and makes room when they are too many. What
 * happens on one of them is `connection.ts`, who makes room `slots.ts`.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { ConfigError, describeError } from '../errors.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { after, every, type World } from '../world.ts'
import { Backlog } from './backlog.ts'
import { type ClientFacts, Connection, type ConnectionWorld, type Handle } from './connection.ts'
import type { WireLimits } from './limits.ts'
import { whyNotListening } from './listening.ts'
import { type SlotGroup, Slots } from './slots.ts'

export type { Handle, Outcome, Peer } from './connection.ts'

export interface WireServer extends AsyncDisposable {
  readonly host: string
  /** The actual one, also when 0 was asked for. */
  readonly port: number
  /** Open just now. */
  connections(): number
  /** `kind/outcome` → how often; see ConnectionWorld.count. */
  readonly counts: ReadonlyMap<string, number>
  /** Connections that had to make room, by the group they were of. */
  readonly evicted: Readonly<Record<SlotGroup, number>>
  /** Replies on their way that are not taken yet, and clients cut off because of them. */
  readonly backlog: Pick<Backlog, 'bytes' | 'cut'>
  /** Every connection that is open, and where it belongs. */
  clients(): (ClientFacts & { group: SlotGroup })[]
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
    random,
    log,
    signal,
    work,
    circuitIds = false,
    onHandled = () => {},
  }: World & Pick<ConnectionWorld, 'signal' | 'work'> & Partial<Pick<ConnectionWorld, 'onHandled' | 'circuitIds'>>,
): Promise<WireServer> {
  const connections = new Slots<Connection>(limits.connectionsMax, random)
  const evicted: Record<SlotGroup, number> = { silent: 0, asked: 0, subscribed: 0 }
  /** Those too whose client has left while a handler is still at work for it. */
  const conversations = new Set<Promise<void>>()
  const counts = new Map<string, number>()
  const backlog = new Backlog(limits.backlogBytesMax)
  const world: ConnectionWorld = {
    limits,
    handle,
    work,
    backlog,
    circuitIds,
    clock,
    log,
    signal,
    onHandled,
    onGroup: (connection, group) => connections.move(connection, group),
    count: (kind, outcome) => counts.set(`${kind}/${outcome}`, (counts.get(`${kind}/${outcome}`) ?? 0) + 1),
  }
  // Half-open clients (who say all they have to say and then only listen) still get their replies.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const connection = new Connection(socket, world)
    const room = connections.add(connection)
    if (room) {
      evicted[room.group]++
      room.victim.destroy()
    }
    socket.on('close', () => connections.remove(connection))
    const { conversation } = connection
    conversations.add(conversation)
    void conversation.then(() => conversations.delete(conversation))
  })
  try {
    server.listen({ host: listen.host, port: listen.port, backlog: 1_024 })
    await once(server, 'listening')
  } catch (error) {
    throw new ConfigError(`--address ${formatHostPort(listen)} can't be listened on: ${whyNotListening(error)}`, {
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
    evicted,
    backlog,
    connections: () => connections.size,
    clients: () =>
      [...connections].map((connection) => ({ ...connection.facts(), group: connections.groupOf(connection)! })),
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
