/** Relays that do what no relay should, each a small far end on a port of its own. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { signEvent } from '../sandbox/nostr/signed-event.ts'

const KIND = 37_780

export interface OddRelay extends AsyncDisposable {
  readonly url: string
  /** Frames that clients have sent. */
  readonly received: readonly string[]
  /** Frames of its own that it has handed over. */
  readonly sent: number
}

export type Oddity =
  /** Says in HTTP that it is elsewhere, or that nobody may come. */
  | 'moved'
  | 'forbidden'
  /** Answers a WebSocket request with bytes that are no HTTP. */
  | 'rubbish'
  /** After a REQ: one message of 2 MB. */
  | 'huge'
  /** After a REQ: a million events, each with another wrong id, as fast as they are taken; no EOSE. */
  | 'flood'
  /** After a REQ: everything a client has to pass over, then EOSE. */
  | 'babble'
  /** Closes with a reason when it gets an EVENT; else an empty relay. */
  | 'closes-on-event'
  /** Says OK to everything, and keeps nothing. */
  | 'forgetful'

export async function startOddRelay(oddity: Oddity): Promise<OddRelay> {
  const relay = { received: [] as string[], sent: 0 }
  const sockets = new Set<{ destroy(): void }>()
  const server: Server =
    oddity === 'rubbish'
      ? (createTcpServer((socket) => {
          sockets.add(socket)
          socket.on('error', () => {}).once('data', () => socket.end('220 mail.example ESMTP\r\n'))
        }) as unknown as Server)
      : createServer((_request, response) => response.writeHead(404).end())
  server.on('connection', (socket) => sockets.add(socket))
  if (oddity === 'moved' || oddity === 'forbidden') {
    const head = oddity === 'moved' ? '301 Moved\r\nLocation: wss://elsewhere.example/' : '403 Forbidden'
    server.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 ${head}\r\nContent-Length: 0\r\n\r\n`))
  } else if (oddity !== 'rubbish') {
    new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
      socket.on('error', () => {})
      socket.on('message', (data) => {
        relay.received.push(String(data))
        const [type, id] = JSON.parse(String(data))
        if (type === 'REQ') void answer(oddity, socket, id, relay)
        if (type === 'EVENT' && oddity === 'closes-on-event') socket.close(1008, 'no events here')
        if (type === 'EVENT' && oddity === 'forgetful') socket.send(JSON.stringify(['OK', id.id, true, '']))
      })
    })
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(relay, {
    url: `ws://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  })
}

async function answer(oddity: Oddity, socket: WebSocket, id: string, relay: { sent: number }): Promise<void> {
  switch (oddity) {
    case 'huge':
      socket.send(JSON.stringify(['NOTICE', 'x'.repeat(2_000_000)]))
      return
    case 'flood':
      await flood(socket, id, relay)
      return
    case 'babble':
      for (const frame of babble(id)) socket.send(frame)
      socket.send(JSON.stringify(['EOSE', id]))
      return
    default:
      socket.send(JSON.stringify(['EOSE', id]))
  }
}

async function flood(socket: WebSocket, id: string, relay: { sent: number }): Promise<void> {
  const event = signEvent(bondOf('11'.repeat(32), Math.floor(Date.now() / 1_000)))
  for (let i = 0; i < 1_000_000 && socket.readyState === socket.OPEN; i++) {
    const frame = JSON.stringify(['EVENT', id, { ...event, id: i.toString(16).padStart(64, '0') }])
    if (socket.bufferedAmount < 1_000_000) socket.send(frame)
    else await new Promise((resolve) => socket.send(frame, resolve))
    relay.sent++
  }
}

function bondOf(txid: string, createdAtS: number) {
  const tags = [
    ['d', `fidelity:${txid}:0`],
    ['expiration', String(createdAtS + 86_400)],
  ]
  return { kind: KIND, content: `${txid}:0`, created_at: createdAtS, tags }
}

const AHEAD = signEvent(bondOf('22'.repeat(32), Math.floor(Date.now() / 1_000) + 90_000))

/** Two of these are events that are counted as not valid by their shape, one by its time. */
function babble(id: string): (string | Buffer)[] {
  const deep = `${'['.repeat(7_000)}${']'.repeat(7_000)}`
  return [
    'hello',
    '{}',
    '["EVENT"]',
    '["OK","nobody asked",true,""]',
    '["EOSE","somebody else"]',
    '["CLOSED","somebody else","bye"]',
    '["AUTH","challenge"]',
    '["NOTICE","\\u001b[31mred \\u00e9"]',
    Buffer.from('["NOTICE","in a binary frame"]'),
    deep,
    `["EVENT","${id}",${deep}]`,
    `["EVENT","${id}",{"content":"${'x'.repeat(100_000)}"}]`,
    JSON.stringify(['EVENT', id, AHEAD]),
  ]
}
