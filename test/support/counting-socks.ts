/** Tor as far as dialling goes: a SOCKS proxy that notes who is to be reached, and reaches nobody. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

export interface CountingSocks extends AsyncDisposable {
  readonly port: number
  /** Every CONNECT, `host:port`. */
  readonly dialled: readonly string[]
}

/** Greeting, user and password, then a CONNECT by name: each comes in one piece from our side. */
export async function startCountingSocks(): Promise<CountingSocks> {
  const dialled: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    const answers: ((said: Buffer) => void)[] = [
      () => socket.write(Buffer.of(5, 2)),
      () => socket.write(Buffer.of(1, 0)),
      (said) => {
        const end = 5 + said[4]!
        dialled.push(`${said.toString('latin1', 5, end)}:${said.readUInt16BE(end)}`)
        socket.end(Buffer.of(5, 4, 0, 1, 0, 0, 0, 0, 0, 0)) // host unreachable
      },
    ]
    socket.on('data', (said) => answers.shift()?.(said))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    dialled,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
