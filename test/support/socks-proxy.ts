/** A SOCKS5 proxy on loopback that notes what it is asked to connect to, and connects to a port of the test instead. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { HostPort } from '../../src/tor/address.ts'
import { readBytes } from './raw-socks.ts'

/** A CONNECT (RFC 1928): whether the name came as a name (3) or as an address (1, 4), and under which user (RFC 1929). */
export interface Asked extends HostPort {
  addressType: number
  user: string
}

type TargetOf = (asked: Asked) => number | undefined

export class SocksProxy implements AsyncDisposable {
  readonly asked: Asked[] = []
  /** How many of the next ones are refused, as by an exit that doesn't reach the host. */
  refusals = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, targetOf: TargetOf) {
    this.#server = server
    server.on('connection', (socket) => {
      this.#hold(socket)
      this.#serve(socket, targetOf).catch(() => socket.destroy())
    })
  }

  /** `target`: the port where everything ends, whatever was asked for; or of each that is asked for, undefined: nowhere. */
  static async start(target: number | TargetOf): Promise<SocksProxy> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new SocksProxy(server, typeof target === 'number' ? () => target : target)
  }

  get address(): HostPort {
    return { host: '127.0.0.1', port: (this.#server.address() as { port: number }).port }
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
  }

  async #serve(socket: Socket, targetOf: TargetOf): Promise<void> {
    const [, methods] = await readBytes(socket, 2)
    await readBytes(socket, methods!)
    socket.write(Buffer.of(5, 2))
    const [, userLength] = await readBytes(socket, 2)
    const user = String(await readBytes(socket, userLength!))
    const [passwordLength] = await readBytes(socket, 1)
    await readBytes(socket, passwordLength!)
    socket.write(Buffer.of(1, 0))
    const [, , , addressType] = await readBytes(socket, 4)
    const length = addressType === 3 ? (await readBytes(socket, 1))[0]! : addressType === 1 ? 4 : 16
    const host = await readBytes(socket, length)
    const port = (await readBytes(socket, 2)).readUInt16BE()
    const asked = { host: addressType === 3 ? String(host) : host.join('.'), port, addressType: addressType!, user }
    this.asked.push(asked)
    const targetPort = targetOf(asked)
    if (targetPort === undefined || this.refusals > 0) {
      if (targetPort !== undefined) this.refusals--
      socket.end(Buffer.of(5, 1, 0, 1, 0, 0, 0, 0, 0, 0))
      return
    }
    const target = connect(targetPort, '127.0.0.1')
    this.#hold(target)
    await once(target, 'connect')
    socket.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    socket.pipe(target).pipe(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await once(this.#server.close(), 'close')
  }
}
