/** How much memory JavaScript holds, after what nobody holds any more was collected. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

export function heapBytes(): number {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}
