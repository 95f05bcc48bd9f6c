/**
 * A far end that speaks Tor's control protocol with the test's own replies, cut at every byte or glued together: what a
 * real Tor does only now and then.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { HostPort } from '../../src/tor/address.ts'

/** Written as it is, once or until the connection ends. */
export interface RawReply {
  raw: string
  isEndless?: boolean
}

/** The reply to a command line, without the closing CRLF; undefined closes the connection. */
export type Reply = (command: string) => string | RawReply | undefined

export interface FakeControl extends AsyncDisposable {
  control: HostPort
  commands: string[]
  /** Says something nobody asked for. */
  say(text: string): void
  /** Ends every connection. */
  hangUp(): void
}

export async function startFakeControl(reply: Reply, { bytewise = true } = {}): Promise<FakeControl> {
  const commands: string[] = []
  /** What is being written to each connection, in order. */
  const turns = new Map<Socket, Promise<void>>()
  const then = (socket: Socket, next: () => Promise<void>) => turns.set(socket, turns.get(socket)!.then(next))
  const write = async (socket: Socket, text: string): Promise<void> => {
    if (!bytewise) return void socket.write(text)
    for (const byte of Buffer.from(text, 'latin1')) {
      socket.write(Buffer.of(byte))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const flood = async (socket: Socket, text: string): Promise<void> => {
    const much = text.repeat(Math.ceil(10_000 / text.length))
    while (!socket.destroyed) {
      if (socket.write(much)) continue
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => {}) // reset: destroyed
    }
  }
  const hangUp = () => {
    for (const socket of turns.keys()) socket.destroy()
  }
  const server = createServer({ noDelay: true }, (socket) => {
    turns.set(socket, Promise.resolve())
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      const lines = (text + chunk).split('\r\n')
      text = lines.pop()!
      for (const line of lines) {
        commands.push(line)
        then(socket, async () => {
          const answer = reply(line)
          if (answer === undefined) socket.destroy()
          else if (typeof answer === 'object') await (answer.isEndless ? flood : write)(socket, answer.raw)
          else await write(socket, `${answer}\r\n`)
        })
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    control: { host: '127.0.0.1', port: (server.address() as { port: number }).port },
    commands,
    say(text) {
      for (const socket of turns.keys()) then(socket, () => write(socket, `${text}\r\n`))
    },
    hangUp,
    async [Symbol.asyncDispose]() {
      hangUp()
      await once(server.close(), 'close')
    },
  }
}

/** PROTOCOLINFO's reply with these methods. */
export function protocolInfo(methods: string, cookieFile?: string): string {
  const cookie = cookieFile === undefined ? '' : ` COOKIEFILE="${cookieFile}"`
  return `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=${methods}${cookie}\r\n250-VERSION Tor="0.4.8.1"\r\n250 OK`
}
