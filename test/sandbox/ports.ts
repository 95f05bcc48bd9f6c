/**
 * Ports for the programs of the sandbox: nobody listens on them just now, and they lie below the range from which the
 * system gives ports by itself. This process keeps them until it ends by holding the UDP ports of the same numbers: who
 * else asks here meanwhile is given others, also while the program that a port is meant for has not started yet, or has
 * stopped.
 */
import { createSocket } from 'node:dgram'
import { type EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'

const FIRST = 12_000
const LAST = 29_999

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = anyPort()
    if (await claim(port)) ports.push(port)
  }
  return ports
}

/** The first of `count` ports that follow each other. */
export async function freePortRun(count: number): Promise<number> {
  for (;;) {
    const first = anyPort()
    let claimed = 0
    while (claimed < count && (await claim(first + claimed))) claimed++
    if (claimed === count) return first
  }
}

function anyPort(): number {
  return FIRST + Math.floor(Math.random() * (LAST + 1 - FIRST))
}

async function claim(port: number): Promise<boolean> {
  const holder = createSocket('udp4')
  holder.bind(port, '127.0.0.1')
  if (!(await isListening(holder))) {
    holder.close()
    return false
  }
  const server = createServer()
  server.listen(port, '127.0.0.1')
  const isFree = await isListening(server)
  if (isFree) await once(server.close(), 'close')
  if (isFree) holder.unref()
  else holder.close()
  return isFree
}

async function isListening(socket: EventEmitter): Promise<boolean> {
  try {
    await once(socket, 'listening')
    return true
  } catch {
    return false
  }
}
