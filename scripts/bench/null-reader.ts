/**
 * As fast as blocks can be had: asks for those whose hashes come on standard input over raw sockets, as many as the daemon
 * uses, and throws the bytes away as they come. Prints blocks per second and CPU milliseconds a block.
 */
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { SYNC_LIMITS } from '../../src/chain/sync.ts'

const hashes = JSON.parse(await text(process.stdin)) as string[]
const port = Number(process.argv[2])
let next = 0

/** Resolves when there is nothing left to ask for. */
function readSome(): Promise<void> {
  return new Promise((resolve, reject) => {
    let isHead = true
    /** Of the answer's body. */
    let left = 0
    const ask = () => {
      if (next >= hashes.length) {
        resolve()
        socket.destroy()
      } else {
        isHead = true
        socket.write(`GET /rest/block/${hashes[next++]}.bin HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`)
      }
    }
    const buffer = Buffer.allocUnsafeSlow(1_048_576)
    const callback = (count: number): boolean => {
      let from = 0
      if (isHead) {
        from = buffer.indexOf('\r\n\r\n') + 4
        left = Number(/content-length: *(\d+)/i.exec(buffer.toString('latin1', 0, from))![1])
        isHead = false
      }
      left -= count - from
      if (left === 0) ask()
      return true
    }
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread: { buffer, callback } }, ask)
    socket.on('error', reject)
  })
}

const startMs = performance.now()
const startCpu = process.cpuUsage()
await Promise.all(Array.from({ length: SYNC_LIMITS.blocksInFlight }, readSome))
const { user, system } = process.cpuUsage(startCpu)
const blocksPerS = (1000 * hashes.length) / (performance.now() - startMs)
process.stdout.write(`${JSON.stringify({ blocksPerS, cpuMsPerBlock: (user + system) / 1000 / hashes.length })}\n`)
