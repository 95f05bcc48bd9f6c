/** The PROXY line before whatever a client says, for a server whose own reader knows nothing of it. */
import type { Socket } from 'node:net'
import { after } from '../world.ts'
import { readProxyLine } from './proxy-line.ts'

/**
 * Reads the line, if there is one, and calls `begin` with the circuit it names, `socket` being as if nothing had been read
 * of it. Destroys it when what comes begins as a PROXY line and is none, or doesn't come within `withinMs`.
 */
export function afterProxyLine(socket: Socket, withinMs: number, begin: (circuit: string | undefined) => void): void {
  let head: Buffer = Buffer.alloc(0)
  const stopTimer = after(withinMs, () => socket.destroy())
  const onData = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk])
    const line = readProxyLine(head)
    if (line.kind === 'partial') return
    leave()
    if (line.kind === 'broken') return void socket.destroy()
    socket.pause()
    const rest = line.kind === 'line' ? head.subarray(line.bytes) : head
    if (rest.length > 0) socket.unshift(rest)
    begin(line.kind === 'line' ? line.circuit : undefined)
    socket.resume()
  }
  const onEnd = () => {
    leave()
    socket.destroy()
  }
  const onError = () => {} // 'close' follows
  const leave = () => {
    stopTimer()
    socket.off('data', onData).off('end', onEnd).off('close', onEnd)
    setImmediate(() => socket.off('error', onError))
  }
  socket.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError)
}
