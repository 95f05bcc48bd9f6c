/** What differs between the Bitcoin networks. Source: Bitcoin Core's chainparamsbase.cpp, chainparams.cpp and files.md. */
import type { Network } from './types.ts'

export interface NetworkParams {
  /** The name `getblockchaininfo` gives it. */
  coreName: string
  defaultRpcPort: number
  /** Where bitcoind keeps this network's `.cookie`, relative to its data directory. */
  cookieDir: string
  /** The easiest target a header may have, in the compact form of its `bits`. */
  easiestBits: number
}

export const NETWORK_PARAMS: Record<Network, NetworkParams> = {
  main: { coreName: 'main', defaultRpcPort: 8332, cookieDir: '', easiestBits: 0x1d00ffff },
  testnet3: { coreName: 'test', defaultRpcPort: 18332, cookieDir: 'testnet3', easiestBits: 0x1d00ffff },
  testnet4: { coreName: 'testnet4', defaultRpcPort: 48332, cookieDir: 'testnet4', easiestBits: 0x1d00ffff },
  signet: { coreName: 'signet', defaultRpcPort: 38332, cookieDir: 'signet', easiestBits: 0x1e0377ae },
  regtest: { coreName: 'regtest', defaultRpcPort: 18443, cookieDir: 'regtest', easiestBits: 0x207fffff },
}
