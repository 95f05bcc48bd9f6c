/**
 * The Nostr door: a relay (NIP-01) that has one event for each bond which today's takers should find, for programs that
 * know no trackers. Takes connections, holds them to one deadline sweep, and makes room when they are too many; what
 * happens on one of them is `door-client.ts`, what it has to tell `shelf.ts`. Stores nothing, relays nothing. ws appears
 * only here and in `door-client.ts`.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Outpoint } from '../chain/types.ts'
import type { Core } from '../core.ts'
import { ConfigError, describeError } from '../errors.ts'
import { formatHostPort, type HostPort, isOnionHost } from '../tor/address.ts'
import { type ClientFacts, nextClientId } from '../wire/connection.ts'
import type { WireLimits } from '../wire/limits.ts'
import { whyNotListening } from '../wire/listening.ts'
import { afterProxyLine } from '../wire/proxy-head.ts'
import { type SlotGroup, Slots } from '../wire/slots.ts'
import type { Lane } from '../wire/work.ts'
import { after, breathe, every } from '../world.ts'
import { DoorClient, type DoorMessage, type DoorOutcome, type DoorWorld } from './door-client.ts'
import { DOOR_LIMITS as LIMITS } from './door-limits.ts'
import { doorPage, relayDocument } from './door-pages.ts'
import { Shelf } from './shelf.ts'
import type { EventSigner } from './signatures.ts'

/** Clients told of news between two turns of the event loop. */
const WOKEN_AT_ONCE = 50

export interface NostrDoor extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Ours, hex. */
  readonly pubkey: string
  /** Open just now. */
  connections(): number
  subscriptions(): number
  /** Events that are served. */
  events(): number
  /** `type/outcome` → how often. */
  readonly counts: ReadonlyMap<string, number>
  /** Connections that had to make room, by the group they were of. */
  readonly evicted: Readonly<Record<SlotGroup, number>>
  /** Every connection that is open, and where it belongs. */
  clients(): (ClientFacts & { group: SlotGroup })[]
  /** Signs, and tells what has come, until the signal. */
  run(signal: AbortSignal): Promise<void>
}

/** What we need of the core. */
type DoorCore = Pick<
  Core,
  'config' | 'clock' | 'random' | 'log' | 'work' | 'market' | 'liveness' | 'notSynced' | 'cells'
>

export interface DoorOptions {
  listen: HostPort
  signer: EventSigner
  /** An event was brought that names a bond, by the client with this account. */
  onNamed: (outpoint: Outpoint, from: object) => void
}

/** One connection, from its first byte. */
interface Visit {
  readonly id: number
  readonly sinceMs: number
  readonly socket: Socket
  readonly gone: AbortController
  circuit?: string | undefined
  lane?: Lane
  client?: DoorClient
}

/**
 * Listens. Throws ConfigError naming --nostr when that can't be had. Disposing says goodbye to everybody, within the
 * wire's `stopMsMax`.
 */
export async function openDoor({ listen, signer, onNamed }: DoorOptions, core: DoorCore): Promise<NostrDoor> {
  const { clock, random, work, market, liveness, notSynced, cells } = core
  const { network, wire: limits } = core.config
  const log = core.log.child({ room: 'nostr' })
  const shelf = new Shelf({ clock, random, market, liveness, network, notSynced, following: cells.following, signer })
  const slots = new Slots<Visit>(limits.connectionsMax, random)
  const visits = new WeakMap<Socket, Visit>()
  const visitOf = new WeakMap<DoorClient, Visit>()
  const evicted: Record<SlotGroup, number> = { silent: 0, asked: 0, subscribed: 0 }
  const counts = new Map<string, number>()
  const count = (client: DoorClient, type: DoorMessage, outcome: DoorOutcome) => {
    counts.set(`${type}/${outcome}`, (counts.get(`${type}/${outcome}`) ?? 0) + 1)
    if (!log.isLevelEnabled('debug')) return
    const { id, circuit } = visitOf.get(client)!
    log.debug({ type, client: id, ...(circuit !== undefined && { circuit }), outcome }, 'Nostr message answered')
  }
  const world: DoorWorld = {
    network,
    limits,
    shelf,
    clock,
    log,
    onNamed,
    onGroup: (client, group) => slots.move(visitOf.get(client)!, group),
    count,
  }
  const clients = () => [...slots].flatMap(({ client }) => client ?? [])

  const about = relayDocument(network, signer.pubkey, limits.frameBytesMax)
  const onRequest: RequestListener = (request, response) => {
    visits.get(request.socket)!.lane!.charge(1)
    const { method, headers } = request
    const { status, headers: ours, body } = doorPage({ method, accept: headers.accept }, about)
    response.writeHead(status, { ...ours, connection: 'close' }).end(method === 'HEAD' ? '' : body)
  }
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headBytes,
      headersTimeout: limits.frameMsMax,
      requestTimeout: limits.frameMsMax,
      keepAliveTimeout: limits.lingerMsMax,
      connectionsCheckingInterval: limits.sweepMs,
      noDelay: true,
    },
    onRequest,
  )
  const options = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.frameBytesMax,
    autoPong: false,
    closeTimeout: limits.lingerMsMax, // which its types don't know yet
  }
  const sockets = new WebSocketServer(options)
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const visit = visits.get(socket)!
    visit.lane!.charge(1)
    if (!mayUpgrade(request)) return refuseUpgrade(socket)
    sockets.handleUpgrade(request, socket, head, (ws: WebSocket) => {
      visit.client = new DoorClient(ws, socket, visit.lane!, visit.gone.signal, world)
      visitOf.set(visit.client, visit)
    })
  })

  takeConnections(server, (socket, begin) => {
    const visit: Visit = { id: nextClientId(), sinceMs: clock.nowMs(), socket, gone: new AbortController() }
    visits.set(socket, visit)
    const room = slots.add(visit)
    if (room) {
      evicted[room.group]++
      room.victim.socket.destroy()
    }
    socket.once('close', () => {
      slots.remove(visit)
      visit.gone.abort(new DOMException('the client has gone', 'AbortError'))
      if (!log.isLevelEnabled('debug')) return
      const { id: client, circuit } = visit
      const gone = { client, ...(circuit !== undefined && { circuit }), messages: visit.client?.messages ?? 0 }
      log.debug({ ...gone, afterMs: Math.round(clock.nowMs() - visit.sinceMs) }, 'Nostr client gone')
    })
    const enter = (circuit: string | undefined) => {
      visit.circuit = circuit
      visit.lane = work.lane(visit.gone.signal, circuit)
      begin()
    }
    if (limits.circuitIds) afterProxyLine(socket, limits.frameMsMax, enter)
    else enter(undefined)
  })
  try {
    server.listen({ host: listen.host, port: listen.port, backlog: 1_024 })
    await once(server, 'listening')
  } catch (error) {
    const why = whyNotListening(error)
    throw new ConfigError(`--nostr ${formatHostPort(listen)} can't be listened on: ${why}, or --nostr off`, {
      cause: error,
    })
  }
  server.on('error', (error) => log.warn({ detail: describeError(error) }, 'a connection could not be taken'))
  const stopSweeping = every(limits.sweepMs, () => {
    for (const client of clients()) client.sweep()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('listening on something that is no port')
  return {
    host: address.address,
    port: address.port,
    pubkey: signer.pubkey,
    connections: () => slots.size,
    subscriptions: () => clients().reduce((sum, { subscriptions }) => sum + subscriptions, 0),
    events: () => shelf.size,
    counts,
    evicted,
    clients: () => [...slots].map((visit) => ({ ...factsOf(visit, limits), group: slots.groupOf(visit)! })),
    run: (signal) =>
      shelf.run(work.lane(signal), signal, async () => {
        for (const [i, client] of clients().entries()) {
          client.wake()
          if (i % WOKEN_AT_ONCE === WOKEN_AT_ONCE - 1) await breathe()
        }
      }),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const { client, socket } of [...slots]) {
        if (client) client.stop()
        else socket.destroySoon()
      }
      let cancelDeadline = () => {}
      const deadline = new Promise<void>((resolve) => {
        cancelDeadline = after(limits.stopMsMax, resolve)
      })
      await Promise.race([closed, deadline])
      cancelDeadline()
      for (const { socket } of [...slots]) socket.destroy()
      await closed
      stopSweeping()
    },
  }
}

function factsOf({ id, sinceMs, circuit, lane, client }: Visit, { unitsBurst }: WireLimits): ClientFacts {
  return {
    id,
    sinceMs,
    circuit,
    subscriptions: client?.subscriptions ?? 0,
    requests: client?.messages ?? 0,
    units: lane?.units ?? 0,
    unitsLately: lane?.account.lately ?? 0,
    unitsLeft: lane?.account.left ?? unitsBurst,
    unsentBytes: client?.unsentBytes ?? 0,
  }
}

/** Puts `enter` before what `server` itself does with a connection; `begin` hands it over. */
function takeConnections(server: Server, enter: (socket: Socket, begin: () => void) => void): void {
  const own = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    enter(socket, () => {
      for (const listener of own) listener.call(server, socket)
    })
  })
}

/**
 * Only browsers send an Origin. What we tell is no secret, but a page that the operator visits, or one that somebody else's
 * name leads to this machine, may not use up places; who comes by the onion's name has come through Tor like everybody.
 */
function mayUpgrade({ headers }: IncomingMessage): boolean {
  if (headers.origin === undefined) return true
  return isOnionHost((headers.host ?? '').toLowerCase().replace(/:\d*$/, ''))
}

function refuseUpgrade(socket: Socket): void {
  const body = 'A web page may not connect here: only programs may, and pages by the onion address.\n'
  socket.on('error', () => {}) // 'close' follows
  socket.end(
    `HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    () => socket.destroySoon(),
  )
}
