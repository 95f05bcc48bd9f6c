/**
 * Whose program listens at a port of this machine, by the kernel's tables (proc(5), /proc/net/tcp) or by the owner of a
 * Unix socket: a port above 1023 can be taken by any user while Tor is down.
 */
import { readFile, stat } from 'node:fs/promises'
import { isLoopback, isUnixSocket, type TorPort } from './address.ts'

/** As the kernel writes them: 32-bit words in this machine's byte order, which is little-endian wherever Node runs. */
const EVERYWHERE = '00000000'
const LOOPBACK = '0100007F'
const EVERYWHERE_6 = '0'.repeat(32)
const LOOPBACK_6 = `${'0'.repeat(24)}01000000`
const LISTEN = '0A'

/** The user ids of whoever listens there; none where that can't be told: another machine's, another system's. */
export async function listenersAt(port: TorPort): Promise<number[]> {
  if (isUnixSocket(port)) {
    const found = await stat(port.path).catch(() => undefined)
    return found ? [found.uid] : []
  }
  if (!isLoopback(port.host)) return []
  const [tcp, tcp6] = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  )
  return [...listenersIn(tcp!, port), ...listenersIn(tcp6!, port)]
}

/** Of one table's text. */
export function listenersIn(table: string, { host, port }: { host: string; port: number }): number[] {
  const hosts = [
    EVERYWHERE,
    EVERYWHERE_6,
    ...(host === '::1' ? [] : [kernelHost(host)]),
    ...(host === '::1' || host === 'localhost' ? [LOOPBACK_6] : []),
  ]
  const wanted = new Set(hosts.map((one) => `${one}:${port.toString(16).toUpperCase().padStart(4, '0')}`))
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , uid] = line.trim().split(/\s+/)
    return state === LISTEN && wanted.has(local) ? [Number(uid)] : []
  })
}

function kernelHost(host: string): string {
  if (host === 'localhost') return LOOPBACK
  const bytes = host.split('.').map(Number).reverse()
  return Buffer.from(bytes).toString('hex').toUpperCase()
}
