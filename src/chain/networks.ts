/** What differs between the Bitcoin networks. Source: Bitcoin Core's chainparamsbase.cpp, chainparams.cpp and files.md. */
import { asBlockHash, type BlockHash, type Network } from './types.ts'

export interface NetworkParams {
  /** The name `getblockchaininfo` gives it. */
  coreName: string
  defaultRpcPort: number
  /** Where bitcoind keeps this network's `.cookie`, relative to its data directory. */
  cookieDir: string
  /** The easiest target a header may have, in the compact form of its `bits`. */
  easiestBits: number
  /** Of its first block; absent on regtest, whose chains anybody makes. */
  genesisHash?: BlockHash
}

export const NETWORK_PARAMS: Record<Network, NetworkParams> = {
  main: {
    coreName: 'main',
    defaultRpcPort: 8332,
    cookieDir: '',
    easiestBits: 0x1d00ffff,
    genesisHash: asBlockHash('000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f'),
  },
  testnet3: {
    coreName: 'test',
    defaultRpcPort: 18332,
    cookieDir: 'testnet3',
    easiestBits: 0x1d00ffff,
    genesisHash: asBlockHash('000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943'),
  },
  testnet4: {
    coreName: 'testnet4',
    defaultRpcPort: 48332,
    cookieDir: 'testnet4',
    easiestBits: 0x1d00ffff,
    genesisHash: asBlockHash('00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043'),
  },
  signet: {
    coreName: 'signet',
    defaultRpcPort: 38332,
    cookieDir: 'signet',
    easiestBits: 0x1e0377ae,
    genesisHash: asBlockHash('00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6'),
  },
  regtest: { coreName: 'regtest', defaultRpcPort: 18443, cookieDir: 'regtest', easiestBits: 0x207fffff },
}
