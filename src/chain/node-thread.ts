/** The node thread: a NodeReader behind a message port. Keeps bitcoind's large replies off the thread that serves. */
import { parentPort, workerData } from 'node:worker_threads'
import { describeError } from '../errors.ts'
import { MalformedError, type ScannedBlock } from './decode.ts'
import type { ThreadReply, ThreadRequest } from './node.ts'
import { NodeReader, type NodeReaderOptions } from './node-reader.ts'

const port = parentPort
if (!port) throw new Error('node-thread.ts runs as a worker')
let isTraced = false
const reader = new NodeReader(workerData as NodeReaderOptions, (exchange) => {
  if (isTraced) port.postMessage({ exchange } satisfies ThreadReply)
})

port.on('message', async (request: ThreadRequest | 'close') => {
  if (request === 'close') {
    await reader.close()
    port.postMessage('closed' satisfies ThreadReply)
    return
  }
  const { id, method, args } = request
  isTraced = request.isTraced
  try {
    const call = reader[method] as (...args: unknown[]) => Promise<unknown>
    const value = await call.apply(reader, args)
    port.postMessage({ id, ok: true, value } satisfies ThreadReply, movable(value))
  } catch (error) {
    // What bitcoind's bytes don't make, we don't know: weather.
    const name = error instanceof MalformedError ? 'TransientError' : error instanceof Error ? error.name : 'Error'
    const stack = error instanceof Error ? error.stack : undefined
    port.postMessage({ id, ok: false, name, message: describeError(error), stack } satisfies ThreadReply)
  }
})

/** A block's keys are handed over, not copied. */
function movable(value: unknown): ArrayBuffer[] {
  if (typeof value !== 'object' || value === null || !('block' in value)) return []
  const { spent } = (value as { block: ScannedBlock }).block
  return [spent.buffer as ArrayBuffer]
}
