/**
 * The process behind relay.ts: @nostr-relay/core on an HTTP server of ours. Started with its port, its database file and
 * perhaps a TLS identity; everything else comes by messages from its parent, whose end is its own.
 */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { type ClientReadyState, type Event, type IncomingMessage, LogLevel } from '@nostr-relay/common'
import { NostrRelay } from '@nostr-relay/core'
import { EventRepositorySqlite } from '@nostr-relay/event-repository-sqlite'
import { Validator } from '@nostr-relay/validator'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Received, RelayCommand, RelayConduct, RelaySetup } from './relay.ts'

/** Events in one answer: more than any test stores. */
const ANSWER_EVENTS_MAX = 50_000

const KIND_BLOCKED = 'blocked: event kind is blocked by relay'

const { port, file, tls } = JSON.parse(process.argv[2]!) as RelaySetup
let conduct: RelayConduct = {}
const received: Received[] = []

const repository = new EventRepositorySqlite(file, { defaultLimit: ANSWER_EVENTS_MAX })
await repository.init()
// Its caches off: they would go on telling what a test has just changed.
const relay = new NostrRelay(repository, {
  logLevel: LogLevel.ERROR,
  eventHandlingResultCacheTtl: 0,
  filterResultCacheTtl: 0,
})
const validator = new Validator({ maxSubscriptionIdLength: 256 })
relay.register({
  beforeHandleEvent: ({ kind }: Event) => {
    const message = conduct.refuseKind === kind ? KIND_BLOCKED : conduct.refuse
    return message === undefined ? { canHandle: true } : { canHandle: false, message }
  },
})
relay.register({
  async handleMessage(client, message, next) {
    if (conduct.delayMs !== undefined) await pause(conduct.delayMs)
    const isRefused = message[0] === 'REQ' && message.slice(2).some((filter) => asksFor(filter, conduct.refuseKind))
    const refusal = isRefused ? KIND_BLOCKED : conduct.refuseReq
    if (message[0] !== 'REQ' || refusal === undefined) return next()
    client.sendMessage(['CLOSED', message[1], refusal] as never)
  },
})

const server = tls ? createTlsServer(tls) : createServer()
server.on('request', (_request, response) => {
  response.setHeader('content-type', 'application/nostr+json')
  response.end(JSON.stringify(conduct.information ?? { name: 'sandbox relay', supported_nips: [1, 11] }))
})
new WebSocketServer({ server }).on('connection', (socket) => {
  for (const greeting of conduct.greetings ?? []) socket.send(greeting)
  relay.handleConnection(clientOf(socket))
  socket.on('message', (data) => void answer(socket, String(data)))
  socket.on('close', () => relay.handleDisconnect(clientOf(socket)))
  socket.on('error', () => {})
})
server.listen(port, '127.0.0.1', () => process.send!('listening'))

function asksFor(filter: unknown, kind: number | undefined): boolean {
  return kind !== undefined && ((filter as { kinds?: number[] }).kinds ?? []).includes(kind)
}

/** The library asks for a subset of `ws`, with an enumeration of its own for the same four numbers. */
function clientOf(socket: WebSocket): WebSocket & { readyState: ClientReadyState } {
  return socket as never
}

async function answer(socket: WebSocket, text: string): Promise<void> {
  received.push({ atMs: Date.now(), text })
  if (conduct.isSilent) return
  let message: IncomingMessage
  try {
    message = await validator.validateIncomingMessage(text)
  } catch (error) {
    socket.send(JSON.stringify(['NOTICE', (error as Error).message]))
    return
  }
  await relay.handleMessage(clientOf(socket), message)
}

async function obey(command: RelayCommand): Promise<unknown> {
  switch (command.do) {
    case 'behave':
      conduct = command.conduct
      return undefined
    case 'store':
      for (const event of command.events) await storeUnchecked(event)
      return undefined
    case 'lose': {
      const forget = repository.getDatabase().prepare('DELETE FROM events WHERE id = ?')
      for (const id of command.ids) forget.run(id)
      return undefined
    }
    case 'events':
      return repository.find({ limit: ANSWER_EVENTS_MAX })
    case 'received':
      return received
  }
}

async function storeUnchecked(event: Event): Promise<void> {
  await repository.upsert(event)
  await relay.broadcast(event)
}

process.on('message', (command: RelayCommand & { number: number }) => {
  void obey(command).then((result) => process.send!({ number: command.number, result }))
})
process.on('disconnect', () => process.exit(0))
