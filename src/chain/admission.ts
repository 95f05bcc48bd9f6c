/**
 * What has to be true of a bitcoind before anything is believed of it: every call we need is allowed, it is Bitcoin's
 * chain of our network, and new enough. Looked at on every contact.
 */
import { ConfigError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Call } from './client.ts'
import { HEADER_BYTES } from './decode.ts'
import { NETWORK_PARAMS } from './networks.ts'
import { type BitcoindRpc, type ChainInfo, type NetworkInfo, RPC_LIMITS } from './rpc.ts'
import { asTxid, type BlockHash, type Network, NO_BLOCK } from './types.ts'

const NO_TX = asTxid('00'.repeat(32))

/** Every call that we can't do without, with arguments that cost bitcoind nothing: that it answers is all we ask. */
export const NEEDED_CALLS: readonly Call[] = [
  { method: 'getblockchaininfo', parameters: [] },
  { method: 'getnetworkinfo', parameters: [] },
  { method: 'getbestblockhash', parameters: [] },
  { method: 'getblockhash', parameters: [0] },
  { method: 'getblockheader', parameters: [NO_BLOCK] },
  { method: 'getblock', parameters: [NO_BLOCK, 0] },
  { method: 'getrawmempool', parameters: [true, true] }, // the two contradict each other
  { method: 'getrawtransaction', parameters: [NO_TX, false, NO_BLOCK] },
  { method: 'gettxout', parameters: [NO_TX, 0, false] },
  { method: 'gettxoutproof', parameters: [[NO_TX], NO_BLOCK] },
  { method: 'gettxspendingprevout', parameters: [[{ txid: NO_TX, vout: 0 }]] },
]

/** What is done otherwise, or left, where bitcoind forbids the call; undefined: nobody need be told. */
export const OPTIONAL_CALLS: Record<string, string | undefined> = {
  waitfornewblock: 'without ZMQ new blocks are noticed up to a second later',
  getzmqnotifications: 'its ZMQ is not used: new blocks and transactions are noticed up to a second later',
  getdeploymentinfo: undefined,
  getindexinfo: 'doctor knows nothing of its indexes',
}

export interface Admission {
  chain: ChainInfo
  network: NetworkInfo
  /** Optional calls that it forbids. */
  forbidden: string[]
  /** What the operator should know, a sentence each. */
  warnings: string[]
}

/** Throws ConfigError when it is the wrong node, or doesn't let us do what we need; TransientError if it did before. */
export async function admit(rpc: BitcoindRpc, network: Network): Promise<Admission> {
  const lacking = await rpc.forbidden(NEEDED_CALLS)
  if (lacking.length > 0) throw rpc.refused(lacking.join(', '), adviceOnForbidden(lacking))
  const chain = await rpc.chainInfo()
  const { coreName, genesisHash } = NETWORK_PARAMS[network]
  if (chain.chain !== coreName) {
    throw rpc.wrong(`is on network ${printable(chain.chain, 20)}, but --network is ${network}: change one of the two`)
  }
  const about = await rpc.networkInfo()
  if (about.version < RPC_LIMITS.nodeVersionMin) {
    throw rpc.wrong(
      `is ${about.subversion}, version ${about.version}: Bitcoin Core 25.0 or later is needed, upgrade it`,
    )
  }
  if (genesisHash !== undefined) {
    const first = await rpc.firstBlockHash()
    if (first !== genesisHash) throw rpc.wrong(`calls its chain ${coreName}, but it begins with block ${first}`)
  }
  const leaving = await leavingBitcoin(rpc, chain.bestblockhash)
  if (leaving?.isActive) throw new ConfigError(`${rpc.where} ${leaving.text}`)
  const forbidden = await rpc.forbidden(
    Object.keys(OPTIONAL_CALLS).map((method) => ({ method, parameters: method === 'waitfornewblock' ? [1] : [] })),
  )
  const warnings = forbidden.flatMap((method) => {
    const otherwise = OPTIONAL_CALLS[method]
    return otherwise === undefined ? [] : [`${rpc.where} forbids ${method}: ${otherwise}`]
  })
  if (leaving) warnings.push(`${rpc.where} ${leaving.text}`)
  return { chain, network: about, forbidden, warnings }
}

/** One call forbidden and others not: that is the whitelist. */
export function adviceOnForbidden(lacking: readonly string[]): string | undefined {
  if (lacking.length === NEEDED_CALLS.length) return undefined
  return 'its rpcwhitelist lacks them for this user, add them'
}

export interface Leaving {
  /** Its chain is another one already. */
  isActive: boolean
  text: string
}

/**
 * Whether it follows, or is going to follow, other rules than Bitcoin's. Bitcoin Knots from 29.4.1 on leaves Bitcoin at
 * block 961,640 of main (`blake2b` in `getdeploymentinfo`; headers of 164 bytes) and goes on calling the chain "main".
 */
export async function leavingBitcoin(rpc: BitcoindRpc, best: BlockHash): Promise<Leaving | undefined> {
  const [name, deployment] = [...((await rpc.deployments()) ?? [])].find(([key]) => /blake2b/i.test(key)) ?? []
  const header = await rpc.rawHeader(best)
  const isOtherHeader = header !== undefined && header.length !== HEADER_BYTES
  if (deployment?.active || isOtherHeader) {
    const why = isOtherHeader ? `its headers have ${header.length} bytes` : `its deployment ${name} is active`
    return {
      isActive: true,
      text: `follows a chain that is no longer Bitcoin's (${why}): use Bitcoin Core 30 or later`,
    }
  }
  if (!deployment) return undefined
  const at = deployment.height === undefined ? '' : ` at block ${deployment.height}`
  return {
    isActive: false,
    text: `leaves Bitcoin's chain${at} (its deployment ${name}) and is refused from then on: change to Bitcoin Core 30 or later before`,
  }
}
