/**
 * A program: opens the node thread, as built, and closes it while it is still loading. Says what the thread had said until
 * it was ended.
 */
import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'

const BUILT = new URL('../../dist/chain/node.js', import.meta.url).href
const { openNode } = (await import(BUILT)) as typeof import('../../src/chain/node.ts')

const said: unknown[] = []
process.on('worker', (thread: Worker) => {
  thread.on('message', (message) => said.push(message))
  void once(thread, 'exit').then(() => process.stdout.write(JSON.stringify(said)))
})
const auth = { kind: 'password', user: 'user', password: 'password' } as const
const node = await openNode({
  rpc: { host: '127.0.0.1', port: 1, auth },
  network: 'regtest',
  keySalt: new Uint8Array(16),
})
await node[Symbol.asyncDispose]()
