/** Fetches the blocks whose hashes come on standard input, as the daemon would, and does nothing with them. */
import { text } from 'node:stream/consumers'
import { BitcoindRpc } from '../../src/chain/rpc.ts'
import { SYNC_LIMITS } from '../../src/chain/sync.ts'
import type { BlockHash } from '../../src/chain/types.ts'

const hashes = JSON.parse(await text(process.stdin)) as BlockHash[]
const port = Number(process.argv[2])
const rpc = new BitcoindRpc({ host: '127.0.0.1', port, auth: { kind: 'password', user: 'x', password: 'x' } })
const startMs = performance.now()
let next = 0
const fetchSome = async () => {
  while (next < hashes.length) await rpc.blockByRest(hashes[next++]!)
}
await Promise.all(Array.from({ length: SYNC_LIMITS.blocksInFlight }, fetchSome))
process.stdout.write(`${(1000 * hashes.length) / (performance.now() - startMs)}\n`)
