/** The thread in which doctor asks bitcoind: without environment, and ended as soon as it has answered. */
import { parentPort, workerData } from 'node:worker_threads'
import type { RpcOptions } from '../chain/rpc.ts'
import type { Network } from '../chain/types.ts'
import { bitcoindFindings } from './bitcoind.ts'

export interface BitcoindQuestion {
  rpc: RpcOptions
  network: Network
  nowS: number
}

const { rpc, network, nowS } = workerData as BitcoindQuestion
parentPort!.postMessage(await bitcoindFindings(rpc, network, nowS))
