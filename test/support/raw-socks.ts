/** A taker's own way in: SOCKS5 as the Rust client speaks it (no authentication, host name), then raw bytes. */
import { connect, type Socket } from 'node:net'
import type { HostPort } from '../../src/tor/address.ts'

/** Reads exactly `count` bytes. */
export function readBytes(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const take = () => {
      const bytes = socket.read(count) as Buffer | null
      if (bytes === null) return
      settle(() => resolve(bytes))
    }
    const onEnd = () => settle(() => reject(new Error('the connection ended')))
    const settle = (outcome: () => void) => {
      socket.off('readable', take).off('end', onEnd).off('close', onEnd)
      outcome()
    }
    socket.on('readable', take).on('end', onEnd).on('close', onEnd)
    take()
  })
}

/** The connection, its reads included, ends with `signal`. */
export async function socksConnect(proxy: HostPort, { host, port }: HostPort, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host: proxy.host, port: proxy.port, noDelay: true, signal })
  socket.on('error', () => {})
  socket.write(Buffer.of(5, 1, 0))
  if (!(await readBytes(socket, 2)).equals(Buffer.of(5, 0))) throw new Error('the proxy wants something else')
  socket.write(
    Buffer.concat([Buffer.of(5, 1, 0, 3, host.length), Buffer.from(host, 'ascii'), Buffer.of(port >> 8, port & 0xff)]),
  )
  const reply = await readBytes(socket, 10)
  if (reply[1] !== 0) {
    socket.destroy()
    throw new Error(`SOCKS reply ${reply[1]}`)
  }
  return socket
}

/** One frame, head included. */
export async function readFrame(socket: Socket): Promise<Buffer> {
  const head = await readBytes(socket, 4)
  const length = head.readUInt32BE(0)
  return length === 0 ? head : Buffer.concat([head, await readBytes(socket, length)])
}
