/** What differs between the Bitcoin networks. Source: Bitcoin Core's chainparamsbase.cpp and files.md. */
import type { Network } from './types.ts'

export interface NetworkParams {
  /** The name `getblockchaininfo` gives it. */
  coreName: string
  defaultRpcPort: number
  /** Where bitcoind keeps this network's `.cookie`, relative to its data directory. */
  cookieDir: string
}

export const NETWORK_PARAMS: Record<Network, NetworkParams> = {
  main: { coreName: 'main', defaultRpcPort: 8332, cookieDir: '' },
  testnet3: { coreName: 'test', defaultRpcPort: 18332, cookieDir: 'testnet3' },
  testnet4: { coreName: 'testnet4', defaultRpcPort: 48332, cookieDir: 'testnet4' },
  signet: { coreName: 'signet', defaultRpcPort: 38332, cookieDir: 'signet' },
  regtest: { coreName: 'regtest', defaultRpcPort: 18443, cookieDir: 'regtest' },
}
