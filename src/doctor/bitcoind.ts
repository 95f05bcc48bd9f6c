/** bitcoind, asked as the daemon will ask it: through the node thread. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { type Leaving, NEEDED_CALLS, OPTIONAL_CALLS } from '../chain/admission.ts'
import type { RpcOptions } from '../chain/client.ts'
import { FOLLOWING_LIMITS } from '../chain/following.ts'
import { NETWORK_PARAMS } from '../chain/networks.ts'
import type { Asked, NodeApi, NodeInspection } from '../chain/node-reader.ts'
import { WINDOW_BLOCKS, windowStart } from '../chain/plan.ts'
import { type ChainInfo, type IndexInfo, type NetworkInfo, RPC_LIMITS } from '../chain/rpc.ts'
import type { Network } from '../chain/types.ts'
import { describeError } from '../errors.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { dial } from '../tor/socks.ts'
import {
  bitcoindFix,
  LOOK_AT_PEERS,
  READ_PRUNED_AGAIN,
  RESTART_BITCOIND,
  startBitcoind,
  WAIT_FOR_DOWNLOAD,
} from './advice.ts'
import { broken, type Finding, well, worth } from './finding.ts'
import { clockFinding } from './host.ts'

type Publishers = Extract<NonNullable<NodeInspection['zmq']>, { value: unknown }>['value']

const LIMITS = {
  /** On this machine or near. */
  dialMs: 5_000,
  /** The first Bitcoin Core with txospenderindex. */
  spenderIndexVersion: 310_000,
}

const COOKIES_ELSEWHERE = ['/var/lib/bitcoind', '/var/lib/bitcoin', '/home/bitcoin/.bitcoin', '/root/.bitcoin']

export async function bitcoindFindings(
  node: Pick<NodeApi, 'inspect'>,
  rpc: RpcOptions,
  network: Network,
  nowS: number,
): Promise<Finding[]> {
  const listening = await reachFinding(rpc)
  if (listening.level === 'failure') return [listening]
  const cookie = cookieFinding(rpc, network)
  if (cookie) return [listening, cookie]
  const asked = await node.inspect()
  if ('refusal' in asked.chain) return [listening, refusalFinding(rpc, asked.chain)]
  const chain = asked.chain.value
  const auth = rpc.auth.kind === 'cookie' ? `the cookie ${rpc.auth.file}` : 'user and password'
  const findings = [listening, well('bitcoind-auth', `lets us in with ${auth}`)]
  const wanted = NETWORK_PARAMS[network].coreName
  if (chain.chain !== wanted) {
    const name =
      Object.entries(NETWORK_PARAMS).find(([, params]) => params.coreName === chain.chain)?.[0] ?? chain.chain
    findings.push(
      broken(
        'bitcoind-network',
        `bitcoind is on network ${name}, but --network is ${network}`,
        `give --network ${name}, or --rpc of a node on ${network} (as a rule 127.0.0.1:${NETWORK_PARAMS[network].defaultRpcPort})`,
      ),
    )
    return findings
  }
  findings.push(well('bitcoind-network', `is on ${network}, at block ${chain.blocks}`))
  const judge = <T>(answer: Asked<T> | undefined, look: (value: T) => Finding) => {
    if (answer) findings.push('refusal' in answer ? refusalFinding(rpc, answer) : look(answer.value))
  }
  judge(asked.network, versionFinding)
  const { leaving } = asked
  if (leaving && !('value' in leaving && leaving.value === undefined)) judge(leaving as Asked<Leaving>, chainFinding)
  findings.push(downloadFinding(chain))
  judge(asked.hasRest, restFinding)
  judge(asked.zmq, zmqFinding)
  findings.push(pruneFinding(chain))
  const { network: software } = asked
  judge(asked.indexes, (indexes) =>
    spenderIndexFinding(indexes, software && 'value' in software ? software.value.version : 0),
  )
  findings.push(clockFinding(nowS, chain.mediantime ?? 0, chain.time ?? nowS, network))
  return findings
}

/** What the operator allows us, all of it. */
const WHITELIST = [...NEEDED_CALLS.map(({ method }) => method), ...Object.keys(OPTIONAL_CALLS)].join(',')

async function reachFinding({ host, port }: RpcOptions): Promise<Finding> {
  const where = formatHostPort({ host, port })
  const problem = await unreachable({ host, port })
  if (problem === undefined) return well('bitcoind', `something listens at ${where}`)
  const fix = startBitcoind(await whoElseListens(host))
  return broken('bitcoind', `nothing answers at ${where} (--rpc): ${problem}`, fix)
}

/** Bitcoind of another network at its usual port: then the setting is wrong, not bitcoind. */
async function whoElseListens(host: string): Promise<string | undefined> {
  for (const [network, { defaultRpcPort }] of Object.entries(NETWORK_PARAMS)) {
    if ((await unreachable({ host, port: defaultRpcPort })) === undefined) {
      return `; or is it the one at ${formatHostPort({ host, port: defaultRpcPort })}, the port of --network ${network}?`
    }
  }
  return undefined
}

/** Why nobody can be reached there; undefined when somebody can. */
async function unreachable(address: HostPort): Promise<string | undefined> {
  try {
    const never = new AbortController().signal
    const socket = await dial(address, { socks: undefined, timeoutMs: LIMITS.dialMs, signal: never })
    socket.destroy()
    return undefined
  } catch (error) {
    return describeError(error)
  }
}

function cookieFinding({ auth }: RpcOptions, network: Network): Finding | undefined {
  if (auth.kind !== 'cookie') return undefined
  try {
    accessSync(auth.file, constants.R_OK)
    return undefined
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const user = userInfo().username
    if (code === 'EACCES') return closedCookie(auth.file, user)
    const { cookieDir } = NETWORK_PARAMS[network]
    const elsewhere = COOKIES_ELSEWHERE.map((dir) => [dir, cookieDir, '.cookie'].filter(Boolean).join('/')).find(
      existsSync,
    )
    return broken(
      'bitcoind-auth',
      `there is no cookie at ${auth.file} (--cookie-file)`,
      elsewhere === undefined
        ? "give --cookie-file <bitcoind's datadir>/.cookie (bitcoind writes it when it starts, unless rpcpassword is set), or FIDELITY_TRACKER_AUTH=user:password"
        : `give --cookie-file ${elsewhere}`,
    )
  }
}

/** bitcoind makes folder and cookie for itself alone: the first folder on the way that is closed, or the file itself. */
function closedCookie(file: string, user: string): Finding {
  const folders: string[] = []
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) folders.unshift(folder)
  const closed = folders.find((folder) => !mayEnter(folder))
  const join = (path: string) => `sudo usermod -aG "$(stat -c %G ${path})" ${user}`
  const again = 'and log in anew (a service: restart it)'
  if (statSync(closed ?? dirname(file)).gid === 0) {
    return broken(
      'bitcoind-auth',
      `the cookie ${file} is root's, and can't be read by ${user}`,
      `rpcauth=<made by bitcoind's rpcauth.py> in bitcoin.conf, ${RESTART_BITCOIND}; FIDELITY_TRACKER_AUTH=user:password here; better: run bitcoind as a user of its own`,
    )
  }
  if (closed !== undefined) {
    return broken(
      'bitcoind-auth',
      `the folder ${closed}, on the way to the cookie ${file}, is closed to ${user}`,
      `sudo chmod g+x ${closed}; ${join(closed)}, ${again}; then doctor once more`,
    )
  }
  return broken(
    'bitcoind-auth',
    `the cookie ${file} can't be read by ${user}`,
    `rpccookieperms=group in bitcoin.conf, ${RESTART_BITCOIND}; ${join(dirname(file))}, ${again}`,
  )
}

function mayEnter(folder: string): boolean {
  try {
    accessSync(folder, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function refusalFinding(
  { auth }: RpcOptions,
  { refusal: text, isForbidden }: { refusal: string; isForbidden: boolean },
): Finding {
  const fix = bitcoindFix(text, auth.kind === 'cookie' ? auth.file : '')
  if (/is starting/.test(text)) return worth('bitcoind-auth', text, fix)
  if (/refuses (user and password|the cookie)/.test(text)) return broken('bitcoind-auth', text, fix)
  if (isForbidden) {
    return broken(
      'bitcoind-auth',
      text,
      /its rpcwhitelist lacks/.test(text)
        ? `rpcwhitelist=<this user>:${WHITELIST} in bitcoin.conf, ${RESTART_BITCOIND}`
        : `rpcallowip=<this machine>, and no rpcwhitelist against it, in bitcoin.conf, ${RESTART_BITCOIND}`,
    )
  }
  return broken('bitcoind', text, fix)
}

function versionFinding({ version, subversion }: NetworkInfo): Finding {
  if (version >= RPC_LIMITS.nodeVersionMin) return well('bitcoind-version', subversion)
  return broken(
    'bitcoind-version',
    `${subversion}, version ${version}, is too old`,
    'upgrade bitcoind to 25.0 or later (https://bitcoincore.org/en/download)',
  )
}

function chainFinding(leaving: Leaving): Finding {
  const fix = 'replace it with Bitcoin Core 30 or later (https://bitcoincore.org/en/download)'
  return leaving.isActive ? broken('bitcoind-chain', leaving.text, fix) : worth('bitcoind-chain', leaving.text, fix)
}

function downloadFinding(chain: ChainInfo): Finding {
  const ahead = chain.headers - chain.blocks
  if (!chain.initialblockdownload && ahead > FOLLOWING_LIMITS.headersAheadMax) {
    return worth(
      'bitcoind-sync',
      `knows of ${ahead} blocks that it does not have: its best header is ${chain.headers}`,
      LOOK_AT_PEERS,
    )
  }
  if (!chain.initialblockdownload) return well('bitcoind-sync', 'has the whole chain')
  return worth(
    'bitcoind-sync',
    `is still in initial download: block ${chain.blocks} of ${chain.headers}`,
    WAIT_FOR_DOWNLOAD,
  )
}

function restFinding(hasRest: boolean): Finding {
  if (hasRest) return well('bitcoind-rest', 'serves REST')
  return worth(
    'bitcoind-rest',
    'serves no REST: blocks are read by RPC, which makes the first scan slower',
    `rest=1 in bitcoin.conf, ${RESTART_BITCOIND}`,
  )
}

function zmqFinding(publishers: Publishers): Finding {
  const fix = `zmqpubhashblock=tcp://127.0.0.1:28332 and zmqpubsequence=tcp://127.0.0.1:28333 in bitcoin.conf, ${RESTART_BITCOIND}`
  if (!publishers) {
    return worth(
      'bitcoind-zmq',
      'has no ZMQ: new blocks and transactions are noticed up to a second later',
      'use a bitcoind built with ZMQ',
    )
  }
  const { offered, silent } = publishers
  // As the daemon listens (chain/zmq.ts): the sequence tells of both.
  const mempool = offered.find(({ type }) => type === 'pubsequence')
  const blocks = offered.find(({ type }) => type === 'pubhashblock' || type === 'pubrawblock') ?? mempool
  if (!blocks || !mempool) {
    const lacking = [blocks ? '' : 'blocks', mempool ? '' : 'transactions'].filter(Boolean).join(' and ')
    return worth('bitcoind-zmq', `announces no ${lacking} over ZMQ: they are noticed up to a second later`, fix)
  }
  for (const { type, address } of [blocks, mempool]) {
    if (silent.includes(address)) {
      return worth(
        'bitcoind-zmq',
        `${type} is announced at ${address}, which can't be reached: nobody publishes there`,
        fix,
      )
    }
  }
  return well('bitcoind-zmq', `announces by ${[...new Set([blocks.type, mempool.type])].join(' and ')}`)
}

function pruneFinding(chain: ChainInfo): Finding {
  const from = windowStart(chain.blocks)
  const lowest = chain.pruneheight ?? 0
  if (lowest <= from) {
    return well(
      'bitcoind-prune',
      chain.pruned ? `is pruned, but has the last ${WINDOW_BLOCKS} blocks` : 'is not pruned',
    )
  }
  return worth(
    'bitcoind-prune',
    `has pruned blocks ${from} to ${lowest - 1} of the window: bonds confirmed there are not known`,
    `unless the tracker has read them before, it gives no list: ${READ_PRUNED_AGAIN}`,
  )
}

function spenderIndexFinding(indexes: IndexInfo | undefined, version: number): Finding {
  const check = 'bitcoind-spender-index'
  const index = indexes?.txospenderindex
  if (index?.synced) return well(check, 'has txospenderindex')
  if (index) {
    return worth(
      check,
      `is still building txospenderindex: block ${index.best_block_height}`,
      'wait: bitcoin-cli getindexinfo shows the progress',
    )
  }
  const possible =
    version >= LIMITS.spenderIndexVersion ? ' (txospenderindex=1 in bitcoin.conf would find older spends)' : ''
  return well(check, `has no txospenderindex, which is not needed${possible}`)
}
