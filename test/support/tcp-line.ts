/** What stands between two ends of a TCP connection, in the test's hand: it passes bytes on, hangs up, or holds them back. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { HostPort } from '../../src/tor/address.ts'

export class TcpLine implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #weather: 'calm' | 'gone' | 'stalled' = 'calm'

  private constructor(target: HostPort) {
    this.#server = createServer((near) => {
      const far = connect(target)
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(from)
            to.destroy()
          })
        from.on('data', (chunk) => to.write(chunk))
        if (this.#weather === 'stalled') from.pause()
        if (this.#weather === 'gone') from.destroy()
      }
    }).listen(0, '127.0.0.1')
  }

  static async before(target: HostPort): Promise<TcpLine> {
    const line = new TcpLine(target)
    await once(line.#server, 'listening')
    return line
  }

  get address(): HostPort {
    return { host: '127.0.0.1', port: (this.#server.address() as { port: number }).port }
  }

  /** Every connection ends, and new ones do at once. */
  hangUp(): void {
    this.#weather = 'gone'
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Nothing arrives any more, and nobody is told. */
  stall(): void {
    this.#weather = 'stalled'
    for (const socket of this.#sockets) socket.pause()
  }

  /** What was held back arrives. */
  calm(): void {
    this.#weather = 'calm'
    for (const socket of this.#sockets) socket.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp()
    await once(this.#server.close(), 'close')
  }
}
